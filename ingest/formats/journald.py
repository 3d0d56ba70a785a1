r"""What ``journalctl -o json`` writes around a message: one object a line, ``MESSAGE`` among its members.

- A message that is not UTF-8 is a list of its bytes: bad ones become their escapes ``\xHH``, as everywhere. One that journald
  left out as too long (``null``) is rejected.
- Host, program, unit and process go to ``labels``, the other members of the entry are left behind: they are journald's own
  bookkeeping (cursor, boot, machine, transport), the same for each line of a program.

Source: https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import _json_engine as engine
from ingest.formats.base import State, Unwrapped
from ingest.formats.messages import as_lines, labels_of, reject_impossible
from ingest.formats.template import Span
from ingest.formats.values import text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Lines

__all__ = ["JOURNALD"]

_MEMBERS = {
    "time": "__REALTIME_TIMESTAMP",
    "host": "_HOSTNAME",
    "program": "SYSLOG_IDENTIFIER",
    "unit": "_SYSTEMD_UNIT",
    "pid": "_PID",
}


@dataclass(frozen=True)
class _Journald:
    name: str = "journald"
    description: str = "systemd's journal as JSON around any format"
    source: str = "https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format"
    sample: str = (
        '{"__REALTIME_TIMESTAMP":"971211336100000","_HOSTNAME":"web1","SYSLOG_IDENTIFIER":"nginx","_PID":"812","MESSAGE":'
        r'"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] \"GET /apache_pb.gif HTTP/1.0\" 200 2326 '
        r'\"http://www.example.com/start.html\" \"Mozilla/4.08 [en] (Win98; I ;Nav)\""}'
    )
    is_json: ClassVar[bool] = True

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:  # noqa: ARG002 - each line stands alone
        """Take every line apart; total, never raises for what a line holds."""
        verdicts = Verdicts(len(lines))
        verdicts.reject(engine.too_deep(lines), "nested too deep")
        docs = text(lines.data, Span(lines.starts, lines.ends), ~verdicts.good)
        messages, *beside = engine.member_texts(docs, ("MESSAGE", *_MEMBERS.values()))
        verdicts.reject(np.array(pc.is_null(beside[0]), np.bool_), "no __REALTIME_TIMESTAMP in it")
        messages = _decoded(messages)
        reject_impossible(pc.if_else(pa.array(verdicts.good), messages, "-"), verdicts)
        good = pa.array(verdicts.good)
        outcome = verdicts.parsed(pa.RecordBatch.from_arrays([], names=[]))
        labels = labels_of(self.name, {name: values.filter(good) for name, values in zip(_MEMBERS, beside, strict=True)})
        return Unwrapped(as_lines(messages.filter(good)), outcome.numbers, outcome.rejected, outcome.reasons, labels=labels)


def _decoded(messages: pa.StringArray) -> pa.StringArray:
    """Messages given as bytes decoded: the few that look like a list of numbers."""
    listed = pc.fill_null(pc.match_substring_regex(messages, r"^\[\s*[0-9]{1,3}(?:\s*,\s*[0-9]{1,3})*\s*\]$"), False)
    if not pc.any(listed).as_py():
        return messages
    return pc.replace_with_mask(messages, listed, pa.array([_text(one) for one in messages.filter(listed).to_pylist()], pa.string()))


def _text(listed: str) -> str:
    numbers = [int(number) for number in listed.strip("[]").split(",")]
    return bytes(numbers).decode("utf-8", "backslashreplace") if all(0 <= number < 256 for number in numbers) else listed


JOURNALD = _Journald()
