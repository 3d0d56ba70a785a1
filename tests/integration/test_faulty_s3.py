"""A bucket that is slow, fails and vanishes in the middle of a night: the night retries, nothing is lost, nothing doubled."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.commandline import CommandLine, combined
from tests.faultproxy import Proxy, proxy_before
from tests.s3server import Bucket

DAYS = {"17/May/2015": 40, "18/May/2015": 60}
COUNTS = {"2015-05-17": 40, "2015-05-18": 60}
EVERYTHING = "SELECT count(*)::VARCHAR || ' ' || sum(hash(requests))::VARCHAR FROM requests"
NIGHTS = 4


@pytest.fixture
def proxy(s3: Bucket) -> Iterator[Proxy]:
    with proxy_before(int(s3.endpoint.rpartition(":")[2])) as found:
        yield found


@pytest.fixture
def lake(tmp_path: Path, s3: Bucket, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name, value in {"URL": f"s3://{s3.name}/lake", "ENDPOINT": proxy.endpoint, "REGION": s3.region, "PATH_STYLE": "true"}.items():
        monkeypatch.setenv(f"AUDITLAKE_ARCHIVE__{name}", value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    log = tmp_path / "access.log"
    log.write_bytes(combined(DAYS))
    made = CommandLine(tmp_path / "lake").begin("2015-05-20T00:00:00Z")
    assert made("ingest", log, "--format", "combined")["stored"] == 100
    made.advance("32d")
    return made


def fault_often(seed: int, share: float) -> Callable[[int, bytes], str]:
    """A decision for each request: mostly that it passes, and else any fault."""
    chance = random.Random(seed)

    def decide(_number: int, _line: bytes) -> str:
        return chance.choice(["slow", "busy", "reset", "lost", "cut"]) if chance.random() < share else "pass"

    return decide


def test_nights_over_a_faulty_bucket_end_well_once_it_lets_them(lake: CommandLine, proxy: Proxy, s3: Bucket) -> None:
    before = lake.value(EVERYTHING)
    for night in range(NIGHTS):
        proxy.decide = fault_often(night, 0.15 if night < NIGHTS - 1 else 0.0)
        done = lake.try_("run", "roll")
        assert "Traceback" not in done.err
        proxy.decide = lambda _number, _line: "pass"
        assert (lake.value(EVERYTHING), lake.days()) == (before, COUNTS), "each row is there once, whatever the night came to"
        if done.code == 0 and done.json["outcome"] == "done":
            break
    assert lake.try_("run", "roll").expect(0).json["outcome"] in ("done", "nothing due")
    assert lake("run", "upkeep")["outcome"] == "done"
    report = lake("verify", "--full")
    assert (report["ok"], report["residue"]) == (True, [])
    assert [fault for fault, _ in proxy.done if fault != "pass"]
    purge_over(lake, proxy, s3)


def purge_over(lake: CommandLine, proxy: Proxy, s3: Bucket) -> None:
    lake.advance("331d")
    for night in range(NIGHTS):
        proxy.decide = fault_often(20 + night, 0.15)
        done = lake.try_("run", "purge")
        assert "Traceback" not in done.err
        proxy.decide = lambda _number, _line: "pass"
        if done.code == 0 and not done.json["problems"]:
            break
    assert lake("run", "purge")["problems"] == []
    assert s3.listing("lake/requests/data/event_day=2015-05-17/") == []
    assert lake.days() == {"2015-05-18": 60}
    assert lake("verify", "--full")["ok"]


def test_a_bucket_that_vanishes_while_it_is_read_is_an_error_and_never_fewer_rows(lake: CommandLine, proxy: Proxy) -> None:
    lake("run", "roll")
    for seed in range(2):
        proxy.decide = fault_often(seed, 0.4)
        answer = lake.try_("query", EVERYTHING)
        proxy.decide = lambda _number, _line: "pass"
        if answer.code == 0:
            assert answer.json[0] == lake.rows(EVERYTHING)[0]
        else:
            assert len(answer.err.strip().splitlines()) == 1
