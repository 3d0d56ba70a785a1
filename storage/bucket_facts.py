"""What a bucket says of itself: encryption, versioning, public access, lifecycle, object lock, open uploads, its clock.

Each is one request that changes nothing. What is not told is an :class:`Unknown` with the reason, never a guess: the credentials may
not ask, or the server has no such API. Amazon's own names of the requests, and of the permission that each needs, are in
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from core.clock import WallClock
from core.errors import AuditlakeError
from storage.objects import Access, given

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["BucketFacts", "Lock", "Rule", "Unknown", "bucket_facts"]

T = TypeVar("T")

_DENIED = ("AccessDenied", "403", "AllAccessDisabled", "UnauthorizedAccess")
_NO_API = ("NotImplemented", "501", "MethodNotAllowed", "405", "UnsupportedOperation", "XNotImplemented")
_ABSENT = (
    "ServerSideEncryptionConfigurationNotFoundError",
    "NoSuchPublicAccessBlockConfiguration",
    "NoSuchLifecycleConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "NoSuchBucketPolicy",
)
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_COLD = ("GLACIER", "DEEP_ARCHIVE")
_SECONDS = 10


@dataclass(frozen=True)
class Unknown:
    """Why something is not known."""

    reason: str


@dataclass(frozen=True)
class Rule:
    """A lifecycle rule that is enabled; days are ``None`` where it says nothing.

    :param prefix: keys it is for; empty for all.
    :param narrowed: whether it is for some of them only, by tag or size.
    :param dated: whether it expires objects on a date.
    :param cold: whether it moves objects to a class from which they cannot be read at once.
    """

    name: str
    prefix: str = ""
    narrowed: bool = False
    expires: int | None = None
    dated: bool = False
    noncurrent: int | None = None
    uploads: int | None = None
    cold: bool = False


@dataclass(frozen=True)
class Lock:
    """The retention that every new object gets: its mode, and for how many days."""

    mode: str
    days: int


@dataclass(frozen=True)
class BucketFacts:
    """What is known of a bucket.

    :param encryption: the algorithm by default, empty for none.
    :param versioning: ``Enabled``, ``Suspended`` or empty.
    :param open_blocks: the public access blocks that are off.
    :param public: whether its policy makes it public.
    :param lock: the default retention, ``None`` for none.
    :param uploads: open ones below the archive's prefix.
    :param listed: whether versions below the prefix can be listed.
    :param others: other buckets that the credentials can see.
    :param skew: seconds by which the server's clock is before this machine's.
    """

    bucket: str
    prefix: str
    encryption: str | Unknown
    versioning: str | Unknown
    open_blocks: tuple[str, ...] | Unknown
    public: bool | Unknown
    rules: tuple[Rule, ...] | Unknown
    lock: Lock | Unknown | None
    uploads: int | Unknown
    listed: bool | Unknown
    others: int | Unknown
    skew: float | Unknown


def bucket_facts(bucket: str, prefix: str, access: Access) -> BucketFacts:
    """Ask the bucket.

    :raises AuditlakeError: it cannot be reached, or there are no credentials.
    """
    client = _client(access)
    skew = _skew(client, bucket)  # the first request, so that a server that does not answer is met once
    return BucketFacts(
        bucket,
        prefix,
        encryption=_asked("s3:GetEncryptionConfiguration", lambda: _encryption(client, bucket), ""),
        versioning=_asked("s3:GetBucketVersioning", lambda: str(client.get_bucket_versioning(Bucket=bucket).get("Status", ""))),
        open_blocks=_asked("s3:GetBucketPublicAccessBlock", lambda: _open_blocks(client, bucket), _BLOCKS),
        public=_asked("s3:GetBucketPolicyStatus", lambda: _public(client, bucket), False),
        rules=_asked("s3:GetLifecycleConfiguration", lambda: _rules(client, bucket), ()),
        lock=_asked("s3:GetBucketObjectLockConfiguration", lambda: _lock(client, bucket), None),
        uploads=_asked("s3:ListBucketMultipartUploads", lambda: _uploads(client, bucket, prefix)),
        listed=_asked("s3:ListBucketVersions", lambda: bool(client.list_object_versions(Bucket=bucket, Prefix=prefix, MaxKeys=1))),
        others=_asked("s3:ListAllMyBuckets", lambda: sum(each.get("Name") != bucket for each in client.list_buckets()["Buckets"])),
        skew=skew,
    )


def _client(access: Access) -> S3Client:
    import boto3
    from botocore.config import Config

    found = given(access)
    return boto3.client(
        "s3",
        endpoint_url=found.endpoint or None,
        region_name=found.region,
        aws_access_key_id=found.access_key,
        aws_secret_access_key=found.secret_key,
        aws_session_token=found.session_token or None,
        config=Config(
            retries={"mode": "standard", "max_attempts": 2},
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            s3={"addressing_style": "path" if found.path_style else "auto"},
        ),
    )


def _asked(permission: str, ask: Callable[[], T], absent: T | None = None) -> T | Unknown:
    """The answer, what its absence means, or why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _ABSENT:
            return absent  # type: ignore[return-value]  # None is among the answers where it is given
        if code in _DENIED:
            return Unknown(f"the credentials lack {permission}")
        return Unknown("the server has no such API" if code in _NO_API else f"the server answers {code or 'with an error'}")
    except BotoCoreError as error:
        return Unknown(f"no answer: {type(error).__name__}")


def _skew(client: S3Client, bucket: str) -> float | Unknown:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer: Any = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404:
            raise AuditlakeError(f"there is no bucket {bucket}", "check [archive] url, endpoint and region") from None
    except BotoCoreError as error:
        raise AuditlakeError(f"bucket {bucket} cannot be reached: {error}", "check [archive] endpoint and the network") from None
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return (parsedate_to_datetime(told) - WallClock().now()).total_seconds()
    except (ValueError, TypeError):
        return Unknown("the server does not tell its time")


def _encryption(client: S3Client, bucket: str) -> str:
    rules = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return next((str(rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "")) for rule in rules), "")


def _open_blocks(client: S3Client, bucket: str) -> tuple[str, ...]:
    found: Any = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    return tuple(name for name in _BLOCKS if not found.get(name))


def _public(client: S3Client, bucket: str) -> bool:
    return bool(client.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"].get("IsPublic"))


def _rules(client: S3Client, bucket: str) -> tuple[Rule, ...]:
    found = client.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules", [])
    return tuple(_rule(rule) for rule in found if rule.get("Status") == "Enabled")


def _rule(rule: Any) -> Rule:
    filters = rule.get("Filter", {})
    both = filters.get("And", {})
    moves = [*rule.get("Transitions", []), *rule.get("NoncurrentVersionTransitions", [])]
    expiration = rule.get("Expiration", {})
    return Rule(
        name=rule.get("ID", ""),
        prefix=rule.get("Prefix") or filters.get("Prefix") or both.get("Prefix") or "",
        narrowed=bool(both or any(name not in ("Prefix", "And") for name in filters)),
        expires=expiration.get("Days"),
        dated="Date" in expiration,
        noncurrent=rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        uploads=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
        cold=any(move.get("StorageClass") in _COLD for move in moves),
    )


def _lock(client: S3Client, bucket: str) -> Lock | None:
    found: Any = client.get_object_lock_configuration(Bucket=bucket).get("ObjectLockConfiguration", {})
    retention = found.get("Rule", {}).get("DefaultRetention", {})
    days = retention.get("Days", 0) + 366 * retention.get("Years", 0)
    return Lock(retention.get("Mode", ""), days) if days else None


def _uploads(client: S3Client, bucket: str, prefix: str) -> int:
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix)
    return sum(len(page.get("Uploads", [])) for page in pages)
