"""Bodies of the bulk API taken apart."""

import json

import pytest

from ingest.bulk import MOST_ITEMS, Action, MalformedError, TooManyError, read_bulk

CREATE = '{"create":{"_index":"web"}}'
LINE = '{"message":"127.0.0.1 - -"}'


def test_items_in_their_order() -> None:
    body = "\n".join(
        ["", CREATE, LINE, " ", '{"index":{"_id":"7"}}', '{"url.path":"/"}', '{"delete":{"_id":"7"}}', '{"update":{}}', "{}", CREATE, "{"]
    )
    bulk = read_bulk(body.encode() + b"\n")
    assert list(bulk.actions) == [
        Action("create", "web", ""),
        Action("index", "", "7"),
        Action("delete", "", "7"),
        Action("update", "", ""),
        Action("create", "web", ""),
    ]
    assert bulk.documents[1] == b'{"url.path":"/"}'
    assert bulk.good.tolist() == [True, True, False, False, False]
    assert bulk.lines.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("document", "good", "line"),
    [
        ('{"log":"a"}', True, True),
        ('{"log":"a\\n","stream":"stdout","time":"t"}', True, False),
        ('{"log":{"file":{"path":"p"}}}', True, False),
        ('{"message":"a","url":{"path":"/"}}', True, False),
        ('{"message":"a","http":{}}', True, False),
        ('{"message":"a","url_path":"/"}', True, False),
        (' {"message":"a"}\r', True, True),
        ('{"a":1}', True, False),
        ("[1]", False, False),
        ("7", False, False),
        ('{"a":1', False, False),
        ("\udcff", False, False),
    ],
)
def test_documents(document: str, good: bool, line: bool) -> None:
    bulk = read_bulk(f"{CREATE}\n{document}\n".encode(errors="surrogateescape"))
    assert (bulk.good.tolist(), bulk.lines.tolist()) == ([good], [line])


def test_names_that_are_none() -> None:
    bulk = read_bulk(b'{"create":{"_index":7,"_id":"\\ud800"}}\n{}\n' + json.dumps({"index": {"_index": "x" * 600}}).encode() + b"\n{}")
    assert [(one.index, one.id) for one in bulk.actions] == [("", "?"), ("x" * 512, "")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "there is no action in the body"),
        (b"\n \n", "there is no action in the body"),
        (b"x\n{}", "a line that should be an action is not JSON"),
        (b"[" * 100_000, "a line that should be an action is not JSON"),
        (b"[]\n{}", "an action is not an object with one member"),
        (b'{"create":{},"index":{}}\n{}', "an action is not an object with one member"),
        (b'{"drop":{}}\n{}', "an action is none of create, index, update and delete"),
        (b'{"create":7}\n{}', "an action is none of create, index, update and delete"),
        (b'{"create":{}}\n', "an action has no document after it"),
        (b'{"create":{}}', "an action has no document after it"),
    ],
)
def test_what_is_no_bulk(body: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        read_bulk(body)


def test_too_many_items() -> None:
    item = b'{"delete":{}}\n'
    assert len(read_bulk(item * MOST_ITEMS).actions) == MOST_ITEMS
    with pytest.raises(TooManyError):
        read_bulk(item * (MOST_ITEMS + 1))
