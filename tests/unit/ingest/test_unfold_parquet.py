"""Rows of a Parquet file become lines with every digit; damage is told after the rows before it, whatever the bytes."""

import decimal
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import AuditlakeError, UsageError
from ingest.compression import DamageError
from ingest.sources import Reader, open_source
from ingest.unfold_pages import MAX_PAGE_BYTES
from ingest.unfold_parquet import unfold_parquet
from tests.unit.ingest.memory import Memory, sums

COLUMNS: dict[str, tuple[pa.Array, list[Any]]] = {
    "text": (pa.array(["a", 'q"\\\n\0é', None]), ["a", 'q"\\\n\0é', None]),
    "shared": (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
    "large": (pa.array(["x", "y", ""], pa.large_string()), ["x", "y", ""]),
    "bytes": (pa.array([b"\xff\0", b"ok", None]), ["\\xff\0", "ok", None]),
    "fixed": (pa.array([b"ab", b"d\xfe", None], pa.binary(2)), ["ab", "d\\xfe", None]),
    "long": (pa.array([2**63 - 1, -(2**63), None]), [2**63 - 1, -(2**63), None]),
    "unsigned": (pa.array([2**64 - 1, 0, 1], pa.uint64()), [2**64 - 1, 0, 1]),
    "small": (pa.array([-128, 127, 0], pa.int8()), [-128, 127, 0]),
    "truth": (pa.array([True, False, None]), [True, False, None]),
    "double": (pa.array([0.1, float("nan"), 1e300]), [0.1, "nan", 1e300]),
    "float": (pa.array([1.5, float("-inf"), 0], pa.float32()), [1.5, "-inf", 0]),
    "half": (pa.array(np.array([1.5, 2, np.inf], np.float16)), [1.5, 2, "inf"]),
    "nanos": (
        pa.array([1, None, -1], pa.timestamp("ns", "UTC")),
        ["1970-01-01T00:00:00.000000001Z", None, "1969-12-31T23:59:59.999999999Z"],
    ),
    "zone": (
        pa.array([0, 1, None], pa.timestamp("us", "Europe/Berlin")),
        ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000001Z", None],
    ),
    "local": (pa.array([0, None, 1700000000123], pa.timestamp("ms")), ["1970-01-01T00:00:00.000", None, "2023-11-14T22:13:20.123"]),
    "date": (pa.array([0, 19000, None], pa.date32()), ["1970-01-01", "2022-01-08", None]),
    "time": (pa.array([0, 1, None], pa.time64("us")), ["00:00:00.000000", "00:00:00.000001", None]),
    "duration": (pa.array([1, -2, None], pa.duration("us")), [1, -2, None]),
    "decimal": (pa.array([decimal.Decimal("-123456789012.3450"), None, 0], pa.decimal128(20, 4)), ["-123456789012.3450", None, "0.0000"]),
    "nothing": (pa.nulls(3), [None, None, None]),
    "list": (pa.array([[1, None, 3], [], None]), [[1, None, 3], [], None]),
    "lists": (pa.array([[["a"], None], [], [["b", "c"], []]]), [[["a"], None], [], [["b", "c"], []]]),
    "pair": (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)), [[1, 2], None, [3, 4]]),
    "struct": (pa.array([{"a": 1, "b": {"c": "x"}}, {"a": None, "b": None}, None]), [{"a": 1, "b": {"c": "x"}}, {}, None]),
    "structs": (pa.array([[{"k": "v"}], None, [{"k": None}, None]]), [[{"k": "v"}], None, [{}, None]]),
    "map": (pa.array([[("k", 1), ("j", None)], [], None], pa.map_(pa.string(), pa.int64())), [{"k": 1, "j": None}, {}, None]),
    "numbers": (pa.array([[(1, "x")], None, [(2, "y")]], pa.map_(pa.int32(), pa.string())), [{"1": "x"}, None, {"2": "y"}]),
    'n"ame': (pa.array([1, 2, 3]), [1, 2, 3]),
}
TABLE = pa.table({name: column for name, (column, _) in COLUMNS.items()})


def _parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def _lines(data: bytes) -> list[bytes]:
    return b"".join(unfold_parquet(io.BytesIO(data))).splitlines(keepends=True)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd", "data_page_version": "2.0"}, {"use_dictionary": False, "store_schema": False}]
)
def test_every_type_keeps_its_value(options: dict[str, Any]) -> None:
    lines = _lines(_parquet(TABLE, **options))
    expected = [{name: values[row] for name, (_, values) in COLUMNS.items() if values[row] is not None} for row in range(3)]
    assert [json.loads(line) for line in lines] == expected
    assert all(line.endswith(b"\n") for line in lines)


def test_rows_without_a_value_are_empty_objects() -> None:
    assert _lines(_parquet(pa.table({"a": pa.array([None, 1, None])}))) == [b"{}\n", b'{"a":1}\n', b"{}\n"]
    assert _lines(_parquet(pa.table({"a": pa.array([], pa.int64())}))) == []


def test_all_row_groups_come_in_order() -> None:
    table = pa.table({"n": pa.array(range(20_000)), "s": pa.array([f"v{number % 7}" for number in range(20_000)])})
    lines = _lines(_parquet(table, row_group_size=9000))
    assert lines == [b'{"n":%d,"s":"v%d"}\n' % (number, number % 7) for number in range(20_000)]


def test_a_long_value_that_many_rows_share_is_not_repeated_at_once() -> None:
    table = pa.table({"s": pa.array(["x" * (1 << 20)]).dictionary_encode().take(pa.array([0] * 200))})
    before = pa.total_allocated_bytes()
    count = most = 0
    for piece in unfold_parquet(io.BytesIO(_parquet(table))):
        count += piece.count(b"\n")
        most = max(most, len(piece), pa.total_allocated_bytes() - before)
    assert count == 200
    assert most < 64 << 20


def test_a_file_is_read_and_known_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    table = pa.table({"n": pa.array(range(5))})
    assert sums(memory.ingest(_parquet(table), "a.log")) == (0, 5, 0)
    assert memory.lines == [b'{"n":%d}' % number for number in range(5)]
    assert sums(memory.ingest(_parquet(table, compression="gzip"), "b.parquet")) == (5, 0, 0)


def test_a_file_may_be_removed_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gone"
    path.write_bytes(_parquet(TABLE))
    with open_source(path) as reader:
        path.unlink()
        assert reader.read(1 << 20).count(b"\n") == 3
        reader.check()
        assert reader.unfolded


def test_on_a_stream_or_packed_it_is_refused_by_name(tmp_path: Path) -> None:
    data = _parquet(TABLE)
    with pytest.raises(UsageError, match=r"standard input.*is Parquet on a stream.*give it as a file"):
        open_source("-", io.BytesIO(data))
    (tmp_path / "packed").write_bytes(gzip.compress(data))
    with pytest.raises(UsageError, match=r"packed.*is Parquet within compressed data.*not packed"):
        open_source(tmp_path / "packed")
    assert Reader("quarantine", io.BytesIO(data)).read(4) == b"PAR1"


def test_a_file_cut_short_is_damaged(tmp_path: Path) -> None:
    data = _parquet(pa.table({"n": pa.array(range(5))}))
    for cut in range(5, len(data), 7):
        (tmp_path / "cut").write_bytes(data[:cut])
        with open_source(tmp_path / "cut") as reader:
            assert reader.read(1000) == b""
            with pytest.raises(AuditlakeError, match=r"cut.*is damaged: its Parquet data is corrupt") as caught:
                reader.check()
            assert str(caught.value).isascii()
            assert "\n" not in str(caught.value)


def test_damage_comes_after_the_row_groups_before_it(tmp_path: Path) -> None:
    data = bytearray(_parquet(pa.table({"n": pa.array(range(3000))}), row_group_size=1000, compression="zstd"))
    place = pq.read_metadata(io.BytesIO(data)).row_group(2).column(0).data_page_offset
    data[place + 3 : place + 30] = bytes(27)
    (tmp_path / "bad").write_bytes(data)
    with open_source(tmp_path / "bad") as reader:
        assert reader.read(1 << 20).count(b"\n") == 2000
        assert reader.damaged


def test_flipped_bytes_are_rows_or_damage() -> None:
    whole = [_parquet(TABLE, compression=kind, data_page_version=page) for kind in ("none", "snappy") for page in ("1.0", "2.0")]
    picks = random.Random(7)
    damaged = 0
    for turn in range(200):
        data = bytearray(whole[turn % 4])
        for _ in range(picks.choice((1, 2, 20))):
            data[picks.randrange(4, len(data))] = picks.randrange(256)
        try:
            assert all(piece.endswith(b"\n") for piece in unfold_parquet(io.BytesIO(data)))
        except DamageError:
            damaged += 1
    assert 20 < damaged < 200


def test_metadata_at_which_arrow_would_end_the_process_are_damage() -> None:
    data = _parquet(pa.table({"s": ["a", None]}), store_schema=False)
    optional, required = b"\x25\x02\x18\x01s", b"\x25\x00\x18\x01s"  # of the column's schema: its statistics no longer fit
    assert data.count(optional) == 1
    with pytest.raises(DamageError, match="histogram size mismatch"):
        _lines(data.replace(optional, required))


def test_a_footer_that_cannot_be_is_damage() -> None:
    data = _parquet(pa.table({"n": pa.array([1])}))
    for length in (len(data), 0xFFFFFFFF, 0, 3):
        with pytest.raises(DamageError, match="is corrupt"):
            _lines(data[:-8] + length.to_bytes(4, "little") + b"PAR1")
    with pytest.raises(DamageError, match="its end is missing"):
        _lines(data + b"\n")


def test_a_page_that_claims_too_much_is_refused_before_it_is_unpacked() -> None:
    data = bytearray(_parquet(pa.table({"n": pa.array([1])}), use_dictionary=False, compression="zstd", write_statistics=False))
    place = pq.read_metadata(io.BytesIO(data)).row_group(0).column(0).data_page_offset
    assert data[place : place + 3] == b"\x15\x00\x15"
    header = b"\x15\x00\x15" + _varint(2 * (MAX_PAGE_BYTES + 1)) + b"\x15\x02\x00"
    data[place : place + len(header)] = header
    with pytest.raises(DamageError, match="a page of more than 256 MiB"):
        _lines(bytes(data))


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
