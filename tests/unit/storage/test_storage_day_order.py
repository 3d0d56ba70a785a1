"""A day's rows in the archive's order are those that DuckDB sorts, and their digest is that of the wide rows."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from core.schema import COLUMNS, stored_schema
from storage import day_order
from storage.archive_files import ORDER, group_rows, in_groups
from storage.digest import EMPTY, digest_of_rows
from storage.hot import HotStore
from tests.unit.storage.rows import KEY, SEGMENT, day_rows, varied_rows

KEYS = [(name, "ascending") for name in ORDER]


@pytest.fixture
def hot(tmp_path: Path) -> Iterator[HotStore]:
    store = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=2)
    store.append(SEGMENT, KEY, day_rows("b2", 3000, source_ip="203.0.113.9", source_address="203.0.113.9", url_path="/a"), "b2")
    store.append(SEGMENT, KEY, varied_rows("b1"), "b1")
    store.append(SEGMENT, KEY, day_rows("b0", 500, source_ip="10.0.0.7", user_agent_original="curl", http_request_method="GET"), "b0")
    yield store
    store.close()


def in_order(hot: HotStore, batch_rows: int) -> pa.Table:
    with hot.in_order(SEGMENT, KEY, batch_rows) as batches:
        return pa.concat_tables([group.cast(stored_schema()) for group in in_groups(batches, 1000)])


def wide(hot: HotStore) -> pa.Table:
    with hot.read(SEGMENT, KEY) as reader:
        return reader.read_all().cast(stored_schema())


@pytest.mark.parametrize("most_held", [day_order._MOST_HELD, 1])
@pytest.mark.parametrize("batch_rows", [2048, 1_000_000])
def test_rows_come_sorted_and_whole(hot: HotStore, monkeypatch: pytest.MonkeyPatch, batch_rows: int, most_held: int) -> None:
    monkeypatch.setattr(day_order, "_MOST_HELD", most_held)
    found = in_order(hot, batch_rows)
    assert found.num_rows == 3506
    assert found.to_pylist() == wide(hot).sort_by(KEYS).to_pylist()


def test_the_digest_of_a_day_is_that_of_its_wide_rows(hot: HotStore) -> None:
    wanted = digest_of_rows([wide(hot)], COLUMNS)
    assert wanted.rows == 3506
    assert hot.digest(SEGMENT, KEY) == wanted
    with hot.in_order(SEGMENT, KEY, 2048) as batches:
        coded = digest_of_rows([*in_groups(batches, 700)], COLUMNS)
    assert coded == wanted


def test_a_day_without_rows_has_the_empty_digest(tmp_path: Path) -> None:
    store = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    store.append(SEGMENT, KEY, day_rows("b1", 0), "b1")
    assert store.digest(SEGMENT, KEY) == EMPTY
    assert in_order_is_empty(store)
    store.close()


def in_order_is_empty(store: HotStore) -> bool:
    with store.in_order(SEGMENT, KEY, 2048) as batches:
        return [*in_groups(batches, 10)] == []


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [(0, 16_384), (1, 16_384), (65_536, 16_384), (274_000, 47_104), (2_000_000, 333_824), (10_000_000, 614_400), (10**9, 614_400)],
)
def test_a_day_has_six_row_groups_or_more(rows: int, wanted: int) -> None:
    assert group_rows(rows) == wanted
    assert wanted % 2_048 == 0


@pytest.mark.parametrize("sizes", [[7], [3, 4, 3], [1] * 10, [10, 0, 25]])
def test_groups_have_the_same_rows_in_the_same_order(sizes: list[int]) -> None:
    rows = day_rows("b1", sum(sizes))
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    groups = [*in_groups([rows.slice(start, size) for start, size in zip(starts, sizes, strict=True)], 4)]
    assert [group.num_rows for group in groups] == [4] * (len(rows) // 4) + [len(rows) % 4] * (len(rows) % 4 > 0)
    assert pa.concat_tables(groups).to_pylist() == rows.to_pylist()
