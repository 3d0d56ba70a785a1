"""The tokens of JSON documents against Python's json module."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.json_structure import Pairs, Structure
from ingest.lines import Lines


def lines_of(*texts: str) -> Lines:
    raw = [text.encode() for text in texts]
    lengths = np.array([len(line) for line in raw], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(raw), np.uint8), ends - lengths, ends)


def members(structure: Structure, prefixes: list[str], *pairs: Pairs) -> list[list[tuple[str, Any]]]:
    """Of each document path and value of its members, those of entered objects in place of these."""
    found = structure.members(pa.array(sorted(prefixes), pa.string()), pairs)
    paths = found.paths.to_pylist()
    result: list[list[tuple[str, Any]]] = [[] for _ in range(len(structure))]
    for number, row in enumerate(found.rows.tolist()):
        text = structure.data[found.span.starts[number] : found.span.ends[number]].tobytes()
        if not found.entered[number]:
            assert text[0] == found.kinds[number]
            assert text == text.strip()
            assert bool(found.escaped[number]) == (b"\\" in text)
            result[row].append((paths[found.codes[number]], json.loads(text, object_pairs_hook=_Pairs)))
    return result


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, repeated keys included."""


def expected(document: str, prefixes: list[str]) -> list[tuple[str, Any]]:
    return list(_flat("", json.loads(document, object_pairs_hook=_Pairs), prefixes))


def _flat(prefix: str, members: _Pairs, prefixes: list[str]) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in members:
        path = prefix + key
        flat += _flat(path + ".", value, prefixes) if path in prefixes and isinstance(value, _Pairs) else [(path, value)]
    return flat


_keys = st.sampled_from(["a", "b", "a.b", "", "é", '"', "\\", '\\"', "a\\", "{", "]:,"]) | st.text(max_size=3)
_scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | _keys
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=10)
_documents = st.tuples(
    st.dictionaries(_keys, _values, max_size=4), st.booleans(), st.sampled_from([None, 1, 5]), st.sampled_from(["", " ", " \t  "])
)


@given(st.lists(_documents, max_size=5))
def test_members_are_those_of_pythons_parser(documents: list[tuple[dict[str, Any], bool, int | None, str]]) -> None:
    texts = [
        around + json.dumps(document, ensure_ascii=ascii_, indent=indent).replace("\n", " ") + around
        for document, ascii_, indent, around in documents
    ]
    structure = Structure(lines_of(*texts))
    prefixes = ["a", "a.b", "a.a", "b", "a.a.b"]
    assert members(structure, prefixes) == [expected(text, prefixes) for text in texts]
    assert structure.is_object().all()
    assert not structure.looks_lenient().any()


@pytest.mark.parametrize(
    "document",
    [
        "{}",
        '{"a":{},"b":[],"c":{"d":{}}}',
        '{ "a" : { "x" : 1 , "y":[ 1 , {"a":2} ] } , "a":null }',
        '{"a":      1,"b":[     ],      "c":      true      }',
        '{"a":{"b":{"b":1},"a":{"b":{"c":2}}},"a":{"b":3}}',
        '{"x":[{"a":1},{"a":{"b":2}}],"a":{"z":[{"b":1}]}}',
        r'{"\u0061":{"\"":"\\"},"k\\":"\\\"","\"":"{\"a\":1}"}',
    ],
)
def test_documents_of_odd_forms(document: str) -> None:
    between = '{"a":{"b":"}"}}'
    prefixes = ["a", "a.b", "a.a"]
    found = members(Structure(lines_of(between, document, between)), prefixes)
    assert found == [expected(text, prefixes) for text in (between, document, between)]


def test_what_lies_between_the_lines_does_not_count() -> None:
    data = np.frombuffer(b'x"{"a":1}"{[{"a":"\\"b"}', np.uint8)
    structure = Structure(Lines(data, np.array([2, 12]), np.array([9, 23])))
    assert members(structure, []) == [[("a", 1)], [("a", '"b')]]


@pytest.mark.parametrize(
    "text", ['{"a":NaN}', '{"a": -nan}', '{"a":[1,Inf]}', '{"a":-Infinity}', '{"a":1,}', '{"a":[1 , ]}', '{"a":     inf}']
)
def test_what_is_more_than_json_is_named(text: str) -> None:
    good = '{"a":[null,-1,"NaN",[],{},",]",true]}'
    assert Structure(lines_of(good, text, good)).looks_lenient().tolist() == [False, True, False]


def test_depth() -> None:
    texts = ['{"a":' + "[" * deep + "]" * deep + "}" for deep in (3, 63, 64, 200, 1000)]
    structure = Structure(lines_of(*texts, '{"a":"[[[[[["}'))
    assert structure.deeper_than(64).tolist() == [False, False, True, True, True, False]
    assert structure.deeper_than(3).tolist() == [True, True, True, True, True, False]


def test_pairs_become_members() -> None:
    otlp = {"attributes": [{"key": "a.b", "value": {"intValue": "1"}}, {"value": {"stringValue": '{[\\"'}, "key": "c"}], "z": 1}
    waf = {"request": {"headers": [{"name": "Host", "value": "h"}, {"name": "é", "value": {"x": 1, "y": 2}}]}}
    structure = Structure(lines_of(*(json.dumps(document) for document in (otlp, waf, otlp))))
    found = members(structure, ["request"], Pairs("attributes"), Pairs("request.headers", key="name"))
    otlp_members = [("attributes.a.b", "1"), ("attributes.c", '{[\\"'), ("z", 1)]
    assert found == [otlp_members, [("request.headers.Host", "h"), ("request.headers.é", [("x", 1), ("y", 2)])], otlp_members]


@pytest.mark.parametrize(
    "value",
    [
        [],
        [1],
        ["key"],
        {"key": "k", "value": 1},
        [{"key": "k", "value": 1}, {}],
        [{"key": "k", "value": 1}, 1],
        [{"key": "k", "value": 1}, {"key": "k"}],
        [{"key": 1, "value": 1}],
        [{"key": "k", "value": 1}, {"key": ["k"], "value": 1}],
        [[{"key": "k", "value": 1}]],
        [{"a": {"key": "k", "value": 1}}],
    ],
)
def test_lists_of_another_shape_stay_whole(value: Any) -> None:
    good = '{"l":[{"key":"k","value":2}]}'
    text = json.dumps({"l": value})
    assert members(Structure(lines_of(good, text, good)), [], Pairs("l")) == [[("l.k", 2)], expected(text, []), [("l.k", 2)]]


def test_of_a_pair_given_twice_the_first_counts_and_the_list_stays() -> None:
    text = '{"l":[{"key":"k","value":1},{"key":"k","value":2},{"key":"m","value":3}]}'
    ((whole, first, other),) = members(Structure(lines_of(text)), [], Pairs("l"))
    assert (whole[0], first, other) == ("l", ("l.k", 1), ("l.m", 3))
    assert len(whole[1]) == 3
    twice_in_one = '{"l":[{"key":"k","value":1,"value":2},{"key":"m"}]}'
    assert members(Structure(lines_of(twice_in_one)), [], Pairs("l")) == [expected(twice_in_one, [])]


def test_a_wide_document_and_a_million_brackets() -> None:
    wide = {f"k{i}": i for i in range(50_000)}
    spaces = '{"a":' + " " * 1_000_000 + "1}"
    ((*_, last),) = members(Structure(lines_of(json.dumps(wide))), [])
    assert last == ("k49999", 49_999)
    assert members(Structure(lines_of(spaces)), []) == [[("a", 1)]]
    flat = '{"a":[' + ",".join(["[]"] * 500_000) + '],"b":{"c":1}}'
    found = Structure(lines_of(flat)).members(pa.array(["b"]))
    assert (found.paths.to_pylist(), (found.span.ends - found.span.starts)[0]) == (["a", "b", "b.c"], len(flat) - len('{"a":,"b":{"c":1}}'))


def test_no_documents() -> None:
    assert members(Structure(lines_of()), ["a"], Pairs("a")) == []
    assert members(Structure(lines_of("{}")), ["a"], Pairs("a")) == [[]]
