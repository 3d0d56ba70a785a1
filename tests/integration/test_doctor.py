"""``auditlake doctor`` on a real bucket: each fault that the server can be given is found, with both kinds of credentials."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.commandline import Answer, invoke
from tests.s3server import ADMIN, READER, Bucket

ENCRYPTED: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


class Place:
    """A data directory with its archive in the bucket."""

    def __init__(self, folder: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
        self.bucket, self._patch, self._data = bucket, monkeypatch, folder / "data"
        self.name = name or bucket.name
        self._config = folder / "config.toml"
        self._config.write_text(f'[archive]\nurl = "s3://{self.name}/lake"\nendpoint = "{bucket.endpoint}"\npath_style = true\n')
        self.command("init").expect(0)

    def command(self, *arguments: str) -> Answer:
        return invoke("--data-dir", self._data, "--config", self._config, "--json", *arguments)

    def doctor(self) -> dict[str, dict[str, Any]]:
        answer = self.command("doctor")
        found = {check["name"]: check for check in answer.json["checks"]}
        assert answer.code == int(any(check["ok"] is False for check in found.values()))
        assert answer.json["ok"] is (answer.code == 0)
        return found

    def as_(self, who: Any) -> None:
        self._patch.setenv("AWS_ACCESS_KEY_ID", who.access_key)
        self._patch.setenv("AWS_SECRET_ACCESS_KEY", who.secret_key)

    def rules(self, *rules: dict[str, Any]) -> None:
        named: Any = [{"ID": f"r{number}", "Status": "Enabled", **rule} for number, rule in enumerate(rules)]
        self.bucket.client(ADMIN).put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration={"Rules": named})


@pytest.fixture
def place(tmp_path: Path, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, s3, monkeypatch)


def oks(found: dict[str, dict[str, Any]], *names: str) -> list[bool | None]:
    return [found[name]["ok"] for name in names]


def test_what_the_credentials_may_not_ask_is_not_known(place: Place) -> None:
    found = place.doctor()
    assert oks(found, "encryption", "public_access_block", "object_lock") == [None, None, None]
    assert found["encryption"]["detail"] == "not known: the credentials lack s3:GetEncryptionConfiguration"
    assert oks(found, "bucket", "versioning", "credentials_needed", "clock", "incomplete_uploads") == [True] * 5
    assert found["lifecycle_uploads"]["ok"] is False


def test_what_the_server_cannot_tell_is_not_known(place: Place) -> None:
    place.as_(ADMIN)
    assert place.doctor()["public_access_block"]["detail"] == "not known: the server has no such API"


def test_faults_of_a_bucket_are_found_and_their_remedies_mend_them(place: Place) -> None:
    place.as_(ADMIN)
    admin = place.bucket.client(ADMIN)
    admin.put_bucket_versioning(Bucket=place.name, VersioningConfiguration={"Status": "Suspended"})
    place.rules({"Filter": {"Prefix": "lake/"}, "Expiration": {"Days": 30}, "NoncurrentVersionExpiration": {"NoncurrentDays": 900}})
    admin.create_multipart_upload(Bucket=place.name, Key="lake/requests/left")
    found = place.doctor()
    wrong = ("encryption", "versioning", "lifecycle_expiry", "lifecycle_versions", "lifecycle_uploads", "incomplete_uploads")
    assert oks(found, *wrong) == [False] * 6
    assert all(found[name]["remedy"] for name in wrong)
    assert "expires objects after 30 days, they are needed for up to 338" in found["lifecycle_expiry"]["detail"]

    admin.put_bucket_encryption(Bucket=place.name, ServerSideEncryptionConfiguration=ENCRYPTED)
    admin.put_bucket_versioning(Bucket=place.name, VersioningConfiguration={"Status": "Enabled"})
    place.rules({"Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}})
    for _, key, upload in place.bucket.listing("lake/requests/left"):
        admin.abort_multipart_upload(Bucket=place.name, Key=key, UploadId=upload)
    assert oks(place.doctor(), *wrong) == [True] * 6


def test_a_default_retention_is_found(tmp_path: Path, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    name, admin = f"lock-{uuid.uuid4().hex}", s3.client(ADMIN)
    admin.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    place = Place(tmp_path, s3, monkeypatch, name)
    place.as_(ADMIN)
    assert place.doctor()["object_lock"]["ok"] is True
    retention: Any = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 900}}}
    admin.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=retention)
    found = place.doctor()["object_lock"]
    assert found["ok"] is False
    assert "locked for 900 days (GOVERNANCE)" in found["detail"]


def test_a_bucket_that_is_not_there_or_not_reached_fails_and_tells_the_rest(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLAKE_ARCHIVE__URL", "s3://no-such-bucket-here/lake")
    found = place.doctor()
    assert (found["bucket"]["ok"], found["bucket"]["detail"]) == (False, "there is no bucket no-such-bucket-here")
    assert found["disk"]["ok"] is True
    monkeypatch.setenv("AUDITLAKE_ARCHIVE__ENDPOINT", "http://127.0.0.1:1")
    assert "cannot be reached" in place.doctor()["bucket"]["detail"]


def test_credentials_that_see_other_buckets_see_more_than_they_need(place: Place) -> None:
    place.bucket.server.new_bucket()
    place.as_(READER)
    found = place.doctor()["credentials_excess"]
    assert found["ok"] is False
    assert "other buckets can be seen" in found["detail"]
