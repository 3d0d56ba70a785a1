"""The search tree of a MaxMind DB file, walked for many addresses at once.

Format: https://maxmind.github.io/MaxMind-DB/, "Binary Search Tree Section". All addresses go down one level at a time; those of
a large batch begin at the nodes that the first sixteen bits lead to, found once. Promises: no more levels than an address has
bits, whatever the tree says, and no read outside the file.
"""

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.base import Numbers

__all__ = ["Tree"]

_TOP = 16
_MANY = 2_048
"""So many addresses are worth the search for the nodes of the first sixteen bits."""
_BLOCK = 1 << 15
"""Addresses that go down together: what is known of them stays in the processor's cache."""

_UNSIGNED = npt.NDArray[np.uint64]


class Tree:
    """The tree at the beginning of a file.

    :param count: number of nodes. :param bits: size of a record, 24, 28 or 32; a node is two records, which must lie within the file.
    :param version: 6 when the tree is of IPv6 addresses, with those of IPv4 below 96 zeros; 4 when it is of IPv4 alone.
    """

    def __init__(self, data: mmap.mmap, count: int, bits: int, version: int) -> None:
        # A big-endian word may begin at each byte: an overlapping view, no copy of the file.
        self._words: npt.NDArray[np.uint32] = np.ndarray(shape=(len(data) - 3,), dtype=">u4", buffer=data, strides=(1,))
        self._count, self._bits = count, bits
        self._tops: dict[tuple[int, int], Numbers] = {}
        self._start4 = self._zeros(96) if version == 6 else 0

    def find(self, addresses: npt.NDArray[Any]) -> Numbers:
        """The record that each IPv4 address leads to, or a node where the address ends within the tree.

        :param addresses: integers below 2**32, in any order (sorted is fastest).
        """
        word = addresses.astype(np.uint64) << np.uint64(32)
        ends, depth = self._begin(self._start4, word)
        self._descend(ends, word, depth, 32)
        return ends

    def find6(self, high: _UNSIGNED, low: _UNSIGNED) -> Numbers:
        """The same for IPv6 addresses, given as two halves of 64 bits; not for a tree of IPv4 alone."""
        ends, depth = self._begin(0, high)
        self._descend(ends, high, depth, 64)
        self._descend(ends, low, 0, 64)
        return ends

    def _begin(self, start: int, word: _UNSIGNED) -> tuple[Numbers, int]:
        """Where the first bits lead, and how many these were."""
        depth = _TOP if len(word) >= _MANY else 1
        if (start, depth) not in self._tops:
            self._tops[start, depth] = self._top(start, depth)
        return self._tops[start, depth][(word >> np.uint64(64 - depth)).view(np.int64)], depth

    def _top(self, start: int, depth: int) -> Numbers:
        """Where each number of ``depth`` bits leads."""
        ends = np.array([start], dtype=np.int64)
        for _ in range(depth):
            ends = np.repeat(ends, 2)
            inner = np.flatnonzero(ends < self._count)
            ends[inner] = self._children(ends[inner], inner & 1)
        return ends

    def _zeros(self, depth: int) -> int:
        """The node that ``depth`` zero bits lead to, or the end reached before."""
        node, zero = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        for _ in range(depth):
            if node[0] >= self._count:
                break
            node = self._children(node, zero)
        return int(node[0])

    def _children(self, nodes: Numbers, right: Numbers) -> Numbers:
        """The left (0) or right (1) record of each node: what 24, 28 and 32 bits mean is in the specification."""
        words: Numbers = self._words[nodes * (self._bits // 4) + right * (self._bits // 8)].astype(np.int64)
        if self._bits == 24:
            words >>= 8
        elif self._bits == 28:
            words = np.where(right, words & 0x0FFFFFFF, words >> 8 | (words & 0xF0) << 20)
        return words

    def _descend(self, ends: Numbers, word: _UNSIGNED, first: int, last: int) -> None:
        """Let the bits ``first`` to ``last`` of each word lead on from each node among ``ends``, in place."""
        for start in range(0, len(ends), _BLOCK):
            self._block(ends[start : start + _BLOCK], word[start : start + _BLOCK].view(np.int64), first, last)

    def _block(self, ends: Numbers, word: Numbers, first: int, last: int) -> None:
        live = np.flatnonzero(ends < self._count)
        nodes, word = ends[live], word[live]
        for shift in range(63 - first, 63 - last, -1):
            if not len(live):
                return
            nodes = self._children(nodes, word >> shift & 1)
            inner = nodes < self._count
            left = inner.nonzero()[0]
            if len(left) < len(live):
                out = (~inner).nonzero()[0]
                ends[live[out]] = nodes[out]
                live, nodes, word = live[left], nodes[left], word[left]
        ends[live] = nodes
