"""Hot day files: exactly once, whole or not at all, unreadable without their key."""

import datetime as dt
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import AuditlakeError, LockedError
from core.schema import COLUMNS, QUARANTINE_COLUMNS, stored_schema
from core.segment import Segment
from core.steps import observe
from storage import day_files
from storage.day_files import DayFiles
from storage.hot import HotStore, columns_of
from tests.unit.storage.rows import DAY, HOLDER, KEY, SEGMENT, attach_plainly, child, day_rows, varied_rows

REJECTED = Segment("requests.quarantine", DAY)
MARKER = "marker-7f3a9c1d-5e2b"
OTHER_KEY = "f" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HotStore]:
    store = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    yield store
    store.close()
    observe(None)


def content(store: HotStore, segment: Segment = SEGMENT, order: str = "ingest_batch, ingest_row") -> list[dict[str, Any]]:
    with store.read(segment, KEY, order) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
        return rows


def numbers(store: HotStore) -> list[tuple[str, int]]:
    return [(row["ingest_batch"], row["ingest_row"]) for row in content(store)]


def all_bytes(store: HotStore) -> bytes:
    folder = store.path(SEGMENT).parent
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def rejected_rows(batch: str, count: int, raw: bytes = b"GET /\xff\x00") -> pa.Table:
    arrived = [SEGMENT.start] * count
    values: dict[str, list[Any]] = {
        "ingest_batch": [batch] * count,
        "ingest_row": list(range(count)),
        "source_name": ["-"] * count,
        "source_offset": list(range(count)),
        "format": ["combined"] * count,
        "reason": ["no time"] * count,
        "raw": [raw] * count,
        "raw_bytes": [len(raw)] * count,
        "arrived": arrived,
    }
    return pa.table([pa.array(values[c.name], c.type) for c in QUARANTINE_COLUMNS], [c.name for c in QUARANTINE_COLUMNS])


# ------------------------------------------------------------------------------------------------------ rows in, rows out


def test_rows_come_back_as_they_went_in_with_every_type_and_extreme(store: HotStore) -> None:
    rows = varied_rows("b1")
    assert store.append(SEGMENT, KEY, rows, "b1")
    with store.read(SEGMENT, KEY, "ingest_row") as reader:
        assert [(field.name, field.type) for field in reader.schema] == [(column.name, column.type) for column in COLUMNS]
        assert reader.read_all().cast(stored_schema()).equals(rows)
    assert store.oldest(SEGMENT, KEY) == SEGMENT.start
    assert store.count(SEGMENT, KEY) == 6


def test_columns_may_come_in_any_order_and_absent_ones_become_null(store: HotStore) -> None:
    rows = day_rows("b1", 3, user_name="someone").select(["ingest_row", "user_name", "ingest_batch", "event_day", "event_time"])
    store.append(SEGMENT, KEY, rows, "b1")
    assert [row["user_name"] for row in content(store)] == ["someone"] * 3
    assert content(store)[0]["url_path"] is None


def test_rejected_lines_have_columns_of_their_own(store: HotStore) -> None:
    assert columns_of(REJECTED) == QUARANTINE_COLUMNS
    rows = rejected_rows("b1", 2)
    store.append(REJECTED, KEY, rows, "b1")
    with store.read(REJECTED, KEY, "ingest_row") as reader:
        assert reader.read_all().equals(rows)
    assert store.digest(REJECTED, KEY).rows == 2


def test_rows_are_read_in_the_order_asked_for_and_in_batches(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b2", 1500), "b2")
    store.append(SEGMENT, KEY, day_rows("b1", 1500), "b1")
    with store.read(SEGMENT, KEY, "ingest_batch, ingest_row DESC", batch_rows=1000) as reader:
        batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 1000 < sum(batch.num_rows for batch in batches)
    read = [
        (batch, row)
        for part in batches
        for batch, row in zip(part["ingest_batch"].to_pylist(), part["ingest_row"].to_pylist(), strict=True)
    ]
    assert read == [(batch, row) for batch in ("b1", "b2") for row in reversed(range(1500))]


def test_a_reader_that_stops_half_way_does_not_stand_in_the_way(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 5000), "b1")
    with store.read(SEGMENT, KEY, "", batch_rows=10) as reader:
        assert next(iter(reader)).num_rows > 0
    assert store.append(SEGMENT, KEY, day_rows("b2", 5), "b2")
    assert store.count(SEGMENT, KEY) == 5005


def test_days_have_files_of_their_own(store: HotStore) -> None:
    next_day = Segment("requests", DAY + dt.timedelta(days=1))
    mail = Segment("mail", DAY)
    for segment, count in ((SEGMENT, 1), (next_day, 2), (mail, 3)):
        store.append(segment, KEY, day_rows("b1", count, segment), "b1")
    assert [store.count(segment, KEY) for segment in (SEGMENT, next_day, mail)] == [1, 2, 3]
    assert [segment for segment, _ in store.segments()] == [mail, SEGMENT, next_day]
    assert store.path(SEGMENT).parts[-2:] == ("requests", "2026-01-30.duckdb")


def test_what_is_absent_counts_nothing(store: HotStore) -> None:
    assert not store.exists(SEGMENT)
    assert store.bytes(SEGMENT) == store.count(SEGMENT, KEY) == 0
    assert list(store.segments()) == []
    store.drop(SEGMENT)
    store.remove_batch(SEGMENT, KEY, "b1")
    store.remove_drafts()
    with pytest.raises(AuditlakeError, match="cannot be opened"):
        store.digest(SEGMENT, KEY)


# ----------------------------------------------------------------------------------------------------------- exactly once


def test_a_batch_that_comes_twice_is_written_once(store: HotStore) -> None:
    assert store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    assert not store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    assert store.append(SEGMENT, KEY, day_rows("b2", 2), "b2")
    assert numbers(store) == [("b1", 0), ("b1", 1), ("b1", 2), ("b2", 0), ("b2", 1)]


def test_a_batch_taken_back_may_come_again(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    store.append(SEGMENT, KEY, day_rows("b2", 2), "b2")
    store.remove_batch(SEGMENT, KEY, "b1")
    assert numbers(store) == [("b2", 0), ("b2", 1)]
    assert store.append(SEGMENT, KEY, day_rows("b1", 1), "b1")
    assert numbers(store) == [("b1", 0), ("b2", 0), ("b2", 1)]


@pytest.mark.parametrize("missing", ["event_time", "event_day", "ingest_batch", "ingest_row"])
def test_a_batch_that_cannot_be_written_whole_leaves_nothing(store: HotStore, missing: str) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 2), "b1")
    rows = day_rows("b2", 3)
    values = [*rows[missing].to_pylist()[:2], None]
    number = rows.schema.get_field_index(missing)
    rows = rows.set_column(number, pa.field(missing, rows.schema.field(missing).type), pa.array(values, rows.schema.field(missing).type))
    with pytest.raises(AuditlakeError, match=rf"hot file .* cannot be read or written: .*NOT NULL constraint failed: \w+\.{missing}"):
        store.append(SEGMENT, KEY, rows, "b2")
    assert store.count(SEGMENT, KEY) == 2
    assert store.append(SEGMENT, KEY, day_rows("b2", 3), "b2")


KILLED = """
import os, signal
from pathlib import Path
from core.steps import observe
from storage.hot import HotStore
from tests.unit.storage.rows import KEY, SEGMENT, day_rows
store = HotStore(Path({root!r}), Path({scratch!r}), threads=1)
observe(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == {step!r} else None)
{act}
"""


def killed_at(tmp_path: Path, step: str, act: str) -> None:
    """Run the act in another process, which kills itself at the step."""
    code = KILLED.format(root=str(tmp_path / "hot"), scratch=str(tmp_path / "scratch"), step=step, act=act)
    with child(code) as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("step", ["hot.create", "hot.rename", "hot.insert", "hot.commit", "hot.checkpoint"])
def test_a_batch_is_there_once_though_the_process_is_killed_while_it_is_written(store: HotStore, tmp_path: Path, step: str) -> None:
    killed_at(tmp_path, step, "store.append(SEGMENT, KEY, day_rows('b1', 1000), 'b1')")
    store.remove_drafts()
    assert store.append(SEGMENT, KEY, day_rows("b1", 1000), "b1") == (step != "hot.checkpoint")
    assert numbers(store) == [("b1", number) for number in range(1000)]
    assert [path.name for path in store.path(SEGMENT).parent.iterdir()] == ["2026-01-30.duckdb"]


@pytest.mark.parametrize("step", ["hot.rewrite", "hot.replace"])
def test_a_rewrite_that_is_killed_changes_nothing_and_leaves_nothing(store: HotStore, tmp_path: Path, step: str) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    store.close()
    killed_at(tmp_path, step, "store.rewrite_without(SEGMENT, KEY, [('b1', 1)])")
    assert len(list(store.path(SEGMENT).parent.iterdir())) > 1
    store.remove_drafts()
    assert [path.name for path in store.path(SEGMENT).parent.iterdir()] == ["2026-01-30.duckdb"]
    assert numbers(store) == [("b1", 0), ("b1", 1), ("b1", 2)]


def test_a_log_that_a_crash_left_is_part_of_what_is_rewritten(store: HotStore, tmp_path: Path) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 2), "b1")
    store.close()
    killed_at(tmp_path, "hot.checkpoint", "store.append(SEGMENT, KEY, day_rows('b2', 3), 'b2')")
    assert store.path(SEGMENT).with_name("2026-01-30.duckdb.wal").exists()
    assert store.rewrite_without(SEGMENT, KEY, [("b2", 1)]) == 1
    assert numbers(store) == [("b1", 0), ("b1", 1), ("b2", 0), ("b2", 2)]
    assert not store.append(SEGMENT, KEY, day_rows("b2", 3), "b2")


def test_a_drop_that_is_killed_is_finished_by_the_next(store: HotStore, tmp_path: Path) -> None:
    killed_at(tmp_path, "hot.checkpoint", "store.append(SEGMENT, KEY, day_rows('b1', 3), 'b1')")
    killed_at(tmp_path, "hot.unlink", "store.drop(SEGMENT)")
    assert store.exists(SEGMENT)
    store.drop(SEGMENT)
    assert not store.path(SEGMENT).parent.exists()


def test_the_log_of_a_dropped_file_does_not_spoil_the_next_one(store: HotStore, tmp_path: Path) -> None:
    killed_at(tmp_path, "hot.checkpoint", "store.append(SEGMENT, KEY, day_rows('b1', 3), 'b1')")
    store.path(SEGMENT).unlink()
    assert [path.suffix for path in store.path(SEGMENT).parent.iterdir()] == [".wal"]
    store.append(SEGMENT, KEY, day_rows("b2", 2), "b2")
    assert numbers(store) == [("b2", 0), ("b2", 1)]


# ------------------------------------------------------------------------------------------------------------------- gone


def test_what_is_rewritten_away_is_in_no_byte_of_the_file(store: HotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without encryption, for the bytes to be seen."""

    monkeypatch.setattr(DayFiles, "attach", attach_plainly)
    rows = pa.concat_tables([day_rows("b1", 5, user_name="kept-0a1b2c"), day_rows("b2", 5, user_name=MARKER)])
    store.append(SEGMENT, KEY, rows, "b1")
    assert MARKER.encode() in all_bytes(store)
    assert store.rewrite_without(SEGMENT, KEY, [("b2", number) for number in range(5)]) == 5
    assert MARKER.encode() not in all_bytes(store)
    assert b"kept-0a1b2c" in all_bytes(store)


def test_a_rewritten_file_is_as_good_as_the_first(store: HotStore) -> None:
    store.append(SEGMENT, KEY, varied_rows("b1"), "b1")
    wanted = [row for row in content(store) if row["ingest_row"] not in (0, 5)]
    assert store.rewrite_without(SEGMENT, KEY, [("b1", 0), ("b1", 5), ("b1", 99), ("b9", 1)]) == 2
    assert content(store) == wanted
    assert not store.append(SEGMENT, KEY, varied_rows("b1"), "b1")
    assert store.path(SEGMENT).stat().st_mode & 0o777 == 0o600
    assert store.rewrite_without(SEGMENT, KEY, []) == 0
    rows = day_rows("b2", 1).drop(["event_day"])
    with pytest.raises(AuditlakeError, match="NOT NULL constraint failed"):
        store.append(SEGMENT, KEY, rows, "b2")


def test_a_dropped_file_is_gone_with_its_folder(store: HotStore) -> None:
    other = Segment("requests", DAY + dt.timedelta(days=1))
    store.append(SEGMENT, KEY, day_rows("b1", 1), "b1")
    store.append(other, KEY, day_rows("b1", 1, other), "b1")
    assert store.bytes(SEGMENT) > 0
    store.drop(SEGMENT)
    assert not store.exists(SEGMENT)
    assert store.count(other, KEY) == 1
    store.drop(other)
    assert not store.path(SEGMENT).parent.exists()


def test_drafts_and_spilled_pages_are_removed_and_nothing_else(store: HotStore, tmp_path: Path) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 1), "b1")
    folder = store.path(SEGMENT).parent
    leftovers = [folder / "2026-01-30.duckdb.new", folder / "2026-02-01.duckdb.new.wal", tmp_path / "scratch" / "duckdb_temp_storage_0.tmp"]
    for path in leftovers:
        path.write_bytes(b"half")
    store.remove_drafts()
    assert not any(path.exists() for path in leftovers)
    assert store.count(SEGMENT, KEY) == 1


def test_every_file_below_the_root_is_told_also_one_that_is_no_segments(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 1), "b1")
    folder = store.path(SEGMENT).parent
    for name in ("2026-01-30.duckdb.wal", "notes.txt", "2026-99-99.duckdb"):
        (folder / name).write_bytes(b"")
    found = {path.name: segment for segment, path in store.segments()}
    unknown = Segment("requests", dt.date.min)
    assert found == {"2026-01-30.duckdb": SEGMENT, "2026-01-30.duckdb.wal": SEGMENT, "notes.txt": unknown, "2026-99-99.duckdb": unknown}


# ----------------------------------------------------------------------------------------------------------------- secret


def test_neither_file_nor_log_can_be_read_without_the_key(store: HotStore) -> None:
    seen: dict[str, bytes] = {}

    def look(step: str) -> None:
        if step == "hot.checkpoint":
            seen.update({path.name: path.read_bytes() for path in store.path(SEGMENT).parent.iterdir()})

    observe(look)
    rows = day_rows("b1", 100, user_name=MARKER, source_ip=MARKER, url_path=MARKER * 50)
    store.append(SEGMENT, KEY, rows, "b1")
    observe(None)
    assert len(seen["2026-01-30.duckdb.wal"]) > 1000
    for stored in (*seen.values(), all_bytes(store)):
        for plain in (MARKER.encode(), b"user_name", KEY.encode(), bytes.fromhex(KEY)):
            assert plain not in stored
    assert content(store)[0]["user_name"] == MARKER
    assert store.path(SEGMENT).stat().st_mode & 0o777 == 0o600
    assert store.path(SEGMENT).parent.stat().st_mode & 0o777 == 0o700


ACTS: list[Callable[[HotStore, str], object]] = [
    lambda store, key: store.count(SEGMENT, key),
    lambda store, key: store.digest(SEGMENT, key),
    lambda store, key: store.oldest(SEGMENT, key),
    lambda store, key: store.append(SEGMENT, key, day_rows("b2", 1), "b2"),
    lambda store, key: store.rewrite_without(SEGMENT, key, [("b1", 0)]),
]


@pytest.mark.parametrize("act", range(len(ACTS)))
def test_a_wrong_key_is_an_error_in_one_line_that_does_not_tell_it(store: HotStore, act: int) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 1), "b1")
    store.close()
    with pytest.raises(AuditlakeError, match=r"hot file .*2026-01-30\.duckdb cannot be opened: .*; run: auditlake verify") as refused:
        ACTS[act](store, OTHER_KEY)
    assert not any(secret in str(refused.value) for secret in (KEY, OTHER_KEY, "\n"))
    assert store.count(SEGMENT, KEY) == 1


def test_a_damaged_file_is_an_error_in_one_line_wherever_the_damage_is(store: HotStore) -> None:
    store.append(SEGMENT, KEY, varied_rows("b1"), "b1")
    store.close()
    path = store.path(SEGMENT)
    whole, wanted = path.read_bytes(), store.digest(SEGMENT, KEY)
    damaged = [whole[:size] for size in (0, 100, 4096, 12_288, len(whole) // 2)]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in (5000, 13_000, len(whole) // 2, len(whole) - 250_000)]
    refusals = []
    for content_now in damaged:
        store.close()
        path.write_bytes(content_now)
        try:
            assert store.digest(SEGMENT, KEY) == wanted
        except AuditlakeError as error:
            refusals.append(error)
    assert len(refusals) >= 8
    assert all(type(error) is AuditlakeError and str(path) in str(error) and "\n" not in str(error) for error in refusals)
    store.close()
    path.write_bytes(whole)
    assert store.digest(SEGMENT, KEY) == wanted


# ----------------------------------------------------------------------------------------------------------------- shared


def test_a_file_that_another_process_writes_is_locked_by_that_process(store: HotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_files, "_LOCK_WAIT_SECONDS", 0.0)
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    store.close()
    with child(HOLDER.format(paths=[str(store.path(SEGMENT))], mode="READ_WRITE", key=KEY)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=rf"hot file {store.path(SEGMENT)} is in use by process {holder.pid}; try again"):
            store.append(SEGMENT, KEY, day_rows("b2", 1), "b2")
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            store.count(SEGMENT, KEY)
        holder.communicate()
    assert store.append(SEGMENT, KEY, day_rows("b2", 1), "b2")


def test_what_changes_a_file_itself_waits_until_a_reader_has_ended(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    store.close()
    code = HOLDER.format(paths=[str(store.path(SEGMENT))], mode="READ_ONLY", key=KEY).replace(
        "sys.stdin.read()", "import time; time.sleep(0.3)"
    )
    with child(code) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store.remove_batch(SEGMENT, KEY, "b1")
    assert store.count(SEGMENT, KEY) == 0


def test_between_two_operations_other_processes_may_open_the_file(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    with child(HOLDER.format(paths=[str(store.path(SEGMENT))], mode="READ_WRITE", key=KEY)) as holder:
        out, _ = holder.communicate()
    assert (out, holder.returncode) == ("held\n3\n", 0)


# ---------------------------------------------------------------------------------------------------------------- digests


def test_the_digest_depends_on_rows_alone_not_on_batches_or_order_of_arrival(store: HotStore) -> None:
    other = Segment("requests", DAY + dt.timedelta(days=1))
    rows = varied_rows("b1")
    store.append(SEGMENT, KEY, rows, "b1")
    store.append(other, KEY, rows.take([5, 3, 1]), "first")
    store.append(other, KEY, rows.take([0, 2, 4]), "second")
    assert store.digest(other, KEY) == store.digest(SEGMENT, KEY)
    store.rewrite_without(other, KEY, [("b1", 4)])
    assert store.digest(other, KEY).rows == 5
    assert store.digest(other, KEY).sum != store.digest(SEGMENT, KEY).sum
