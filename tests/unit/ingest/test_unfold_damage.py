"""Documents cut off or damaged: what comes after them is read, and nothing is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ingest.memory import Memory, sums
from tests.unit.ingest.test_unfold import _lines, _unfold

GOOD = [
    ('{"resourceLogs":[{"resource":{"r":1},"scopeLogs":[{"scope":{},"logRecords":[{"a":"x"},{"b":"]}"}]}]}]}', [
        '{"resource":{"r":1},"scope":{},"logRecord":{"a":"x"}}', '{"resource":{"r":1},"scope":{},"logRecord":{"b":"]}"}}',
    ]),
    ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"c":[2]}],"scope":{"s":1}}],"resource":{}}]}', [
        '{"resource":{},"scope":{"s":1},"logRecord":{"c":[2]}}',
    ]),
    ('{"Records":[{"d":"{\\""},{"e":4}],"next":"token"}', ['{"d":"{\\""}', '{"e":4}']),
    ('[{"f":5},{"g":[{"h":"\\\\"}]}]', ['{"f":5}', '{"g":[{"h":"\\\\"}]}']),
    ('{"i":{"j":"[{"}}', ['{"i":{"j":"[{"}}']),
]  # fmt: skip
good = st.sampled_from(GOOD)


def _in_order(wanted: list[str], lines: list[str]) -> bool:
    left = iter(lines)
    return all(one in left for one in wanted)


def _holds_prefixes(text: bytes, cuts: list[int]) -> None:
    """What is whole in the unfolding of a file's beginning is so in that of the file, but for records that wait for their resource."""
    whole = _unfold(text)
    for cut in cuts:
        begun, _, _ = _unfold(text[:cut]).rpartition(b"\n")
        assert whole.startswith(begun), cut


def test_what_a_collector_writes_after_a_crash_is_read() -> None:
    document, events = GOOD[0]
    for first in ("", document + "\n"):
        for cut in range(len('{"resourceLogs":['), len(document)):
            text = first + document[:cut] + "\n" + 3 * (document + "\n")
            lines = _lines(text)
            assert lines[-6:] == 3 * events
            assert len(lines) <= 6 + 3 * bool(first) + 2
            assert lines[: 2 * bool(first)] == events * bool(first)
            _holds_prefixes(text.encode(), [len(first) + cut, len(first) + cut + 1, len(text) - cut])
    assert _lines(document[: document.index('"},{"b"')] + "\n" + document + "\n") == [
        '{"resource":{"r":1},"scope":{},"logRecord":{"a":"x}',
        *events,
    ]


def test_what_is_read_of_a_broken_document_is_one_line() -> None:
    good = '{"records":[{"n":1}]}\n'
    for broken, left in [
        ('{"records":[{"a":1},{"b":"x', ['{"a":1}', '{"b":"x']),
        ('{"records":[{"a":1},', ['{"a":1}']),
        ('{"records":[{"a":1}],"to', ['{"a":1}', '"to']),
        ('{"records":[],"token":"x,"records":[{"a":1}]}', ['"token":"x,"records":[{"a":1}]}']),
        ('{"records":[],"more":{"x', ['"more":{"x']),
        ('{"a":{"b', ['{"a":{"b']),
        ('[{"a":1}', ['{"a":1}']),
        ("{", ["{"]),
        ('{"resourceLogs":[{"resource":{"r', ['"resource":{"r']),
        ('{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{"s', ['"scope":{"s']),
        ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":1},{"b"', ['{"a":1}', '{"b"']),
        ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":1}],"sc', ['{"a":1}', '"sc']),
        ('{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":1}],"scope":{"s', ['{"a":1}', '"scope":{"s']),
    ]:
        assert _lines(good + broken + "\n" + good) == ['{"n":1}', *left, '{"n":1}']
        whole = _lines(good + broken)
        assert [*whole, ""] == ['{"n":1}', *left, ""] or whole == ['{"n":1}', *left]


@given(st.lists(good, min_size=1, max_size=4), good, st.lists(good, max_size=5), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_whole_documents_after_a_broken_line_are_read(before: Any, broken: Any, after: Any, data: Any, newline: str) -> None:
    text, at = broken[0], data.draw(st.integers(1, len(broken[0]) - 1))
    damage = data.draw(st.sampled_from([text[:at], text[:at] + text[at + 1 :], text[:at] + '"' + text[at:], text[:at] + "[" + text[at:]]))
    stream = newline.join([one for one, _ in before] + [damage] + [one for one, _ in after] + [""]).encode()
    lines = [line.removesuffix("\r") for line in _lines(stream)]
    first, last = [[event for _, events in some for event in events] for some in (before, after)]
    assert lines[: len(first)] == first
    assert lines[len(lines) - len(last) :] == last
    assert _unfold(stream, data.draw(st.lists(st.integers(1, 200), min_size=1, max_size=5))) == _unfold(stream)
    if b'"logRecords":[{"c"' not in stream:
        _holds_prefixes(stream, data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))


def test_a_pretty_document_without_a_quote_loses_that_record() -> None:
    records = [{"n": number, "name": f"x{number}", "list": [{"a": "v"}], "last": "y"} for number in range(5)]
    text = json.dumps(records, indent=2)
    wanted = [json.dumps(one, separators=(",", ":")) for one in records]
    assert _lines(text.replace('"x2"', '"x2')) == [*wanted[:2], '{"n":2,"name":"x2,\\n "list":[{"a":"v"}],"last":"y"}', *wanted[3:]]
    assert _lines(text.replace('"x2"', 'x2"'))[:2] == wanted[:2]
    for lost in range(text.index('"n": 2'), text.index('"n": 3')):
        if text[lost] == '"':
            lines = _lines(text[:lost] + text[lost + 1 :])
            assert lines[:2] == wanted[:2]
            assert wanted[4] in lines


def test_a_pretty_document_broken_off_ends_where_the_next_begins() -> None:
    events = ['{"a":{"b":[1,2]}}', '{"c":"d"}']
    for indent in (1, 4, "\t"):
        pretty = [json.dumps(json.loads(one), indent=indent) for one in events]
        for cut in range(2, len(pretty[0])):
            text = pretty[1] + "\n" + pretty[0][:cut] + "\n" + pretty[1] + "\n" + pretty[0] + "\n"
            assert _lines(text)[0] == events[1]
            assert _lines(text)[-2:] == [events[1], events[0]]
    document, events = GOOD[0]
    loose = json.dumps(json.loads(document), indent=0)
    for cut in range(loose.index("[") + 1, len(loose) - 1):
        assert _in_order(2 * events, _lines(loose[:cut] + "\n" + loose + "\n" + loose + "\n"))


def test_a_document_with_a_record_a_line_is_not_broken() -> None:
    for front, end in (("[\n", "\n]\n"), ('{"records":[\n', "\n]}\n"), ("[", "]\n")):
        assert _lines(2 * (front + '{"n":1},\n{"n":[\n[{"m":2}]]}' + end)) == 2 * ['{"n":1}', '{"n":[[{"m":2}]]}']
    assert _lines('[\n{"n":"x},\n{"n":2},\n{"n":3}\n]\n') == ['{"n":"x},', '{"n":2}', '{"n":3}', "]"]


def test_after_very_many_breaks_the_rest_is_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.unfold_json._MOST_STRAYS", 50)
    text = b'{"records":[]}\n' + b'{"records":[{ "a":1\n' * 60
    assert _unfold(text) == b'{"a":1\n' * 51 + b'{"records":[{ "a":1\n' * 9
    assert _unfold(text, [7, 3]) == _unfold(text)


def test_a_file_that_grew_after_a_crash_brings_its_new_records(tmp_path: Path) -> None:
    memory, document = Memory(tmp_path), b'{"Records":[{"n":1},{"n":2}]}\n'
    assert sums(memory.ingest(document + b'{"Records":[{"n":3},{"n":"4', leave=True)) == (0, 3, 1)
    assert sums(memory.ingest(document + b'{"Records":[{"n":3},{"n":"4\n' + document)) == (3, 3, 0)
    assert memory.lines[3:] == [b'{"n":"4', b'{"n":1}', b'{"n":2}']
