"""An erasure, a restriction and an objection with the control database on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine, combined
from tests.integration.test_postgres import contents
from tests.pgserver import Server, running

SUBJECT = "planteduserzq"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def test_the_rights_of_a_subject(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = server.new_database()
    monkeypatch.setenv("AUDITLAKE_CONTROL__URL", url)
    lake = CommandLine(tmp_path / "data").begin("2015-05-20T00:00:00Z")
    log = tmp_path / "access.log"
    log.write_bytes(combined({"17/May/2015": 5}, user=SUBJECT) + combined({"17/May/2015": 3}, user="bob"))
    lake("ingest", log, "--format", "combined")
    lake.advance("32d")
    lake("run", "roll")
    log.write_bytes(combined({"20/Jun/2015": 4}, user=SUBJECT) + combined({"20/Jun/2015": 2}, user="bob") + f"of {SUBJECT}\n".encode())
    lake("ingest", log, "--format", "combined")
    selector = ("--user-name", SUBJECT)
    lake("subject", "restrict", *selector, "--yes")
    assert lake.days() == {"2015-05-17": 3, "2015-06-20": 2}
    lake("subject", "object", *selector, "--yes")
    done = lake("subject", "erase", *selector, "--yes")
    assert (done["state"], done["rows"]) == ("done", {"hot": 4, "archived": 5, "quarantined": 1, "other": 0})
    assert done["rescan"]["found"] == 0
    assert lake("verify", "--full")["ok"]
    assert SUBJECT not in contents(url)
