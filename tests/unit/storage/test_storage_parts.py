"""A day in several files: rows that arrive while all of its files are being read, and the files put together again."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import AuditlakeError
from core.segment import QUARANTINE_SUFFIX, Segment
from core.steps import observe
from storage import parts
from storage.day_files import DayFiles
from storage.hot import HotStore
from tests.unit.storage.rows import DAY, HOLDER, KEY, SEGMENT, attach_plainly, child, day_rows, varied_rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HotStore]:
    hot = HotStore(tmp_path / "hot", tmp_path / "scratch")
    yield hot
    hot.close()


@contextmanager
def reader(store: HotStore) -> Iterator["subprocess.Popen[str]"]:
    """Another process that reads all files that the day has now."""
    files = [str(path) for path in store.parts(SEGMENT)]
    with child(HOLDER.format(paths=files, mode="READ_ONLY", key=KEY)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        if holder.returncode is None:
            holder.communicate()


def counted(holder: "subprocess.Popen[str]") -> int:
    return int(holder.communicate()[0])


def names(store: HotStore) -> list[str]:
    return [path.name for path in store.parts(SEGMENT)]


def rows_of(store: HotStore, segment: Segment = SEGMENT) -> pa.Table:
    with store.read(segment, KEY, "ingest_batch, ingest_row") as batches:
        return batches.read_all()


def test_a_reader_keeps_no_rows_from_being_stored_and_sees_what_it_saw(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    with reader(store) as first:
        assert store.append(SEGMENT, KEY, day_rows("b2", 4), "b2")
        assert names(store) == ["2026-01-30.duckdb", "2026-01-30.2.duckdb"]
        with reader(store) as second:
            assert store.append(SEGMENT, KEY, varied_rows("b3"), "b3")
            assert store.append(SEGMENT, KEY, day_rows("b4", 1), "b4"), "into the third file, which nobody reads"
            assert len(names(store)) == 3
            assert store.count(SEGMENT, KEY) == 14
            assert (counted(first), counted(second)) == (3, 7)
    assert store.append(SEGMENT, KEY, day_rows("b5", 1), "b5")
    assert len(names(store)) == 3
    assert store.oldest(SEGMENT, KEY) == SEGMENT.start


def test_a_batch_is_known_in_whichever_file_it_is(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    with reader(store):
        store.append(SEGMENT, KEY, day_rows("b2", 4), "b2")
        assert not store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
        assert not store.append(SEGMENT, KEY, day_rows("b2", 4), "b2")
    assert not store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    assert store.count(SEGMENT, KEY) == 7
    store.remove_batch(SEGMENT, KEY, "b1")
    assert store.count(SEGMENT, KEY) == 4
    assert store.rewrite_without(SEGMENT, KEY, [("b2", 1), ("b2", 2)]) == 2
    assert rows_of(store)["ingest_row"].to_pylist() == [0, 3]


def in_parts(store: HotStore, segment: Segment = SEGMENT) -> pa.Table:
    """Three files, whose rows share values; all of the rows."""
    for number in range(3):
        store.append(segment, KEY, varied_rows(f"b{number}"), f"b{number}")
        with child(HOLDER.format(paths=[str(path) for path in store.parts(segment)], mode="READ_ONLY", key=KEY)) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            store.append(segment, KEY, varied_rows(f"c{number}"), f"c{number}")
            holder.communicate()
    assert len(store.parts(segment)) >= 2
    return rows_of(store, segment)


def test_files_put_together_hold_the_same_rows_and_batches(store: HotStore) -> None:
    before, digest = in_parts(store), store.digest(SEGMENT, KEY)
    with reader(store) as held:
        store.merge(SEGMENT, KEY)
        assert len(names(store)) == 1
        assert rows_of(store).equals(before)
        assert store.digest(SEGMENT, KEY) == digest
        assert counted(held) == before.num_rows, "who read the files reads on"
    assert not store.append(SEGMENT, KEY, varied_rows("c1"), "c1")
    assert store.append(SEGMENT, KEY, varied_rows("d1"), "d1")
    assert store.count(SEGMENT, KEY) == before.num_rows + 6
    files = sorted(path.name for path in store.path(SEGMENT).parent.iterdir())
    assert files == sorted([*names(store), "2026-01-30.parts"])
    with store.in_order(SEGMENT, KEY, 100) as batches:
        assert sum(batch.num_rows for batch in batches) == before.num_rows + 6


def test_a_day_in_parts_is_put_together_to_be_rolled(store: HotStore) -> None:
    before = in_parts(store)
    with store.in_order(SEGMENT, KEY, 100) as batches:
        assert sum(batch.num_rows for batch in batches) == before.num_rows
    assert len(names(store)) == 1


def test_small_files_are_put_together_before_there_are_many(store: HotStore) -> None:
    store.append(SEGMENT, KEY, day_rows("b", 500), "b")
    most = []
    for number in range(34):
        with reader(store):
            assert store.append(SEGMENT, KEY, day_rows(f"b{number}", 2), f"b{number}")
        most.append(len(names(store)))
    assert most == [*range(2, 33), 1, 2, 3]
    assert store.count(SEGMENT, KEY) == 568


def test_a_batch_is_known_again_in_a_file_that_has_changed(store: HotStore) -> None:
    for number in range(4):
        with reader(store):
            assert store.append(SEGMENT, KEY, day_rows(f"b{number}", 2), f"b{number}")
    for number in range(4):
        assert not store.append(SEGMENT, KEY, day_rows(f"b{number}", 2), f"b{number}")
    store.remove_batch(SEGMENT, KEY, "b1")
    assert store.append(SEGMENT, KEY, day_rows("b1", 2), "b1")
    assert not store.append(SEGMENT, KEY, day_rows("b1", 2), "b1")


def test_rejected_lines_in_parts(store: HotStore) -> None:
    segment = Segment("requests" + QUARANTINE_SUFFIX, DAY)
    row = {
        "ingest_batch": "b1",
        "ingest_row": 0,
        "source_name": "access.log",
        "source_offset": 0,
        "format": "combined",
        "reason": "why",
        "raw": b"x",
        "raw_bytes": 1,
        "arrived": segment.start,
    }
    store.append(segment, KEY, pa.Table.from_pylist([row]), "b1")
    with child(HOLDER.format(paths=[str(store.path(segment))], mode="READ_ONLY", key=KEY)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store.append(segment, KEY, pa.Table.from_pylist([row | {"ingest_batch": "b2"}]), "b2")
        holder.communicate()
    assert store.digest(segment, KEY).rows == store.count(segment, KEY) == 2
    store.merge(segment, KEY)
    assert store.count(segment, KEY) == 2
    assert rows_of(store, segment)["ingest_batch"].to_pylist() == ["b1", "b2"]


def test_dropped_with_all_files(store: HotStore) -> None:
    in_parts(store)
    assert {segment for segment, _ in store.segments()} == {SEGMENT}
    assert store.bytes(SEGMENT) >= sum(path.stat().st_size for path in store.parts(SEGMENT))
    store.drop(SEGMENT)
    assert list(store.segments()) == []
    assert not store.exists(SEGMENT)


def test_no_byte_stays_of_rows_rewritten_away_in_parts(store: HotStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DayFiles, "attach", attach_plainly)
    store.append(SEGMENT, KEY, day_rows("b1", 5, user_name="marker-4d5e6f"), "b1")
    other = parts.unused(store._files.root, SEGMENT)
    store._files.create(SEGMENT, KEY, other)
    parts.declare(store._files.root, SEGMENT, [store.path(SEGMENT), other])
    store.append(SEGMENT, KEY, day_rows("b2", 5, user_name="marker-4d5e6f"), "b2")
    assert all(b"marker-4d5e6f" in path.read_bytes() for path in store.parts(SEGMENT))
    assert store.rewrite_without(SEGMENT, KEY, [(batch, row) for batch in ("b1", "b2") for row in range(5)]) == 10
    assert not any(b"marker-4d5e6f" in path.read_bytes() for path in store.path(SEGMENT).parent.iterdir())


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("at", range(12))
def test_a_crash_at_any_step_of_putting_together_loses_and_doubles_nothing(store: HotStore, tmp_path: Path, at: int) -> None:
    before = in_parts(store)
    left = at

    def crash(_step: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    observe(crash)
    try:
        store.merge(SEGMENT, KEY)
    except Crash:
        pass
    finally:
        observe(None)
    again = HotStore(tmp_path / "hot", tmp_path / "scratch")
    assert rows_of(again).equals(before)
    again.remove_drafts()
    assert rows_of(again).equals(before)
    again.merge(SEGMENT, KEY)
    assert rows_of(again).equals(before)
    assert len(list(again.path(SEGMENT).parent.iterdir())) == 2
    again.close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '["../2026-01-30.duckdb"]', '["/etc/passwd"]', "[1]", "not json"])
def test_a_damaged_list_is_said_and_hides_no_file(store: HotStore, text: str) -> None:
    store.append(SEGMENT, KEY, day_rows("b1", 3), "b1")
    path = store.path(SEGMENT).with_suffix(".parts")
    path.write_text(text)
    with pytest.raises(AuditlakeError, match=r"hot file .*2026-01-30\.parts cannot be opened"):
        store.count(SEGMENT, KEY)
    store.remove_drafts()
    path.unlink()
    assert store.count(SEGMENT, KEY) == 3
