"""The server as operators see it: health, metrics, nights that fail and are tried again, settings that change, and its end."""

import datetime as dt
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditlake import lake as lakes
from auditlake.lake import open_lake
from auditlake.settings import Settings
from auditlake.web.health import CHECKS
from auditlake.web.metrics import FIGURES
from core.clock import WallClock
from jobs.ingest import IngestOptions, ingest
from jobs.verify import check
from tests.server import Served, serve
from tests.simulation.support import log_line
from transforms.pipeline import TransformOptions


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that has stored two lines, and rejected one."""
    with serve(tmp_path_factory.mktemp("health") / "data", '[roles.analyst]\nrows = 5\n[query]\nlog_keep = "1 year"\n') as server:
        now = WallClock().now() - dt.timedelta(minutes=1)
        sent = server.send(server.user("shipper", "ingest"), log_line(1, now) + log_line(2, now) + "no line\n", format="combined")
        assert sent.json["quarantined"] == 1
        yield server


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def samples(served: Served) -> dict[str, dict[tuple[str, ...], float]]:
    """What Prometheus's own parser makes of it: values by the labels' values."""
    answer = served.ask("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = tuple(sample.labels[label] for label in FIGURES[sample.name].labels)
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_a_server_in_order_is_healthy_and_ready(served: Served) -> None:
    healthy, ready = served.ask("GET", "/healthz"), served.ask("GET", "/readyz")
    assert (healthy.status, healthy.json["ok"]) == (200, True)
    assert [check["name"] for check in healthy.json["checks"]] == list(CHECKS)
    assert all(set(check) == {"name", "ok", "detail"} and check["ok"] for check in healthy.json["checks"])
    assert (ready.status, [check["name"] for check in ready.json["checks"]]) == (200, ["control", "writer", "spool"])
    assert served.ask("POST", "/healthz").status == 405


def test_metrics_hold_what_happened(served: Served) -> None:
    until(lambda: samples(served)["auditlake_spool_bodies"] == {(): 0})
    found = samples(served)
    lines = {("http:shipper", "combined", "stored"): 2, ("http:shipper", "combined", "quarantined"): 1}
    assert found["auditlake_lines_total"] == lines
    assert found["auditlake_source_lag_seconds"] == {("http:shipper",): 0}
    assert found["auditlake_rows"] == {("requests", "hot"): 2, ("requests", "archive"): 0, ("requests", "quarantine"): 1}
    assert found["auditlake_quarantine_lines"] == {("requests",): 1}
    assert found["auditlake_healthy"] == found["auditlake_ready"] == {(): 1}
    assert set(found["auditlake_job_failures"]) == {(name,) for name in Settings().jobs.schedules()}
    ages, limits = found["auditlake_oldest_row_age_seconds"], found["auditlake_oldest_row_limit_seconds"]
    assert set(ages) == set(limits) == {("requests", "hot"), ("requests", "quarantine")}
    assert all(0 < ages[labels] < limits[labels] for labels in ages)
    assert 28 * 86_400 <= limits["requests", "hot"] <= 33 * 86_400
    assert found["auditlake_http_answers_total"]["200",] >= 2


def test_every_figure_is_told_and_no_other(served: Served) -> None:
    text = served.ask("GET", "/metrics").body.decode()
    assert set(re.findall(r"(?m)^# TYPE (\w+) ", text)) == set(FIGURES)
    assert set(re.findall(r"(?m)^(\w+?)(?:\{| )", text)) <= set(FIGURES)


def test_nothing_of_a_person_is_told_without_a_token(served: Served) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        body = served.ask("GET", path).body.decode()
        assert "203.0.113" not in body
        assert "user1" not in body
        assert str(served.data_dir) not in body


@pytest.mark.parametrize(("role", "status"), [("analyst", 403), ("investigator", 403), ("ingest", 403), ("auditor", 200), ("admin", 200)])
def test_the_state_is_for_auditors_and_admins(served: Served, role: str, status: int) -> None:
    answer = served.ask("GET", "/v1/status", token=served.user(f"the-{role}", role))
    assert answer.status == status
    if status == 200:
        assert [job["name"] for job in answer.json["jobs"]] == list(Settings().jobs.schedules())
        assert answer.json["jobs"][0]["schedule"] == "5 0 * * *"
        assert answer.json["quarantined"] == 1


def test_the_state_needs_a_token(served: Served) -> None:
    assert served.ask("GET", "/v1/status").status == 401


def test_settings_are_reloaded_or_the_old_ones_stay(served: Served) -> None:
    config = served.data_dir.parent / "data.toml"
    analyst, auditor = served.user("counter", "analyst"), served.user("auditor", "auditor")

    def reload(text: str) -> str:
        known = len(served.messages)
        config.write_text(text)
        served.process.send_signal(signal.SIGHUP)
        until(lambda: bool(said(known)))
        return said(known)[0]

    def said(known: int) -> list[str]:
        return [line for line in served.messages[known:] if "settings" in line]

    def rows() -> int:
        return served.ask("POST", "/v1/query", json.dumps({"sql": "SELECT user_name FROM requests"}).encode(), analyst).status

    assert rows() == 200
    assert reload("[roles.analyst]\nrows = 1\n") == "settings reloaded; in force now: roles"
    assert rows() == 400
    refused = reload("[roles.analyst]\nrows = 'many'\n")
    assert refused.startswith("auditlake: settings are not reloaded, the old ones stay in force: ")
    assert "roles.analyst.rows" in refused
    assert rows() == 400
    config.unlink()
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "cannot be read" in served.messages[-1])
    told = reload('[jobs.purge]\nschedule = "1 2 3 4 *"\n[keys]\nmaster_key_file = "elsewhere"\n[resources]\nmemory = "1GB"\n')
    assert told == "settings reloaded; in force now: roles, jobs; needs a restart: keys, resources"
    assert rows() == 200
    status = served.ask("GET", "/v1/status", token=auditor).json
    assert status["jobs"][0]["next_run"].endswith("-04-03T02:01:00Z")


# -------------------------------------------------------------------------------------------------------- bad nights


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory made three days ago, with a request of forty days ago."""
    today = WallClock().now()
    with monkeypatch.context() as then:
        then.setattr(WallClock, "now", lambda _self: today - dt.timedelta(days=3))
        lakes.create(tmp_path / "data", Settings(), None)
    log = tmp_path / "access.log"
    log.write_text(log_line(1, today - dt.timedelta(days=40)))
    with open_lake(tmp_path / "data", Settings()) as lake:
        ingest(lake.context, [str(log)], IngestOptions("requests", "combined", transforms=TransformOptions(geo_city=None, geo_asn=None)))
    return tmp_path / "data"


def test_a_failing_night_is_red_is_tried_again_and_keeps_no_other_job(old: Path) -> None:
    with open_lake(old, Settings()) as lake, lake.context.control.write() as connection:
        lake.context.control.set_meta(connection, "clock_seen", "2001-01-01T00:00:00Z")
    with serve(old, "[jobs]\nretry = 1\nretry_longest = 1\n") as server:
        auditor = server.user("auditor", "auditor")

        def jobs() -> dict[str, dict[str, str]]:
            return {job["name"]: job for job in server.ask("GET", "/v1/status", token=auditor).json["jobs"]}

        until(lambda: sum("purge failed" in line for line in server.messages) > 1)
        until(lambda: jobs()["verify"]["last_outcome"] == "done")
        red = server.ask("GET", "/healthz")
        (night,) = [check for check in red.json["checks"] if not check["ok"]]
        assert (red.status, night["name"]) == (503, "nights")
        assert re.fullmatch(r"purge failed at \S+Z, next try \S+Z", night["detail"])
        assert server.ask("GET", "/readyz").status == 200
        assert jobs()["roll"]["last_outcome"] == "done"
        assert "clock confirm" in jobs()["purge"]["error"]
        server.call("clock", "confirm")
        until(lambda: jobs()["purge"]["last_outcome"] == "nothing due")
        server.process.send_signal(signal.SIGHUP)  # which also lets it look again at once
        until(lambda: server.ask("GET", "/healthz").status == 200)
        assert jobs()["purge"]["retry_at"] is None
        assert server.stop() == 0


SLOW = """
import sys, time
from auditlake import serve
from auditlake.cli import main
from storage.archive import Archive
serve._STOP_SECONDS = 2.0
def written(*_):
    print("writing", file=sys.stderr, flush=True)
    time.sleep(300)
Archive.written = written
main(["--data-dir", sys.argv[1], "serve"])
"""


def test_a_stop_in_the_middle_of_a_long_roll_loses_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITLAKE_SERVE__HTTP", "off")
    monkeypatch.setenv("AUDITLAKE_SERVE__QUACK", "off")
    with subprocess.Popen([sys.executable, "-c", SLOW, str(old)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "writing\n":
                break
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=60)
    assert process.returncode == 0
    assert messages.splitlines()[-1].startswith("stopped; a job took longer than 2 seconds")
    with serve(old) as server:
        until(lambda: any("roll: done {'segments': 1, 'rows': 1}" in line for line in server.messages))
        assert server.stop() == 0
    with open_lake(old, Settings()) as lake:
        assert [state.state for state in lake.context.ledger.states().values()] == ["archived"]
        assert check(lake.context, full=True).ok
