"""Evidence on a real S3 server with a versioned bucket: checkpoints beside the tables, and certificates that name versions."""

from pathlib import Path

import pytest

from tests.commandline import CommandLine, combined, invoke
from tests.s3server import Bucket


def test_a_destruction_is_certified_with_the_versions_that_it_removed(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": f"s3://{s3.name}/lake", "ENDPOINT": s3.endpoint, "REGION": s3.region, "PATH_STYLE": "true"}.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)
    lake = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    lake("ingest", "-", "--format", "combined", stdin=combined({"17/May/2015": 5, "18/May/2015": 7}))
    lake.advance("40d")
    lake("run", "roll")
    data = {(key, version) for kind, key, version in s3.listing("lake/requests/data/") if kind == "version"}
    lake.advance("340d")
    lake("run", "purge")
    checkpoint = lake("run", "checkpoint")["figures"]["events"]
    assert [key for _, key, _ in s3.listing()] == [f"lake/_evidence/checkpoints/{checkpoint:012d}.txt"]
    removed = [
        (thing["name"].removeprefix(f"s3://{s3.name}/"), thing["version"])
        for each in lake("certificate", "list")["certificates"]
        for thing in lake("certificate", "show", str(each["certificate"]))["detail"]["removed"]
    ]
    assert data
    assert data <= set(removed), "every version of the days' files is named"
    pack = tmp_path / "pack.zip"
    lake("pack", "export", "-o", pack)
    assert invoke("verify", pack, "--json").expect(0).json["ok"]
    lake("run", "upkeep")
    assert lake("verify")["ok"]
    s3.client().delete_object(Bucket=s3.name, Key=f"lake/_evidence/checkpoints/{checkpoint:012d}.txt")
    assert f"checkpoint {checkpoint:012d}.txt in the archive: it is missing" in lake.try_("verify").expect(1).json["faults"]
