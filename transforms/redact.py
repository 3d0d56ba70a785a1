"""Secrets taken out of URLs, referrers and labels before anything is stored.

Promises: the value of a parameter with a secret name, an e-mail address, and the user and password of a URL are in no column
of the result, but for the columns that are meant to hold such things (``user_name``, ``user_agent_original``); what else the
text says stays readable. What counts as a secret is defined in :mod:`transforms.secret_patterns`. In ``labels``, which is a
JSON object, the value of a secret key goes whole, each string is treated like a URL, and the result is JSON again.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import UsageError
from transforms import secret_patterns as patterns
from transforms.base import distinct, put, spread, text_column
from transforms.choices import DEFAULT_SECRET_NAMES
from transforms.strings import holds_any

__all__ = ["DEFAULT_SECRET_NAMES", "Redact"]

_TEXTS = ("url_path", "url_query", "http_request_referrer")
_LONGEST_NUMBER = 1000
_MOST_KEYS, _MOST_SAMPLED = 8, 10_000
_MOST_KNOWN, _LONGEST_KNOWN = 4096, 1000
_TELLTALE = r"""[@%='"]"""
_TELLTALE_BYTES = b"@%='\""
_NO_KEY = r"([^\x00-\x{10FFFF}])"
"""Matches nothing; with a group, as the patterns have that it stands for."""
_HARMLESS = (
    r"(?:[A-Za-z0-9]+[._-])*(?:[A-Za-z]+(?:Status|Error)|[Ss]tatus|[Rr]esult|[Rr]esponse|[Ee]rror)_?[Cc]ode(?:_list|_details)?"
    r"|authentication_type|signature_version"
)
"""Keys of labels that hold a word of the list and tell no secret: what servers call a status, and S3 the kind of a signature."""
_HARMLESS_KEY = rf'"(?:{_HARMLESS})"\s*:'
_ESCAPED = r"\\u(?:[^0]|0[^0]|00(?:[^23]|2[^6]|3[^cCeE]))"
"""An escaped character of JSON may hide anything, but for ``&``, ``<`` and ``>``, which Go always escapes."""


class Redact:
    """Replaces secrets by ``REDACTED`` in path, query, referrer and labels.

    :param names: words that make a parameter secret; an empty list leaves parameters alone, and still takes out e-mail
        addresses and passwords in URLs.
    :raises UsageError: a name has no letter or digit, or the list is too long for one pattern.
    """

    name = "redact"
    version: dict[str, str] = {"rules": "2"}  # noqa: RUF012 - the protocol's type
    warnings: tuple[str, ...] = ()

    def __init__(self, names: Sequence[str] = DEFAULT_SECRET_NAMES) -> None:
        for name in names:
            if not patterns.has_words(name):
                raise UsageError(f"redact name {name!r} has no letter or digit", "write parameter names such as token")
        parameter = patterns.parameter_pattern(names) if names else _NO_KEY
        self._key = patterns.name_pattern(names) if names else _NO_KEY
        hint = patterns.hint_pattern(names) if names else _NO_KEY
        self._hint_of_parameter, self._parameter = hint, parameter
        self._known: dict[str, str] = {}
        self._hint = rf"{hint}|{patterns.AT}|{_ESCAPED}"
        self._member = patterns.member_pattern(names) if names else _NO_KEY
        self._labels = rf'{parameter}|{self._key}[^"]*"\s*:|{patterns.EMAIL}|{patterns.USER_IN_JSON}|{_ESCAPED}'
        try:
            pc.match_substring_regex(pa.array([""]), self._labels)
        except pa.ArrowInvalid:
            raise UsageError(f"the redact list of {len(names)} names is too long", "keep it to a few hundred short names") from None

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The same rows with the secrets replaced; columns that the batch lacks stay absent."""
        columns = self._columns({name: batch.column(name) for name in _TEXTS if name in batch.schema.names})
        if "labels" in batch.schema.names:
            columns["labels"] = self._all_labels(text_column(batch, "labels"))  # hardly any two are equal
        return put(batch, columns)

    def _columns(self, columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
        """The columns that may hold secrets, without them. The distinct values of all are looked at together: what takes time is to
        get a pattern ready."""
        encoded = {name: distinct(column) for name, column in columns.items() if holds_any(column, _TELLTALE_BYTES)}
        if not encoded:
            return {}
        values = pa.concat_arrays([values for values, _ in encoded.values()])
        changed = self.texts(values)
        if changed is values:
            return {}
        ends = np.cumsum([len(values) for values, _ in encoded.values()])
        parts = zip(encoded.items(), ends.tolist(), strict=True)
        return {name: spread(changed.slice(end - len(own), len(own)), numbers) for (name, (own, numbers)), end in parts}

    def texts(self, values: pa.Array) -> pa.Array:
        """Each text without its secrets."""
        return _where(values, _TELLTALE, self._replaced)

    def _replaced(self, values: pa.Array) -> pa.Array:
        users, emails = _replaces(patterns.USER, rf"\1\2{patterns.REPLACEMENT}:@"), _replaces(patterns.EMAIL, rf"\1{patterns.REPLACEMENT}")
        values = _where(values, patterns.AT, users)
        values = _where(values, self._hint_of_parameter, self._parameters)
        return _where(values, patterns.AT, emails)

    def _parameters(self, values: pa.Array) -> pa.Array:
        """Values that may have secret parameters without these. What is found is remembered for the next batch: few such values are
        met again and again, and most of the work is to get the pattern ready."""
        replace = _replaces(self._parameter, rf"\1{patterns.REPLACEMENT}")
        if len(values) > _MOST_KNOWN:
            return replace(values)
        texts = values.to_pylist()
        found = {text: self._known[text] for text in texts if text in self._known}
        unknown = [text for text in dict.fromkeys(texts) if text not in found]
        if unknown:
            found.update(zip(unknown, replace(pa.array(unknown, pa.string())).to_pylist(), strict=True))
            brief = {text: found[text] for text in unknown if len(text) <= _LONGEST_KNOWN}
            self._known = brief if len(self._known) + len(brief) > _MOST_KNOWN else self._known | brief
        changed = [found[text] for text in texts]
        return values if changed == texts else pa.array(changed, pa.string())

    def _all_labels(self, values: pa.Array) -> pa.Array:
        if values.null_count == len(values):
            return values
        read = values
        for key in _harmless_keys(values):
            read = pc.replace_substring(read, f'"{key}":', '"":')
        found = pc.fill_null(pc.match_substring_regex(read, self._hint), False)
        return _changed_where(values, found, partial(_where, pattern=self._labels, change=self._suspects))

    def _suspects(self, values: pa.Array) -> pa.Array:
        """Documents that may hold secrets. Where these are strings of secret keys and nothing else, the text is changed in place."""
        without_names = pc.replace_substring_regex(values, _HARMLESS_KEY, '"":')
        secret = pc.match_substring_regex(without_names, self._labels)
        if not pc.any(secret).as_py():
            return values
        left = pc.match_substring_regex(pc.replace_substring_regex(without_names, self._member, '":""'), self._labels)
        changed = pc.if_else(secret, pc.replace_substring_regex(values, self._member, rf'\1"{patterns.REPLACEMENT}"'), values)
        named = pc.not_equal(pc.binary_length(without_names), pc.binary_length(values))
        hard = pc.and_(secret, pc.or_(left, named))
        return pc.replace_with_mask(changed, hard, pa.array(self._documents(values.filter(hard).to_pylist()), pa.string()))

    def _documents(self, documents: list[str]) -> list[str]:
        """JSON documents without secrets: the slow road, for those that hold some."""
        trees = [_parse(document) for document in documents]
        strings = list(dict.fromkeys(text for tree in trees for text in _strings(tree)))
        listed = pa.array([_sound(text) for text in strings], pa.string())
        safe = dict(zip(strings, self.texts(listed).to_pylist(), strict=True))
        found = pc.and_not(pc.match_substring_regex(listed, self._key), pc.match_substring_regex(listed, f"^(?:{_HARMLESS})$"))
        secret = {text for text, is_secret in zip(strings, found.to_pylist(), strict=True) if is_secret}
        return [json.dumps(_rebuilt(tree, safe, secret), ensure_ascii=False, separators=(",", ":")) for tree in trees]


def _replaces(pattern: str, replacement: str) -> Callable[[pa.Array], pa.Array]:
    """What replaces all that the pattern matches."""
    return partial(_where, pattern=pattern, change=partial(pc.replace_substring_regex, pattern=pattern, replacement=replacement))


def _where(values: pa.Array, pattern: str, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The values, changed where they match; the very same array when none does, or none is changed."""
    return _changed_where(values, pc.fill_null(pc.match_substring_regex(values, pattern), False), change)


def _changed_where(values: pa.Array, found: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    if not pc.any(found).as_py():
        return values
    matching = values.filter(found)
    changed = change(matching)
    return values if changed is matching else pc.replace_with_mask(values, found, changed)


def _harmless_keys(documents: pa.Array) -> list[str]:
    """Harmless keys of a few of the documents: all of a log mostly have the same."""
    few = documents.take(pa.array([0, len(documents) // 2, len(documents) - 1]))
    found = (re.findall(_HARMLESS_KEY, document[:_MOST_SAMPLED]) for document in few.to_pylist() if document)
    return sorted({match.split('"')[1] for matches in found for match in matches})[:_MOST_KEYS]


def _parse(document: str) -> Any:
    """The tree of a document; numbers too large for Python become strings.

    What is no JSON, or repeats a key, which a tree cannot hold, becomes the one string of an object.
    """
    try:
        return json.loads(document, parse_float=_number, parse_int=_number, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return {"unparsed": document}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _number(text: str) -> int | float | str:
    if len(text) > _LONGEST_NUMBER:
        return text
    number = float(text) if set(text) & set(".eE") else int(text)
    return number if abs(number) != float("inf") else text


def _sound(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _strings(tree: Any) -> list[str]:
    """Every key and every string of a tree."""
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, dict):
            found += node
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def _rebuilt(tree: Any, safe: dict[str, str], secret: set[str]) -> Any:
    if isinstance(tree, str):
        return safe[tree]
    if isinstance(tree, list):
        return [_rebuilt(item, safe, secret) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        safe[key]: patterns.REPLACEMENT if key in secret and value is not None else _rebuilt(value, safe, secret)
        for key, value in tree.items()
    }
