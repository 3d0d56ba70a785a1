"""Compressed bytes -> plain bytes: every member, bounded memory, and all that was readable before a fault.

- The kind is told by the first bytes, never by a name (``kind_of``).
- A file of several members (gzip, RFC 1952), streams (bzip2) or frames (zstd, RFC 8878) is read to its last.
- No step gives more than 64 KiB (gzip, bzip2) or 8 MiB (zstd: 256 compressed bytes hold at most 64 blocks of 128 KiB),
  whatever a hostile file unfolds to; a zstd window is at most 128 MiB.
- Truncated or corrupt data raises :class:`DamageError` after what came before it: to the byte when data is cut short;
  a fault takes with it what its own byte (gzip) or step (bzip2, zstd) unfolds to.
"""

import bz2
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

__all__ = ["MAGIC_BYTES", "DamageError", "kind_of", "unpack"]

MAGIC_BYTES = 10
"""As many first bytes as tell every kind apart."""

_OUT = 64 << 10
_IN = 16 << 10
_ZSTD_IN = 256
_MAGIC: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b",),
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))),
    "bzip2": tuple(b"BZh%d" % level + block for level in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90")),
    "xz": (b"\xfd7zXZ\0",),
    "zip": (b"PK\3\4",),
    "lz4": (b"\x04\x22\x4d\x18",),
    "compress (.Z)": (b"\x1f\x9d",),
}


class DamageError(Exception):
    """The compressed data ends early or is corrupt; the message says which, and of which kind."""


class _Bytes(Protocol):
    def readinto(self, view: memoryview, /) -> int | None: ...


class _Member(Protocol):
    """One gzip member, bzip2 stream or zstd frame."""

    @property
    def unused(self) -> bytes | None:
        """``None`` until the member has ended; then what came after it."""
        ...

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """All that these bytes unfold to, in pieces.

        :raises zlib.error, OSError, zstandard.ZstdError: they are corrupt.
        """
        ...


def kind_of(first: bytes) -> str | None:
    """The kind of compression that the first :data:`MAGIC_BYTES` of a file tell; ``None`` when it is none.

    ``gzip``, ``zstd`` and ``bzip2`` can be unpacked here; the others are known so that they can be refused by name.
    """
    return next((kind for kind, marks in _MAGIC.items() if first.startswith(marks)), None)


def unpack(kind: str, first: bytes, rest: _Bytes) -> Iterator[bytes]:
    """The uncompressed bytes of ``first`` and all that ``rest`` gives, in pieces.

    :param kind: ``gzip``, ``zstd`` or ``bzip2``.
    :raises KeyError: it is another.
    :raises DamageError: the data is corrupt or ends early; after the pieces that came before.
    :raises OSError: ``rest`` cannot be read.
    """
    new_member, step = _MEMBERS[kind]
    member: _Member | None = None
    for packed in _compressed(first, rest, step):
        left: bytes | None = packed
        while left:
            if member is None and kind == "gzip" and not (left := left.lstrip(b"\0")):
                break  # members may be padded with zeros
            member = member or new_member()
            yield from _checked(kind, member, left)
            left = member.unused
            member = None if left is not None else member
    if member is not None:
        raise DamageError(f"its {kind} data ends early")


def _compressed(first: bytes, rest: _Bytes, step: int) -> Iterator[bytes]:
    yield first
    block = memoryview(bytearray(_OUT))
    while got := rest.readinto(block):
        for at in range(0, got, step):
            yield bytes(block[at : min(at + step, got)])


def _checked(kind: str, member: _Member, packed: bytes) -> Iterator[bytes]:
    try:
        yield from member.feed(packed)
    except (zlib.error, OSError, zstandard.ZstdError) as error:
        raise DamageError(f"its {kind} data is corrupt ({error})") from None


class _Gzip:
    unused: bytes | None = None

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(31)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while True:
            before = self._inflate.copy()
            try:
                piece = self._inflate.decompress(packed, _OUT)
            except zlib.error:
                for at in range(len(packed)):  # byte by byte, so that all before the fault comes out
                    yield before.decompress(packed[at : at + 1])
                raise
            yield piece
            packed = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self.unused = self._inflate.unused_data
                return
            if not packed and len(piece) < _OUT:
                return


class _Bzip2:
    unused: bytes | None = None

    def __init__(self) -> None:
        self._unpack = bz2.BZ2Decompressor()

    def feed(self, packed: bytes) -> Iterator[bytes]:
        yield self._unpack.decompress(packed, _OUT)
        while not self._unpack.needs_input and not self._unpack.eof:
            yield self._unpack.decompress(b"", _OUT)
        if self._unpack.eof:
            self.unused = self._unpack.unused_data


class _Zstd:
    unused: bytes | None = None

    def __init__(self) -> None:
        self._unpack = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(write_size=_OUT)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        yield self._unpack.decompress(packed)
        if self._unpack.eof:
            self.unused = self._unpack.unused_data


_MEMBERS: dict[str, tuple[Callable[[], _Member], int]] = {"gzip": (_Gzip, _IN), "bzip2": (_Bzip2, _IN), "zstd": (_Zstd, _ZSTD_IN)}
"""For each kind: its decompressor, and how many compressed bytes to give it at once."""
