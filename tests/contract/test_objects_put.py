"""What is put is there, whole, and locked where the store can lock; what is not there reads as nothing."""

import datetime as dt
import uuid
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from core.clock import UTC
from core.errors import AuditlakeError
from core.steps import observe
from storage.objects import LocalObjects, S3Access, S3Objects
from tests.contract.places import LocalPlace, Place, open_place
from tests.s3server import ADMIN, WRITER, Bucket, Identity, Server

TOMORROW = dt.datetime.now(UTC) + dt.timedelta(days=1)  # noqa: TID251 - the server compares with the real time


def access(bucket: Bucket, who: Identity) -> S3Access:
    return S3Access(bucket.endpoint, bucket.region, True, who.access_key, who.secret_key, "")


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return open_place(request.param, request, tmp_path)


def test_what_is_put_can_be_read(place: Place) -> None:
    key = f"{place.location}/_evidence/checkpoints/1.txt"
    assert place.objects.read(key) is None
    assert place.objects.put(key, b"first", TOMORROW) is False, "neither of these places locks"
    assert place.objects.read(key) == place.get(key) == b"first"
    assert place.objects.put(key, b"second") is False
    assert place.objects.read(key) == b"second"
    assert [entry.key for entry in place.objects.entries(f"{place.location}/_evidence/") if entry.latest] == [key]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path)
    key = f"{place.location}/a/b.txt"

    def die(_: str) -> None:
        raise KeyboardInterrupt

    observe(die)
    try:
        with pytest.raises(KeyboardInterrupt):
            place.objects.put(key, b"content")
    finally:
        observe(None)
    assert place.left() == []


def test_a_folder_holds_nothing_outside_itself(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "archive")
    (tmp_path / "secret").write_text("secret")
    assert objects.read(f"file://{tmp_path}/secret") is None
    assert objects.read(f"file://{tmp_path}/archive/../secret") is None
    with pytest.raises(AuditlakeError, match="lies outside"):
        objects.put(f"file://{tmp_path}/archive/../other", b"")
    (tmp_path / "archive").write_text("no folder")
    with pytest.raises(AuditlakeError, match="cannot be written"):
        objects.put(f"file://{tmp_path}/archive/x", b"")


def test_a_bucket_with_object_lock_keeps_what_is_put(s3_server: Server) -> None:
    bucket = Bucket(s3_server, f"test-{uuid.uuid4().hex}")
    bucket.client(ADMIN).create_bucket(Bucket=bucket.name, ObjectLockEnabledForBucket=True)
    objects = S3Objects(bucket.name, access(bucket, ADMIN))  # this server lets nobody else lock
    key = f"s3://{bucket.name}/archive/_evidence/checkpoints/1.txt"
    assert objects.put(key, b"content", TOMORROW) is True
    assert objects.put(f"{key}.free", b"content") is False
    head = bucket.client().head_object(Bucket=bucket.name, Key="archive/_evidence/checkpoints/1.txt")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"].date()) == ("COMPLIANCE", TOMORROW.date())
    with pytest.raises(ClientError):
        bucket.client(ADMIN).delete_object(Bucket=bucket.name, Key="archive/_evidence/checkpoints/1.txt", VersionId=head["VersionId"])
    assert objects.read(key) == b"content"
    free = S3Objects(bucket.name, access(bucket, WRITER))
    assert free.put(f"{key}.other", b"content", TOMORROW) is False, "who may not ask has no lock, and stores all the same"


def test_a_bucket_that_is_not_there_is_named(s3: Bucket) -> None:
    objects = S3Objects("test-absent", access(s3, WRITER))
    for failing in (lambda: objects.put("s3://test-absent/x", b""), lambda: objects.read("s3://test-absent/x")):
        with pytest.raises(AuditlakeError, match="s3://test-absent/x cannot be"):
            failing()
