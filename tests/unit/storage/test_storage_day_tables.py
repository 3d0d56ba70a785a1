"""Facts and dimensions in a day file: values stored once, gone with the last row that has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import AuditlakeError
from core.star import Coded, Dictionary, Star, encode
from storage import day_tables
from storage.day_files import DayFiles
from storage.hot import HotStore
from tests.unit.storage.rows import KEY, SEGMENT, attach_plainly, day_rows

MARKER = "marker-7f3a9c1d-5e2b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HotStore]:
    store = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    yield store
    store.close()


def content(store: HotStore) -> list[dict[str, Any]]:
    with store.read(SEGMENT, KEY, "ingest_batch, ingest_row") as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
        return rows


def values_of(store: HotStore, table: str, column: str) -> list[Any]:
    with store._files.attached(store.path(SEGMENT), KEY, read_only=True) as connection:
        return [row[0] for row in connection.execute(f"SELECT {column} FROM day.{table} ORDER BY id").fetchall()]


def test_what_rows_share_is_stored_once_whatever_batch_or_process_brings_it(store: HotStore, tmp_path: Path) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3, source_ip="192.0.2.1", user_name="someone"), "b1")
    store.append(SEGMENT, KEY, day_rows("b2", 3, source_ip="192.0.2.1"), "b2")
    store.close()
    other = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    other.append(SEGMENT, KEY, pa.concat_tables([day_rows("b3", 1, source_ip=ip) for ip in ("192.0.2.2", "192.0.2.1")]), "b3")
    other.close()
    store.append(SEGMENT, KEY, pa.concat_tables([day_rows("b4", 1, source_ip=ip) for ip in ("192.0.2.3", "192.0.2.2")]), "b4")
    assert values_of(store, "client", "source_ip") == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    found = [(row["ingest_batch"], row["source_ip"][-1]) for row in content(store)]
    assert sorted(found) == sorted(
        [*zip(["b1"] * 3 + ["b2"] * 3, "111111", strict=True), ("b3", "2"), ("b3", "1"), ("b4", "3"), ("b4", "2")]
    )
    assert [row["user_name"] for row in content(store)] == ["someone"] * 3 + [None] * 7


def test_a_batch_taken_back_leaves_no_value_that_it_alone_had(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3, source_ip="192.0.2.1"), "b1")
    store.append(SEGMENT, KEY, pa.concat_tables([day_rows("b2", 1, source_ip=ip) for ip in ("192.0.2.1", "192.0.2.2")]), "b2")
    store.remove_batch(SEGMENT, KEY, "b2")
    assert values_of(store, "client", "source_ip") == ["192.0.2.1"]
    assert values_of(store, "batch", "ingest_batch") == ["b1"]
    store.append(SEGMENT, KEY, day_rows("b3", 1, source_ip="192.0.2.2"), "b3")
    assert [row["source_ip"] for row in content(store)] == ["192.0.2.1"] * 3 + ["192.0.2.2"]


def test_a_batch_that_fails_gives_no_number_to_a_value(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 1, source_ip="192.0.2.1"), "b1")
    with pytest.raises(AuditlakeError, match="NOT NULL"):
        store.append(SEGMENT, KEY, day_rows("b2", 1, source_ip="192.0.2.2").drop(["ingest_row"]), "b2")
    store.append(SEGMENT, KEY, day_rows("b3", 1, source_ip="192.0.2.2"), "b3")
    assert [row["source_ip"] for row in content(store)] == ["192.0.2.1", "192.0.2.2"]


def test_values_forgotten_are_stored_again_and_rows_stay_right(store: HotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_tables, "_REMEMBERED", 2)
    for number in range(6):
        rows = [day_rows(f"b{number}", 1, source_ip=f"192.0.2.{ip}") for ip in (number, number + 1, 1)]
        store.append(SEGMENT, KEY, pa.concat_tables(rows), f"b{number}")
    wanted = [f"192.0.2.{ip}" for number in range(6) for ip in (number, number + 1, 1)]
    assert sorted(row["source_ip"] for row in content(store)) == sorted(wanted)
    assert len(values_of(store, "client", "source_ip")) > 7


def test_a_value_that_is_rewritten_away_is_in_no_byte_of_the_file(store: HotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without encryption, for the bytes to be seen."""
    monkeypatch.setattr(DayFiles, "attach", attach_plainly)
    rows = pa.concat_tables([day_rows("b1", 5, source_address="kept-0a1b2c"), day_rows("b2", 5, source_address=MARKER)])
    store.append(SEGMENT, KEY, rows, "b1")
    assert MARKER.encode() in store.path(SEGMENT).read_bytes()
    assert store.rewrite_without(SEGMENT, KEY, [("b2", number) for number in range(5)]) == 5
    assert MARKER.encode() not in store.path(SEGMENT).read_bytes()
    assert [row["source_address"] for row in content(store)] == ["kept-0a1b2c"] * 5


def test_values_of_a_dictionary_are_stored_once_in_each_file_whoever_wrote_it_before(store: HotStore, tmp_path: Path) -> None:
    """Batches of one dictionary, of another, and of none; a file that another process has written to; a batch taken back."""

    def append(target: HotStore, batch: str, dictionary: Dictionary | None, *ips: str) -> None:
        star = encode(pa.concat_tables([day_rows(batch, 1, source_ip=ip) for ip in ips]))
        if dictionary is not None:
            client = star.dimensions["client"]
            codes, _ = dictionary.codes(client.values)
            star = Star(star.facts, {**star.dimensions, "client": Coded(client.numbers, client.values, dictionary, codes)})
        assert target.append(SEGMENT, KEY, star, batch)

    first, second = Dictionary("client"), Dictionary("client")
    append(store, "b1", first, "a", "b", "a")
    append(store, "b2", first, "b", "c")
    assert values_of(store, "client", "source_ip") == ["a", "b", "c"]
    store.close()
    other = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    append(other, "b3", second, "c", "d")
    other.close()
    append(store, "b4", first, "d", "e", "a")
    assert values_of(store, "client", "source_ip") == ["a", "b", "c", "d", "e"]
    store.remove_batch(SEGMENT, KEY, "b4")
    append(store, "b5", first, "e", "f")
    append(store, "b6", None, "f", "g")
    append(store, "b7", second, "g", "a")
    wanted = {"b1": "aab", "b2": "bc", "b3": "cd", "b5": "ef", "b6": "fg", "b7": "ag"}
    found: dict[str, str] = dict.fromkeys(wanted, "")
    for row in sorted(content(store), key=lambda row: row["source_ip"]):
        found[row["ingest_batch"]] += row["source_ip"]
    assert found == wanted
