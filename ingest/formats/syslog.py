r"""What syslog daemons put around a message, in files and relayed: RFC 3164, RFC 5424, and the ISO-dated lines that rsyslog and
systemd's world write to files.

================  ====================================================================================================
RFC 3164          ``<190>Oct 10 13:55:36 web1 nginx[812]: message``
RFC 5424          ``<190>1 2000-10-10T13:55:36-07:00 web1 nginx 812 ID47 [exampleSDID@32473 iut="3"] message``
ISO-dated         ``2000-10-10T13:55:36.123456-07:00 web1 nginx[812]: message``
================  ====================================================================================================

- The priority in front may be missing, but in RFC 5424. So may host or program in RFC 3164; then the message begins after what is there.
- A program is ``name:`` or ``name[pid]:``. ISO-dated lines must have one, which tells them from other logs that begin with a time.
- A message's own time counts; the header's is a label.

Sources: https://www.rfc-editor.org/rfc/rfc3164, https://www.rfc-editor.org/rfc/rfc5424 and
https://www.rsyslog.com/doc/configuration/templates.html (RSYSLOG_FileFormat).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats.base import State, Unwrapped
from ingest.formats.messages import EMPTY, labels_of
from ingest.formats.template import SPACE, Marks, Mask, Span
from ingest.formats.times import iso_times
from ingest.formats.times_pattern import pattern_times
from ingest.formats.values import integers, text
from ingest.formats.verdicts import Verdicts
from ingest.lines import Bytes, Lines, Numbers

__all__ = ["SYSLOG"]

_OLD_TIME = "%b %e %H:%M:%S"
_OLD_WIDTH = 15
_LEAP_YEAR = 2000  # RFC 3164 names no year: any in which 29 February exists
_HIGHEST_PRIORITY = 191
_STRUCTURED = r'^(?P<data>(?:\[(?:[^\]"\\]|"(?:[^"\\]|\\.)*")*\])+)(?: |$)'
_TAG = r"^(?P<program>[^\s\[:]{1,128})(?:\[(?P<pid>[^\]]{0,64})\])?:$"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class _Header:
    """What stands before each message; parts that are missing are empty spans. Only rows that are ``of`` this kind count."""

    of: Mask
    time: Span
    host: Span
    program: pa.StringArray
    pid: pa.StringArray
    message: Numbers
    msgid: Span
    structured: Span


@dataclass(frozen=True)
class _Syslog:
    name: str = "syslog"
    description: str = "syslog lines (RFC 3164, RFC 5424, ISO-dated) around any format"
    source: str = "https://www.rfc-editor.org/rfc/rfc5424"
    sample: str = (
        '<190>Oct 10 13:55:36 web1 nginx: 127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 '
        '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
    )

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:  # noqa: ARG002 - each line stands alone
        """Take every line apart; total, never raises for what a line holds."""
        return _Unwrap(lines).run()


class _Unwrap:
    def __init__(self, lines: Lines) -> None:
        self.lines, self.data = lines, lines.data
        self.marks = Marks(lines.data)
        self.verdicts = Verdicts(len(lines))
        self._nothing = Span(lines.starts, lines.starts)

    def run(self) -> Unwrapped:
        start, priority, prefixed = self._priority()
        headers = self._headers(start, prefixed)
        of = [header.of for header in headers]
        self.verdicts.reject(~np.logical_or.reduce([*of, np.zeros(len(self.lines), np.bool_)]), "no syslog header")
        message = np.select(of, [header.message for header in headers], self.lines.ends) if headers else self.lines.ends
        self.verdicts.reject(message >= self.lines.ends, EMPTY)
        good = self.verdicts.good
        labels = labels_of("syslog", {name: values.filter(pa.array(good)) for name, values in self._beside(headers, priority).items()})
        outcome = self.verdicts.parsed(pa.RecordBatch.from_arrays([], names=[]))
        kept = Lines(self.data, message[good], self.lines.ends[good])
        return Unwrapped(kept, outcome.numbers, outcome.rejected, outcome.reasons, labels=labels)

    def _headers(self, start: Numbers, prefixed: Mask) -> list[_Header]:
        """The header of each kind that the first byte of any line may begin."""
        first = self.data.take(start, mode="clip")
        digit = first - np.uint8(ord("0")) < 10
        new = prefixed & (first == ord("1")) & (self.data.take(start + 1, mode="clip") == SPACE)
        found = [self._new(start, new)] if new.any() else []
        found += [self._old(start)] if (~digit).any() else []
        return found + ([self._iso(start)] if (digit & ~new).any() else [])

    def _beside(self, headers: list[_Header], priority: Span) -> dict[str, pa.StringArray]:
        """What the headers say."""
        parts: dict[str, pa.StringArray] = {"priority": text(self.data, priority)}
        for name in ("time", "host", "msgid", "structured"):
            spans = [getattr(header, name) for header in headers]
            if spans and any((span.ends > span.starts).any() for span in spans):
                parts[name] = text(self.data, _chosen([header.of for header in headers], spans, self.lines.ends))
        for name in ("program", "pid"):
            values = pa.nulls(len(self.lines), pa.string())
            for header in headers:
                values = pc.if_else(header.of, getattr(header, name), values)
            parts[name] = values
        return parts

    def _priority(self) -> tuple[Numbers, Span, Mask]:
        """Where the header goes on after ``<190>``, the number in it, and whether it is there."""
        starts, ends = self.lines.starts, self.lines.ends
        close = np.minimum(self.marks.next(ord(">"), starts), ends)
        inner = Span(np.minimum(starts + 1, close), close)
        value, numeric, _ = integers(self.data, Span(inner.starts, np.minimum(inner.ends, inner.starts + 4)))
        there = (self.data.take(starts, mode="clip") == ord("<")) & (close < ends) & numeric & (value <= _HIGHEST_PRIORITY)
        there &= inner.ends - inner.starts <= 3
        return np.where(there, close + 1, starts), Span(np.where(there, inner.starts, starts), np.where(there, close, starts)), there

    def _words(self, start: Numbers, count: int) -> tuple[list[Span], Numbers]:
        """Words with single blanks after them, and where the rest begins."""
        spans = []
        for _ in range(count):
            end = np.minimum(self.marks.next(SPACE, start), self.lines.ends)
            spans.append(Span(start, end))
            start = np.minimum(end + 1, self.lines.ends)
        return spans, start

    def _new(self, start: Numbers, versioned: Mask) -> _Header:
        """RFC 5424. The rest begins with structured data, then the message."""
        (_, time, host, program, pid, msgid), rest = self._words(start, 6)
        of = versioned & (iso_times(self.data, time)[1] | _is_dash(self.data, time))
        first = self.data.take(rest, mode="clip")
        bare = of & (first == ord("-"))
        listed = of & (first == ord("["))
        message = np.where(bare, np.minimum(rest + 2, self.lines.ends), rest)
        if listed.any():
            message[listed] = self._after_structured(np.flatnonzero(listed), rest)
            listed &= message > rest
        structured = Span(rest, np.where(listed, np.maximum(message - 1, rest), rest))
        message = np.where(self._has_mark(message), message + len(_BYTE_ORDER_MARK), message)
        time, host, msgid = (_absent(self.data, one) for one in (time, host, msgid))
        return _Header(bare | listed, time, host, self._text(program), self._text(pid), message, msgid, structured)

    def _after_structured(self, numbers: Numbers, rest: Numbers) -> Numbers:
        """Where the message begins in these lines; ``rest`` where no structured data is there."""
        texts = text(self.data, Span(rest[numbers], self.lines.ends[numbers]))
        found = pc.extract_regex(texts, _STRUCTURED)
        width = pc.fill_null(pc.binary_length(pc.struct_field(found, "data")), -1).to_numpy(zero_copy_only=False)
        return np.where(width >= 0, np.minimum(rest[numbers] + width + 1, self.lines.ends[numbers]), rest[numbers])

    def _has_mark(self, start: Numbers) -> Mask:
        found = start + len(_BYTE_ORDER_MARK) <= self.lines.ends
        for place, byte in enumerate(_BYTE_ORDER_MARK):
            found &= self.data.take(start + place, mode="clip") == byte
        return found

    def _old(self, start: Numbers) -> _Header:
        """RFC 3164."""
        end = np.minimum(start + _OLD_WIDTH, self.lines.ends)
        time = Span(start, end)
        of = pattern_times(self.data, time, _OLD_TIME, year=_LEAP_YEAR)[1]
        of &= (self.data.take(end, mode="clip") == SPACE) & (end < self.lines.ends)
        (first, second), _ = self._words(np.minimum(end + 1, self.lines.ends), 2)
        tag_first = self._is_tag(first) & of
        tag = Span(np.where(tag_first, first.starts, second.starts), np.where(tag_first, first.ends, second.ends))
        tagged = self._is_tag(tag) & of
        program, pid = self._tag(tag, tagged)
        host = Span(first.starts, np.where(tag_first, first.starts, first.ends))
        after = np.where(tagged, tag.ends, np.where(tag_first, first.starts - 1, first.ends))
        return _Header(of, time, host, program, pid, self._past_blank(after), self._nothing, self._nothing)

    def _iso(self, start: Numbers) -> _Header:
        """ISO-dated lines."""
        (time, host, tag), _ = self._words(start, 3)
        of = iso_times(self.data, time)[1] & self._is_tag(tag)
        program, pid = self._tag(tag, of)
        return _Header(of, time, host, program, pid, self._past_blank(tag.ends), self._nothing, self._nothing)

    def _past_blank(self, at: Numbers) -> Numbers:
        return np.minimum(at + 1, self.lines.ends)

    def _is_tag(self, span: Span) -> Mask:
        """Whether a word ends in a colon: the cheap half of being a tag."""
        ends = (span.ends - span.starts > 1) & (self.data.take(np.maximum(span.ends - 1, 0), mode="clip") == ord(":"))
        like = pc.match_substring_regex(text(self.data, Span(span.starts, np.where(ends, span.ends, span.starts))), _TAG)
        tag: Mask = ends & np.array(like, np.bool_)
        return tag

    def _tag(self, span: Span, tagged: Mask) -> tuple[pa.StringArray, pa.StringArray]:
        found = pc.extract_regex(text(self.data, span, ~tagged), _TAG)
        return pc.struct_field(found, "program"), pc.struct_field(found, "pid")

    def _text(self, span: Span) -> pa.StringArray:
        return text(self.data, span, _is_dash(self.data, span))


def _is_dash(data: Bytes, span: Span) -> Mask:
    dash: Mask = (span.ends - span.starts == 1) & (data.take(span.starts, mode="clip") == ord("-"))
    return dash


def _absent(data: Bytes, span: Span) -> Span:
    """The span, empty where it is a dash."""
    return Span(span.starts, np.where(_is_dash(data, span), span.starts, span.ends))


def _chosen(masks: list[Mask], spans: list[Span], otherwise: Numbers) -> Span:
    return Span(np.select(masks, [span.starts for span in spans], otherwise), np.select(masks, [span.ends for span in spans], otherwise))


SYSLOG = _Syslog()
