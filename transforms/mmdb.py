"""MaxMind DB files, looked up for many addresses at once.

Promises: an answer equals that of maxminddb for every address; a damaged file gives a :class:`DamagedError` or the mark
``DAMAGED`` for the addresses concerned, and never a crash, a read outside the file or an endless loop.

The search tree is walked by :mod:`transforms.mmdb_tree`, and chosen values of records are read by :mod:`transforms.mmdb_records`,
both for all addresses together. What is unusual there is decoded by maxminddb, one record at a time: by its Python code, since
its C extension (3.2.0) ends the process on some damaged files. The file is mapped, not read: replace it by renaming a new file
over it, never in place.
"""

import datetime as dt
import mmap
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import numpy.typing as npt
from maxminddb.decoder import Decoder

from core.errors import AuditlakeError
from transforms.base import Numbers
from transforms.mmdb_records import Chosen, Found, read
from transforms.mmdb_tokens import Tokens
from transforms.mmdb_tree import Tree

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
    :ivar tokens: reads values at places of the file.
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
        self.tokens = Tokens(data, self._data_start + _SEPARATOR)
        self._tree = Tree(data, self._count, self._bits, self._version)

    def find(self, addresses: Numbers | npt.NDArray[np.uint32]) -> Numbers:
        """Where the tree leads each IPv4 address.

        :param addresses: integers below 2**32, in any order (sorted is fastest).
        :returns: for each a key of its record for :meth:`record`, or ``ABSENT`` or ``DAMAGED``.
        """
        return self._judged(self._tree.find(addresses))

    def find6(self, high: _UNSIGNED, low: _UNSIGNED) -> Numbers:
        """The same for IPv6 addresses, given as two halves of 64 bits; a database of IPv4 knows none."""
        if self._version == 4:
            return np.full(len(high), ABSENT, dtype=np.int64)
        return self._judged(self._tree.find6(high, low))

    def read(self, keys: Numbers, chosen: Chosen) -> Found:
        """Values of the records of keys, which are neither ``ABSENT`` nor ``DAMAGED``; ``tokens`` reads them at their places."""
        return read(self.tokens, chosen, keys + (self._data_start - self._count))

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

    def _judged(self, ends: Numbers) -> Numbers:
        """Keep ends that point into the data section; mark the others."""
        offsets = ends - self._count
        sound = (offsets >= _SEPARATOR) & (offsets < self._room)
        return np.where(offsets == 0, ABSENT, np.where(sound, ends, DAMAGED))


def _date(epoch: int) -> str:
    try:
        return dt.datetime.fromtimestamp(epoch, dt.UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "unknown"
