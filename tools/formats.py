"""Writes docs/formats.md from the formats: python -m tools.formats > docs/formats.md (a test compares the two).

What a sample becomes is what its format's parse makes of it, before any transform.
"""

import datetime as dt
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingest.formats import Format, FormatOptions, get, names, parse
from ingest.formats.base import Wrapper
from ingest.formats.registry import wrappers
from ingest.lines import Lines

__all__ = ["EXAMPLES", "Example", "document", "options_of", "row_of"]

_HEAD = """\
# Formats

Made from the formats in `ingest/formats/` by `python -m tools.formats > docs/formats.md`; a test compares the two.

A format is one form in which programs write the requests they served: what stands in a line, and which column of
[columns.md](columns.md) each part of it fills. `ingest`, `parse` and `formats test` take its name with `--format`.

- `--format auto` is the default (setting `ingest.format`): the first lines of a file are read as every format, and the one that reads
  most of them, most completely, is taken. What was chosen, and why, is said; when nothing reads nine of ten of these lines, or two
  formats read them equally well and differently, the file is refused with the candidates named.
- `docker+combined` is a format within a [wrapper](#wrappers): what Docker, Kubernetes, syslog, the journal or a shipper put around a line.
- A format of your own goes by the name you give it in the configuration: see [formats of your own](#formats-of-your-own).

What a file becomes before anything is stored:

```sh
auditlake formats
auditlake formats test access.log
auditlake parse access.log --format combined
```

## All formats
"""

_EACH = """\
## Format by format

For each, a line of it (after the header lines it needs) and what its parse makes of that line: the columns, and under `labels:` what
has none. Transforms come later: they split `url_original`, find out about proxies, redact, locate, and name the agent.
"""

_WRAPPERS = """\
## Wrappers

Any format may stand behind a wrapper and a plus sign, also one of your own: `syslog+haproxy`, `cri+nginx_json`. What the wrapper says
goes to `labels`, under names that begin with the wrapper's and a dot. If a line within brings a label of such a name, the wrapper's counts.
A message that was split over several lines is joined. Times are those of the line within, never the wrapper's.

| wrapper | what it is | defined by |
|---|---|---|
"""

_OWN = """\
## Formats of your own

`[formats.NAME]` in the configuration, with exactly one of `apache`, `nginx`, `w3c`, `csv` and `json`; beside it `description` and
`zone`, the zone of times that name none. `--format NAME` reads it, `--format auto` tries it before all others, and a wrapper may stand in
front. Every directive of Apache's `LogFormat` and every variable of nginx's `log_format` is known; one without a column goes to
`labels`, and so does one that no server defines.
"""

_SHARED = """\
## Labels that several formats have

What has no column goes to `labels` under the log's own name for it, in the spelling of the format. These names are in more than one of the
samples above, with one meaning in each.

| label | formats |
|---|---|
"""

_RULES = """\
## Rules for all

- A line is a row, or it is rejected with a short reason that quotes nothing of it, or it holds no event (headers, comments, parts of a
  message). None stops the rest.
- `-` is no value in text logs, nor is an empty cell. In JSON `null` is absent; so are `""` and `-` where a number or an address belongs,
  and in all formats but `json` wherever a column is filled.
- Escapes are decoded once. In quoted fields of text logs `\\"` and `\\\\` become `"` and `\\`; `\\xhh` and all others stay as the server
  wrote them. JSON is decoded as JSON says. What a client sent can therefore neither end its field nor begin a line.
- Terminals never receive raw control characters: they are shown as escapes, from a row, a label or a rejected line alike.
- Times become UTC, to the microsecond; further digits are cut off. A time that names no zone is of the zone of the format (`zone`), else
  of `ingest.timezone`, else UTC; where the format itself says UTC, it is that. Numbers since 1970 are seconds, milliseconds, microseconds
  or nanoseconds: as the format says, or by their size.
- A request line that is none (TLS bytes, nonsense, nothing) is no reason to reject a line: what is not known is empty, and the text goes
  to `labels` as `request`.
- What its column cannot hold rejects the line: a status beyond 999, a size that is no number.
- A field that a format does not know is not lost: it is in `labels`.
- `source_address` is the client as the server saw it. Behind proxies the header that names another is judged by
  [your list of them](ingest.md#clients-behind-proxies).
"""


@dataclass(frozen=True)
class Example:
    """A format of the configuration: what it is for, its settings, and a line of it."""

    title: str
    settings: str
    line: str


EXAMPLES = (
    Example(
        "Apache: the string of a `LogFormat` line, as it stands in the server's configuration.",
        "[formats.shop]\n" + r"""apache = '%h %l %u %t \"%r\" %>s %b %D \"%{X-Forwarded-For}i\" %{UNIQUE_ID}e'""",
        '10.0.0.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 1250 "192.0.2.7" ZxUrGH8AAQEAAAb3',
    ),
    Example(
        "nginx: the strings of a `log_format` line. `escape` is `default`, `json` or `none`, as there.",
        "[formats.edge]\n"
        + "nginx = '$remote_addr [$time_iso8601] \"$request\" $status $body_bytes_sent $request_time $upstream_cache_status'",
        '127.0.0.1 [2000-10-10T13:55:36-07:00] "GET /apache_pb.gif HTTP/1.0" 200 2326 0.012 HIT',
    ),
    Example(
        "W3C extended: the names of the fields, for files without their `#Fields:` line.",
        '[formats.iis]\nw3c = "date time c-ip cs-method cs-uri-stem cs-uri-query sc-status time-taken s-sitename"',
        "2000-10-10 20:55:36 127.0.0.1 GET /apache_pb.gif - 200 15 W3SVC1",
    ),
    Example(
        "Delimited text: the names of the columns, for files without a header. `delimiter` is one sign, a comma if left out.",
        '[formats.export]\ncsv = "time, client_ip, method, url, status, bytes, branch"\ndelimiter = ";"\nzone = "America/Los_Angeles"',
        "2000-10-10 13:55:36;127.0.0.1;GET;/apache_pb.gif;200;2326;north",
    ),
    Example(
        "JSON lines: dotted path in the document = column. The names of `json` hold beside them.",
        '[formats.app.json]\nwhen = "event_time"\n"client.addr" = "source_address"\ncode = "http_response_status_code"',
        '{"when": 971211336, "client": {"addr": "127.0.0.1"}, "code": 200, "url": {"original": "/apache_pb.gif"}, "tenant": "north"}',
    ),
)
"""One of each kind."""


def document() -> str:
    """The whole page."""
    known = [get(name) for name in names()]
    lines = [_HEAD, "| format | what it reads | defined by |", "|---|---|---|", *map(_listed, known), ""]
    lines += [_EACH, *(line for form in known for line in _section(form)), *_wrapper_sections()]
    lines += [_OWN, *(line for example in EXAMPLES for line in _example(example))]
    lines += [_SHARED + "\n".join(_shared(known)), "", _RULES]
    return "\n".join(lines)


def row_of(form: Format, sample: str) -> tuple[dict[str, Any], list[str]]:
    """What the last line of a sample becomes, null columns left out and labels read; then all columns that the format can fill.

    :raises ValueError: it is not one row.
    """
    parsed = parse(form, _lines(sample))
    if len(parsed.numbers) != 1 or len(parsed.rejected):
        raise ValueError(f"the sample of {form.name} is {len(parsed.numbers)} rows; {', '.join(parsed.reasons)}")
    row = {name: value for name, value in parsed.rows.to_pylist()[0].items() if value is not None}
    return row | ({"labels": json.loads(row["labels"])} if "labels" in row else {}), list(parsed.rows.schema.names)


def options_of(settings: str) -> FormatOptions:
    """The formats of a piece of configuration."""
    return FormatOptions(custom=tomllib.loads(settings)["formats"])


def _lines(sample: str) -> Lines:
    raw = [line.encode() for line in sample.split("\n")]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def _listed(form: Format) -> str:
    return f"| [`{form.name}`](#{form.name}) | {_cell(form.description)} | {_link(form)} |"


def _link(form: Format | Wrapper) -> str:
    return f"[{form.source.split('/')[2].removeprefix('www.')}]({form.source})"


def _section(form: Format) -> list[str]:
    row, fillable = row_of(form, form.sample)
    others = [name for name in fillable if name not in row]
    more = [f"It can also fill {_and(map(_code, others))}.", ""] if others else []
    return [f"### {form.name}", "", f"{form.description}. Defined by {_link(form)}.", "", *_fence(form.sample), *_table(row), "", *more]


def _wrapper_sections() -> list[str]:
    rows = [f"| [`{one.name}+…`](#{one.name}) | {_cell(one.description)} | {_link(one)} |" for one in wrappers()]
    return [_WRAPPERS + "\n".join(rows), "", *(line for one in wrappers() for line in _wrapper_section(one))]


def _wrapper_section(wrapper: Wrapper) -> list[str]:
    row, _ = row_of(get(f"{wrapper.name}+combined"), wrapper.sample)
    own = {name: value for name, value in row.get("labels", {}).items() if name.startswith(f"{wrapper.name}.")}
    said = _table({"labels": own}) if own else ["It says nothing beside the message in this sample."]
    return [f"### {wrapper.name}", "", "A line of `combined` within it, and the labels it adds:", "", *_fence(wrapper.sample), *said, ""]


def _example(example: Example) -> list[str]:
    options = options_of(example.settings)
    (name,) = options.custom
    row, _ = row_of(get(name, options), example.line)
    return [example.title, "", *_fence(example.settings, "toml"), *_fence(example.line), *_table(row), ""]


def _shared(known: Sequence[Format]) -> list[str]:
    """Labels of two samples or more, by name, with the formats whose samples have them."""
    found: dict[str, list[str]] = {}
    for form in known:
        for label in row_of(form, form.sample)[0].get("labels", {}):
            found.setdefault(label, []).append(form.name)
    return [f"| {_code(label)} | {', '.join(map(_code, forms))} |" for label, forms in sorted(found.items()) if len(forms) > 1]


def _fence(text: str, language: str = "text") -> list[str]:
    return [f"```{language}", text, "```", ""]


def _table(row: dict[str, Any]) -> list[str]:
    columns = [(_code(name), value) for name, value in row.items() if name != "labels"]
    labels = [(f"labels: {_code(name)}", value) for name, value in row.get("labels", {}).items()]
    return ["| column | value |", "|---|---|", *(f"| {name} | {_cell(_code(_text(value)))} |" for name, value in columns + labels)]


def _text(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


if __name__ == "__main__":
    sys.stdout.write(document())
