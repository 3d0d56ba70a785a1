"""A local folder and a bucket of a real S3 server, behind one face: where the contract suites run."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from storage.objects import LocalObjects, ObjectStore, S3Access, S3Objects, path_to_url, resolve_s3
from tests.s3server import Bucket, Server

__all__ = ["LocalPlace", "Place", "S3Place", "open_place", "open_s3"]


class Place(Protocol):
    """Somewhere objects are kept, and a way to it that is not the code under test."""

    location: str
    objects: ObjectStore
    access: S3Access | None

    def put(self, url: str, content: bytes) -> None:
        """Store an object, or a new version of it."""
        ...

    def get(self, url: str) -> bytes:
        """Read an object as any reader would."""
        ...

    def left(self) -> list[str]:
        """The name of everything that is there, in any form."""
        ...


@dataclass
class LocalPlace:
    """A folder."""

    root: Path

    def __post_init__(self) -> None:
        self.location = path_to_url(self.root)
        self.objects: ObjectStore = LocalObjects(self.root)
        self.access: S3Access | None = None

    def put(self, url: str, content: bytes) -> None:
        path = Path(url.removeprefix("file://"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, url: str) -> bytes:
        return Path(url.removeprefix("file://")).read_bytes()

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@dataclass
class S3Place:
    """A prefix of a versioned bucket: its own, since the server has room for a few dozen buckets only."""

    bucket: Bucket

    def __post_init__(self) -> None:
        self.base = f"lake-{uuid.uuid4().hex}/"
        self.location = f"s3://{self.bucket.name}/{self.base}archive"
        self.access: S3Access | None = resolve_s3(self.bucket.endpoint, self.bucket.region, path_style=True)
        assert self.access is not None
        self.objects: ObjectStore = S3Objects(self.bucket.name, self.access)
        self.client = self.bucket.client()

    def key(self, url: str) -> str:
        """The key that a URL names."""
        return url.removeprefix(f"s3://{self.bucket.name}/")

    def put(self, url: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket.name, Key=self.key(url), Body=content)

    def get(self, url: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket.name, Key=self.key(url))["Body"].read()

    def hide(self, url: str) -> None:
        """Delete as an ordinary client does: with a delete marker."""
        self.client.delete_object(Bucket=self.bucket.name, Key=self.key(url))

    def begin_upload(self, url: str) -> str:
        """Upload one part and never finish; returns the upload's id."""
        upload = self.client.create_multipart_upload(Bucket=self.bucket.name, Key=self.key(url))["UploadId"]
        self.client.upload_part(Bucket=self.bucket.name, Key=self.key(url), UploadId=upload, PartNumber=1, Body=b"part" * 100)
        return upload

    def left(self) -> list[str]:
        return [f"{kind} {key.removeprefix(self.base)}" for kind, key, _ in self.bucket.listing(self.base)]


_buckets: dict[str, Bucket] = {}


def open_s3(request: pytest.FixtureRequest) -> S3Place:
    """A place of its own on the real server; the environment holds the writer's credentials."""
    server: Server = request.getfixturevalue("s3_server")
    bucket = _buckets.setdefault(server.endpoint, _buckets.get(server.endpoint) or server.new_bucket())
    environment: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    for name, value in bucket.environment.items():
        environment.setenv(name, value)
    return S3Place(bucket)


def open_place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The place of that kind: ``local`` or ``s3``."""
    if kind == "s3":
        return open_s3(request)
    (tmp_path / "archive").mkdir()
    return LocalPlace(tmp_path / "archive")
