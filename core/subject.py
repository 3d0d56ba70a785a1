r"""Data subjects: typed selectors, what belongs to a subject, and what only mentions one. Pure.

A subject is one selector or several; a row belongs to it when any of them matches. What a selector matches:

====================  ===============================================================================================
``user_name``         the column of that name, each character the same
``account_id``        the same
``source_ip``         ``source_ip`` and ``source_address`` by the address's value, from ``since`` until before ``until`` when these are
                      given; in ``labels`` the address as a word
``email``             ``user_name`` and ``account_id`` without regard to case; as a word in ``labels``, URL, referrer and user agent
====================  ===============================================================================================

and for each of them a text of ``labels`` that is the value and nothing else. Never a part of a value: 10.0.0.1 is not 10.0.0.10.
An e-mail address is compared in lower case: servers of mail tell no two mailboxes apart by case, though RFC 5321 (2.4) lets them.

A word ends where no character follows that could continue such a value. A user's name or an account's number may be a word of any
text, thus a row of somebody else that has it in its URL does not belong to the subject: it *mentions* it. Rejected lines and texts
of queries have no columns; they belong to a subject when they mention it.

The same is said twice, as SQL for DuckDB (:func:`Subject.condition`) and for Arrow (:func:`Subject.mask`), so that one may check
the other.
"""

import datetime as dt
import json
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from core.clock import parse_instant, to_iso
from core.errors import UsageError
from core.schema import COLUMNS

__all__ = ["KINDS", "TEXTS", "Selector", "Subject", "selector"]

KINDS = ("user_name", "account_id", "source_ip", "email")
"""Every kind of selector."""

TEXTS = ("labels", "url_path", "url_query", "http_request_referrer", "user_agent_original")
"""Columns that hold text of any kind."""

PERSONAL = tuple(column.name for column in COLUMNS if column.personal and pa.types.is_string(column.type))
"""Columns in which a mention is looked for."""

_MAPPED = bytes(10) + b"\xff\xff"
_LONGEST = 4096
_LONGEST_EMAIL = 254
_EMAIL = re.compile(r"[^\s@\"<>,;:\\]{1,64}@[^\s@\"<>,;:\\]{1,253}\Z")
_BEFORE_WORD, _AFTER_WORD = r"(?:^|[^\pL\pN_@.+-])", r"(?:[^\pL\pN_@.+-]|\.(?:[^\pL\pN_]|$)|$)"
_BEFORE_IPV4, _AFTER_IPV4 = (
    r"(?:^|[^0-9A-Za-z._:]|[g-zG-Z_]:|(?:^|[^0-9A-Za-z:])[0:]*:ffff:)",
    r"(?:[^0-9A-Za-z._]|\.(?:[^0-9A-Za-z_]|$)|$)",
)
_BEFORE_IPV6, _AFTER_IPV6 = r"(?:^|[^0-9A-Za-z._:]|[g-zG-Z_]:)", r"(?:[^0-9A-Za-z._:]|$)"
_BEFORE_EMAIL, _AFTER_EMAIL = r"(?:^|[^\pL\pN_.+-])", r"(?:[^\pL\pN.-]|\.(?:[^\pL\pN]|$)|$)"
_SIGNS = re.compile(r"([\\.+*?()|\[\]{}^$/-])")

Value = str | dt.datetime


@dataclass(frozen=True, order=True)
class Selector:
    """One thing that a subject is known by; made by :func:`selector`.

    :param since: first instant for which an address counts, ``None`` for any. :param until: first one after.
    """

    kind: str
    value: str
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def as_json(self) -> dict[str, str]:
        """What it says, for :func:`Subject.from_json`."""
        times = {"since": self.since, "until": self.until}
        return {"kind": self.kind, "value": self.value, **{name: to_iso(time) for name, time in times.items() if time}}

    @property
    def pattern(self) -> str:
        """A regular expression (RE2) that matches a text with the value as a word."""
        if self.kind == "source_ip":
            return _address_pattern(self.value)
        if self.kind == "email":
            local, _, domain = self.value.partition("@")
            return f"(?i){_BEFORE_EMAIL}{_escaped(local)}(?:@|%40){_escaped(domain)}{_AFTER_EMAIL}"
        return f"{_BEFORE_WORD}{_escaped(self.value)}{_AFTER_WORD}"

    @property
    def quoted(self) -> str:
        """The value as a whole text of JSON."""
        return json.dumps(self.value, ensure_ascii=False)


def selector(kind: str, value: str, since: dt.datetime | None = None, until: dt.datetime | None = None) -> Selector:
    """A selector in its normal form.

    :raises UsageError: the kind is unknown, the value is none of that kind, or the times do not fit.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is not a kind of selector", f"choose one of {', '.join(KINDS)}")
    if kind != "source_ip" and (since or until):
        raise UsageError(f"a selector by {kind} has no times", "give --from and --to with --source-ip alone")
    if since and until and since >= until:
        raise UsageError(f"the range of times ends at {to_iso(until)}, before it begins", "give --from before --to")
    if not value or len(value) > _LONGEST or "\0" in value:
        raise UsageError(f"{value[:40]!r} is no {kind}", "give a value that is not empty")
    if kind == "source_ip":
        value = _address(value)
    elif kind == "email":
        value = _email(value)
    return Selector(kind, value, since, until)


def _address(text: str) -> str:
    bare = text.strip().removeprefix("[").removesuffix("]")
    try:
        if ":" not in bare:
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, bare))
        packed = socket.inet_pton(socket.AF_INET6, bare.partition("%")[0])
    except (OSError, ValueError):
        raise UsageError(f"{text[:60]!r} is not an IP address", "write one like 203.0.113.7 or 2001:db8::7") from None
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed.startswith(_MAPPED) else socket.inet_ntop(socket.AF_INET6, packed)


def _email(text: str) -> str:
    bare = text.strip()
    if not _EMAIL.match(bare) or len(bare) > _LONGEST_EMAIL:
        raise UsageError(f"{text[:60]!r} is not an e-mail address", "write one like somebody@example.org")
    return bare.lower()


def _escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\1", text)


def _address_pattern(value: str) -> str:
    """An address as a word, in every usual spelling."""
    if ":" not in value:
        return f"(?i){_BEFORE_IPV4}{_escaped(value)}{_AFTER_IPV4}"
    packed = socket.inet_pton(socket.AF_INET6, value)
    groups = [f"{packed[at]:02x}{packed[at + 1]:02x}" for at in range(0, 16, 2)]
    whole = ":".join(groups)
    short = ":".join(group.lstrip("0") or "0" for group in groups)
    spellings = "|".join(_escaped(each) for each in dict.fromkeys((value, short, whole)))
    return f"(?i){_BEFORE_IPV6}(?:{spellings}){_AFTER_IPV6}"


@dataclass(frozen=True)
class Subject:
    """A subject: its selectors, sorted, each once.

    :param mentioned: whether rows that only mention it belong to it too.
    """

    selectors: tuple[Selector, ...]
    mentioned: bool = False

    @classmethod
    def of(cls, selectors: Iterable[Selector], mentioned: bool = False) -> "Subject":
        """A subject of these.

        :raises UsageError: there is none.
        """
        found = tuple(sorted(set(selectors), key=lambda each: each.quoted + json.dumps(each.as_json())))
        if not found:
            raise UsageError("nobody is named", "give --user-name, --account-id, --source-ip or --email")
        return cls(found, mentioned)

    @classmethod
    def from_json(cls, text: str) -> "Subject":
        """What :meth:`as_json` wrote."""
        said = json.loads(text)
        times = ({name: parse_instant(one[name]) for name in ("since", "until") if name in one} for one in said["selectors"])
        return cls.of(
            (Selector(one["kind"], one["value"], **when) for one, when in zip(said["selectors"], times, strict=True)), said["mentioned"]
        )

    def as_json(self) -> str:
        """All of it, the same text for the same subject."""
        return json.dumps({"selectors": [each.as_json() for each in self.selectors], "mentioned": self.mentioned}, sort_keys=True)

    def at_any_time(self) -> "Subject":
        """The same, whatever the time of a row."""
        return Subject.of((replace(each, since=None, until=None) for each in self.selectors), self.mentioned)

    def until(self, instant: dt.datetime) -> "Subject":
        """The same, for rows of before that instant alone."""
        bound = (replace(each, until=min(each.until, instant) if each.until else instant) for each in self.selectors)
        return Subject.of(bound, self.mentioned)

    @property
    def columns(self) -> frozenset[str]:
        """Columns that :meth:`condition` and :meth:`mask` look at."""
        found = {"labels", "event_time"}
        for each in self.selectors:
            found |= {
                "user_name": {"user_name"},
                "account_id": {"account_id"},
                "source_ip": {"source_ip", "source_address"},
                "email": {"user_name", "account_id", *TEXTS},
            }[each.kind]
        return frozenset(found | (set(PERSONAL) if self.mentioned else set()))

    def condition(self) -> tuple[str, list[Value]]:
        """A condition on rows in SQL for DuckDB, true for those that belong to the subject and never null; and its parameters."""
        parts, values = [], list[Value]()
        for each in self.selectors:
            one, given = _condition(each, self.mentioned)
            parts.append(one)
            values += given
        return f"coalesce({' OR '.join(parts)}, false)", values

    def mask(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """Which rows belong to the subject, bool[rows] without nulls; an absent column is all null."""
        return _any((_mask(each, rows, self.mentioned) for each in self.selectors), rows.num_rows)

    def mentions(self, rows: pa.RecordBatch | pa.Table) -> pa.Array:
        """Which rows mention the subject in a personal column, or belong to it."""
        return Subject(self.selectors, mentioned=True).mask(rows)

    def named_in(self, lines: pa.Array, arrived: pa.Array | None = None) -> pa.Array:
        """Which lines, bytes or text of any kind, mention the subject.

        :param arrived: when; a line that came before the time of a selector began cannot be of it.
        """
        return _any((_named(each, lines, arrived) for each in self.selectors), len(lines))

    def is_named_in(self, text: str) -> bool:
        """Whether one text mentions the subject."""
        return bool(self.named_in(pa.array([text.encode("utf-8", "replace")], pa.binary()))[0].as_py())


def _condition(each: Selector, mentioned: bool) -> tuple[str, list[Value]]:
    parts, values = ["contains(labels, ?)"], list[Value]([each.quoted])
    if each.kind == "email":
        parts += ["lower(user_name) = ?", "lower(account_id) = ?", *(f"regexp_matches({name}, ?)" for name in TEXTS)]
        values += [each.value] * 2 + [each.pattern] * len(TEXTS)
    elif each.kind == "source_ip":
        parts += ["source_ip = ?", "source_address = ?", "regexp_matches(labels, ?)"]
        values += [each.value, each.value, each.pattern]
    else:
        parts += [f"{each.kind} = ?"]
        values += [each.value]
    if mentioned:
        parts += [f"regexp_matches({name}, ?)" for name in PERSONAL]
        values += [each.pattern] * len(PERSONAL)
    text = " OR ".join(f"coalesce({part}, false)" for part in parts)
    for name, bound in ((">=", each.since), ("<", each.until)):
        if bound:
            text = f"({text}) AND event_time {name} ?"
            values.append(bound)
    return f"({text})", values


def _mask(each: Selector, rows: pa.RecordBatch | pa.Table, mentioned: bool) -> pa.Array:
    tests: list[tuple[str, Callable[[pa.Array], pa.Array]]] = [("labels", lambda texts: pc.match_substring(texts, each.quoted))]
    matches = _matching(each)
    if each.kind == "email":
        tests += [(name, lambda texts: pc.equal(pc.utf8_lower(texts), each.value)) for name in ("user_name", "account_id")]
        tests += [(name, matches) for name in TEXTS]
    elif each.kind == "source_ip":
        tests += [(name, lambda texts: pc.equal(texts, each.value)) for name in ("source_ip", "source_address")]
        tests += [("labels", matches)]
    else:
        tests += [(each.kind, lambda texts: pc.equal(texts, each.value))]
    tests += [(name, matches) for name in PERSONAL] if mentioned else []
    found = _any((_tested(rows, name, test) for name, test in tests), rows.num_rows)
    return pc.and_(found, _within(each, _column(rows, "event_time"), rows.num_rows)) if each.since or each.until else found


def _matching(each: Selector) -> Callable[[pa.Array], pa.Array]:
    """Whether texts have the value as a word; mostly none has it at all, which is told ten times as fast."""
    literal = each.value if each.kind != "email" and ":" not in each.value else ""

    def test(texts: pa.Array) -> pa.Array:
        if literal and not pc.any(pc.match_substring(texts, literal)).as_py():
            return pa.repeat(pa.scalar(False), len(texts))
        return pc.match_substring_regex(texts, each.pattern)

    return test


def _tested(rows: pa.RecordBatch | pa.Table, name: str, test: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """The test of each value of a column; of a dictionary each value is looked at once."""
    values = _column(rows, name)
    if values is None or values.null_count == len(values):
        return pa.repeat(pa.scalar(False), rows.num_rows)
    if pa.types.is_dictionary(values.type):
        return test(values.dictionary).take(values.indices).fill_null(False)
    return test(values).fill_null(False)


def _column(rows: pa.RecordBatch | pa.Table, name: str) -> Any:
    if name not in rows.schema.names:
        return None
    values = rows.column(name)
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.unify_dictionaries().combine_chunks() if pa.types.is_dictionary(values.type) else values.combine_chunks()


def _within(each: Selector, times: pa.Array, count: int) -> pa.Array:
    found = pa.repeat(pa.scalar(True), count)
    if each.since:
        found = pc.and_(found, pc.greater_equal(times, pa.scalar(each.since, times.type)))
    if each.until:
        found = pc.and_(found, pc.less(times, pa.scalar(each.until, times.type)))
    return found.fill_null(False)


def _named(each: Selector, lines: pa.Array, arrived: pa.Array | None) -> pa.Array:
    found = pc.match_substring_regex(lines, each.pattern).fill_null(False)
    if each.since and arrived is not None:
        found = pc.and_(found, pc.greater_equal(arrived, pa.scalar(each.since, arrived.type)))
    return found


def _any(masks: Iterable[pa.Array], count: int) -> pa.Array:
    total = pa.repeat(pa.scalar(False), count)
    for mask in masks:
        total = pc.or_(total, mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask)
    return total
