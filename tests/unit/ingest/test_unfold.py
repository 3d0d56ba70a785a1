"""Documents of JSON become lines: the same events in the same order, whatever surrounds them and however they arrive."""

import bz2
import gzip
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AuditlakeError
from ingest.sources import Reader, open_source
from ingest.unfold import HEAD_BYTES, kind_of
from ingest.unfold_json import JsonUnfolder
from ingest.unfold_records import CONTEXT_BYTES, HELD_BYTES
from tests.unit.ingest.memory import Memory, sums

OTLP = """{
  "resourceLogs": [
    {
      "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
      "scopeLogs": [
        {
          "scope": {"name": "my.library", "version": "1.0.0"},
          "logRecords": [
            {"timeUnixNano": "1544712660300000000", "severityText": "Information", "body": {"stringValue": "Example, [log]"}},
            {"timeUnixNano": "1544712660400000000"}
          ]
        }
      ]
    }
  ]
}
"""
CLOUDTRAIL = '{"Records": [{"eventVersion": "1.0", "eventName": "StartInstances"}, {"eventVersion": "1.0", "errorMessage": "\\"}],{"}]}'

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=5) | st.sampled_from(["a\\", '"', "[{", "}]", ",\n"]), values, max_size=3)
layouts = st.tuples(st.sampled_from([None, 0, 1, 4, "\t"]), st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", " : ")]), st.booleans())


def _dump(value: Any, layout: tuple[Any, tuple[str, str], bool]) -> str:
    indent, separators, plain = layout
    return json.dumps(value, indent=indent, separators=separators, ensure_ascii=plain)


def _unfold(text: bytes, sizes: list[int] | None = None) -> bytes:
    unfolder, at, turn = JsonUnfolder(), 0, 0
    out: list[bytes] = []
    while at < len(text):
        size = sizes[turn % len(sizes)] if sizes else len(text)
        out += unfolder.feed(text[at : at + size])
        at, turn = at + size, turn + 1
    return b"".join([*out, *unfolder.finish()])


def _lines(text: str | bytes) -> list[str]:
    whole = _unfold(text.encode() if isinstance(text, str) else text).decode()
    return whole.split("\n")[:-1] if whole.endswith("\n") else whole.split("\n")


def _read(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    with open_source(path) as reader:
        parts = []
        while part := reader.read(1000):
            parts.append(part)
        reader.check()
        assert reader.offset == sum(map(len, parts))
    return b"".join(parts)


# ------------------------------------------------------------------------------------------------------- what content is


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b'[{"a":1}]', "json"),
        (b"[]", "json"),
        (b' \r\n[\n\t{"a"', "json"),
        (b"\xef\xbb\xbf[{", "json"),
        (b'{"Records":[', "json"),
        (b'{ "records" : [', "json"),
        (b'{"resourceLogs":\n[', "json"),
        (b'{\n  "time"', "json"),
        (b"{ \r\n", "json"),
        (b"PAR1\x15\x04", "parquet"),
        (b"PAR1-WEB 10.0.0.1", "lines"),
        (b'{"a":1}\n{"b":2}\n', "lines"),
        (b'{ "time": "x"}\n', "lines"),
        (b'{"Records":{"a":1}}', "lines"),
        (b'{"RecordsX":[1]}', "lines"),
        (b"[Wed Oct 11 14:32:52 2000] [error]", "lines"),
        (b"[1, 2]", "lines"),
        (b"127.0.0.1 - -", "lines"),
        (b"\nfoo", "lines"),
        (b" " * HEAD_BYTES, "lines"),
    ],
)
def test_the_first_bytes_tell_what_content_is(first: bytes, kind: str) -> None:
    assert kind_of(first) == kind
    told = [kind_of(first[:size]) for size in range(len(first))]
    assert set(told) <= {None, kind}, "no shorter beginning tells another"
    assert told == sorted(told, key=lambda one: one is not None), "once told, it stays"


def test_lines_stay_as_they_are(tmp_path: Path) -> None:
    for text in (b'{"a": 1}\n{"b":\t2}\n', b"[", b"{", b'{"Rec', b"PAR", b"\xef\xbb", b" \n \n", b"[x] {\n", b"", b"a" * 5000 + b"\n{\n"):
        for packed in (text, gzip.compress(text), bz2.compress(text)):
            assert _read(tmp_path / "log", packed) == text


def test_a_pipe_is_not_waited_for() -> None:
    class Trickle:
        pieces: ClassVar = [b"{    ", b"     ", b"  ", b'"t"', b":1}\n"]

        def readinto(self, view: memoryview, /) -> int:
            assert self.pieces, "reads on although it could tell"
            piece = self.pieces.pop(0)
            view[: len(piece)] = piece
            return len(piece)

    assert open_source("-", Trickle()).read(15) == b'{           "t"'
    assert Trickle.pieces == [b":1}\n"]


def test_lines_known_to_be_lines_are_not_unfolded() -> None:
    assert Reader("quarantine", io.BytesIO(b'[{"a": 1}]\n')).read(100) == b'[{"a": 1}]\n'


# --------------------------------------------------------------------------------------------------------------- objects


@given(st.lists(objects, max_size=6), layouts, st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_an_array_gives_its_objects(documents: list[Any], layout: Any, sizes: list[int]) -> None:
    text = _dump(documents, layout).encode("utf-8", "surrogatepass")
    whole = _unfold(text)
    assert [json.loads(line) for line in whole.splitlines()] == documents
    assert whole.count(b"\n") == len(documents)
    assert _unfold(text, sizes) == whole


@given(
    st.lists(objects, max_size=6), layouts, st.sampled_from(["\n", "", " ", ",\n", "\r\n\r\n"]), st.lists(st.integers(1, 40), min_size=1)
)
def test_objects_that_follow_each_other_are_a_line_each(documents: list[Any], layout: Any, between: str, sizes: list[int]) -> None:
    documents = [{"first": [1, {"a": 2}]}, *documents]  # which shows the layout
    text = between.join(_dump(one, layout) for one in documents).encode("utf-8", "surrogatepass")
    whole = _unfold(text)
    assert [json.loads(line) for line in whole.splitlines()] == documents
    assert _unfold(text, sizes) == whole


@given(st.lists(st.lists(objects, max_size=4), min_size=1, max_size=4), layouts, st.sampled_from(["Records", "records"]))
def test_envelopes_give_their_records(lists: list[list[Any]], layout: Any, name: str) -> None:
    text = "\n".join(_dump({name: one, "nextToken": "a],}", "count": 1}, layout) for one in lists)
    found = [json.loads(line) for line in _unfold(text.encode("utf-8", "surrogatepass")).splitlines()]
    assert found == [record for one in lists for record in one]


@given(st.binary(max_size=80) | st.text('[]{},:"\\ \nax1', max_size=80).map(str.encode), st.lists(st.integers(1, 9), min_size=1))
def test_anything_passes_and_how_it_is_cut_changes_nothing(rest: bytes, sizes: list[int]) -> None:
    for begun in (b"{\n", b'[{"a":1},', b'{"Records":[', b'{"resourceLogs":[{"scopeLogs":[{"logRecords":['):
        assert _unfold(begun + rest, sizes) == _unfold(begun + rest)


def test_cloudtrail() -> None:
    assert _lines(CLOUDTRAIL) == [
        '{"eventVersion":"1.0","eventName":"StartInstances"}', '{"eventVersion":"1.0","errorMessage":"\\"}],{"}',
    ]  # fmt: skip


def test_what_stands_beside_the_list_is_dropped_only_when_it_is_plain() -> None:
    assert _lines('{"records":[1],"a":"x","b":-1,"c":null,"d":{"e":[1,2]},"f":[3],"g":tru} x {"h":4}\n') == [
        "1", '"d":{"e":[1,2]}', '"f":[3]', 'x {"h":4}',
    ]  # fmt: skip
    assert _lines('{"records":[],"a":1 {"event":2},"records":[{"b":3}]}') == ['{"event":2}', '{"b":3}']


def test_white_space_that_parts_words_stays() -> None:
    assert _lines('[{ "a" :\n [ 1 ,\t2 ] , "b" : tru  e, "c": "x" \n "y" }]') == ['{"a":[1,2],"b":tru e,"c":"x" "y"}']


def test_a_raw_newline_in_a_string_becomes_its_escape() -> None:
    assert _lines('[{"a":"x\ny"},{"b":"x\\\nz\\\\\n"}]') == ['{"a":"x\\ny"}', '{"b":"x\\nz\\\\\\n"}']
    assert _lines('{\n"a":"x\r\ny\tz"}\n{}') == ['{"a":"x\r\\ny\tz"}', "{}"]


def test_what_is_no_document_passes_line_by_line() -> None:
    text = '{\n"a": 1}\nGET "{ [ /\nsecond\n\n{"b": 2} tail\n[1, 2]\n "x"\n{"c": 3}\n'
    assert _lines(text) == ['{"a":1}', 'GET "{ [ /', "second", '{"b":2}', "tail", "[1, 2]", '"x"', '{"c":3}']


def test_after_very_many_stray_lines_the_rest_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.unfold_json._MOST_STRAYS", 50)
    text = b"{\n}\n" + b"x\n{ }\n" * 51 + b"y\n{ }\n"
    assert _unfold(text) == b"{}\n" + b"x\n{}\n" * 50 + b"x\n{ }\ny\n{ }\n"


def test_a_bracket_too_many_costs_no_record_but_its_own() -> None:
    assert _lines('[{"a":1}}, {"b":2}, {"c":3}]') == ['{"a":1}', '{"b":2}', '{"c":3}', "]"]


@pytest.mark.parametrize("text", [CLOUDTRAIL, '[\n {"a": [1, "}"]},\n {"b": 2}\n]\n', '{\n "a": 1\n}\n{\n "b": 2\n}\n', OTLP])
def test_a_document_cut_short_gives_every_record_before_the_cut(tmp_path: Path, text: str) -> None:
    whole = _unfold(text.encode())
    complete = 0
    for cut in range(1, len(text)):
        read = _read(tmp_path / "cut", text[:cut].encode())
        got = read.rpartition(b"\n")[0].splitlines()
        if kind_of(text[:cut].encode()) != "json":
            assert read == text[:cut].encode()
        else:
            assert whole.splitlines()[: len(got)] == got
            assert len(got) >= complete
            complete = len(got)
    assert complete >= len(whole.splitlines()) - 1
    packed = gzip.compress(text.encode())
    for cut in range(11, len(packed)):
        (tmp_path / "cut").write_bytes(packed[:cut])
        with open_source(tmp_path / "cut") as reader:
            assert reader.read(10_000).count(b"\n") <= len(whole.splitlines())
            with pytest.raises(AuditlakeError, match="is damaged"):
                reader.check()


# ------------------------------------------------------------------------------------------------------------------ OTLP


def _otlp(lines: list[str]) -> list[tuple[Any, Any, Any]]:
    return [(one.get("resource"), one.get("scope"), one.get("logRecord")) for one in map(json.loads, lines)]


def test_a_log_record_keeps_its_resource_and_scope() -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]}
    scope = {"name": "my.library", "version": "1.0.0"}
    records = json.loads(OTLP)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    for text in (OTLP, json.dumps(json.loads(OTLP)), json.dumps(json.loads(OTLP), sort_keys=True)):
        assert _otlp(_lines(text * 2)) == [(resource, scope, record) for record in records] * 2


def test_records_may_come_before_their_resource_and_scope() -> None:
    late = '{"scopeLogs":[{"logRecords":[{"a":1},{"b":2}],"scope":{"s":1}},{"scope":{"s":2},"logRecords":[{"c":3}]}],"resource":{"r":1}}'
    bare = '{"scopeLogs":[{"logRecords":[{"d":4}]}],"schemaUrl":"u"}'
    assert _otlp(_lines('{"resourceLogs":[' + late + "," + bare + "]}")) == [
        ({"r": 1}, {"s": 1}, {"a": 1}), ({"r": 1}, {"s": 1}, {"b": 2}), ({"r": 1}, {"s": 2}, {"c": 3}), (None, None, {"d": 4}),
    ]  # fmt: skip


def test_what_waits_too_long_or_has_too_much_before_it_passes_bare() -> None:
    record = '{"a":"%s"}' % ("x" * 1000)
    many = ",".join([record] * (HELD_BYTES // 1000 + 1))
    lines = _lines('{"resourceLogs":[{"scopeLogs":[{"logRecords":[' + many + '],"scope":{}}],"resource":{}}]}')
    assert lines == [record] * (HELD_BYTES // 1000 + 1)
    wide = '{"r":"%s"}' % ("x" * CONTEXT_BYTES)
    text = '{"resourceLogs":[{"resource":' + wide + ',"scopeLogs":[{"scope":{},"logRecords":[{"a":1}]}]}]}'
    assert _lines(text) == ['"resource":' + wide, '{"a":1}']
    assert _lines('{"Records":[{"a":1}],"token":"' + "x" * CONTEXT_BYTES + '"}') == ['{"a":1}', '"token":"' + "x" * CONTEXT_BYTES + '"']


def test_a_document_that_ends_before_the_scope_leaves_bare_records() -> None:
    assert _lines('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":1},{"b":') == ['{"a":1}', '{"b":']


# ---------------------------------------------------------------------------------------------------------------- sources


def test_offsets_and_identity_are_those_of_the_lines(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    array = json.dumps([{"n": number} for number in range(5)], indent=2).encode()
    assert sums(memory.ingest(array)) == (0, 5, 0)
    assert memory.lines == [b'{"n":%d}' % number for number in range(5)]
    assert sums(memory.ingest(gzip.compress(array), "copy.gz")) == (5, 0, 0)
    assert sums(memory.ingest(b"".join(b'{"n":%d}\n' % number for number in range(7)), "as-lines.json")) == (5, 2, 0)


def test_a_growing_file_of_lines_is_untouched(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert sums(memory.ingest(b'{"n": 1}\n')) == (0, 1, 0)
    assert sums(memory.ingest(b'{"n": 1}\n[{"n": 2}]\n')) == (1, 1, 0)
    assert memory.lines == [b'{"n": 1}', b'[{"n": 2}]']


def test_an_array_that_grew_brings_its_new_records(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert sums(memory.ingest(b'[{"n": 1},\n{"n": 2}', leave=True)) == (0, 1, 1)
    assert sums(memory.ingest(b'[{"n": 1},\n{"n": 2},\n{"n": 3}]')) == (1, 2, 0)
    assert sums(memory.ingest(b'[{"n": 1},\n{"n": 2},\n{"n": 3}, {"n": 4}')) == (3, 1, 0)
    assert sums(memory.ingest(b'[{"n": 1},\n{"n": 2},\n{"n": 3}, {"n": 4}]')) == (4, 0, 0)


class _Endless:
    """A front, then a pattern over and over, of so many bytes."""

    def __init__(self, front: bytes, pattern: bytes, size: int) -> None:
        self._block = pattern * ((1 << 18) // len(pattern))
        self._pieces: Iterator[bytes] = iter([front, *[self._block] * (size // len(self._block))])
        self._left = b""

    def readinto(self, view: memoryview, /) -> int:
        self._left = self._left or next(self._pieces, b"")
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


@pytest.mark.parametrize(
    ("front", "pattern"),
    [
        (b'[{"a":"', b"x"),
        (b'[{"a":"', b"\\\n"),
        (b'[{"a":', b"["),
        (b"[{}", b" "),
        (b"{\n", b"{"),
        (b'{"Records":[],"', b"key"),
        (b'{"resourceLogs":[{"resource":"', b"x"),
        (b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[', b"{},"),
        (b'{"resourceLogs":[{"resource":{"r":"%s"},"scopeLogs":[{"scope":{},"logRecords":[' % (b"x" * 100), b"{},"),
        (b"{\n}\n", b"stray "),
        (b'{"resourceLogs":[]}\n', b'{"resourceLogs":[{"resource":{"a":"\n'),
        (b'{"Records":[]}\n{"Records":["', b"x\r\n"),
        (b'[\n{\n "a":"', b'\n "name":"x'),
        (b'[{"a":"', b"\r\n"),
    ],
)
def test_memory_is_bounded(front: bytes, pattern: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.unfold_json._MOST_STRAYS", 300)
    reader = open_source("-", _Endless(front, pattern, 12 << 20))
    view = memoryview(bytearray(1 << 16))
    tracemalloc.start()
    try:
        while reader.readinto(view):
            pass
        assert tracemalloc.get_traced_memory()[1] < (HELD_BYTES * 2 if b"logRecords" in front else 0) + (12 << 20)
    finally:
        tracemalloc.stop()
    reader.check()
