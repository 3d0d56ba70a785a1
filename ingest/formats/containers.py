r"""What container runtimes put around the lines of a program: ``docker`` (its json-file driver) and ``cri`` (containerd, CRI-O).

- Docker writes ``{"log":"line\n","stream":"stdout","time":"..."}``; a line longer than 16 KiB comes in several, all but the last
  without ``\n``.
- CRI writes ``2016-10-06T00:17:09.669794202Z stdout F line``; the tag is ``F`` for a full line or the last part of one, ``P`` for
  another part. Further tags may follow a colon.
- A stream is ``stdout`` or ``stderr``. Parts are put together by stream; lines that hold all but the last part are eventless.

Sources: https://docs.docker.com/engine/logging/drivers/json-file/ and
https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import _json_engine as engine
from ingest.formats.base import State, Unwrapped
from ingest.formats.messages import as_lines, joined_parts, labels_of, reject_impossible
from ingest.formats.template import SPACE, Marks, Span
from ingest.formats.times import iso_times
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Lines

__all__ = ["CRI", "DOCKER"]

_STREAMS = pa.array(["stdout", "stderr"])


@dataclass(frozen=True)
class _Docker:
    name: str = "docker"
    description: str = "Docker's json-file logs around any format"
    source: str = "https://docs.docker.com/engine/logging/drivers/json-file/"
    sample: str = (
        r'{"log":"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 '
        r'\"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\"\n","stream":"stdout","time":"2000-10-10T20:55:36.1Z"}'
    )
    is_json: ClassVar[bool] = True
    stateful: ClassVar[bool] = True

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:
        """Take every line apart; total, never raises for what a line holds."""
        verdicts = Verdicts(len(lines))
        verdicts.reject(engine.too_deep(lines), "nested too deep")
        docs = text(lines.data, Span(lines.starts, lines.ends), ~verdicts.good)
        messages, streams, times = engine.member_texts(docs, ("log", "stream", "time"))
        known = pc.and_(pc.is_valid(messages), pc.and_(pc.is_valid(streams), pc.is_valid(times)))
        verdicts.reject(~np.array(known, np.bool_), "no log, stream and time in it")
        verdicts.reject(~np.array(pc.is_in(streams, _STREAMS), np.bool_), "its stream is neither stdout nor stderr")
        whole = np.array(pc.fill_null(pc.ends_with(messages, "\n"), False), np.bool_)
        messages, state = joined_parts(messages, whole, pc.fill_null(streams, ""), verdicts, state)
        messages = pc.replace_substring_regex(messages, r"\r?\n$", "")
        return _unwrapped(self.name, messages, {"stream": streams, "time": times}, verdicts, state)


@dataclass(frozen=True)
class _Cri:
    name: str = "cri"
    description: str = "container logs of Kubernetes (containerd, CRI-O) around any format"
    source: str = "https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md"
    sample: str = (
        '2000-10-10T20:55:36.100000000Z stdout F 127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 '
        '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
    )
    stateful: ClassVar[bool] = True

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:
        """Take every line apart; total, never raises for what a line holds."""
        marks, verdicts = Marks(lines.data), Verdicts(len(lines))
        spans, start = [], lines.starts
        for _ in range(3):
            end = np.minimum(marks.next(SPACE, start), lines.ends)
            spans.append(Span(start, end))
            start = np.minimum(end + 1, lines.ends)
        time, stream, tag = spans
        streams = text(lines.data, stream)
        verdicts.reject(~np.array(pc.is_in(streams, _STREAMS), np.bool_), "no stream after the time")
        verdicts.reject(~iso_times(lines.data, time)[1], "no time of RFC 3339 at its beginning")
        first = lines.data.take(tag.starts, mode="clip")
        single = (tag.ends - tag.starts == 1) | (lines.data.take(tag.starts + 1, mode="clip") == ord(":"))
        verdicts.reject(~(single & ((first == ord("F")) | (first == ord("P")))), "neither full nor partial")
        messages, state = joined_parts(text(lines.data, Span(start, lines.ends)), first == ord("F"), streams, verdicts, state)
        return _unwrapped(self.name, messages, {"stream": streams, "time": text(lines.data, time)}, verdicts, state)


def _unwrapped(name: str, messages: pa.StringArray, beside: dict[str, pa.StringArray], verdicts: Verdicts, state: State) -> Unwrapped:
    reject_impossible(pc.if_else(pa.array(verdicts.good), messages, "-"), verdicts)
    good = pa.array(verdicts.good)
    outcome = verdicts.parsed(pa.RecordBatch.from_arrays([], names=[]), state)
    labels = labels_of(name, {key: values.filter(good) for key, values in beside.items()})
    lines = as_lines(messages.filter(good))
    return Unwrapped(lines, outcome.numbers, outcome.rejected, outcome.reasons, outcome.eventless, labels, state)


DOCKER, CRI = _Docker(), _Cri()
