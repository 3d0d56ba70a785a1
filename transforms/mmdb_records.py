"""Chosen values out of many records of a MaxMind DB at once.

All records are read in step: first the first value of each, then what follows in each, with what is open in a record (maps and
arrays) on a stack of its own. What records point to is collected, and each distinct place is read once, in the next round.

Promises: what is found is what maxminddb's decoder finds, since every value of a record is read and checked, the chosen ones and
all others; a record that is damaged or of an unusual build is only marked as *odd*, and is for that decoder. The work is bounded:
by steps for what lies together, by rounds for what is pointed to, and by the values and bytes of a record in all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.base import Numbers
from transforms.mmdb_tokens import ARRAY, MAP, POINTER, TEXT, WORD, Flags, Heads, Tokens

__all__ = ["Chosen", "Found", "Path", "read"]

Path = tuple[str | int, ...]
"""Keys of maps, and 0 for the first element of an array."""

_BLOCK = 1 << 15
"""Records that are read in step: bounds the memory."""
_LANES = 16 * _BLOCK
"""Distinct places that they may point to, together."""
_LEVELS = 8
"""Of the stack: the ground, the record itself, and six maps or arrays within each other. A power of two."""
_GROUND = 1 << 30
_STEPS = 512
_ROUNDS = 6
_COST = 50_000
"""Bytes of a record and of what it points to, but for keys. The decoder allows 65,536 values, of a byte each at least, and 2 MiB of
text; a pointer to a key is of two bytes at least, so these bound the keys' bytes too."""
_LONGEST, _LONGEST_KEY = 4_096, 64
_STRAGGLERS = 16
"""So few records that are still read when all others of the block are done are rather decoded one by one."""
_PARTS, _SPARE_PARTS = 64, 10_000
"""Texts and pointers in a lane, on average, at most, and so many more."""
_CHECKED = 1 << 22
"""Bytes of text that are checked at once."""
_DAMAGED = 1 << 40

_KEEP = np.array([2**64 - 2 ** (64 - 8 * size) for size in range(WORD + 1)], dtype=np.uint64)
"""By size: what keeps so many bytes at the beginning of a word."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class Chosen:
    """The paths of the chosen values, as a tree: node 0 is everywhere else, node 1 the record.

    :param paths: none begins with another, no key is longer than 56 bytes, and all together have at most 60 places.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        nodes: dict[Path, int] = {(): 1}
        for path in paths:
            for length in range(1, len(path) + 1):
                nodes.setdefault(path[:length], len(nodes) + 1)
        self.paths = tuple(paths)
        self.leaf = np.full(len(nodes) + 1, -1, dtype=np.int64)
        self.leaf[[nodes[path] for path in paths]] = range(len(paths))
        self.below = {node: [i for i, path in enumerate(paths) if path[: len(at)] == at] for at, node in nodes.items()}
        self._hold_keys(sorted({key.encode() for path in paths for key in path if isinstance(key, str)}))
        self._link(nodes)

    def _hold_keys(self, keys: list[bytes]) -> None:
        """Keys as words, in the order of their hashes, so that many can be searched for."""
        width = -(-max(map(len, keys)) // WORD)
        text = np.frombuffer(b"".join(key.ljust(width * WORD, b"\0") for key in keys), dtype=">u8").astype(np.uint64).reshape(-1, width)
        size = np.array([len(key) for key in keys])
        by_hash = np.argsort(_hash(text[:, 0], size))
        self._keys = [keys[i] for i in by_hash]
        self._text, self._size = text[by_hash], size[by_hash]
        self._hash = _hash(self._text[:, 0], self._size)

    def _link(self, nodes: dict[Path, int]) -> None:
        """From each node by key (0: any other) and to the first element of an array."""
        self._next = np.zeros((len(nodes) + 1, len(self._keys) + 1), dtype=np.int64)
        self.first = np.zeros(len(nodes) + 1, dtype=np.int64)
        for path, node in nodes.items():
            match path:
                case (*above, str(key)):
                    self._next[nodes[tuple(above)], 1 + self._keys.index(key.encode())] = node
                case (*above, _):
                    self.first[nodes[tuple(above)]] = node

    def keys(self, tokens: Tokens, body: Numbers, size: Numbers) -> Numbers:
        """Which keys the texts are, counted from 1; 0 for any other. The texts are of sound values."""
        word = tokens.words(body) & _KEEP[np.minimum(size, WORD)]
        key = np.minimum(np.searchsorted(self._hash, _hash(word, size)), len(self._hash) - 1)
        same = (self._text[key, 0] == word) & (self._size[key] == size)
        for number in range(1, self._text.shape[1]):
            longer = np.flatnonzero(same & (size > number * WORD))
            if len(longer):
                word = tokens.words(body[longer] + number * WORD) & _KEEP[np.minimum(size[longer] - number * WORD, WORD)]
                same[longer] = word == self._text[key[longer], number]
        return np.where(same, key + 1, 0)

    def next(self, nodes: npt.NDArray[np.uint8], keys: Numbers) -> Numbers:
        """Where keys lead from nodes."""
        return self._next[nodes, keys]


def _hash(word: npt.NDArray[np.uint64], size: Numbers) -> npt.NDArray[np.uint64]:
    return (word ^ size.astype(np.uint64)) * _MIX


@dataclass(frozen=True)
class Found:
    """What was found in some records.

    :ivar places: by path, then by record: where in the file the value is, of whatever kind; -1 where there is none.
    :ivar odd: records that have to be decoded one by one; none of their values is given.
    """

    places: Numbers
    odd: Flags


def read(tokens: Tokens, chosen: Chosen, records: Numbers) -> Found:
    """Find the chosen values of the records at these places of the file (sorted is fastest)."""
    parts = [_read_block(tokens, chosen, records[start : start + _BLOCK]) for start in range(0, max(1, len(records)), _BLOCK)]
    return Found(np.concatenate([part.places for part in parts], axis=1), np.concatenate([part.odd for part in parts]))


def _read_block(tokens: Tokens, chosen: Chosen, records: Numbers) -> Found:
    rounds: list[_Round] = []
    places, nodes = records, np.ones(len(records), dtype=np.int64)
    while 0 < len(places) <= _LANES and len(rounds) < _ROUNDS:
        rounds.append(_Round(tokens, chosen, places, nodes, pointed=bool(rounds)))
        places, nodes = rounds[-1].targets()
    below: _Round | None = None
    for part in reversed(rounds):
        part.fold(below)
        below = part
    if below is None:
        return Found(np.empty((len(chosen.paths), 0), dtype=np.int64), np.empty(0, dtype=np.bool_))
    odd = below.cost > _COST
    return Found(np.where(odd, -1, below.values), odd)


class _Round:
    """Values at distinct places, each with the node of the chosen paths that it stands for: *lanes*, read in step.

    :ivar values: by path, then by lane: where the value is, -1 where there is none yet.
    :ivar cost: of each lane, its bytes; ``_DAMAGED`` when it is odd.
    """

    def __init__(self, tokens: Tokens, chosen: Chosen, places: Numbers, nodes: Numbers, *, pointed: bool) -> None:
        self._tokens, self._chosen, self._pointed = tokens, chosen, pointed
        lanes = len(places)
        self.values = np.full((len(chosen.paths), lanes), -1, dtype=np.int64)
        self.cost = np.zeros(lanes, dtype=np.int64)
        self._odd = np.zeros(lanes, dtype=np.bool_)
        self._seen = np.zeros(lanes, dtype=np.int64)
        self._coming = nodes.copy()
        self._open_stacks(lanes)
        self._edges: list[tuple[Numbers, ...]] = []
        self._texts: list[tuple[Numbers, ...]] = []
        self._run(places)
        self._lane, self._node, self._target = _joined(self._edges)
        self._check(*_joined(self._texts))
        self._inner = np.empty(0, dtype=np.int64)

    def _check(self, lane: Numbers, body: Numbers, size: Numbers) -> None:
        """Lanes with a text that is not UTF-8 are odd."""
        ends = np.cumsum(size)
        cuts = np.searchsorted(ends, np.arange(_CHECKED, ends[-1] if len(ends) else 0, _CHECKED))
        for part in np.split(np.arange(len(lane)), cuts):
            self._odd[lane[part[_not_utf8(self._tokens, body[part], size[part])]]] = True

    def _open_stacks(self, lanes: int) -> None:
        """A stack for each lane, one behind the other: what is left in an open map or array, whether it is a map, its node."""
        self._left = np.zeros(lanes * _LEVELS, dtype=np.int32)
        self._left[0::_LEVELS], self._left[1::_LEVELS] = _GROUND, 1
        self._map = np.zeros(lanes * _LEVELS, dtype=np.bool_)
        self._at = np.zeros(lanes * _LEVELS, dtype=np.uint8)

    def targets(self) -> tuple[Numbers, Numbers]:
        """The distinct places that the lanes point to, each with its node; of those pairs none is there twice."""
        pairs = pa.array(self._target * len(self._chosen.leaf) + self._node).dictionary_encode()
        self._inner = pairs.indices.to_numpy()
        places, nodes = np.divmod(pairs.dictionary.to_numpy(), len(self._chosen.leaf))
        return places, nodes

    def fold(self, below: "_Round | None") -> None:
        """Take over from the round below what the lanes point to; without one, what points is odd."""
        self.cost[self._odd] = _DAMAGED
        if below is None:
            self.cost[self._lane] = _DAMAGED
            return
        shared = np.bincount(self._lane, weights=below.cost[self._inner], minlength=len(self.cost))
        self.cost = np.minimum(self.cost + shared, _DAMAGED).astype(np.int64)
        for node, paths in self._chosen.below.items():
            edges = np.flatnonzero(self._node == node)
            lane, inner = self._lane[edges], self._inner[edges]
            for path in paths:
                self.values[path, lane] = below.values[path, inner]

    def _run(self, start: Numbers) -> None:
        """Step by step, until no lane has a value left; lanes that take too long are odd."""
        lane, places, top = np.arange(len(start)), start.copy(), np.arange(len(start)) * _LEVELS + 1
        parts = _PARTS * len(lane) + _SPARE_PARTS
        stragglers = 0 if self._pointed else _STRAGGLERS
        for _ in range(_STEPS):
            places, top = self._read_values(lane, self._read_keys(lane, places, top), top)
            parts -= len(self._edges[-1][0]) + len(self._texts[-1][0])
            more = ((top % _LEVELS > 0) & ~self._odd[lane]).nonzero()[0]
            if len(more) < len(lane):
                self.cost[lane] = places - start[lane]
                lane, places, top = lane[more], places[more], top[more]
            if len(lane) <= stragglers or parts < 0:
                break
        self._odd[lane] = True

    def _read_keys(self, lane: Numbers, places: Numbers, top: Numbers) -> Numbers:
        """The keys where a map is open: what comes is set to their nodes. Where the values are."""
        keyed = self._map[top].nonzero()[0]
        if not len(keyed):
            return places
        heads = self._tokens.heads(places[keyed])
        key = np.where(heads.sound, self._keys(heads, places[keyed]), -1)
        self._expect(lane[keyed], self._chosen.next(self._at[top[keyed]], np.maximum(key, 0)))
        self._odd[lane[keyed[key < 0]]] = True
        places[keyed] = heads.after
        return places

    def _keys(self, heads: Heads, places: Numbers) -> Numbers:
        """Which keys the texts at places, or those that are pointed to from there, are: below 0 for what is no text."""
        if not len(heads.pointers):
            return self._texts_as_keys(heads)
        places[heads.pointers] = heads.targets
        once = pa.array(places).dictionary_encode()
        keys: Numbers = self._texts_as_keys(self._tokens.heads(once.dictionary.to_numpy()))[once.indices.to_numpy()]
        return keys

    def _texts_as_keys(self, heads: Heads) -> Numbers:
        good = heads.sound & (heads.kind == TEXT) & (heads.size <= _LONGEST_KEY)
        key = self._chosen.keys(self._tokens, np.where(good, heads.body, 0), heads.size)
        other = (good & (key == 0)).nonzero()[0]
        if len(other):
            good[other[_not_utf8(self._tokens, heads.body[other], heads.size[other])]] = False
        return np.where(good, key, -1)

    def _expect(self, lane: Numbers, node: Numbers) -> None:
        """A chosen key that is there twice is odd: the decoder takes the last one whole."""
        bit = np.left_shift(1, node)
        self._odd[lane[(self._seen[lane] & bit) > 1]] = True
        self._seen[lane] |= bit
        self._coming[lane] = node

    def _read_values(self, lane: Numbers, places: Numbers, top: Numbers) -> tuple[Numbers, Numbers]:
        """One value of each lane: where the next is, and the tops of the stacks then."""
        heads = self._tokens.heads(places)
        is_text = heads.kind == TEXT
        heads.sound &= ~is_text | (heads.size <= _LONGEST)
        self._odd[lane[~heads.sound]] = True
        texts = (heads.sound & is_text).nonzero()[0]
        self._texts.append((lane[texts], heads.body[texts], heads.size[texts]))
        node = self._coming[lane]
        self._coming[lane] = 0
        self._keep_pointers(lane, top, heads, node)
        path = self._chosen.leaf[node]
        ends = ((path >= 0) & (heads.kind != POINTER)).nonzero()[0]
        self.values[path[ends], lane[ends]] = places[ends]
        return heads.after, self._move(lane, top, heads, node)

    def _keep_pointers(self, lane: Numbers, top: Numbers, heads: Heads, node: Numbers) -> None:
        """A pointer to a pointer is damage."""
        which = heads.pointers
        if self._pointed:
            self._odd[lane[which[top[which] % _LEVELS == 1]]] = True
        self._edges.append((lane[which], node[which], heads.targets))

    def _move(self, lane: Numbers, top: Numbers, heads: Heads, node: Numbers) -> Numbers:
        """One value less in what is open; a map or array is opened; what has nothing left is shut."""
        self._left[top] -= 1
        opened = (heads.sound & ((heads.kind == MAP) | (heads.kind == ARRAY))).nonzero()[0]
        if len(opened):
            top[opened] = self._open(lane[opened], top[opened], heads, opened, node[opened])
        empty = (self._left[top] == 0).nonzero()[0]
        while len(empty):
            top[empty] -= 1
            empty = empty[self._left[top[empty]] == 0]
        return top

    def _open(self, lane: Numbers, top: Numbers, heads: Heads, opened: Numbers, node: Numbers) -> Numbers:
        deep = top % _LEVELS == _LEVELS - 1
        self._odd[lane[deep]] = True
        top = top + ~deep
        size, is_map = heads.size[opened], heads.kind[opened] == MAP
        self._left[top], self._map[top], self._at[top] = size, is_map, node
        self._coming[lane] = np.where(is_map | (size == 0), 0, self._chosen.first[node])
        return top


def _not_utf8(tokens: Tokens, body: Numbers, size: Numbers) -> Flags:
    """Which of the texts are not UTF-8."""
    data, offsets = tokens.gather(body, size)
    texts = pa.Array.from_buffers(pa.large_binary(), len(size), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    try:
        texts.cast(pa.large_string())
    except pa.ArrowInvalid:
        return np.array([not _is_text(text) for text in texts.to_pylist()])
    return np.zeros(len(size), dtype=np.bool_)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _joined(parts: list[tuple[Numbers, ...]]) -> list[Numbers]:
    """The columns of parts, each in one piece; the parts are let go."""
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    parts.clear()
    return columns
