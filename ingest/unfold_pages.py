"""What a Parquet file says of its own size, read before anything is unpacked: footer and page headers.

Both are Thrift in its compact protocol. Of them only the few numbers that bound memory are read, the rest is passed over: Arrow's
own view of a row group's metadata ends the process when some of these are corrupt.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift (``FileMetaData``, ``PageHeader``)
and https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ingest.compression import DamageError

__all__ = ["MAX_FOOTER_BYTES", "MAX_NESTED_VALUES", "MAX_PAGE_BYTES", "RowGroup", "check_row_group", "row_groups"]

MAX_FOOTER_BYTES = 16 << 20
"""The longest footer that is read."""
MAX_PAGE_BYTES = 256 << 20
"""The largest page that is unpacked; writers make them of about 1 MB."""
MAX_NESTED_VALUES = 1 << 24
"""As many values as a column of lists may have in one row group: few bytes can claim very many of them, and in one row."""

_HEADER_BYTES = 1 << 10
_LONGEST_HEADER = 1 << 20
_MAX_DEPTH = 16
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_NUMBERS = (_I16, _I32, _I64)


@dataclass(frozen=True)
class _Column:
    """A column's part of a row group: as the footer has it."""

    values: int
    start: int
    size: int


@dataclass(frozen=True)
class RowGroup:
    """Rows that are stored together.

    :param rows: how many, as the footer says.
    """

    rows: int
    columns: list[_Column]


def _corrupt(what: str) -> DamageError:
    return DamageError(f"its Parquet data is corrupt ({what})")


def row_groups(file: BinaryIO) -> list[RowGroup]:
    """What the footer says of the row groups.

    :raises DamageError: it is corrupt or not there, too long, or says that parts of the file are longer than the file.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read(8)
    if size < 12 or not end.endswith(b"PAR1"):
        raise _corrupt("its end is missing")
    length = int.from_bytes(end[:4], "little")
    if length > min(size - 12, MAX_FOOTER_BYTES):
        raise _corrupt("the length of its footer")
    file.seek(size - 8 - length)
    try:
        groups = list(_Compact(file.read(length)).row_groups())
    except IndexError:
        raise _corrupt("its footer") from None
    if sum(max(0, column.size) for group in groups for column in group.columns) > size:
        raise _corrupt("parts longer than the file")
    return groups


def check_row_group(file: BinaryIO, group: RowGroup) -> None:
    """Nothing, when every page of the row group is of a size that can be read.

    :raises DamageError: one is not, or its header is corrupt.
    """
    for column in group.columns if group.rows else ():
        if column.values > max(group.rows, MAX_NESTED_VALUES):
            raise DamageError("its Parquet data claims too many values in a row group")
        if column.start < 4:
            raise _corrupt("the place of a page")
        _check_pages(file, column.start, column.start + column.size)


def _check_pages(file: BinaryIO, at: int, end: int) -> None:
    while at < end:
        length, uncompressed, compressed = _header(file, at)
        if max(uncompressed, compressed) > MAX_PAGE_BYTES:
            raise DamageError(f"its Parquet data has a page of more than {MAX_PAGE_BYTES >> 20} MiB")
        if min(uncompressed, compressed) < 0:
            raise _corrupt("the size of a page")
        at += length + compressed


def _header(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Length of the header at a place, and what it says of the page's sizes, uncompressed and compressed."""
    size = _HEADER_BYTES
    while True:
        file.seek(at)
        text = file.read(size)
        try:
            return _Compact(text).page_header()
        except IndexError:  # it goes on
            if len(text) < size or size > _LONGEST_HEADER:
                raise _corrupt("a page header") from None
            size *= 8


class _Compact:
    """Reads Thrift's compact protocol; :class:`IndexError` where the bytes end."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def page_header(self) -> tuple[int, int, int]:
        """Its length, and the fields ``uncompressed_page_size`` and ``compressed_page_size``; -1 where one is missing."""
        numbers = self._numbers((2, 3))
        if self._at > len(self._text):
            raise IndexError
        return self._at, numbers.get(2, -1), numbers.get(3, -1)

    def row_groups(self) -> Iterator[RowGroup]:
        """Of ``FileMetaData``."""
        for field, kind in self._fields():
            if field == 4 and kind == _LIST:
                yield from (self._row_group() for _ in range(self._structs()))
            else:
                self._skip(kind, 0)

    def _row_group(self) -> RowGroup:
        rows, columns = 0, []
        for field, kind in self._fields():
            if field == 1 and kind == _LIST:
                columns = [self._column_chunk() for _ in range(self._structs())]
            elif field == 3 and kind in _NUMBERS:
                rows = self._zigzag()
            else:
                self._skip(kind, 0)
        return RowGroup(rows, columns)

    def _column_chunk(self) -> _Column:
        numbers: dict[int, int] = {}
        for field, kind in self._fields():
            if field == 3 and kind == _STRUCT:
                numbers = self._numbers((5, 7, 9, 11))
            else:
                self._skip(kind, 0)
        data, dictionary = numbers.get(9, 0), numbers.get(11, 0)
        return _Column(numbers.get(5, 0), min(data, dictionary) if dictionary > 0 else data, numbers.get(7, 0))

    def _numbers(self, wanted: tuple[int, ...]) -> dict[int, int]:
        """Those fields of a struct that are whole numbers and wanted."""
        found = {}
        for field, kind in self._fields():
            if kind in _NUMBERS and field in wanted:
                found[field] = self._zigzag()
            else:
                self._skip(kind, 0)
        return found

    def _fields(self) -> Iterator[tuple[int, int]]:
        """Number and kind of each field of a struct; its value is to be read before the next."""
        field = 0
        while (head := self._byte()) != _STOP:
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            yield field, head & 15

    def _structs(self) -> int:
        """How many structs a list has."""
        size, kind = self._list_head()
        if size and kind != _STRUCT:
            raise _corrupt("its footer")
        return size

    def _list_head(self) -> tuple[int, int]:
        head = self._byte()
        return (head >> 4 if head >> 4 != 15 else self._varint()), head & 15

    def _byte(self) -> int:
        self._at += 1
        return self._text[self._at - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _corrupt("a number")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, kind: int, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _corrupt("nested too deep")
        if kind in _NUMBERS:
            self._varint()
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            length = {_BYTE: 1, _DOUBLE: 8}.get(kind) or self._varint()
            self._at += length
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner, depth + 1)
        elif kind in (_LIST, _SET):
            self._skip_list(depth)
        elif kind not in (_TRUE, _FALSE):
            raise _corrupt("a kind of field")  # neither has maps

    def _skip_list(self, depth: int) -> None:
        size, kind = self._list_head()
        for _ in range(size):
            if kind in (_TRUE, _FALSE):
                self._byte()
            else:
                self._skip(kind, depth + 1)
