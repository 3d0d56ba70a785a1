"""Uncompressed content that is not lines -> lines: documents of JSON, and Parquet files.

- What content is, its first bytes tell, never a name (:func:`kind_of`). What is none of these is lines, and stays as it is.
- After this layer all is as if the file had been written as lines: offsets count these lines' bytes, and a source is known by them.
- The same content gives the same lines, however it is compressed and read.
"""

import re
from collections.abc import Iterator
from typing import Literal, Protocol

from ingest.compression import DamageError
from ingest.unfold_json import BLOCK_BYTES, ENVELOPES, JsonUnfolder
from ingest.unfold_parquet import unfold_parquet

__all__ = ["HEAD_BYTES", "Kind", "kind_of", "unfold_json", "unfold_parquet"]

HEAD_BYTES = 4 << 10
"""As many first bytes as may be needed to tell what content is; content that begins with more white space is lines."""

Kind = Literal["lines", "json", "parquet"]

_BOM = b"\xef\xbb\xbf"
_WHITE = rb"[ \t\r\n]*+"
_JSON = re.compile(
    _WHITE
    + rb"(?:\["
    + _WHITE
    + rb"[{\]]|\{(?:[ \t\r]*+\n|"
    + _WHITE
    + rb'"(?:%s)"' % "|".join(ENVELOPES).encode()
    + _WHITE
    + rb":"
    + _WHITE
    + rb"\[))"
)
_UNDECIDED = re.compile(
    _WHITE + rb"(?:\[" + _WHITE + rb"|\{[ \t\r]*+(?:\"(?P<key>[A-Za-z]*+)(?P<end>\"" + _WHITE + rb"(?::" + _WHITE + rb")?)?)?)?"
)
_PARQUET = re.compile(rb"PAR1[\x00-\x1f]")  # a line may begin with the letters


class _Bytes(Protocol):
    def readinto(self, view: memoryview, /) -> int | None: ...


def kind_of(first: bytes) -> Kind | None:
    """What content with these first bytes is; ``None`` when more of them are needed.

    - ``json``: an array of objects, an empty array, an object that has a newline after its ``{``, or an envelope.
    - ``parquet``: a Parquet file, by its first bytes.
    """
    if _PARQUET.match(first):
        return "parquet"
    text = first.removeprefix(_BOM)
    if _JSON.match(text):
        return "json"
    begun = _UNDECIDED.fullmatch(text)
    if len(first) >= HEAD_BYTES or not (begun or _BOM.startswith(first) or b"PAR1".startswith(first)):
        return "lines"
    return None if begun is None or _may_be_envelope(begun) else "lines"


def _may_be_envelope(begun: re.Match[bytes]) -> bool:
    key = begun["key"]
    if key is None:
        return True
    return any(name.encode() == key if begun["end"] else name.encode().startswith(key) for name in ENVELOPES)


def unfold_json(first: bytes, rest: _Bytes) -> Iterator[bytes]:
    """The lines of the JSON documents in ``first`` and all that ``rest`` gives, in pieces.

    :raises DamageError, OSError: ``rest`` cannot be read on; after what came before.
    """
    unfolder = JsonUnfolder()
    yield from unfolder.feed(first.removeprefix(_BOM))
    buffer = memoryview(bytearray(BLOCK_BYTES))
    filled, failure = 1, None
    while filled and failure is None:
        filled, failure = _fill(rest, buffer)
        yield from unfolder.feed(bytes(buffer[:filled]))
    yield from unfolder.finish()
    if failure:
        raise failure


def _fill(rest: _Bytes, buffer: memoryview) -> tuple[int, Exception | None]:
    """How many bytes came, fewer than the buffer holds only at the end; and why there are no more, if it is not that."""
    filled = 0
    try:
        while filled < len(buffer) and (got := rest.readinto(buffer[filled:])):
            filled += got
    except (DamageError, OSError) as error:
        return filled, error
    return filled, None
