"""Merkle trees over a list of entries that only grows: one hash that commits to all of them, and short proofs about it. Pure.

RFC 6962, section 2.1 (https://www.rfc-editor.org/rfc/rfc6962#section-2.1): SHA-256, a leaf is ``SHA-256(0x00 || entry)``, a node
``SHA-256(0x01 || left || right)``, the empty tree ``SHA-256("")``. Proofs are verified as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.

A :class:`Tree` keeps the hashes of its perfect subtrees alone, at most one for each bit of its size, so a root over a ledger of any
length needs no leaf in memory. Proofs are made in one pass over the leaves (:func:`prove`), which keeps the nodes that are asked for.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Range", "Tree", "consistency", "inclusion", "leaf_hash", "perfect", "prove", "verify_consistency", "verify_inclusion"]

Range = tuple[int, int]
"""Leaves from the first to before the second."""

_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The perfect subtrees of the entries so far, the largest first.

    :param size: how many entries these cover.
    :param peaks: their hashes.
    :raises ValueError: so many entries have not so many perfect subtrees.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = [*peaks]
        if size < 0 or len(self.peaks) != size.bit_count() or any(len(peak) != _BYTES for peak in self.peaks):
            raise ValueError(f"{len(self.peaks)} hashes are not the subtrees of {size} entries")

    def append(self, entry: bytes) -> None:
        """Add an entry."""
        self.join(leaf_hash(entry), 1)

    def join(self, subtree: bytes, entries: int) -> None:
        """Add a perfect subtree of so many entries.

        :raises ValueError: none of that size can stand here.
        """
        if entries < 1 or entries.bit_count() != 1 or self.size % entries:
            raise ValueError(f"a subtree of {entries} entries cannot follow {self.size}")
        size = self.size
        while size & entries:
            subtree, size, entries = _node(self.peaks.pop(), subtree), size - entries, entries * 2
        self.peaks.append(subtree)
        self.size = size + entries

    def root(self) -> bytes:
        """The hash of all of it."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = _node(peak, found)
        return found


def _split(size: int) -> int:
    """The largest power of two below it."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion(index: int, size: int) -> list[Range]:
    """The parts of the tree whose hashes prove the entry of that number, from 0: RFC 6962, 2.1.1, in the order of the proof.

    :raises ValueError: there is no such entry.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no entry {index} among {size}")
    found, first, last = [], 0, size
    while last - first > 1:
        middle = first + _split(last - first)
        left = index < middle
        found.append((middle, last) if left else (first, middle))
        first, last = (first, middle) if left else (middle, last)
    return found[::-1]


def consistency(old: int, size: int) -> list[Range]:
    """The parts whose hashes prove that the tree of ``size`` begins with the one of ``old``: RFC 6962, 2.1.2.

    :raises ValueError: ``old`` is the larger.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} entries does not begin with one of {old}")
    if old in (0, size):
        return []
    found, first, last = [], 0, size
    while last != old:
        middle = first + _split(last - first)
        left = old <= middle
        found.append((middle, last) if left else (first, middle))
        first, last = (first, middle) if left else (middle, last)
    return [*([(first, last)] if first else []), *found[::-1]]


def perfect(first: int, last: int) -> list[Range]:
    """The perfect subtrees that these leaves are made of when they are added one after the other."""
    found = []
    while first < last:
        room = (last - first).bit_length() - 1
        step = 1 << (min(room, (first & -first).bit_length() - 1) if first else room)
        found.append((first, first + step))
        first += step
    return found


def prove(entries: Iterable[bytes], wanted: Sequence[Range]) -> list[bytes]:
    """The hashes of these parts, in one pass over all entries of the tree; memory grows with the number of parts alone.

    :raises ValueError: there are fewer entries than the parts need.
    """
    pieces = {piece for part in wanted for piece in perfect(*part)}
    known: dict[Range, bytes] = {}
    last = max((end for _, end in pieces), default=0)
    for piece, node in _nodes(entries, last):
        if piece in pieces:
            known[piece] = node
    if len(known) != len(pieces):
        raise ValueError("there are fewer entries than the proof is of")
    return [_joined([known[piece] for piece in perfect(*part)]) for part in wanted]


def _nodes(entries: Iterable[bytes], last: int) -> Iterator[tuple[Range, bytes]]:
    """Every perfect subtree of the first ``last`` entries, as it becomes whole."""
    peaks: list[bytes] = []
    for number, entry in zip(range(last), entries, strict=False):
        node, width = leaf_hash(entry), 1
        yield (number, number + 1), node
        while number & width:
            node, width = _node(peaks.pop(), node), width * 2
            yield (number + 1 - width, number + 1), node
        peaks.append(node)


def _joined(nodes: list[bytes]) -> bytes:
    found = nodes.pop()
    while nodes:
        found = _node(nodes.pop(), found)
    return found


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf of that hash is the entry of that number, from 0, in the tree of that size and root."""
    if not 0 <= index < size:
        return False
    number, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if number & 1 or number == last:
            found = _node(sibling, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = _node(found, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> bool:
    """Whether the tree of that size and root begins with the old one of that size and root."""
    if not 0 <= old <= size:
        return False
    if old in (0, size):
        return not proof and (old_root == root if old == size else old_root == Tree().root())
    path = [old_root, *proof] if old.bit_count() == 1 else [*proof]
    if not path:
        return False
    number, last = old - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            before, after = _node(sibling, before), _node(sibling, after)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            after = _node(after, sibling)
        number, last = number >> 1, last >> 1
    return last == 0 and before == old_root and after == root
