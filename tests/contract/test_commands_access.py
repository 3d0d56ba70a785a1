"""``auditlake user``, and the query log of the local command line."""

import dataclasses
import os
import re
from pathlib import Path

import pytest

from auditlake.analyst import build_view, masked_for
from auditlake.lake import exclusive, open_lake
from auditlake.settings import Settings
from core.roles import role
from query.gate import Statement, examine
from query.run import run
from storage.people import People
from tests.commandline import CommandLine, combined, invoke

LOG = "SELECT user_name, role, outcome, rows, statement, purpose, reason, sound FROM query_log ORDER BY seq"


@pytest.fixture
def lake(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "data").begin("2015-05-20T00:00:00Z")


def test_a_user_is_added_listed_rotated_and_revoked(lake: CommandLine) -> None:
    added = lake("user", "add", "ann", "--role", "analyst", "--expires", "90d")
    assert {**added, "token": ""} == {"name": "ann", "role": "analyst", "token": "", "expires": "2015-08-18T00:00:00Z"}
    assert re.fullmatch(r"al_[A-Za-z0-9_-]{43}", added["token"])
    assert set(lake("user", "add", "feed", "--role", "ingest", "--expires", "never")) == {"name", "role", "token"}
    rotated = lake("user", "rotate", "ann", "--grace", "2d")
    assert rotated["token"] != added["token"]
    with open_lake(lake.data_dir, Settings()) as opened:
        people = People(opened.context.control, opened.context.ledger, opened.context.clock)
        found = [people.verify(each["token"]) for each in (added, rotated)]
    assert [user and (user.id, user.name, user.role.name) for user in found] == [(1, "ann", "analyst")] * 2
    assert lake("user", "revoke", "ann") == {"name": "ann", "role": "analyst", "revoked": True}
    listed = [(each["name"], each["role"], each["tokens"]) for each in lake("user", "list")["users"]]
    assert listed == [("ann", "analyst", 0), ("feed", "ingest", 1)]
    assert not any(each["token"] in str(lake.events()) for each in (added, rotated))
    assert "ann" not in str(lake.events())


def test_what_is_wrong_with_a_user_is_said(lake: CommandLine) -> None:
    lake("user", "add", "ann", "--role", "analyst")
    assert lake.try_("user", "add", "ann", "--role", "admin").expect(2).json["error"] == "user 'ann' exists"
    assert lake.try_("user", "revoke", "bob").expect(2).json["hint"] == "run: auditlake user list"
    lake.try_("user", "add", "bob", "--role", "owner").expect(2)
    lake.try_("user", "add", "bob", "--role", "analyst", "--expires", "0d").expect(2)


def test_people_see_the_token_once_and_a_table(lake: CommandLine) -> None:
    shown = invoke("--data-dir", lake.data_dir, "user", "add", "ann", "--role", "auditor").expect(0)
    assert b"al_" in shown.out
    assert "shown once" in shown.err
    listed = invoke("--data-dir", lake.data_dir, "user", "list").expect(0)
    assert b"ann" in listed.out
    assert b"al_" not in listed.out


def test_the_owners_queries_are_logged_also_while_another_holds_the_directory(lake: CommandLine) -> None:
    with exclusive(lake.data_dir):
        assert lake.value("SELECT 1 AS x") == 1
        lake.try_("query", "DROP VIEW requests").expect(2)
        lake.try_("query", "SELECT 'a'::INTEGER").expect(2)
        first, second, third = lake.rows(LOG)
    assert first == {
        "user_name": "owner", "role": "owner", "outcome": "answered", "rows": 1, "statement": "SELECT 1 AS x",
        "purpose": "", "reason": "", "sound": True,
    }  # fmt: skip
    assert (second["outcome"], second["rows"], second["reason"]) == ("refused", 0, "DROP is not allowed")
    assert (third["outcome"], third["statement"]) == ("failed", "SELECT 'a'::INTEGER")
    kinds = [event["kind"] for event in lake.events()]
    assert kinds == ["DirectoryCreated", "QueryAnswered", "QueryRefused", "QueryFailed", "QueryAnswered"]
    assert lake("verify")["ok"] is True


def test_the_ledger_can_be_queried(lake: CommandLine) -> None:
    rows = lake.rows("SELECT seq, event_time, kind, body->>'simulated' AS simulated FROM ledger")
    assert rows == [{"seq": 1, "event_time": "2015-05-20T00:00:00Z", "kind": "DirectoryCreated", "simulated": "true"}]
    lake("ingest", "-", stdin=combined({"17/May/2015": 3}))
    joined = "SELECT count(*) AS n FROM requests r JOIN ledger l ON l.body->>'batch' = r.ingest_batch WHERE l.kind = 'BatchIngested'"
    assert lake.value(joined) == 3


def test_the_purge_destroys_old_texts_and_no_event(lake: CommandLine) -> None:
    lake.value("SELECT 4711 AS x")
    lake.advance("1y")
    assert lake("run", "purge")["figures"]["query_texts"] == 1
    assert lake.rows(LOG)[0] == {
        "user_name": None, "role": "owner", "outcome": "answered", "rows": 1, "statement": None,
        "purpose": None, "reason": None, "sound": None,
    }  # fmt: skip
    (event,) = lake.events("QueryTextsDestroyed")
    assert {name: event[name] for name in ("through", "days", "texts")} == {"through": "2015-05-20", "days": 1, "texts": 1}
    assert "query_texts" not in lake("run", "purge")["figures"]
    assert lake("verify")["ok"] is True


def test_the_limit_of_the_log_is_a_setting(lake: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.value("SELECT 4711 AS x")
    lake.advance("8d")
    monkeypatch.setitem(os.environ, "AUDITLAKE_QUERY__LOG_KEEP", "1w")
    assert lake("run", "purge")["figures"]["query_texts"] == 1


def test_an_analyst_sees_the_same_pseudonyms_before_and_after_a_roll(lake: CommandLine) -> None:
    lake("ingest", "-", stdin=combined({"01/Apr/2015": 2, "17/May/2015": 2}, user="ann-of-sales"))
    ask = examine("SELECT user_name, source_ip, count(DISTINCT event_day) AS days FROM requests GROUP BY ALL", role("analyst"))
    before = answers(lake, ask)
    lake("run", "roll")
    assert {each["day"] for each in lake("status")["segments"] if each["state"] == "archived"} == {"2015-04-01"}
    assert answers(lake, ask) == before
    assert [(row["source_ip"], row["days"]) for row in before] == [("83.149.0.0/24", 2)]
    assert re.fullmatch("~[0-9a-f]{20}", str(before[0]["user_name"]))


def test_a_role_has_its_limits(lake: CommandLine) -> None:
    settings = Settings.model_validate({"roles": {"analyst": {"memory": "256MB"}}})
    with open_lake(lake.data_dir, settings) as opened:
        analyst = masked_for(opened, build_view(opened), role("analyst"))
        owner = masked_for(opened, build_view(opened), role("owner"))
    assert (analyst.memory_limit, analyst.threads, analyst.masks is not None) == ("256MB", 1, True)
    assert (owner.memory_limit, owner.masks) == ("2GB", None)
    limits = settings.roles.limits(role("analyst"))
    assert limits is not None
    assert dataclasses.asdict(limits) == {"memory": "256MB", "threads": 1, "seconds": 300, "rows": 1_000_000}
    assert settings.roles.limits(role("ingest")) is None


def answers(lake: CommandLine, statement: Statement) -> list[dict[str, object]]:
    with open_lake(lake.data_dir, Settings()) as opened:
        seen = masked_for(opened, build_view(opened), role("analyst"))
        with run(seen, statement) as result:
            return [row for batch in result.batches() for row in batch.to_pylist()]
