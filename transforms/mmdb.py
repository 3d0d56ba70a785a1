"""MaxMind DB files, looked up for many addresses at once.

Promises: an answer equals that of maxminddb for every address; a damaged file gives a :class:`DamagedError` or the mark
``DAMAGED`` for the addresses concerned, and never a crash, a read outside the file or an endless loop.

The search tree is walked here, with numpy, one level for all addresses at a time
(https://maxmind.github.io/MaxMind-DB/, "Binary Search Tree Section"); records are decoded by maxminddb, one for each
distinct place in the data section: by its Python code, since its C extension (3.2.0) ends the process on some damaged files.
The file is mapped, not read: replace it by renaming a new file over it, never in place.
"""

import datetime as dt
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import numpy.typing as npt
from maxminddb.decoder import Decoder

from core.errors import AuditlakeError
from transforms.base import Numbers

__all__ = ["ABSENT", "DAMAGED", "DamagedError", "Database"]

ABSENT = 0
"""Mark of an address the database does not know."""
DAMAGED = -1
"""Mark of an address whose branch of the tree leads nowhere."""

_SEPARATOR = 16
_REMEMBERED = 500_000
_UNSIGNED = npt.NDArray[np.uint64]


class DamagedError(AuditlakeError):
    """The file is no MaxMind database, or a part of it cannot be read."""


class _Decoder(Decoder):
    """maxminddb's decoder, which here decodes what several records point to (a country and its names) once: three times faster."""

    def __init__(self, data: mmap.mmap, base: int) -> None:
        super().__init__(data, base)
        self._targets: dict[int, Any] = {}

    def _decode(self, offset: int, budget: Any, pointer_target: bool) -> Any:
        if not pointer_target:
            return super()._decode(offset, budget, pointer_target)
        found = self._targets.get(offset)
        if found is None:
            if len(self._targets) > _REMEMBERED:
                self._targets.clear()
            found = self._targets[offset] = super()._decode(offset, budget, pointer_target)
        return found


class Database:
    """One open MaxMind DB file.

    :ivar type: ``database_type`` of its metadata.
    :ivar build: UTC date of its build, ``unknown`` when the metadata's time is no date.
    :raises DamagedError: the file is missing or is no MaxMind database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with maxminddb.open_database(path, maxminddb.MODE_MMAP) as reader:
                about = reader.metadata()
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise DamagedError(f"GeoIP database {str(path)!r} does not exist") from None
        except Exception:  # hostile metadata ends in exceptions of many kinds
            raise DamagedError(f"GeoIP database {str(path)!r} is not a readable MaxMind DB file") from None
        self.type, self.build = about.database_type, _date(about.build_epoch)
        self._map(about, data)

    def _map(self, about: Any, data: mmap.mmap) -> None:
        """Take what the walk needs from the metadata, checked against the file's size."""
        self._count, self._bits, self._version = about.node_count, about.record_size, about.ip_version
        numbers = all(isinstance(number, int) for number in (self._count, self._bits, self._version))
        sound = numbers and self._bits in (24, 28, 32) and self._version in (4, 6) and isinstance(self.type, str)
        self._data_start = self._count * self._bits // 4 if sound else 0
        self._room = len(data) - self._data_start
        if not sound or self._count < 1 or self._room <= _SEPARATOR:
            raise DamagedError(f"GeoIP database {str(self.path)!r} has metadata that does not fit the file")
        self._decoder = _Decoder(data, self._data_start + _SEPARATOR)
        # A big-endian word may begin at each byte: an overlapping view, no copy of the file.
        self._words = np.ndarray(shape=(len(data) - 3,), dtype=">u4", buffer=data, strides=(1,))
        self._start4 = self._zeros(96) if self._version == 6 else 0

    def find(self, addresses: Numbers | npt.NDArray[np.uint32]) -> Numbers:
        """Where the tree leads each IPv4 address.

        :param addresses: integers below 2**32, in any order (sorted is fastest).
        :returns: for each a key of its record for :meth:`record`, or ``ABSENT`` or ``DAMAGED``.
        """
        return self._walk(self._start4, [(addresses.astype(np.uint64), 32)])

    def find6(self, high: _UNSIGNED, low: _UNSIGNED) -> Numbers:
        """The same for IPv6 addresses, given as two halves of 64 bits; a database of IPv4 knows none."""
        if self._version == 4:
            return np.full(len(high), ABSENT, dtype=np.int64)
        return self._walk(0, [(high, 64), (low, 64)])

    def record(self, key: int) -> Any:
        """The decoded record of a key that :meth:`find` gave, ``None`` for ``ABSENT``; parts of it are shared: read only.

        :raises DamagedError: the key is ``DAMAGED``, or the record cannot be decoded.
        """
        if key == ABSENT:
            return None
        try:
            if key == DAMAGED:
                raise ValueError
            return self._decoder.decode(key - self._count + self._data_start)[0]
        except Exception:  # hostile data ends in exceptions of many kinds
            raise DamagedError(f"GeoIP database {str(self.path)!r} holds a record that cannot be read") from None

    def _children(self, nodes: Numbers, right: npt.NDArray[np.bool_]) -> Numbers:
        """The left or right record of each node: what 24, 28 and 32 bits mean is in the specification."""
        if self._bits == 24:
            return (self._words[nodes * 6 + 3 * right] >> 8).astype(np.int64)
        if self._bits == 32:
            return self._words[nodes * 8 + 4 * right].astype(np.int64)
        words = self._words[nodes * 7 + 3 * right].astype(np.int64)
        return np.where(right, words & 0x0FFFFFFF, words >> 8 | (words & 0xF0) << 20)

    def _zeros(self, depth: int) -> int:
        """The node that ``depth`` zero bits lead to, or the end reached before."""
        node = np.zeros(1, dtype=np.int64)
        for _ in range(depth):
            if node[0] >= self._count:
                break
            node = self._children(node, np.zeros(1, dtype=np.bool_))
        return int(node[0])

    def _walk(self, start: int, parts: list[tuple[_UNSIGNED, int]]) -> Numbers:
        """Follow the bits of all addresses, level by level; at most as many levels as an address has bits."""
        ends = np.full(len(parts[0][0]), start, dtype=np.int64)
        live = np.arange(len(ends) if start < self._count else 0)
        nodes = ends[live]
        for part, shift in _levels(parts):
            if not len(live):
                break
            nodes = self._children(nodes, (part[live] >> np.uint64(shift) & np.uint64(1)).astype(np.bool_))
            inner = nodes < self._count
            ends[live[~inner]] = nodes[~inner]
            live, nodes = live[inner], nodes[inner]
        ends[live] = nodes
        return self._judged(ends)

    def _judged(self, ends: Numbers) -> Numbers:
        """Keep ends that point into the data section; mark the others."""
        offsets = ends - self._count
        sound = (offsets >= _SEPARATOR) & (offsets < self._room)
        return np.where(offsets == 0, ABSENT, np.where(sound, ends, DAMAGED))


def _levels(parts: list[tuple[_UNSIGNED, int]]) -> Iterator[tuple[_UNSIGNED, int]]:
    return ((part, bits - 1 - level) for part, bits in parts for level in range(bits))


def _date(epoch: int) -> str:
    try:
        return dt.datetime.fromtimestamp(epoch, dt.UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "unknown"
