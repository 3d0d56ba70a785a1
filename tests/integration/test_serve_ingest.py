"""Lines sent to the server: each stored once, acknowledged when durable, whatever is sent."""

import concurrent.futures
import datetime as dt
import gzip
import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from core.clock import UTC, WallClock
from tests.server import Served, serve
from tests.simulation.support import log_line

BOMB = gzip.compress(b"\0" * (64 << 20))


def lines(first: int, count: int, when: dt.datetime | None = None) -> str:
    now = when or WallClock().now()
    return "".join(log_line(number, now - dt.timedelta(minutes=1)) for number in range(first, first + count))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("serve") / "data", AUDITLAKE_SERVE__MAX_BODY="1MB") as server:
        yield server


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return served.user("shipper", "ingest")


def counted(**counts: int) -> dict[str, int]:
    return {"read": 0, "stored": 0, "quarantined": 0, "refused": 0, "repeated": 0, "eventless": 0, **counts}


def test_lines_are_stored_before_the_answer(served: Served, token: str) -> None:
    answer = served.send(token, lines(100, 20), format="combined")
    assert (answer.status, answer.json) == (200, counted(read=20, stored=20))
    found = served.rows("SELECT url_path FROM requests WHERE url_path BETWEEN '/e/100' AND '/e/119' ORDER BY 1")
    assert [row["url_path"] for row in found] == [f"/e/{number}" for number in range(100, 120)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_request_sent_again_changes_nothing(served: Served, token: str, packed: bool) -> None:
    body = lines(200 + 10 * packed, 5)
    assert served.send(token, body, packed=packed).json == counted(read=5, stored=5)
    again = served.send(token, body)
    assert (again.status, again.json) == (200, counted(read=5, repeated=5))
    assert served.send(token, body, packed=True).json == counted(read=5, repeated=5)


def test_a_key_makes_requests_the_same_and_another_makes_equal_lines_two(served: Served, token: str) -> None:
    def send(key: str, body: str) -> dict[str, int]:
        return served.ask("POST", "/v1/ingest/requests", body.encode(), token, Idempotency_Key=key).json

    assert send("first", lines(300, 3)) == counted(read=3, stored=3)
    assert send("first", lines(310, 7)) == counted(read=3, repeated=3)
    assert send("second", lines(300, 3)) == counted(read=3, stored=3)
    other = served.user("other", "ingest")
    assert served.ask("POST", "/v1/ingest/requests", lines(320, 2).encode(), other, Idempotency_Key="first").json == counted(
        read=2, stored=2
    )


def test_the_beginning_of_another_body_is_no_repetition(served: Served, token: str) -> None:
    body = lines(400, 10)
    assert served.send(token, body).json["stored"] == 10
    assert served.send(token, body + lines(410, 2)).json == counted(read=12, stored=12)


def test_what_cannot_be_stored_is_counted_by_reason(served: Served, token: str) -> None:
    old, far = WallClock().now() - dt.timedelta(days=800), WallClock().now() + dt.timedelta(days=9)
    body = lines(500, 2) + log_line(510, old) + log_line(511, far) + "no line of a log\n" + lines(520, 1).rstrip("\n")
    assert served.send(token, body, format="combined").json == counted(read=6, stored=3, quarantined=2, refused=1)


def test_a_body_that_no_format_is_seen_in_is_quarantined_whole(served: Served, token: str) -> None:
    assert served.send(token, "what\nis\nthis\n").json == counted(read=3, quarantined=3)


def test_json_lines_and_json_arrays(served: Served, token: str) -> None:
    now = (WallClock().now() - dt.timedelta(minutes=1)).astimezone(UTC).isoformat()
    events = [
        {"@timestamp": now, "source.ip": "203.0.113.9", "url.path": f"/j/{number}", "http.request.method": "GET"} for number in range(6)
    ]
    assert served.send(token, "\n".join(map(json.dumps, events[:3])), format="json").json == counted(read=3, stored=3)
    assert served.send(token, json.dumps(events[3:]), format="json").json == counted(read=3, stored=3)
    assert served.rows("SELECT count(DISTINCT url_path) AS n FROM requests WHERE url_path LIKE '/j/%'") == [{"n": 6}]


def test_times_that_name_no_zone_are_of_the_one_that_is_given(served: Served, token: str) -> None:
    now = WallClock().now().replace(microsecond=0)
    local = (now - dt.timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S")  # as a clock in Sao Paulo shows it
    body = f"#Fields: date time c-ip cs-method cs-uri-stem sc-status\n{local} 203.0.113.9 GET /zoned 200\n"
    assert served.send(token, body, format="w3c", timezone="America/Sao_Paulo").json == counted(read=1, stored=1, eventless=1)
    found = served.rows("SELECT epoch(event_time)::BIGINT AS t FROM requests WHERE url_path = '/zoned'")
    assert found == [{"t": int(now.timestamp())}]


def test_zstd_and_an_empty_body(served: Served, token: str) -> None:
    packed = zstandard.compress(lines(600, 4).encode())
    assert served.ask("POST", "/v1/ingest/requests", packed, token, Content_Encoding="zstd").json == counted(read=4, stored=4)
    assert served.send(token, b"").json == counted()


@pytest.mark.parametrize(
    ("status", "path", "body", "headers", "problem"),
    [
        (400, "/v1/ingest/nope", b"x", {}, "stream 'nope' is not configured"),
        (400, "/v1/ingest/requests?format=nope", b"x", {}, "nope"),
        (400, "/v1/ingest/requests?timezone=Mars", b"x", {}, "'Mars' is not a time zone"),
        (415, "/v1/ingest/requests", b"x", {"Content_Encoding": "br"}, "content encoding 'br' is not known"),
        (400, "/v1/ingest/requests", b"x", {"Content_Encoding": "gzip"}, "the body is not gzip"),
        (400, "/v1/ingest/requests", gzip.compress(b"x" * 999)[:-9], {"Content_Encoding": "gzip"}, "the body is damaged"),
        (413, "/v1/ingest/requests", b"x" * ((1 << 20) + 1), {}, "the body is longer than 1048576 bytes"),
        (413, "/v1/ingest/requests", BOMB, {"Content_Encoding": "gzip"}, "when unpacked"),
        (415, "/v1/ingest/requests", gzip.compress(gzip.compress(b"x")), {}, "packed twice"),
        (415, "/v1/ingest/requests", b"PAR1" + b"\0" * 100, {}, "Parquet"),
        (415, "/v1/ingest/requests", b"\xfd7zXZ\0" + b"\0" * 100, {}, "xz"),
        (400, "/v1/ingest/requests", b"x", {"Idempotency_Key": "k" * 201}, "an Idempotency-Key of 201 characters is too long"),
        (405, "/v1/ingest/receipts/0", b"x", {}, "POST is not for"),
        (404, "/v1/nothing", b"x", {}, "there is nothing at /v1/nothing"),
    ],
    ids=range(14),
)
def test_what_is_refused(served: Served, token: str, status: int, path: str, body: bytes, headers: dict[str, str], problem: str) -> None:
    answer = served.ask("POST", path, body, token, **headers)
    assert answer.status == status
    assert set(answer.json) == {"error", "hint"}
    assert problem in answer.json["error"]
    assert "\n" not in answer.json["error"]


def test_who_may_not_send(served: Served) -> None:
    assert served.send("", "x").status == 401
    answer = served.send("al_" + "x" * 43, "x")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert served.send(served.user("reader", "analyst"), "x").status == 403


def test_other_commands_have_their_turn_while_lines_come(served: Served, token: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(served.send, token, lines(10_000 + 100 * number, 100)) for number in range(12)]
        assert served.call("run", "purge")["outcome"] == "nothing due"
        assert all(answer.result().json["stored"] == 100 for answer in sent)
    assert served.call("verify")["ok"]
    log = served.data_dir.parent / "hand.log"
    log.write_text(lines(12_000, 5))
    assert served.call("ingest", str(log))["stored"] == 5


def test_one_server_at_a_time(served: Served) -> None:
    with pytest.raises(AssertionError, match="is in use by process"), serve(served.data_dir):
        pass


def test_lines_that_take_long_are_acknowledged_and_stored_later(tmp_path: Path) -> None:
    with serve(tmp_path / "data", AUDITLAKE_SERVE__ANSWER_WITHIN="0") as served:
        token = served.user("shipper", "ingest")
        answer = served.send(token, lines(0, 50))
        if answer.status == 202:
            assert answer.headers["location"] == f"/v1/ingest/receipts/{answer.json['receipt']}"
        assert served.stop() == 0
    with serve(tmp_path / "data") as served:
        assert served.send(token, lines(50, 1)).json["stored"] == 1
        if answer.status == 202:
            told = served.ask("GET", answer.headers["location"], token=token)
            assert told.json == {"receipt": answer.json["receipt"], "done": True, **counted(read=50, stored=50)}
            assert served.ask("GET", answer.headers["location"], token=served.user("other", "ingest")).status == 404
        assert served.rows("SELECT count(*) AS n FROM requests") == [{"n": 51}]
        assert not any((tmp_path / "data" / "spool").iterdir())


def test_killed_again_and_again_no_acknowledged_line_is_lost_or_doubled(tmp_path: Path) -> None:
    bodies = [lines(10 * number, 10) for number in range(36)]
    acknowledged: list[int] = []
    tried = 0
    token = ""
    for round_ in range(4):
        with serve(tmp_path / "data") as served:
            token = token or served.user("shipper", "ingest")

            def send(number: int, server: Served = served, token: str = token) -> int:
                try:
                    return server.send(token, bodies[number]).status
                except (OSError, http.client.HTTPException):
                    return 0

            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                numbers = range(tried, tried + 9)
                sent = {number: pool.submit(send, number) for number in numbers}
                concurrent.futures.wait(list(sent.values())[: 2 + round_])
                served.stop(signal.SIGKILL)
            acknowledged += [number for number, status in sent.items() if status.result() in (200, 202)]
            tried += 9
    with serve(tmp_path / "data") as served:
        for number, body in enumerate(bodies):  # what was not acknowledged is sent again, as a shipper does
            answer = served.send(token, body)
            assert answer.json == counted(read=10, repeated=10) if number in acknowledged else answer.json["read"] == 10
        assert served.call("verify")["ok"]
        paths = served.rows("SELECT url_path, count(*) AS n FROM requests GROUP BY 1")
    assert len(acknowledged) >= 8
    assert {row["url_path"]: row["n"] for row in paths} == {f"/e/{number}": 1 for number in range(360)}
