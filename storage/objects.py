"""Deletion that means it: every version, every delete marker and every open upload below a prefix, listed and removed.

One contract (tests/contract) holds for both stores, a local folder and an S3 bucket:

- ``entries`` yields everything that exists below the prefix, whatever its age or state, and nothing else.
- ``delete`` is idempotent; what is gone already counts as deleted; what cannot be deleted comes back as a failure with
  its reason, and does not keep the rest from being deleted.

boto3 takes a tenth of a second to import, so it is imported where a bucket is spoken to.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlparse

from core.errors import AuditlakeError
from core.steps import step

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

__all__ = [
    "Failure",
    "LocalObjects",
    "ObjectStore",
    "S3Access",
    "S3Objects",
    "StoredObject",
    "path_to_url",
    "resolve_s3",
    "split_s3",
    "url_to_path",
]

_ATTEMPTS = 5


@dataclass(frozen=True, order=True)
class StoredObject:
    """One thing a store holds: an ``object`` (one version of it), a delete ``marker``, or an open ``upload``.

    ``latest`` is whether a reader who names the key gets this very version.
    """

    key: str
    version: str = ""
    kind: str = "object"
    size: int = 0
    latest: bool = True


@dataclass(frozen=True)
class Failure:
    """What could not be deleted, and why."""

    object: StoredObject
    reason: str


@dataclass(frozen=True)
class S3Access:
    """How to reach a bucket. ``endpoint`` is empty for AWS itself."""

    endpoint: str
    region: str
    path_style: bool
    access_key: str
    secret_key: str
    session_token: str

    def __repr__(self) -> str:
        return f"S3Access({self.endpoint or 'AWS'}, {self.region})"


Access = S3Access | Callable[[], S3Access]
"""How to reach a bucket, or what finds it out when it is first needed: hot data can be had without credentials."""


def given(access: Access) -> S3Access:
    """The access itself, found out if need be."""
    return access if isinstance(access, S3Access) else access()


class ObjectStore(Protocol):
    """A folder or a bucket; keys are URLs below its root."""

    def entries(self, prefix: str) -> Iterator[StoredObject]:
        """Everything whose URL begins with the prefix.

        :raises AuditlakeError: the store cannot be listed.
        """
        ...

    def delete(self, objects: Iterable[StoredObject]) -> list[Failure]:
        """Remove each for good; returns what could not be."""
        ...

    def put(self, key: str, content: bytes, until: dt.datetime | None = None) -> bool:
        """Store an object durably; returns whether it is locked.

        :param until: before then nobody may remove it, where the store can see to that.
        :raises AuditlakeError: it cannot be stored.
        """
        ...

    def read(self, key: str) -> bytes | None:
        """The content of an object; ``None`` when there is none.

        :raises AuditlakeError: it cannot be read.
        """
        ...


class LocalObjects:
    """Files below one folder; a key is a ``file://`` URL."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def entries(self, prefix: str) -> Iterator[StoredObject]:
        """Every file, and every link, whose URL begins with the prefix."""
        top = url_to_path(prefix[: prefix.rfind("/")])
        try:
            for path in sorted(_below(top if self._holds(top) else self._root)):
                key = path_to_url(path)
                if key.startswith(prefix):
                    yield StoredObject(key, size=path.lstat().st_size)
        except OSError as error:
            raise AuditlakeError(f"folder {error.filename} cannot be listed: {error.strerror}", "check its permissions") from None

    def delete(self, objects: Iterable[StoredObject]) -> list[Failure]:
        """Unlink each, and folders that are left empty."""
        failures = []
        for entry in objects:
            path = url_to_path(entry.key)
            if not self._holds(path):
                failures.append(Failure(entry, f"it lies outside {self._root}"))
                continue
            step("objects.delete")
            try:
                path.unlink(missing_ok=True)
                self._prune(path.parent)
            except OSError as error:
                failures.append(Failure(entry, error.strerror or str(error)))
        return failures

    def put(self, key: str, content: bytes, until: dt.datetime | None = None) -> bool:  # noqa: ARG002 - a folder locks nothing
        """Write a file, whole or not at all; a folder locks nothing."""
        path = url_to_path(key)
        if not self._holds(path):
            raise AuditlakeError(f"file {path} lies outside {self._root}")
        step("objects.put")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{path.name}.new")
            with draft.open("wb") as file:
                file.write(content)
                os.fsync(file.fileno())
            draft.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise AuditlakeError(f"file {path} cannot be written: {error.strerror}", "check disk and permissions") from None
        return False

    def read(self, key: str) -> bytes | None:
        """The content of a file; ``None`` when there is none."""
        path = url_to_path(key)
        try:
            return path.read_bytes() if self._holds(path) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuditlakeError(f"file {path} cannot be read: {error.strerror}", "check its permissions") from None

    def _holds(self, path: Path) -> bool:
        return path.is_relative_to(self._root) and ".." not in path.parts

    def _prune(self, folder: Path) -> None:
        while folder != self._root and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


class S3Objects:
    """Objects of one bucket; a key is an ``s3://bucket/key`` URL. Works on versioned and unversioned buckets."""

    def __init__(self, bucket: str, access: Access) -> None:
        self._bucket = bucket
        self._access = access

    @cached_property
    def _client(self) -> S3Client:
        import boto3
        from botocore.config import Config

        access = given(self._access)
        return boto3.client(
            "s3",
            endpoint_url=access.endpoint or None,
            region_name=access.region,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.session_token or None,
            config=Config(
                retries={"mode": "standard", "max_attempts": _ATTEMPTS},
                s3={"addressing_style": "path" if access.path_style else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def entries(self, prefix: str) -> Iterator[StoredObject]:
        """Every version, delete marker and open upload whose URL begins with the prefix."""
        from botocore.exceptions import BotoCoreError, ClientError

        head = prefix.removeprefix(self._url(""))
        try:
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=head):
                for version in page.get("Versions", []):
                    yield StoredObject(self._url(version["Key"]), version["VersionId"], "object", version["Size"], version["IsLatest"])
                for marker in page.get("DeleteMarkers", []):
                    yield StoredObject(self._url(marker["Key"]), marker["VersionId"], "marker", latest=marker["IsLatest"])
            for uploads in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=head):
                for upload in uploads.get("Uploads", []):
                    yield StoredObject(self._url(upload["Key"]), upload["UploadId"], "upload")
        except (BotoCoreError, ClientError) as error:
            raise AuditlakeError(
                f"bucket {self._bucket} cannot be listed: {error}", "check endpoint, credentials and s3:ListBucketVersions"
            ) from None

    def delete(self, objects: Iterable[StoredObject]) -> list[Failure]:
        """Delete each version and marker for good, and abort each upload."""
        failures: list[Failure] = []
        versions = []
        for entry in objects:
            if entry.kind == "upload":
                failures += self._abort(entry)
            else:
                versions.append(entry)
        for group in _groups(versions, 1000):
            failures += self._delete_versions(group)
        return failures

    def put(self, key: str, content: bytes, until: dt.datetime | None = None) -> bool:
        """Store an object; locked (compliance mode) until then where the bucket has Object Lock."""
        from botocore.exceptions import BotoCoreError, ClientError

        locked = until is not None and self._locks
        lock: Any = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until} if locked else {}
        step("objects.put")
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key.removeprefix(self._url("")), Body=content, ChecksumAlgorithm="SHA256", **lock
            )
        except (BotoCoreError, ClientError) as error:
            raise AuditlakeError(
                f"{key} cannot be stored: {error}", "check s3:PutObject, and s3:PutObjectRetention where it locks"
            ) from None
        return locked

    def read(self, key: str) -> bytes | None:
        """The content of an object's newest version; ``None`` when there is none."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self._client.get_object(Bucket=self._bucket, Key=key.removeprefix(self._url("")))["Body"].read()
        except ClientError as error:
            if _reason(error) in ("NoSuchKey", "404"):
                return None
            raise AuditlakeError(f"{key} cannot be read: {error}", "check s3:GetObject") from None
        except BotoCoreError as error:
            raise AuditlakeError(f"{key} cannot be read: {error}", "check the endpoint") from None

    @cached_property
    def _locks(self) -> bool:
        """Whether the bucket has Object Lock; one that does not tell has none."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            found = self._client.get_object_lock_configuration(Bucket=self._bucket)
        except (BotoCoreError, ClientError):
            return False
        return found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    def _abort(self, entry: StoredObject) -> list[Failure]:
        from botocore.exceptions import BotoCoreError, ClientError

        step("objects.abort_upload")
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._name(entry), UploadId=entry.version)
        except ClientError as error:
            return [] if error.response["Error"]["Code"] == "NoSuchUpload" else [Failure(entry, _reason(error))]
        except BotoCoreError as error:
            return [Failure(entry, str(error))]
        return []

    def _delete_versions(self, group: tuple[StoredObject, ...]) -> list[Failure]:
        from botocore.exceptions import BotoCoreError, ClientError

        by_name = {(self._name(entry), entry.version): entry for entry in group}
        wanted: Any = [{"Key": key, **({"VersionId": version} if version else {})} for key, version in by_name]
        step("objects.delete")
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": wanted, "Quiet": True})
        except ClientError as error:
            return [Failure(entry, _reason(error)) for entry in group]
        except BotoCoreError as error:
            return [Failure(entry, str(error)) for entry in group]
        refused = ((e.get("Key", ""), e.get("VersionId", ""), e.get("Code", "refused")) for e in answer.get("Errors", []))
        return [Failure(by_name.get((key, version), group[0]), code) for key, version, code in refused]

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"

    def _name(self, entry: StoredObject) -> str:
        return entry.key.removeprefix(self._url(""))


def resolve_s3(endpoint: str, region: str, path_style: bool) -> S3Access:
    """Credentials and region from the usual AWS chain (environment, profile, container, instance).

    :raises AuditlakeError: the chain holds none.
    """
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except BotoCoreError as error:
        raise AuditlakeError(f"AWS credentials cannot be had: {error}", "check the AWS profile or role") from None
    if frozen is None or not frozen.access_key or not frozen.secret_key:
        raise AuditlakeError("no AWS credentials were found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role")
    found = region or session.region_name or "us-east-1"
    return S3Access(endpoint, found, path_style, frozen.access_key, frozen.secret_key, frozen.token or "")


def path_to_url(path: Path) -> str:
    """``file:///a/b`` for an absolute path, nothing escaped: the form Iceberg's metadata uses."""
    return f"file://{path}"


def url_to_path(url: str) -> Path:
    """The path of a ``file://`` URL."""
    return Path(url.removeprefix("file://"))


def split_s3(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``."""
    parts = urlparse(url)
    return parts.netloc, unquote(parts.path).strip("/")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _below(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top, onerror=_unless_absent):
        links = (name for name in folders if Path(folder, name).is_symlink())
        yield from (Path(folder, name) for name in (*links, *files))


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _reason(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", error))


def _groups(entries: list[StoredObject], size: int) -> Iterator[tuple[StoredObject, ...]]:
    for start in range(0, len(entries), size):
        yield tuple(entries[start : start + size])
