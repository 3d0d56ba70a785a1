"""``auditlake doctor`` on a machine of its own: what it looks at, its table, its exit codes."""

from pathlib import Path

import pytest

from auditlake.lake import serving
from tests.commandline import CommandLine, combined, invoke


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data").begin("2026-11-24T00:00:00Z")


def checks(lake: CommandLine, code: int) -> dict[str, dict[str, object]]:
    return {check["name"]: check for check in lake.try_("doctor").expect(code).json["checks"]}


def away(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the master key be elsewhere, and the databases off: then a new directory has nothing that is not well."""
    key = tmp_path / "elsewhere" / "master.key"
    key.parent.mkdir(mode=0o700)
    (lake.data_dir / "keys" / "master.key").rename(key)
    monkeypatch.setenv("AUDITLAKE_KEYS__MASTER_KEY_FILE", str(key))
    for name in ("CITY", "ASN"):
        monkeypatch.setenv(f"AUDITLAKE_GEO__{name}", "off")


def test_a_new_directory_is_well_but_for_key_and_old_database(lake: CommandLine) -> None:
    found = checks(lake, 1)
    assert {name for name, check in found.items() if check["ok"] is False} == {"master_key", "geoip_city"}
    assert {name for name, check in found.items() if check["ok"] is None} == {"encryption", "clock", "backup", "server"}
    assert all(set(check) == {"name", "ok", "detail", "remedy"} for check in found.values())


def test_its_exit_code_is_0_when_nothing_is_wrong(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away(lake, tmp_path, monkeypatch)
    assert lake("doctor")["ok"] is True
    with serving(lake.data_dir):
        assert checks(lake, 0)["server"]["ok"] is True


def test_folders_that_others_may_read_are_found(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away(lake, tmp_path, monkeypatch)
    lake.data_dir.chmod(0o755)
    found = checks(lake, 1)["permissions"]
    assert (found["ok"], found["remedy"]) == (False, f"chmod go-rwx {lake.data_dir}")


def test_days_and_rejected_lines_beyond_their_limit_are_found(lake: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away(lake, tmp_path, monkeypatch)
    lake("ingest", "-", "--format", "combined", stdin=combined({"23/Nov/2026": 2}) + b"torn\n")
    lake.advance("2y")
    found = checks(lake, 1)
    assert {name for name, check in found.items() if check["ok"] is False} >= {"limits", "nights", "quarantine"}
    lake("hold", "add", "--from", "2026-11-01", "--to", "2026-11-30", "--reason", "case", "--owner", "legal", "--expires", "never")
    found = checks(lake, 1)
    assert (found["limits"]["ok"], found["quarantine"]["ok"]) == (True, True), "what a hold keeps is not late"


def test_people_see_a_table(lake: CommandLine) -> None:
    answer = invoke("--data-dir", lake.data_dir, "doctor").expect(1)
    assert b"NOT WELL" in answer.out
    assert b"not known" in answer.out
    assert "2 checks are not well: master_key, geoip_city" in answer.said
