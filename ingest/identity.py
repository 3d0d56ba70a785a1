"""What a source is: its content from the first byte on, never its name.

- A known source is a chain of spans from offset 0, each with the digest of its bytes and of each of its lines. Plain values:
  who stores them, and how, is not known here.
- Known sources are looked up by a fingerprint of the head, which does not change while a file grows, and then told apart by
  their bytes (``ingest.follow``).
- Ids are digests of what they name: the same bytes from the same state give the same id, on any machine, at any time.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.batches import Chunk

__all__ = ["HEADLESS", "HEAD_BYTES", "Branch", "KnownSource", "Span", "batch_id", "head_fingerprint", "head_length", "source_id"]

HEAD_BYTES = 64 << 10
"""As much of a source as its head can be."""

HEADLESS = hashlib.sha256(b"").hexdigest()
"""The fingerprint of every source that has no complete head yet; sources stored under it are looked up for every file."""

_HEAD = re.compile(rb"(?:#[^\n]*\n)*+[^\n]*\n")


@dataclass(frozen=True)
class Span:
    """A range of a source that was read as one batch, which is stored whole.

    :param start: offset of its first byte in the uncompressed source.
    :param end: offset of the byte after its last.
    :param digest: SHA-256 of its bytes, hexadecimal.
    :param lines: lines counted in it.
    :param line_digests: as in ``ingest.batches.Chunk``.
    :param terminated: whether its last byte is a newline.
    """

    start: int
    end: int
    digest: str
    lines: int
    line_digests: bytes = field(repr=False)
    terminated: bool

    @classmethod
    def of(cls, chunk: Chunk) -> "Span":
        """The span that a chunk becomes."""
        return cls(chunk.start, chunk.end, chunk.digest, chunk.lines, chunk.line_digests, chunk.terminated)


@dataclass(frozen=True)
class KnownSource:
    """A source of which something was read.

    :param id: its id.
    :param spans: contiguous from 0. Read in order, one at a time: may be a sequence that loads each when it is asked for.
    """

    id: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class Branch:
    """What a new source shares with a known one: copy these spans to the new source, before its own, to find it again.

    :param parent: id of the known source.
    :param spans: how many of its first spans are shared whole.
    :param partial: the part of the next one that is shared, if any.
    """

    parent: str
    spans: int
    partial: Span | None


def head_length(first: bytes) -> int | None:
    """Length of a source's head; ``None`` when it is not complete yet.

    The head is the first line, with the lines before it that begin with ``#`` (the header of W3C extended logs, which many
    files have in common); when that is longer than :data:`HEAD_BYTES`, so many first bytes.

    :param first: the first :data:`HEAD_BYTES` bytes, or all there are.
    """
    match = _HEAD.match(first, 0, HEAD_BYTES)
    if match:
        return match.end()
    return HEAD_BYTES if len(first) >= HEAD_BYTES else None


def head_fingerprint(first: bytes) -> str:
    """The key under which a source is looked up: SHA-256 of its head, hexadecimal; :data:`HEADLESS` while that is not complete.

    :param first: the first :data:`HEAD_BYTES` bytes, or all there are.
    """
    length = head_length(first)
    return HEADLESS if length is None else hashlib.sha256(first[:length]).hexdigest()


def source_id(key: str, parent: str, offset: int, digest: str) -> str:
    """Id of a new source; 16 hexadecimal digits.

    :param key: its head's fingerprint.
    :param parent: the known source it branches from, or empty.
    :param offset: where it does, or 0.
    :param digest: SHA-256 of the first chunk that is its own.
    """
    return _short("source", key, parent, offset, digest)


def batch_id(source: str, start: int, end: int, digest: str) -> str:
    """Id of a batch: that of the range of a source that it holds, with the digest of its bytes; 16 hexadecimal digits."""
    return _short("batch", source, start, end, digest)


def _short(*parts: str | int) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
