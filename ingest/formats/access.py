r"""Access logs of Apache, nginx and all who imitate them: ``common``, ``combined`` and ``vhost_combined``.

What each promises beyond :mod:`ingest.formats.base`:

- ``-`` is null. The ident field, which nobody fills, goes to ``labels`` as ``ident`` when it is not ``-``.
- In quoted fields ``\"`` and ``\\`` are decoded, once; ``\xhh`` and the like stay as the server wrote them.
- A request that is not ``METHOD target HTTP/version`` (TLS bytes, nonsense, nothing) is no reason to reject the line: what
  is not known is null, and the text goes to ``labels`` as ``request``. ``GET /path`` alone is HTTP/0.9: all of it is in
  its columns, the version null, and no label.
- ``combined`` and ``vhost_combined`` take further fields after the agent as ``labels`` ``trailing``, as logged. ``common`` does not.
- A line cut off within its agent is taken with what is there of it; one cut off before is rejected.

Source: https://httpd.apache.org/docs/2.4/logs.html#accesslog and https://nginx.org/en/docs/http/ngx_http_log_module.html.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core import schema
from ingest.formats.base import Parsed, State
from ingest.formats.request import split_request
from ingest.formats.template import Field, Marks, Mask, Span, Spans, Template
from ingest.formats.times import CLF_WIDTH, clf_times
from ingest.formats.values import integers, is_dash, json_object, text, unescaped_text
from ingest.formats.verdicts import Verdicts, parse_in_blocks
from ingest.lines import Lines, Numbers

__all__ = ["COMBINED", "COMMON", "VHOST_COMBINED", "AccessFormat"]

_APACHE = "https://httpd.apache.org/docs/2.4/logs.html"
_PREFIX = (
    Field("address", "address"), b" ", Field("ident", "ident"), b" ", Field("user", "user"), b" [",
    Field("time", "time", width=CLF_WIDTH), b'] "', Field("request", "request"), b'" ',
    Field("status", "status", numeric=True), b" ", Field("size", "size", numeric=True),
)  # fmt: skip
_SUFFIX = (b' "', Field("referrer", "referrer"), b'" "', Field("agent", "agent"), b'"')
_VHOST = (Field("vhost", "virtual host"), b" ")
_SHAPES = {
    "common": Template(*_PREFIX),
    "combined": Template(*_PREFIX, *_SUFFIX, rest="trailing"),
    "vhost_combined": Template(*_VHOST, *_PREFIX, *_SUFFIX, rest="trailing"),
}
_SAMPLE_TIME = '[10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
_SAMPLE_AGENT = '"http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'
_LARGEST_PORT = 65535


@dataclass(frozen=True)
class AccessFormat:
    """One of the three; see :class:`ingest.formats.base.Format`."""

    name: str
    description: str
    sample: str
    source: str = _APACHE

    @cached_property
    def template(self) -> Template:
        """The shape of its lines."""
        return _SHAPES[self.name]

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        """Parse every line; total, never raises for what a line holds."""
        return parse_in_blocks(lambda block, _: _Parse(self, block).run(), lines)


class _Parse:
    """One parse: spans, then checks that set rows aside, then columns of the rows that remain."""

    def __init__(self, form: AccessFormat, lines: Lines) -> None:
        self.form, self.lines = form, lines
        self.marks = Marks(lines.data)
        self.spans = form.template.spans(lines, self.marks)
        self.verdicts = Verdicts(len(lines))

    def run(self) -> Parsed:
        if not self.spans.fits.all():
            self._mend()
        columns = self._numbers()
        good = self.verdicts.good
        if not good.all():
            columns = {name: column.filter(pa.array(good)) for name, column in columns.items()}
            self.spans = Spans({name: span.take(good) for name, span in self.spans.fields.items()}, self.spans.fits[good])
        columns |= self._texts()
        return self.verdicts.parsed(_batch(columns))

    def _mend(self) -> None:
        """Try the misfits on the slow road; name the format of those that are another's."""
        for number, reason in self.form.template.mend(self.lines, self.spans, np.flatnonzero(~self.spans.fits)).items():
            self.verdicts.reject_numbers([number], reason or ("" if self._is_user(number) else "not of this form"))
        misfits = np.flatnonzero(~self.verdicts.good)
        for other in _SHAPES:
            if len(misfits) and other != self.form.name:
                fits = self._fits(other, self.lines.take(misfits))
                self.verdicts.reject_numbers(misfits[fits], f"it looks like format {other}")

    def _is_user(self, number: int) -> bool:
        """Whether a mended user may be one: a lone dash within it means that too many fields stand before the time."""
        span = self.spans.fields["user"]
        user = self.lines.data[span.starts[number] : span.ends[number]].tobytes()
        return b" " not in user or b" - " not in b" " + user + b" "

    def _fits(self, other: str, lines: Lines) -> Mask:
        """Which of the lines are of the other format's shape."""
        spans = _SHAPES[other].spans(lines, self.marks)
        if "vhost" not in spans.fields:
            return spans.fits
        _, colon = self.marks.next(ord(":"), spans.fields["vhost"].starts)
        return spans.fits & (colon < spans.fields["vhost"].ends)

    def _numbers(self) -> dict[str, pa.Array]:
        micros, formed, real = clf_times(self.lines.data, self.spans.fields["time"])
        self.verdicts.reject(~formed, "time is not of the form 22/Jan/2019:03:56:14 +0330")
        self.verdicts.reject(~real, "no such time")
        columns = {"event_time": pa.array(micros, pa.int64()).cast(schema.EVENT_TIME)}
        columns["http_response_status_code"] = self._integer("status", "status", 100, 999)
        columns["http_response_body_bytes"] = self._integer("size", "size", 0, None)
        if "vhost" in self.spans.fields:
            columns |= self._virtual_host()
        return columns

    def _integer(self, name: str, label: str, least: int, most: int | None) -> pa.Array:
        span = self.spans.fields[name]
        return self._checked_integer(span, is_dash(self.lines.data, span), label, least, most)

    def _checked_integer(self, span: Span, null: Mask, label: str, least: int, most: int | None) -> pa.Array:
        values, numeric, fits = integers(self.lines.data, span)
        self.verdicts.reject(~numeric & ~null, f"{label} is not a number")
        inside = fits & (values >= least) & (values <= (most or values))
        self.verdicts.reject(~inside & ~null, f"{label} is out of range")
        column = pa.array(np.where(inside, values, 0), pa.int64(), mask=null)
        return column.cast(pa.int32()) if most else column

    def _virtual_host(self) -> dict[str, pa.Array]:
        """``%v:%p``: the port follows the last colon."""
        span = self.spans.fields["vhost"]
        colons = self.marks.of(ord(":"))
        last = np.searchsorted(colons, span.ends) - 1
        at = colons.take(last, mode="clip") if len(colons) else span.starts - 1
        found = (at >= span.starts) & (at < span.ends)
        self.verdicts.reject(~found, "no port after the virtual host")
        at = np.where(found, at, span.ends)
        self.spans.fields["vhost"] = Span(span.starts, at)
        port = Span(np.minimum(at + 1, span.ends), span.ends)
        return {"url_port": self._checked_integer(port, ~found, "port", 0, _LARGEST_PORT)}

    def _texts(self) -> dict[str, pa.Array]:
        fields, data = self.spans.fields, self.lines.data
        request = split_request(self.marks, fields["request"])
        columns = {
            "source_address": text(data, fields["address"], is_dash(data, fields["address"])),
            "user_name": self._quoted("user"),
            "http_request_method": request.method,
            "url_original": request.target,
            "http_version": request.version,
        }
        if "agent" in fields:
            columns |= {"http_request_referrer": self._quoted("referrer"), "user_agent_original": self._quoted("agent")}
        if "vhost" in fields:
            columns["url_domain"] = text(data, fields["vhost"], is_dash(data, fields["vhost"]))
        columns["labels"] = self._labels(request.unknown)
        return columns

    def _quoted(self, name: str) -> pa.Array:
        span = self.spans.fields[name]
        return unescaped_text(self.marks, span, is_dash(self.lines.data, span))

    def _labels(self, unknown_request: Mask) -> pa.Array:
        """What has no column, as JSON: of the few rows that have such a thing."""
        fields, data = self.spans.fields, self.lines.data
        present = {"request": unknown_request, "ident": ~is_dash(data, fields["ident"])}
        if "trailing" in fields:
            present["trailing"] = fields["trailing"].starts < fields["trailing"].ends
        some = np.logical_or.reduce(list(present.values()))
        rows: Numbers = np.flatnonzero(some)
        if not len(rows):
            return pa.nulls(len(some), pa.string())
        parts = {name: self._label(name, rows, ~mask[rows]) for name, mask in present.items()}
        return pc.replace_with_mask(pa.nulls(len(some), pa.string()), pa.array(some), json_object(parts))

    def _label(self, name: str, rows: Numbers, null: Mask) -> pa.Array:
        span = self.spans.fields[name].take(rows)
        return unescaped_text(self.marks, span, null) if name == "request" else text(self.lines.data, span, null)


def _batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Columns in the schema's order, the input columns last."""
    order = [column.name for column in schema.COLUMNS if column.name in columns]
    names = [*order, *(name for name in columns if name not in order)]
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=names)


COMMON = AccessFormat("common", "Apache common log: no referrer, no user agent", f"127.0.0.1 - frank {_SAMPLE_TIME}")
COMBINED = AccessFormat(
    "combined", "Apache and nginx combined log: common with referrer and user agent", f"127.0.0.1 - frank {_SAMPLE_TIME} {_SAMPLE_AGENT}"
)
VHOST_COMBINED = AccessFormat(
    "vhost_combined",
    "combined log with the virtual host and port in front, as Debian's Apache writes it",
    f"www.example.com:80 127.0.0.1 - frank {_SAMPLE_TIME} {_SAMPLE_AGENT}",
)
