"""The same requests in the words of every format.

A format's sample line is the template: all samples tell of one request, so that what stands for its address, time, method and
the rest is found by its text and replaced by that of each request. Header lines stay as they are.

- Quotes are escaped as the format does it; what a request lacks is ``-`` in text and an empty string in JSON.
- An IPv6 address before a port stands in brackets.
- What looks like an id (of the request, its trace, its connection) is another in each line, so that hardly any two lines have equal
  labels, as in real logs. The user, ports, hosts and the rest that combined has no field for stay those of the sample.
"""

import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import Format, get, names, parse
from ingest.formats.access import COMBINED
from ingest.formats.base import begins_with_brace
from ingest.formats.registry import wrappers
from ingest.lines import Lines

__all__ = ["Renderer", "lines_of", "renderer", "requests_of", "subjects"]

Strings = Any  # pyarrow ships no types: a pa.StringArray
_Encode = Callable[[Strings], Strings]

ADDED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "json": (
        ('"http": {"request": {', '"http": {"version": "1.0", "request": {"referrer": "http://www.example.com/start.html", '),
        ('"trace":', '"user_agent": {"original": "Mozilla/4.08 [en] (Win98; I ;Nav)"}, "trace":'),
    ),
    "ocsf": (('"path":"/apache_pb.gif"', '"path":"/apache_pb.gif","query_string":"{query}"'),),
    "otlp": (('{"key":"url.scheme"', '{"key":"url.query","value":{"stringValue":"{query}"}},{"key":"url.scheme"'),),
    "w3c": (("gif - 80", "gif {query} 80"),),
    "cloudfront": (("Nav)\t-\t-", "Nav)\t{query}\t-"),),
    "cloudfront_json": (('"cs-uri-query":"-"', '"cs-uri-query":"{query}"'),),
}
"""What of a sample is replaced before it becomes a template: the query's place, where it has a field of its own, and what a sample
leaves out that lines of its format mostly have."""
_MARKS = (
    ("clf", r"10/Oct/2000:(?:13:55:36 -0700|20:55:36 \+0000)", "%d/%b/%Y:%H:%M:%S +0000"),
    ("clf_zoneless", r"10/Oct/2000:20:55:36", "%d/%b/%Y:%H:%M:%S"),
    ("iso_zoned", r"2000-10-10T13:55:36-07:00", "%Y-%m-%dT%H:%M:%S+00:00"),
    ("date", r"2000-10-10", "%Y-%m-%d"),
    ("clock", r"20:55:36", "%H:%M:%S"),
    ("month_first", r"Oct 10 13:55:36", "%b %e %H:%M:%S"),
    ("epoch", r"971211336", ""),
    ("address_of_port", r"127\.0\.0\.1(?=:\d)", ""),
    ("address", r"127\.0\.0\.1", ""),
    ("target", r"/apache_pb\.gif", ""),
    ("key", r"apache_pb\.gif", ""),
    ("query", r"\{query\}", ""),
    ("method", r"\bGET\b", ""),
    ("version", r"(?<=HTTP/)1\.0\b|(?<=\")1\.0(?=\")", ""),
    ("status", r"(?<![\w.-])200(?![\w.-])", ""),
    ("size", r"(?<![\w.-])2326(?![\w.-])", ""),
    ("referrer", r"http://www\.example\.com/start\.html", ""),
    ("agent", r"Mozilla/4\.08 \[en\] \(Win98; I ;Nav\)", ""),
    ("agent_plus", r"Mozilla/4\.08\+\[en\]\+\(Win98;\+I\+;Nav\)", ""),
    ("agent_percent", r"Mozilla/4\.08%20(?:\[|%5B)en(?:\]|%5D)%20\(Win98;%20I%20;Nav\)", ""),
    ("id", r"(?<![A-Za-z0-9])(?=(?:[A-Za-z]*[0-9]){2})(?=[0-9]*[A-Za-z])[A-Za-z0-9]{12,}(?![A-Za-z0-9.])", ""),
)
_MARK = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern, _ in _MARKS))
_TIMES = {name: form for name, _, form in _MARKS if form}
_UNREADABLE = r"^[^/]| "
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two of its first multiples are equal


def requests_of(text: memoryview) -> pa.RecordBatch:
    """The rows of combined lines that any format can tell: those of a whole request for a path."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    rows = parse(COMBINED, Lines(data, np.concatenate(([0], ends[:-1] + 1)), ends)).rows
    whole = pc.and_(pc.is_valid(rows["http_version"]), pc.invert(pc.match_substring_regex(rows["url_original"], _UNREADABLE)))
    return rows.filter(pc.fill_null(whole, False))


def subjects() -> list[Format]:
    """Every registered format, and ``combined`` within every wrapper; ``combined`` first."""
    forms = [get(name) for name in (*names(), *(f"{wrapper.name}+combined" for wrapper in wrappers()))]
    return sorted(forms, key=lambda form: form.name != COMBINED.name)


@dataclass(frozen=True)
class Renderer:
    """Writes requests as lines of one format.

    :param headers: the lines that come before all others.
    :param parts: what a line is made of, in turn: text, and names of :data:`_MARKS`.
    """

    headers: tuple[str, ...]
    parts: tuple[str, ...]
    encode: _Encode
    absent: str

    @property
    def marks(self) -> frozenset[str]:
        """Which facts of a request its lines tell."""
        return frozenset(self.parts[1::2])

    def render(self, requests: pa.RecordBatch) -> Lines:
        """A line for each request, newlines between them."""
        columns = {mark: self._column(mark, requests).cast(pa.binary()) for mark in self.marks}
        parts = [columns[part] if number % 2 else pa.scalar(part.encode(), pa.binary()) for number, part in enumerate(self.parts)]
        text = pc.binary_join_element_wise(*parts, pa.scalar(b"\n", pa.binary()), b"")
        places = np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1].astype(np.int64)
        return Lines(np.frombuffer(text.buffers()[2], np.uint8), places[:-1], places[1:] - 1)

    def _column(self, mark: str, requests: pa.RecordBatch) -> Strings:
        if mark in _TIMES:
            return _formatted(requests["event_time"], _TIMES[mark])
        query_apart = "query" in self.marks
        return self.encode(pc.fill_null(_FACTS[mark](requests, query_apart), self.absent))


def renderer(form: Format) -> Renderer:
    """What writes lines of that format.

    :raises ValueError: its sample is not of the request that all samples tell of.
    """
    sample = form.sample
    for old, new in ADDED.get(form.name, ()):
        sample = _replaced(sample, old, new)
    *headers, line = sample.split("\n")
    parts = _parts(line)
    if "agent_percent" in parts:
        parts = tuple("referrer_percent" if part == "referrer" else part for part in parts)
    if not {"address", "address_of_port"} & set(parts[1::2]):
        raise ValueError(f"the sample of {form.name} has no address 127.0.0.1")
    encode, absent = _spelling(form)
    return Renderer(tuple(headers), parts, encode, absent)


def _replaced(sample: str, old: str, new: str) -> str:
    if old not in sample:
        raise ValueError(f"the sample has no {old}")
    return sample.replace(old, new)


def _parts(line: str) -> tuple[str, ...]:
    parts, end = [], 0
    for hit in _MARK.finditer(line):
        parts += [line[end : hit.start()], str(hit.lastgroup)]
        end = hit.end()
    return (*parts, line[end:])


def lines_of(texts: tuple[str, ...]) -> Lines:
    """Texts as lines."""
    raw = [text.encode() for text in texts]
    ends = np.cumsum([len(line) + 1 for line in raw], dtype=np.int64) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - np.array([len(line) for line in raw], np.int64), ends)


# ------------------------------------------------------------------------------------------------------ facts of a request


def _formatted(times: pa.Array, form: str) -> Strings:
    distinct = times.cast(pa.timestamp("s", tz="UTC")).dictionary_encode()
    return pc.strftime(distinct.dictionary, format=form).take(distinct.indices)


def _epoch(requests: pa.RecordBatch, _: bool) -> Strings:
    return pc.divide(requests["event_time"].cast(pa.int64()), 1_000_000).cast(pa.string())


def _address_of_port(requests: pa.RecordBatch, _: bool) -> Strings:
    address = requests["source_address"]
    return pc.if_else(pc.match_substring(address, ":"), pc.binary_join_element_wise("[", address, "]", ""), address)


def _target(requests: pa.RecordBatch, query_apart: bool) -> Strings:
    target = requests["url_original"]
    return pc.replace_substring_regex(target, r"(?s)\?.*$", "") if query_apart else target


def _query(requests: pa.RecordBatch, _: bool) -> Strings:
    target = requests["url_original"]
    query = pc.replace_substring_regex(target, r"(?s)^[^?]*\??", "")
    return pc.if_else(pc.equal(query, ""), None, query)


def _ids(requests: pa.RecordBatch, _: bool) -> Strings:
    numbers = np.arange(1, len(requests) + 1, dtype=np.uint64) * _MIXER >> np.uint64(16)
    return pa.array([f"{number:012x}" for number in numbers.tolist()], pa.string())


def _agent_percent(requests: pa.RecordBatch, _: bool) -> Strings:
    distinct = requests["user_agent_original"].dictionary_encode()
    escaped = [urllib.parse.quote(agent, safe="/();,:") for agent in distinct.dictionary.to_pylist()]
    return pa.array(escaped, pa.string()).take(distinct.indices)


_FACTS: Mapping[str, Callable[[pa.RecordBatch, bool], Strings]] = {
    "epoch": _epoch,
    "address_of_port": _address_of_port,
    "address": lambda requests, _: requests["source_address"],
    "target": _target,
    "key": lambda requests, apart: pc.utf8_slice_codeunits(_target(requests, apart), 1),
    "query": _query,
    "method": lambda requests, _: requests["http_request_method"],
    "version": lambda requests, _: requests["http_version"],
    "status": lambda requests, _: requests["http_response_status_code"].cast(pa.string()),
    "size": lambda requests, _: pc.fill_null(requests["http_response_body_bytes"], 0).cast(pa.string()),
    "referrer": lambda requests, _: requests["http_request_referrer"],
    "agent": lambda requests, _: requests["user_agent_original"],
    "agent_plus": lambda requests, _: pc.replace_substring(requests["user_agent_original"], " ", "+"),
    "agent_percent": _agent_percent,
    "referrer_percent": lambda requests, _: pc.replace_substring(requests["http_request_referrer"], "%", "%25"),
    "id": _ids,
}


# ------------------------------------------------------------------------------------------------------------- spellings


def _spelling(form: Format) -> tuple[_Encode, str]:
    """How the format writes what needs escaping, and what it writes where there is nothing."""
    if "+" in form.name:
        return (lambda strings: _backslashed(_backslashed(strings)), "-") if begins_with_brace(form) else (_backslashed, "-")
    if begins_with_brace(form):
        return _backslashed, ""
    plain: Mapping[str, tuple[_Encode, str]] = {"csv": (_cell, ""), "tsv": (_cell, ""), "w3c": (_as_is, "-"), "cloudfront": (_as_is, "-")}
    return plain.get(form.name, (_backslashed, "-"))


def _as_is(strings: Strings) -> Strings:
    return strings


def _backslashed(strings: Strings) -> Strings:
    return pc.replace_substring(pc.replace_substring(strings, "\\", "\\\\"), '"', '\\"')


def _cell(strings: Strings) -> Strings:
    quoted = pc.binary_join_element_wise('"', pc.replace_substring(strings, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(strings, '[",]'), quoted, strings)
