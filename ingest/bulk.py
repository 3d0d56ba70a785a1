"""Bodies of Elasticsearch's bulk API taken apart: an action on one line, its document on the next.

``{"create":{"_index":"web"}}``, then ``{"@timestamp":...}``. Taken are ``create`` and ``index``; ``update`` and ``delete`` would change
what is stored, and are refused item by item, as is a document that is no JSON object. A body whose lines cannot be told apart at all
is refused whole.

Source: https://www.elastic.co/guide/en/elasticsearch/reference/8.17/docs-bulk.html.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.formats import _json_engine as engine
from ingest.formats.shippers import carry_lines
from ingest.formats.template import Mask

__all__ = ["MOST_ITEMS", "Action", "Bulk", "MalformedError", "TooManyError", "read_bulk"]

MOST_ITEMS = 100_000
"""Items of a body."""

_TAKEN = ("create", "index")
_WITH_DOCUMENT = (*_TAKEN, "update")
_LONGEST_NAME = 512


class MalformedError(ValueError):
    """A body that is none of the bulk API's."""


class TooManyError(ValueError):
    """A body with more than :data:`MOST_ITEMS` items."""


@dataclass(frozen=True)
class Action:
    """What is asked for a document.

    :param kind: ``create``, ``index``, ``update`` or ``delete``.
    :param index: where it should go; empty for the one that the address names.
    :param id: the document's, empty when it is given none.
    """

    kind: str
    index: str
    id: str

    @property
    def taken(self) -> bool:
        """Whether it adds a document."""
        return self.kind in _TAKEN


@dataclass(frozen=True)
class Bulk:
    """A body, taken apart.

    :param actions: of each item.
    :param documents: of each item; empty where its action has none or adds none.
    :param good: whether each item's document is one to take; bool[items].
    :param lines: whether it holds a line that the shipper has not taken apart; bool[items].
    """

    actions: Sequence[Action]
    documents: Sequence[bytes]
    good: Mask
    lines: Mask


def read_bulk(body: bytes) -> Bulk:
    """Take a body apart.

    :raises MalformedError: a line that should be an action is none, or a document is missing at the end.
    :raises TooManyError: it has too many items.
    """
    actions, documents = _items(body)
    if not actions:
        raise MalformedError("there is no action in the body")
    texts = [_text(document) if action.taken else None for action, document in zip(actions, documents, strict=True)]
    docs = pa.array(texts, pa.string())
    good = _are_documents(docs)
    lines = good.copy()
    lines[good] = carry_lines(docs.filter(pa.array(good)))
    return Bulk(actions, documents, good, lines)


def _items(body: bytes) -> tuple[list[Action], list[bytes]]:
    known: dict[bytes, Action] = {}
    actions: list[Action] = []
    documents: list[bytes] = []
    rest = (line.rstrip(b"\r\n") for line in io.BytesIO(body))
    for line in rest:
        if not line or line.isspace():
            continue
        action = known.get(line)
        if action is None:
            action = known[line] = _action(line)
        document = next(rest, b"") if action.kind in _WITH_DOCUMENT else b""
        if not document and action.kind in _WITH_DOCUMENT:
            raise MalformedError("an action has no document after it")
        if len(actions) == MOST_ITEMS:
            raise TooManyError(f"there are more than {MOST_ITEMS} actions in the body")
        actions.append(action)
        documents.append(document)
    return actions, documents


def _action(line: bytes) -> Action:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedError("a line that should be an action is not JSON") from None
    if not isinstance(given, dict) or len(given) != 1:
        raise MalformedError("an action is not an object with one member")
    kind, about = next(iter(given.items()))
    if kind not in (*_WITH_DOCUMENT, "delete") or not isinstance(about, dict):
        raise MalformedError("an action is none of create, index, update and delete")
    return Action(kind, _name(about, "_index"), _name(about, "_id"))


def _name(about: dict[str, object], key: str) -> str:
    value = about.get(key, "")
    return value[:_LONGEST_NAME].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _text(document: bytes) -> str | None:
    try:
        return document.decode()
    except UnicodeDecodeError:
        return None


def _are_documents(docs: pa.StringArray) -> Mask:
    """Which are JSON objects."""
    objects = np.array(pc.fill_null(pc.match_substring_regex(docs, r"^\s*\{"), False), np.bool_)
    objects[objects] = engine.are_valid(docs.filter(pa.array(objects)))
    return objects
