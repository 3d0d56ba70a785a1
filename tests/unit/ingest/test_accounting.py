"""Nothing is lost: every line of whatever a file holds has one outcome, for every format, in order, however it is cut into chunks.

The files are all fixtures, the same with one byte of a hundred changed, random bytes, and pieces of every format's sample
shuffled. What a run then counts is shown by ``tests/contract/test_commands_hostile.py``.
"""

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest import formats
from ingest.batches import Chunk, Limits, chunks
from ingest.formats.base import Format, FormatOptions, begins_with_brace, is_stateful, skim
from ingest.formats.following import Following
from ingest.formats.registry import wrappers
from ingest.sources import Reader

DATA = Path(__file__).parents[2] / "data"
FIXTURES = [
    path for folder in ("logs", "conformance") for path in sorted((DATA / folder).rglob("*")) if path.suffix in (".log", ".0", ".1")
]
WRAPPED = [f"{wrapper.name}+{inner}" for wrapper in wrappers() for inner in ("combined", "w3c", "json")]
AUTO = "auto"
EVERY = [*formats.names(), *WRAPPED, AUTO]
every_format = pytest.mark.parametrize("name", EVERY)

HEAD = 8 << 10
"""Of a fixture so many bytes are enough here: the last line is cut, as in a file that is being written."""
SAMPLES = "\n".join(formats.get(name).sample for name in formats.names()) + "\n" + "\n".join(one.sample for one in wrappers()) + "\n"


class _Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self.left = memoryview(data)

    def readinto(self, view: memoryview, /) -> int:
        size = min(len(view), len(self.left))
        view[:size], self.left = self.left[:size], self.left[size:]
        return size


@dataclass(frozen=True)
class Account:
    """What became of the lines of a source; numbers are those of the source's lines."""

    lines: int
    rows: list[dict[str, object]]
    numbers: list[int]
    rejected: dict[int, str]
    eventless: list[int]


def form_of(name: str) -> Format:
    """``auto`` may come to any format: one that follows changes is taken, since it alone has more than one opinion."""
    return Following(formats.get("combined")) if name == AUTO else formats.get(name)


def sample_of(name: str) -> list[str]:
    """The lines of a format's sample, the last of which is an event."""
    _, plus, inner = name.partition("+")
    sample = form_of(name).sample
    if not plus:
        return sample.split("\n")
    written: Callable[[str], str] = (lambda line: json.dumps(line)[1:-1]) if begins_with_brace(form_of(name)) else str
    inside = written(formats.get("combined").sample)
    return [sample.replace(inside, written(line)) for line in sample_of(inner)]


def pieces_of(data: bytes, limits: Limits) -> Iterator[Chunk]:
    return chunks(Reader("bytes", _Bytes(data)), limits)


def account(name: str, data: bytes, **limits: int) -> Account:
    """Parse it all, and hold the promises of every part against it.

    :raises AssertionError: a line has no outcome, or two; or outcomes are out of order.
    """
    form, state = form_of(name), None
    first, rows, numbers, rejected, eventless = 0, list[pa.RecordBatch](), list[int](), dict[int, str](), list[int]()
    for chunk in pieces_of(data, Limits(**limits)):
        assert chunk.lines == len(chunk.good) + chunk.set_aside.num_rows
        parsed = formats.parse(form, chunk.good, state)
        state = parsed.state
        for some in (parsed.numbers, parsed.rejected, parsed.eventless):
            assert (np.diff(some) > 0).all()
        rows.append(parsed.rows)
        numbers += (chunk.numbers[parsed.numbers] + first).tolist()
        lost = [*zip(chunk.numbers[parsed.rejected].tolist(), parsed.reasons, strict=True)]
        lost += zip(chunk.set_aside["ingest_row"].to_pylist(), chunk.set_aside["reason"].to_pylist(), strict=True)
        rejected |= {first + number: reason for number, reason in lost}
        eventless += (chunk.numbers[parsed.eventless] + first).tolist()
        first += chunk.lines
    assert sorted([*numbers, *rejected, *eventless]) == list(range(first))
    return Account(first, [row for batch in rows for row in batch.to_pylist()], numbers, rejected, eventless)


def lines_in(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def flipped(data: bytes) -> bytes:
    """The same with one byte of a hundred changed: newlines and NULs come and go."""
    chance = np.random.default_rng(len(data))
    changed = np.frombuffer(data, np.uint8).copy()
    places = chance.choice(len(changed), max(len(changed) // 100, 1), replace=False)
    changed[places] ^= chance.integers(1, 256, len(places), dtype=np.uint8)
    return changed.tobytes()


@functools.cache
def fixtures() -> tuple[bytes, ...]:
    return tuple(path.read_bytes()[:HEAD] for path in FIXTURES)


def test_there_are_fixtures() -> None:
    assert len(FIXTURES) > 50
    assert len(EVERY) > 40
    assert sum(map(lines_in, fixtures())) > 500


# ------------------------------------------------------------------------------------------------------- every line, once


@every_format
@pytest.mark.parametrize("change", [bytes, flipped])
def test_every_line_of_every_fixture_has_one_outcome(name: str, change: Callable[[bytes], bytes]) -> None:
    data = b"\n".join(map(change, fixtures()))
    assert account(name, data).lines == lines_in(data)


@every_format
def test_where_a_source_is_cut_changes_nothing(name: str) -> None:
    """The state that one chunk leaves is all that the next one needs."""
    data = "\n".join([*sample_of(name), ""]).encode() + b"\n".join(one[:600] for one in fixtures()) + SAMPLES.encode()
    whole = account(name, data)
    parts = account(name, data, batch_lines=60 if name == AUTO else 7)
    if name != AUTO:  # which looks at more than a chunk before it believes in a change
        assert parts == whole
    assert parts.lines == whole.lines == lines_in(data)
    assert whole.rows


@pytest.mark.parametrize("name", [name for name in EVERY if is_stateful(form_of(name))])
def test_what_is_passed_over_leaves_the_same_state(name: str) -> None:
    """A run that goes on where another stopped is shown the lines before, and must not come to another end."""
    form = form_of(name)
    (chunk,) = pieces_of("\n".join([*sample_of(name), SAMPLES]).encode(), Limits())
    assert skim(form, chunk.good, None) == formats.parse(form, chunk.good).state


_ODD = st.sampled_from(
    [b"\n", b"\r\n", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b" ", b"\t", b"#", b"=", b"\xff", b"\xef\xbb\xbf", b"\x1b["]
)
_PIECES = st.sampled_from([SAMPLES[start : start + 24].encode() for start in range(0, len(SAMPLES) - 24, 12)])
_LINES = st.sampled_from([line.encode() + b"\n" for line in SAMPLES.splitlines()])


@settings(max_examples=400)
@given(
    name=st.sampled_from(EVERY),
    parts=st.lists(st.one_of(_ODD, _PIECES, _LINES, st.binary(max_size=20)), max_size=40),
    size=st.integers(1, 64),
)
@example(name="w3c", parts=[b"#Fields:\n", b"#Fields: time\n", b"#"], size=1)
@example(name="otlp", parts=[SAMPLES.encode()], size=2)
def test_every_line_of_random_bytes_has_one_outcome(name: str, parts: list[bytes], size: int) -> None:
    data = b"\n" + b"".join(parts)  # whatever they begin with, it is not packed
    cut = account(name, data, batch_lines=size, line_bytes=200)
    assert cut.lines == lines_in(data)
    if name != AUTO:
        assert cut == account(name, data, line_bytes=200)


# ------------------------------------------------------------------------------------------- lines made to take for ever

LONG = 100_000
"""Bytes of a line. What grows with their square takes minutes, with their cube days: such a test does not fail, it never ends."""


def _long(unit: str, front: str = "", end: str = "") -> str:
    return front + unit * (LONG // len(unit)) + end


_OUT_OF_ORDER = " [x] a b c d - 5 x 5 x 5"
_SLOW = ['"', '" ', "{", ",", ", ", " ", "\\", '\\"', "[] ", " [ ", " [x] a b c d", _OUT_OF_ORDER, " [x] a b/c d/"]
_SLOW += ['{"a":', '{"a":[', 'a="b" ', 'a="', '"",', "9", "="]


@every_format
def test_lines_without_end(name: str) -> None:
    *headers, line = sample_of(name)
    middle, quote = len(line) // 2, max(line.rfind('"', 0, -1), 1)
    units = [_long(unit) for unit in _SLOW] + [_long(_OUT_OF_ORDER, line[:middle]), _long('" ', line[:quote], line[quote:])]
    data = "\n".join([*headers, *units, line, ""]).encode()
    whole = account(name, data)
    assert len(whole.rejected) + len(whole.rows) == len(units) + 1
    assert whole.numbers[-1] == whole.lines - 1


CUSTOM = {
    "texts": {"nginx": '$remote_addr - $remote_user - $host - [$time_local] "$request" $status'},
    "lists": {"nginx": '$time_iso8601 $http_x_forwarded_for $upstream_addr $upstream_response_time "$request" $status'},
    "no quotes": {"apache": "%h -- %l -- %u -- %t %>s"},
}


@pytest.mark.parametrize("name", CUSTOM)
def test_lines_without_end_of_formats_of_the_configuration(name: str) -> None:
    form = formats.get(name, FormatOptions(custom=CUSTOM))
    units = [*_SLOW, " - ", " -- ", "- [x] ", "1, ", ' "- - ']
    (chunk,) = pieces_of("".join(_long(unit) + "\n" for unit in units).encode(), Limits())
    parsed = formats.parse(form, chunk.good)
    assert (len(parsed.rejected), parsed.rows.num_rows) == (len(units), 0)


_OBJECTS = {
    "ten thousand names": ",".join(f'"k{number}":1' for number in range(10_000)),
    "one name, often": ",".join('"k":1' for _ in range(10_000)),
    "objects within objects": '"d":' + '{"a":' * 60 + "1" + "}" * 60,
    "objects too deep": '"d":' + '{"a":' * 10_000 + "1" + "}" * 10_000,
    "lists too deep": '"d":' + "[" * 50_000 + "]" * 50_000,
    "a long name": '"' + "k" * 100_000 + '":1',
    "a name of many parts": '"a' + ".x" * 50_000 + '":1',
    "a long number": '"n":' + "9" * 100_000,
    "escapes": '"k":"' + "\\u00e9\\n" * 20_000 + '"',
    "half a pair of surrogates": '"k":"\\ud800"',
    "a list": '"l":[' + ",".join('{"key":"a","value":{"stringValue":"b"}}' for _ in range(5_000)) + "]",
}
JSON_FORMATS = [name for name in formats.names() if begins_with_brace(formats.get(name))]


@pytest.mark.parametrize("name", JSON_FORMATS)
def test_objects_without_end(name: str) -> None:
    sample = formats.get(name).sample
    data = "\n".join([*(f"{sample[:-1]},{more}}}" for more in _OBJECTS.values()), sample, ""]).encode()
    whole = account(name, data)
    outcome = dict(zip(_OBJECTS, (whole.rejected.get(number, "") for number in range(len(_OBJECTS))), strict=True))
    assert outcome["ten thousand names"] == outcome["objects within objects"] == outcome["a long name"] == outcome["escapes"] == ""
    assert outcome["objects too deep"] == outcome["lists too deep"] == "nested too deep"
    assert outcome["half a pair of surrogates"] == "not valid JSON"
    assert outcome["one name, often"]
    assert whole.numbers[-1] == len(_OBJECTS)


def test_a_list_of_pairs_of_one_key_is_kept_beside_its_first() -> None:
    """Both go to labels, the list being around the value: no text is taken from a buffer twice unnoticed."""
    record = json.loads(formats.get("otlp").sample)
    record["logRecord"]["attributes"] += [{"key": "k", "value": {"stringValue": text}} for text in ("first", "second")]
    whole = account("otlp", (json.dumps(record) + "\n").encode())
    assert whole.rejected == {}
    labels = json.loads(str(whole.rows[0]["labels"]))
    assert labels["logRecord.attributes.k"] == "first"
    assert labels["logRecord.attributes"][-1] == {"key": "k", "value": {"stringValue": "second"}}


_T = "2016-10-06T00:17:09.669794202Z stdout "
_HEADERS = {
    "w3c": ("#Fields: date time c{0}", "2000-01-01 00:00:00 x"),
    "csv": ("time,ip,c{0}", "2000-01-01T00:00:00Z,192.0.2.1,x"),
    "tsv": ("time\tip\tc{0}", "2000-01-01T00:00:00Z\t192.0.2.1\tx"),
    "cri+w3c": (_T + "F #Fields: date time c{0}", _T + "F 2000-01-01 00:00:00 x"),
}


@pytest.mark.parametrize("name", _HEADERS)
def test_headers_without_end(name: str) -> None:
    """What is remembered of headers has a bound, and lines under others are rejected."""
    header, line = _HEADERS[name]
    whole = account(name, "".join(f"{header.format(number)}\n{line}\n" for number in range(5_000)).encode())
    assert (len(whole.rows), len(whole.eventless), len(whole.rejected)) == (100, 5_000, 4_900)
    assert set(whole.rejected.values()) == {"under one header too many"}


def _docker(text: str, stream: str) -> str:
    return json.dumps({"log": text, "stream": stream, "time": "2000-10-10T20:55:36.1Z"})


@pytest.mark.parametrize("part", [f"{_T}P " + "x" * 200, _docker("x" * 200, "stdout")], ids=["cri", "docker"])
def test_parts_without_end(part: str) -> None:
    """A message in parts that never ends is held up to its limit, not to the file's."""
    name = "cri+combined" if part.startswith(_T) else "docker+combined"
    (chunk,) = pieces_of((part + "\n").encode() * 20_000, Limits())
    parsed = formats.parse(formats.get(name), chunk.good)
    assert (len(parsed.eventless), len(parsed.rejected), parsed.rows.num_rows) == (20_000, 0, 0)
    assert 900_000 < len(repr(parsed.state)) < 1_200_000


def test_streams_without_end() -> None:
    """Docker has two; of a file that names others nothing is remembered."""
    (chunk,) = pieces_of("".join(_docker("x", f"s{number}") + "\n" for number in range(5_000)).encode(), Limits())
    parsed = formats.parse(formats.get("docker+combined"), chunk.good)
    assert set(parsed.reasons) == {"its stream is neither stdout nor stderr"}
    assert (len(parsed.rejected), parsed.state) == (5_000, None)
