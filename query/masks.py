r"""What an analyst sees of personal columns: the view's own columns are expressions of these, so that conditions, joins and casts
meet the masked value and nothing else.

The kind of mask stands beside each column in ``core.schema``. A pseudonym is ``~`` and the first 20 hexadecimal digits of
HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the value, under a key of the column's own: whoever can write a value into one column, such as
a User-Agent header, learns nothing of another, such as ``user_name``. The same value has the same pseudonym on every day, hot
or archived, so that pseudonyms join and count.

DuckDB computes them, in all of its threads. The keys come in as parameters, into a table of one row that the view joins: no
text of SQL holds them, so no plan, error, view definition or log of statements can show one. That table has no name that the
gate lets through.
"""

import hashlib
import hmac
from collections.abc import Iterable

import duckdb

from core.schema import Column

__all__ = ["Masks"]

_BLOCK = 64
_INNER, _OUTER = 0x36, 0x5C
_DIGITS = 20
_KEYED = frozenset({"network", "path", "pseudonym"})

_DOTTED = r"(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}"
_IPV4 = rf"{_DOTTED}(?::\d{{1,5}})?"
_GROUPS = r"(?:[0-9a-f]{1,4}:)"
_IPV6 = rf"(?i)\[?(?:{_GROUPS}{{7}}[0-9a-f]{{1,4}}|{_GROUPS}{{6}}[0-9.]{{7,15}}|[0-9a-f:]*::[0-9a-f:.]*)(?:%[^\]]*)?(?:\](?::\d{{1,5}})?)?"
_MAPPED = rf"(?i)\[?[0:]*:ffff:{_DOTTED}(?:[\]%].*)?"
_MAPPED_HEX = r"(?i)\[?[0:]*:ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})(?:[\]%].*)?"
_WORD = (
    r"(?:[a-z][a-z_-]{0,23}(?:\.(?:html?|php|aspx?|jsp|js|css|png|jpe?g|gif|svg|ico|xml|txt|json|cgi))?|\.env|\.git|\.well-known|v\d{1,2})"
)
_ORIGIN = r"(?i)(https?://)(?:[^/?#@\s]*@)?([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,24})(?::\d{1,5})?(?:[/?#](?s:.*))?"


class Masks:
    """The masks of one data directory.

    :param secret: what the columns' keys are derived from: ``KeyRing.derive(Masks.PURPOSE)``.
    """

    PURPOSE = "masks 1"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def install(self, connection: duckdb.DuckDBPyConnection, columns: Iterable[Column]) -> str:
        """Put the keys of these columns into the connection; the text that joins them to a FROM, empty when none is needed."""
        keyed = [column.name for column in columns if column.mask in _KEYED]
        if not keyed:
            return ""
        names = ", ".join(f"?::BLOB AS {name}_{part}" for name in keyed for part in ("inner", "outer"))
        connection.execute("CREATE SCHEMA masking")
        connection.execute(f"CREATE TABLE masking.keys AS SELECT {names}", [pad for name in keyed for pad in self._pads(name)])
        return ", masking.keys"

    def expression(self, column: Column) -> str:
        """The column as an analyst sees it, in SQL, not yet of its type."""
        name = column.name
        match column.mask:
            case "network":
                return _network(name, _pseudonym(name))
            case "pseudonym":
                return _pseudonym(name)
            case "path":
                return _path(name, _pseudonym(name))
            case "origin":
                return rf"CASE WHEN regexp_full_match({name}, '{_ORIGIN}') THEN lower(regexp_replace({name}, '^{_ORIGIN}$', '\1\2')) END"
            case "degree":
                return f"round({name})"
            case "nothing":
                return "NULL"
            case _:
                return name

    def _pads(self, name: str) -> tuple[bytes, bytes]:
        """The column's key as the two blocks that HMAC begins its inner and outer hash with."""
        key = hmac.digest(self._secret, name.encode(), hashlib.sha256).ljust(_BLOCK, b"\0")
        return bytes(byte ^ _INNER for byte in key), bytes(byte ^ _OUTER for byte in key)


def _pseudonym(name: str) -> str:
    return f"'~' || left(sha256({name}_outer || unhex(sha256({name}_inner || encode({name})))), {_DIGITS})"


def _path(name: str, pseudonym: str) -> str:
    word = f"CASE WHEN regexp_full_match({name}, '/(?:{_WORD}/?)?') THEN {name}"
    step = f"WHEN regexp_matches({name}, '^/{_WORD}/') THEN regexp_extract({name}, '^/{_WORD}/') || {pseudonym}"
    return f"{word} {step} ELSE '/' || {pseudonym} END"


def _network(name: str, pseudonym: str) -> str:
    """Dotted addresses first, since most are; what is no address is a pseudonym."""
    dotted = f"nullif(regexp_extract({name}, '^{_IPV4}$', 1), '') || '.0/24'"
    mapped = rf"WHEN regexp_full_match({name}, '{_MAPPED}') THEN regexp_extract({name}, '^{_MAPPED}$', 1) || '.0/24'"
    numbers = [f"('0x' || regexp_extract({name}, '^{_MAPPED_HEX}$', {group}))::INTEGER" for group in (1, 2)]
    octets = f"concat_ws('.', {numbers[0]} // 256, {numbers[0]} % 256, {numbers[1]} // 256, '0/24')"
    other = f"WHEN NOT contains({name}, ':') THEN {pseudonym} {mapped} WHEN regexp_full_match({name}, '{_MAPPED_HEX}') THEN {octets}"
    return f"coalesce({dotted}, CASE {other} WHEN regexp_full_match({name}, '{_IPV6}') THEN {_first_groups(name)} ELSE {pseudonym} END)"


def _first_groups(name: str) -> str:
    """The first 48 bits in the form of RFC 5952."""
    bare = f"regexp_replace(split_part(split_part(ltrim(lower({name}), '['), ']', 1), '%', 1), '^::', '0::')"
    head, tail = (f"list_filter(string_split(split_part({bare}, '::', {part}), ':'), lambda g: g <> '')" for part in (1, 2))
    absent = f"greatest(0, 8 - len({head}) - len({tail}) - contains({name}, '.')::INTEGER)"
    every = f"list_concat({head}, list_transform(range({absent}), lambda n: '0'), {tail})[1:3]"
    plain = f"array_to_string(list_transform({every}, lambda g: coalesce(nullif(ltrim(g, '0'), ''), '0')), ':')"
    return f"regexp_replace(regexp_replace({plain}, '(:0)+$', ''), '^0$', '') || '::/48'"
