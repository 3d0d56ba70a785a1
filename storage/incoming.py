"""Objects that others put into a bucket, to be read once: found by listing or by notification, and remembered when they are done.

An object is remembered by a digest of bucket, key, ETag and size, so the control database holds no key, which may name an address;
one that was written anew is another. It is forgotten a week after it was last listed.

boto3 takes a tenth of a second to import, so it is imported where a bucket is spoken to.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlparse

import sqlalchemy as sa

from core.errors import AuditlakeError
from storage import control as db
from storage.objects import Access, S3Access, given, resolve_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Bucket", "Incoming", "Message", "Queue", "done", "forget", "known", "named_keys", "reached", "saw"]

_ATTEMPTS = 3
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_PAGE = 1000
_BLOCK = 1 << 20
_VISIBLE_SECONDS = 900
_WAIT_SECONDS = 5
_KEPT = dt.timedelta(days=7)
_GONE = ("404", "NoSuchKey", "NotFound")


@dataclass(frozen=True)
class Incoming:
    """An object.

    :param size: bytes.
    :param modified: when it was put there.
    """

    bucket: str
    key: str
    etag: str
    size: int
    modified: dt.datetime

    @property
    def digest(self) -> str:
        """What it is remembered by."""
        return hashlib.sha256(json.dumps([self.bucket, self.key, self.etag, self.size]).encode()).hexdigest()

    @property
    def url(self) -> str:
        """How messages call it."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Message:
    """A notification.

    :param keys: of the objects that it names.
    :param handle: what it is deleted by.
    """

    keys: tuple[str, ...]
    handle: str


def reached(endpoint: str, region: str, path_style: bool) -> Callable[[], S3Access]:
    """How a bucket is reached, found out when it is first needed. Parameters as of ``storage.objects.resolve_s3``."""
    return functools.cache(lambda: resolve_s3(endpoint, region, path_style))


class Bucket:
    """The objects below a prefix of a bucket.

    :param most: bytes of an object; a larger one is refused.
    """

    def __init__(self, name: str, prefix: str, access: Access, most: int) -> None:
        self.name, self.prefix = name, prefix
        self._access, self._most = access, most

    @cached_property
    def _client(self) -> S3Client:
        access = given(self._access)
        style: Any = {"addressing_style": "path" if access.path_style else "auto"}
        client: S3Client = _client("s3", access, access.endpoint, s3=style, response_checksum_validation="when_required")
        return client

    def pages(self, after: str = "") -> Iterator[list[Incoming]]:
        """The objects whose keys come after that one, ascending, a thousand at a time; those that are folders left out.

        :raises AuditlakeError: it cannot be listed.
        """
        asked: Any = {"Bucket": self.name, "Prefix": self.prefix, "PaginationConfig": {"PageSize": _PAGE}}
        asked |= {"StartAfter": after} if after else {}
        with _said(f"bucket {self.name} cannot be listed", "check url, endpoint, credentials and s3:ListBucket"):
            for page in self._client.get_paginator("list_objects_v2").paginate(**asked):
                found = [one for one in page.get("Contents", []) if one["Size"] or not one["Key"].endswith("/")]
                yield [Incoming(self.name, one["Key"], one["ETag"], one["Size"], one["LastModified"]) for one in found]

    def look(self, key: str) -> Incoming | None:
        """The object of that key as it is now; ``None`` when there is none.

        :raises AuditlakeError: it cannot be asked for.
        """
        from botocore.exceptions import ClientError

        with _said(f"object s3://{self.name}/{key} cannot be looked at", "check credentials and s3:GetObject"):
            try:
                head = self._client.head_object(Bucket=self.name, Key=key)
            except ClientError as error:
                if error.response["Error"].get("Code") in _GONE:
                    return None
                raise
        return Incoming(self.name, key, head["ETag"], head["ContentLength"], head["LastModified"])

    def fetch(self, found: Incoming, file: IO[bytes], stopped: Callable[[], bool] = lambda: False) -> bool:
        """Write its bytes; whether it is there still, and was not stopped on the way.

        :raises AuditlakeError: it is too large, has changed, or cannot be read whole.
        """
        from botocore.exceptions import ClientError

        if found.size > self._most:
            raise AuditlakeError(f"object {found.url} has {found.size} bytes", "raise max_object of the source to read it")
        got = 0
        with _said(f"object {found.url} cannot be read", "check credentials and s3:GetObject"):
            try:
                body = self._client.get_object(Bucket=self.name, Key=found.key, IfMatch=found.etag)["Body"]
            except ClientError as error:
                if error.response["Error"].get("Code") in _GONE:
                    return False
                raise
            for block in body.iter_chunks(_BLOCK):
                got += len(block)
                if got > found.size or stopped():
                    body.close()
                    break
                file.write(block)
        if got != found.size and not stopped():
            raise AuditlakeError(f"object {found.url} gave {got} bytes of {found.size}", "it is tried again")
        return got == found.size


class Queue:
    """An SQS queue to which the bucket sends its notifications, and nobody else anything.

    :param url: of the queue; its host is asked.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._url, self._access = url, access

    @cached_property
    def _client(self) -> Any:
        parts = urlparse(self._url)
        return _client("sqs", given(self._access), f"{parts.scheme}://{parts.netloc}")

    def receive(self, bucket: str, prefix: str) -> list[Message]:
        """The next messages, at most ten; waits some seconds for the first. They are given to nobody else for a while.

        :raises AuditlakeError: the queue cannot be read.
        """
        with _said(f"queue {self._url} cannot be read", "check queue, region, credentials and sqs:ReceiveMessage"):
            answer = self._client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=_WAIT_SECONDS, VisibilityTimeout=_VISIBLE_SECONDS
            )
        return [Message(named_keys(one["Body"], bucket, prefix), one["ReceiptHandle"]) for one in answer.get("Messages", [])]

    def delete(self, message: Message) -> None:
        """It is dealt with.

        :raises AuditlakeError: it cannot be deleted, and will come again.
        """
        with _said(f"a message of queue {self._url} cannot be deleted", "check credentials and sqs:DeleteMessage"):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message.handle)


def named_keys(body: str, bucket: str, prefix: str) -> tuple[str, ...]:
    """Keys below the prefix that a message says were created. Total: what is no notification names none.

    Known are S3's own event messages
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html), the same within an SNS notification
    (https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html), and EventBridge's ``Object Created``
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html), whose keys are not URL-encoded.
    """
    message = _json(body)
    if isinstance(inner := message.get("Message"), str):
        message = _json(inner)
    named = [(record.get("s3"), True) for record in _list(message.get("Records")) if _is_creation(record.get("eventName"))]
    if message.get("detail-type") == "Object Created":
        named.append((message.get("detail"), False))
    keys = (_key(what, encoded, bucket) for what, encoded in named)
    return tuple(dict.fromkeys(key for key in keys if key and key.startswith(prefix)))


def _is_creation(name: object) -> bool:
    return isinstance(name, str) and name.removeprefix("s3:").startswith("ObjectCreated:")


def _key(what: object, encoded: bool, bucket: str) -> str:
    place, thing = (what.get("bucket"), what.get("object")) if isinstance(what, dict) else (None, None)
    if not isinstance(place, dict) or not isinstance(thing, dict) or place.get("name") != bucket:
        return ""
    key = thing.get("key")
    return "" if not isinstance(key, str) else unquote_plus(key) if encoded else key


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def known(connection: sa.Connection, source: str, digests: Sequence[str]) -> dict[str, dt.date]:
    """Which of these objects are done, and when each was last listed."""
    query = sa.select(db.incoming.c.object, db.incoming.c.seen)
    rows = connection.execute(query.where(db.incoming.c.source == source, db.incoming.c.object.in_(digests)))
    return {row.object: row.seen for row in rows}


def done(connection: sa.Connection, source: str, digest: str, day: dt.date) -> None:
    """All lines of an object are stored."""
    same = sa.and_(db.incoming.c.source == source, db.incoming.c.object == digest)
    connection.execute(db.incoming.delete().where(same))
    connection.execute(db.incoming.insert().values(source=source, object=digest, seen=day))


def saw(connection: sa.Connection, source: str, digests: Sequence[str], day: dt.date) -> None:
    """These were listed."""
    same = sa.and_(db.incoming.c.source == source, db.incoming.c.object.in_(digests))
    connection.execute(db.incoming.update().where(same).values(seen=day))


def forget(connection: sa.Connection, source: str, day: dt.date) -> int:
    """Forget what a whole listing of that day and those of the week before it did not hold; how many."""
    old = sa.and_(db.incoming.c.source == source, db.incoming.c.seen < day - _KEPT)
    return connection.execute(db.incoming.delete().where(old)).rowcount


def _client(service: str, access: S3Access, endpoint: str, **more: Any) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        request_checksum_calculation="when_required",
        **more,
    )
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=endpoint or None,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        aws_session_token=access.session_token or None,
        config=config,
    )


@contextmanager
def _said(problem: str, hint: str) -> Iterator[None]:
    """What the service, or the way to it, brings about within."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (BotoCoreError, ClientError, HTTPError) as error:
        raise AuditlakeError(f"{problem}: {error}", hint) from None
