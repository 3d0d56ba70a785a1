r"""What log shippers put around a line that they have not taken apart: Filebeat, Vector, Fluent Bit and others that write so.

- The line is the member ``message``, or ``log`` as Fluent Bit's tail has it; what has ``log`` and ``stream`` is Docker's.
- A document that has members of a request beside it (``http``, ``url``, their dotted names) is one that the shipper did take
  apart: it is read by its members, as :mod:`ingest.formats.json_lines` does, and is none of these.
- Time, host, file and tags go to ``labels``; the other members are the shipper's own bookkeeping and are left behind.

Sources: https://www.elastic.co/guide/en/beats/filebeat/current/exported-fields-log.html,
https://vector.dev/docs/reference/configuration/sources/file/ (output data) and
https://docs.fluentbit.io/manual/pipeline/inputs/tail.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import _json_engine as engine
from ingest.formats.base import State, Unwrapped
from ingest.formats.messages import as_lines, labels_of, reject_impossible
from ingest.formats.template import Mask, Span
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Lines

__all__ = ["SHIPPER", "carry_lines"]

_OF_A_REQUEST = (
    "http",
    "url",
    "http.request.method",
    "http.response.status_code",
    "url.original",
    "url.full",
    "url.path",
    "http_request_method",
    "http_response_status_code",
    "url_original",
    "url_path",
)
_MEMBERS = ("message", "log", "stream", "@timestamp", "timestamp", "host", "host.name", "file", "log.file.path", "tags", *_OF_A_REQUEST)


@dataclass(frozen=True)
class _Documents:
    """Some members of each document, null where it has none."""

    members: dict[str, pa.StringArray]

    @classmethod
    def read(cls, docs: pa.StringArray) -> "_Documents":
        return cls(dict(zip(_MEMBERS, engine.member_texts(docs, _MEMBERS), strict=True)))

    def messages(self) -> pa.StringArray:
        log = self.members["log"]
        line = pc.if_else(pc.or_(pc.fill_null(pc.starts_with(log, "{"), False), pc.is_valid(self.members["stream"])), None, log)
        return pc.replace_substring_regex(pc.coalesce(self.members["message"], line), r"\r?\n$", "")

    def of_requests(self) -> Mask:
        found = np.zeros(len(self.members["message"]), np.bool_)
        for name in _OF_A_REQUEST:
            found |= np.array(pc.is_valid(self.members[name]), np.bool_)
        return found

    def beside(self) -> dict[str, pa.StringArray]:
        found = self.members
        return {
            "time": pc.coalesce(found["@timestamp"], found["timestamp"]),
            "host": pc.coalesce(_inner(found["host"], "name"), found["host.name"], _plain(found["host"])),
            "file": pc.coalesce(_inner(_inner(found["log"], "file"), "path"), found["log.file.path"], _plain(found["file"])),
            "tags": found["tags"],
        }


def _inner(objects: pa.StringArray, name: str) -> pa.StringArray:
    return engine.member_texts(pc.if_else(_are_objects(objects), objects, None), (name,))[0]


def _plain(values: pa.StringArray) -> pa.StringArray:
    return pc.if_else(_are_objects(values), None, values)


def _are_objects(values: pa.StringArray) -> pa.BooleanArray:
    return pc.fill_null(pc.starts_with(values, "{"), False)


@dataclass(frozen=True)
class _Shipper:
    name: str = "shipper"
    description: str = "documents of Filebeat, Vector and Fluent Bit around any format"
    source: str = "https://www.elastic.co/guide/en/beats/filebeat/current/exported-fields-log.html"
    sample: str = (
        '{"@timestamp":"2000-10-10T20:55:37.000Z","host":{"name":"web1"},"log":{"file":{"path":"/var/log/access.log"}},"message":'
        r'"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 '
        r'\"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\""}'
    )
    is_json: ClassVar[bool] = True

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:  # noqa: ARG002 - each line stands alone
        """Take every line apart; total, never raises for what a line holds."""
        verdicts = Verdicts(len(lines))
        verdicts.reject(engine.too_deep(lines), "nested too deep")
        docs = _Documents.read(text(lines.data, Span(lines.starts, lines.ends), ~verdicts.good))
        verdicts.reject(docs.of_requests(), "members of a request beside the line")
        messages = docs.messages()
        reject_impossible(pc.if_else(pa.array(verdicts.good), messages, "-"), verdicts)
        good = pa.array(verdicts.good)
        outcome = verdicts.parsed(pa.RecordBatch.from_arrays([], names=[]))
        labels = labels_of(self.name, {name: values.filter(good) for name, values in docs.beside().items()})
        return Unwrapped(as_lines(messages.filter(good)), outcome.numbers, outcome.rejected, outcome.reasons, labels=labels)


def carry_lines(docs: pa.StringArray) -> Mask:
    """Which documents hold a line that the shipper has not taken apart."""
    found = _Documents.read(docs)
    carrying: Mask = np.array(pc.is_valid(found.messages()), np.bool_) & ~found.of_requests()
    return carrying


SHIPPER = _Shipper()
