"""An erasure on a real, versioned S3 server: no version of any object has the subject, and only its files were written anew."""

from pathlib import Path

import pytest

from tests.commandline import CommandLine, combined
from tests.integration.test_nothing_left import objects_in, unpacked
from tests.s3server import Bucket

SUBJECT = "planteduserzq"


@pytest.fixture
def lake(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Three archived days; the subject is on two of them."""
    for name, value in {"URL": f"s3://{s3.name}/lake", "ENDPOINT": s3.endpoint, "REGION": s3.region, "PATH_STYLE": "true"}.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    log = tmp_path / "access.log"
    log.write_bytes(
        combined({"17/May/2015": 50, "18/May/2015": 50, "19/May/2015": 50}, user="bob")
        + combined({"17/May/2015": 5, "19/May/2015": 7}, user=SUBJECT)
    )
    lake("ingest", log, "--format", "combined")
    lake.advance("32d")
    lake("run", "roll")
    return lake


def holding(s3: Bucket) -> set[str]:
    """Keys of which a version holds the subject."""
    return {name for name, data in objects_in(s3) if any(SUBJECT.encode() in each for each in unpacked(data))}


def versions(s3: Bucket) -> set[tuple[str, str, str]]:
    return {(kind, key, version) for kind, key, version in s3.listing("lake/requests/data/")}


def test_no_version_is_left(s3: Bucket, lake: CommandLine) -> None:
    before = versions(s3)
    assert len(holding(s3)) == 2, "this look can fail"
    done = lake("subject", "erase", "--user-name", SUBJECT, "--yes")
    assert (done["state"], done["rows"]["archived"], done["rescan"]["found"]) == ("done", 12, 0)
    assert done["rewritten"]["files"] == 2
    assert holding(s3) == set()
    after = versions(s3)
    assert {kind for kind, _, _ in after} == {"version"}, "no marker and no upload"
    assert len(after) == 3
    (kept,) = before & after
    assert "2015-05-18" in kept[1], "the day without the subject was left as it is"
    assert lake.days() == {"2015-05-17": 50, "2015-05-18": 50, "2015-05-19": 50}
    report = lake("verify", "--full")
    assert (report["ok"], report["residue"]) == (True, [])
