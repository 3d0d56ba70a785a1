"""Notifications of new objects, a queue as its client speaks to it, and what is remembered of objects."""

import datetime as dt
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuditlakeError
from storage import incoming
from storage.control import Control
from storage.incoming import Incoming, Message, Queue, named_keys
from storage.objects import S3Access

DAY = dt.date(2026, 5, 20)
ACCESS = S3Access("", "us-east-1", False, "key", "secret", "")


def record(key: str, bucket: str = "logs", event: str = "ObjectCreated:Put") -> dict[str, Any]:
    return {"eventName": event, "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "e"}}}


def event(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


BRIDGE = {"detail-type": "Object Created", "detail": {"bucket": {"name": "logs"}, "object": {"key": "in/a+b.log"}}}


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (event(record("in/a.log"), record("in/b.log"), record("in/a.log")), ("in/a.log", "in/b.log")),
        (event(record("in/red+flower%2B%C3%BC.log")), ("in/red flower+ü.log",)),
        (event(record("in/a.log", event="s3:ObjectCreated:CompleteMultipartUpload")), ("in/a.log",)),
        (event(record("in/a.log", event="ObjectRemoved:Delete"), record("out/a.log"), record("in/a.log", bucket="other")), ()),
        (json.dumps({"Type": "Notification", "Message": event(record("in/a.log"))}), ("in/a.log",)),
        (json.dumps(BRIDGE), ("in/a+b.log",)),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), ()),
        (json.dumps({"Records": [None, 1, {"eventName": "ObjectCreated:Put", "s3": {"bucket": [], "object": {"key": 3}}}]}), ()),
        ("[" * 100_000, ()),
        ("no json", ()),
    ],
)
def test_what_a_message_names(body: str, keys: tuple[str, ...]) -> None:
    assert named_keys(body, "logs", "in/") == keys


NAMES = st.sampled_from(["Records", "Message", "detail-type", "detail", "s3", "bucket", "object", "key", "name", "eventName"])


@given(st.recursive(st.none() | st.text(max_size=9) | st.integers(), lambda part: st.lists(part) | st.dictionaries(NAMES, part)))
def test_no_message_raises(value: object) -> None:
    assert all(isinstance(key, str) for key in named_keys(json.dumps(value), "logs", ""))


class _Service(ThreadingHTTPServer):
    """Speaks as much of SQS's JSON protocol as the client uses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails = False


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        service = self.server
        assert isinstance(service, _Service)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        service.asked.append((self.headers["X-Amz-Target"], asked))
        found = {"Messages": [{"MessageId": "1", "ReceiptHandle": "handle", "Body": event(record("in/a.log"))}]}
        body = json.dumps({"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "gone"} if service.fails else found).encode()
        self.send_response(400 if service.fails else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[_Service]:
    with _Service() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_queue_gives_messages_and_deletes_them(service: _Service) -> None:
    url = f"http://127.0.0.1:{service.server_port}/123/logs"
    queue = Queue(url, ACCESS)
    messages = queue.receive("logs", "in/")
    assert messages == [Message(("in/a.log",), "handle")]
    queue.delete(messages[0])
    assert [name for name, _ in service.asked] == ["AmazonSQS.ReceiveMessage", "AmazonSQS.DeleteMessage"]
    assert service.asked[0][1]["QueueUrl"] == service.asked[1][1]["QueueUrl"] == url
    assert service.asked[1][1]["ReceiptHandle"] == "handle"
    service.fails = True
    with pytest.raises(AuditlakeError, match=r"queue http.*cannot be read: .*gone"):
        queue.receive("logs", "in/")


def test_what_is_done_is_known_until_it_has_not_been_listed_for_a_week(tmp_path: Path) -> None:
    control = Control.in_file(tmp_path / "control.sqlite")
    with control.write() as connection:
        for name in "ab":
            incoming.done(connection, "lb", name, DAY)
        incoming.done(connection, "other", "a", DAY)
        incoming.done(connection, "lb", "a", DAY)
        assert incoming.known(connection, "lb", ["a", "b", "c"]) == {"a": DAY, "b": DAY}
        incoming.saw(connection, "lb", ["a", "c"], DAY + dt.timedelta(days=8))
        assert incoming.forget(connection, "lb", DAY + dt.timedelta(days=7)) == 0
        assert incoming.forget(connection, "lb", DAY + dt.timedelta(days=8)) == 1
        assert incoming.known(connection, "lb", ["a", "b"]) == {"a": DAY + dt.timedelta(days=8)}
        assert incoming.known(connection, "other", ["a"]) == {"a": DAY}
    control.close()


def test_an_object_written_anew_is_another() -> None:
    when = dt.datetime(2026, 5, 20, tzinfo=dt.UTC)
    one = Incoming("b", "k", '"e"', 3, when)
    others = [Incoming("b", "k", '"f"', 3, when), Incoming("b", "k", '"e"', 4, when), Incoming("c", "k", '"e"', 3, when)]
    assert one.digest not in {other.digest for other in others}
    assert one.digest == Incoming("b", "k", '"e"', 3, when + dt.timedelta(days=1)).digest
