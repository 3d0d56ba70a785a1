"""What shippers speak: OTLP over HTTP, Elasticsearch's bulk API; each line stored once, the answers as they expect them."""

import base64
import datetime as dt
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from core.clock import WallClock
from ingest.otlp_protobuf import json_of
from tests.server import Answer, Served, serve
from tests.simulation.support import log_line

PROTOBUF, JSON = "application/x-protobuf", "application/json"
CONFIG = "[streams.requests]\n[streams.shop]\n"
ASKERS: dict[int, str] = {}
"""A token that may query, of each server by its port."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("serve") / "data", CONFIG, AUDITLAKE_SERVE__MAX_BODY="1MB") as server:
        ASKERS[server.port] = server.user("asker", "investigator")
        yield server


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return served.user("shipper", "ingest")


def a_minute_ago() -> dt.datetime:
    return WallClock().now() - dt.timedelta(minutes=1)


def ask(served: Served, sql: str, stream: str = "requests") -> list[dict[str, Any]]:
    """The rows of a statement, asked over HTTP."""
    asked = {"sql": sql, "purpose": "a test", "format": "json", "stream": stream}
    found: list[dict[str, Any]] = json.loads(served.ask("POST", "/v1/query", json.dumps(asked).encode(), ASKERS[served.port]).body)
    return found


def count(served: Served, where: str, stream: str = "requests") -> int:
    return int(ask(served, f"SELECT count(*) AS n FROM requests WHERE {where}", stream)[0]["n"])


# ---------------------------------------------------------------------------------------------------------------- OTLP


def export(path: str, count: int, when: dt.datetime | None = None, method: str = "GET") -> ExportLogsServiceRequest:
    found = ExportLogsServiceRequest()
    resource = found.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "web"
    scope = resource.scope_logs.add()
    for number in range(count):
        record = scope.log_records.add(time_unix_nano=int((when or a_minute_ago()).timestamp() * 1e9), trace_id=bytes(range(16)))
        said = {"http.request.method": method, "url.path": f"{path}/{number}", "client.address": "203.0.113.7"}
        for key, value in said.items():
            if value:
                record.attributes.add(key=key).value.string_value = value
    return found


def post_logs(served: Served, token: str, body: bytes, kind: str = PROTOBUF, query: str = "", **headers: str) -> Answer:
    return served.ask("POST", f"/v1/logs{query}", body, token, Content_Type=kind, **headers)


def rejected(answer: Answer) -> tuple[int, str]:
    response = ExportLogsServiceResponse.FromString(answer.body)
    return response.partial_success.rejected_log_records, response.partial_success.error_message


def test_otlp_in_protobuf(served: Served, token: str) -> None:
    answer = post_logs(served, token, export("/otlp/a", 3).SerializeToString())
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, PROTOBUF, b"")
    rows = ask(served, "SELECT url_path, http_request_id, source_address FROM requests WHERE url_path LIKE '/otlp/a/%' ORDER BY 1")
    assert [row["url_path"] for row in rows] == ["/otlp/a/0", "/otlp/a/1", "/otlp/a/2"]
    assert {(row["http_request_id"], row["source_address"]) for row in rows} == {(bytes(range(16)).hex(), "203.0.113.7")}


@pytest.mark.parametrize("kind", [PROTOBUF, JSON, f"{JSON}; charset=utf-8"])
def test_an_export_sent_again_changes_nothing(served: Served, token: str, kind: str) -> None:
    made = export(f"/otlp/again{len(kind)}", 2)
    body = made.SerializeToString() if kind == PROTOBUF else json_of(made)
    for packed in (False, True, False):
        headers = {"Content_Encoding": "gzip"} if packed else {}
        answer = post_logs(served, token, gzip.compress(body) if packed else body, kind, **headers)
        assert (answer.status, answer.body) == (200, b"" if kind == PROTOBUF else b"{}")
    assert count(served, f"url_path LIKE '/otlp/again{len(kind)}/%'") == 2


def test_records_that_are_not_stored_are_told_as_rejected(served: Served, token: str) -> None:
    made = export("/otlp/some", 1)
    made.MergeFrom(export("/otlp/none", 2, method=""))
    made.MergeFrom(export("/otlp/old", 1, WallClock().now() - dt.timedelta(days=800)))
    told = (3, "2 went to quarantine, 1 are older than the stream keeps")
    assert rejected(post_logs(served, token, made.SerializeToString())) == told
    assert rejected(post_logs(served, token, made.SerializeToString())) == told  # the same again: the same answer
    answer = post_logs(served, token, json_of(made), JSON)
    assert answer.json["partialSuccess"] == {"rejectedLogRecords": "3", "errorMessage": told[1]}


def test_otlp_of_another_stream_and_of_no_record(served: Served, token: str) -> None:
    assert post_logs(served, token, export("/otlp/shop", 1).SerializeToString(), query="?stream=shop").status == 200
    assert [count(served, "url_path = '/otlp/shop/0'", stream) for stream in ("requests", "shop")] == [0, 1]
    for body in (b"{}", b'{"resourceLogs":[]}', b'{"resourceLogs":[{"scopeLogs":[{}]}]}'):
        assert (post_logs(served, token, body, JSON).status, post_logs(served, token, body, JSON).body) == (200, b"{}")
    assert post_logs(served, token, b"").status == 200


def status_of(body: bytes) -> tuple[int, str]:
    """google.rpc.Status, read by protobuf."""
    file = descriptor_pb2.FileDescriptorProto(name="status.proto", package="google.rpc", syntax="proto3")
    message = file.message_type.add(name="Status")
    message.field.add(name="code", number=1, type=5, label=1)
    message.field.add(name="message", number=2, type=9, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.Status")).FromString(body)
    return found.code, found.message


@pytest.mark.parametrize(
    ("status", "code", "body", "query", "problem"),
    [
        (400, 3, b"\xff\xff", "", "the body is no ExportLogsServiceRequest"),
        (400, 3, export("/otlp/x", 1).SerializeToString(), "?stream=nope", "stream 'nope' is not configured"),
        (413, 8, b"x" * ((1 << 20) + 1), "", "the body is longer than 1048576 bytes"),
    ],
)
def test_otlp_errors_are_status_messages(served: Served, token: str, status: int, code: int, body: bytes, query: str, problem: str) -> None:
    answer = post_logs(served, token, body, query=query)
    assert (answer.status, answer.headers["content-type"], status_of(answer.body)[0]) == (status, PROTOBUF, code)
    assert problem in status_of(answer.body)[1]
    if b"resource" not in body[:10] and status == 400 and not query:
        told = post_logs(served, token, body, JSON, query)
        assert (told.status, told.json["code"]) == (status, code)


def test_who_may_not_export_and_what_is_no_kind(served: Served, token: str) -> None:
    answer = post_logs(served, "", b"")
    assert (answer.status, status_of(answer.body)[0]) == (401, 16)
    assert post_logs(served, served.user("reader", "analyst"), b"{}", JSON).json["code"] == 7
    answer = post_logs(served, token, b"{}", "text/plain")
    assert (answer.status, answer.json["code"]) == (415, 3)
    for body in (b"[]", b"{", b'{"resourceLogs":7}', b'{"resourceLogs":[7]}', b"[" * 100_000):
        assert post_logs(served, token, body, JSON).status == 400


def test_a_full_spool_asks_to_come_again(tmp_path: Path) -> None:
    with serve(tmp_path / "data", AUDITLAKE_SERVE__SPOOL="1KB", AUDITLAKE_SERVE__ANSWER_WITHIN="0") as served:
        token = served.user("shipper", "ingest")
        (tmp_path / "data" / "spool").mkdir(exist_ok=True)
        (tmp_path / "data" / "spool" / ("0" * 32)).write_bytes(b"x" * 2000)
        answer = post_logs(served, token, export("/otlp/full", 1).SerializeToString())
        assert (answer.status, answer.headers["retry-after"], status_of(answer.body)[0]) == (429, "10", 8)
        answer = served.ask("POST", "/es/_bulk", bulk({"message": "x"}), token)
        assert (answer.status, answer.headers["retry-after"]) == (429, "10")
        assert answer.json["error"]["type"] == "es_rejected_execution_exception"


# ---------------------------------------------------------------------------------------------------------------- bulk


def bulk(*documents: Mapping[str, Any] | str, action: str = '{"create":{"_index":"web"}}') -> bytes:
    return "".join(f"{action}\n{one if isinstance(one, str) else json.dumps(one)}\n" for one in documents).encode()


def line(number: int) -> str:
    return log_line(number, a_minute_ago()).rstrip("\n")


def test_a_line_that_filebeat_has_not_taken_apart(served: Served, token: str) -> None:
    documents = [
        {"@timestamp": "2024-01-01T00:00:00Z", "message": line(7000 + n), "host": {"name": "web1"}, "log": {"file": {"path": "/l"}}}
        for n in range(3)
    ]
    answer = served.ask("POST", "/es/_bulk?filter_path=errors", bulk(*documents), token)
    assert (answer.status, answer.headers["x-elastic-product"]) == (200, "Elasticsearch")
    assert answer.json["errors"] is False
    assert answer.json["items"] == 3 * [{"create": {"_index": "web", "result": "created", "status": 201}}]
    assert answer.json["auditlake"]["stored"] == 3
    rows = ask(served, "SELECT labels ->> '$.\"shipper.host\"' AS host FROM requests WHERE url_path BETWEEN '/e/7000' AND '/e/7002'")
    assert [row["host"] for row in rows] == 3 * ["web1"]
    assert served.ask("POST", "/es/_bulk", bulk(*documents), token).json["auditlake"] == {
        "read": 3, "stored": 0, "quarantined": 0, "refused": 0, "repeated": 3, "eventless": 0,
    }  # fmt: skip
    assert count(served, "url_path BETWEEN '/e/7000' AND '/e/7002'") == 3


def test_documents_by_their_members_and_items_that_are_refused(served: Served, token: str) -> None:
    taken = {"@timestamp": a_minute_ago().isoformat(), "url": {"path": "/es/1"}, "http": {"request": {"method": "GET"}}, "message": "x"}
    body = bulk(taken, "{", action='{"index":{"_id":"a"}}') + b'{"delete":{"_index":"web","_id":"a"}}\n' + bulk({"message": line(7100)})
    answer = served.ask("PUT", "/es/logs/_bulk", body, token)
    items = answer.json["items"]
    assert answer.json["errors"] is True
    assert [next(iter(item.values()))["status"] for item in items] == [201, 400, 400, 201]
    assert items[0] == {"index": {"_index": "logs", "_id": "a", "result": "created", "status": 201}}
    assert items[1]["index"]["error"] == {"type": "document_parsing_exception", "reason": "the document is not a JSON object"}
    assert items[2]["delete"]["error"] == {"type": "illegal_argument_exception", "reason": "only create and index are taken here"}
    assert answer.json["auditlake"]["stored"] == 2
    assert count(served, "url_path IN ('/es/1', '/e/7100')") == 2


def test_an_index_that_is_a_stream_and_a_format(served: Served, token: str) -> None:
    both = bulk({"message": line(7200)}, action='{"create":{"_index":"shop"}}') + bulk({"message": line(7201)})
    answer = served.ask("POST", "/es/_bulk?format=combined", gzip.compress(both), token, Content_Encoding="gzip")
    assert answer.json["auditlake"]["stored"] == 2
    assert [count(served, "url_path IN ('/e/7200', '/e/7201')", stream) for stream in ("requests", "shop")] == [1, 1]
    answer = served.ask("POST", "/es/_bulk?stream=shop&format=nginx_json", bulk({"message": line(7202)}), token)
    assert answer.json["auditlake"]["quarantined"] == 1
    assert (
        served.ask("POST", "/es/shop/_bulk?format=combined", bulk({"message": line(7203)}, action='{"create":{}}'), token).json[
            "auditlake"
        ]["stored"]
        == 1
    )
    assert [count(served, "url_path = '/e/7203'", stream) for stream in ("requests", "shop")] == [0, 1]


def basic(token: str) -> str:
    return base64.b64encode(f"name:{token}".encode()).decode()


def test_who_sends(served: Served, token: str) -> None:
    for given in (f"Bearer {token}", f"ApiKey {token}", f"ApiKey {basic(token)}", f"Basic {basic(token)}"):
        answer = served.ask("GET", "/es/", Authorization=given)
        assert (answer.status, answer.json["version"]["number"]) == (200, "8.17.0")
    for given in ("", "Basic x", "Basic eDp5", f"Basic {token}", "ApiKey", f"Digest {token}"):
        answer = served.ask("GET", "/es/", Authorization=given)
        assert (answer.status, answer.json["error"]["type"]) == (401, "security_exception")
    assert served.ask("GET", "/es/", token=served.user("looker", "analyst")).status == 403
    assert served.ask("POST", "/v1/ingest/requests", b"x", Authorization=f"Basic {basic(token)}").status == 401


def test_what_clients_ask_first(served: Served, token: str) -> None:
    assert served.ask("HEAD", "/es/", token=token).status == 200
    assert served.ask("GET", "/es", token=token).json["tagline"] == "You Know, for Search"
    assert served.ask("GET", "/es/_license?human=false", token=token).json["license"]["status"] == "active"
    assert served.ask("GET", "/es/_xpack", token=token).json["license"]["type"] == "basic"
    assert served.ask("GET", "/es/_cluster/health", token=token).json["status"] == "green"
    answer = served.ask("GET", "/es/_ilm/policy/x", token=token)
    assert (answer.status, answer.headers["x-elastic-product"], answer.json["status"]) == (404, "Elasticsearch", 404)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/es/_bulk", b"x\n{}\n", "the body is none of the bulk API: a line that should be an action is not JSON"),
        ("/es/_bulk?stream=nope", bulk({"a": 1}), "stream 'nope' is not configured"),
        ("/es/_bulk?format=nope", bulk({"a": 1}), "'nope' is not a format"),
    ],
)
def test_bodies_that_are_refused_whole(served: Served, token: str, path: str, body: bytes, reason: str) -> None:
    answer = served.ask("POST", path, body, token)
    assert (answer.status, answer.json["status"]) == (400, 400)
    assert reason in answer.json["error"]["reason"]
