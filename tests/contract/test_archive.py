"""One contract for the archive, in a local folder and in a bucket of a real S3 server."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import AuditlakeError, UsageError
from core.segment import Segment
from storage import archive_files
from storage.archive import Archive, ArchivedFile
from storage.control import Control
from storage.hot import HotStore
from storage.objects import LocalObjects, S3Objects, resolve_s3
from tests.contract.places import LocalPlace, Place, S3Place, open_place, open_s3
from tests.s3server import Bucket
from tests.unit.storage.rows import DAY, KEY, SEGMENT, day_rows, varied_rows

NEXT = Segment("requests", DAY + dt.timedelta(days=1))
BEFORE = Segment("requests", DAY - dt.timedelta(days=1))
MAIL = Segment("mail", DAY)
TABLE = "requests"


class Lake:
    """An archive at a place, and the short ways that these tests need."""

    def __init__(self, place: Place, control: Path) -> None:
        self.place = place
        self.control = Control.in_file(control)
        self.archive = Archive(self.control.url, place.location, place.access, place.objects)

    def add(self, segment: Segment, roll: str, rows: pa.Table) -> list[str]:
        paths = self.archive.write(segment, roll, rows.to_batches())
        self.archive.commit(segment, roll, paths)
        return paths

    def paths(self, metadata: str | None = None) -> list[str]:
        return [file.path for file in self.archive.files(TABLE, metadata)]

    def below(self, prefix: str) -> list[str]:
        return [entry.key for entry in self.archive.objects.entries(prefix)]

    def close(self) -> None:
        self.archive.close()
        self.control.close()


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(open_place(request.param, request, tmp_path), tmp_path / "control.sqlite")
    yield lake
    lake.close()


@pytest.fixture
def bucket_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake(open_s3(request), tmp_path / "control.sqlite")
    yield lake
    lake.close()


@pytest.fixture
def local_lake(tmp_path: Path) -> Iterator[Lake]:
    (tmp_path / "archive").mkdir()
    lake = Lake(LocalPlace(tmp_path / "archive"), tmp_path / "control.sqlite")
    yield lake
    lake.close()


# --------------------------------------------------------------------------------------------------------- write and read


def test_without_a_table_there_is_nothing(lake: Lake) -> None:
    archive = lake.archive
    assert (archive.streams(), archive.files(TABLE), archive.unreachable(TABLE), archive.sweep(TABLE)) == ([], [], [], [])
    assert archive.metadata(TABLE) is None
    assert archive.oldest(SEGMENT) is None
    assert (archive.count([]), archive.digest([]).rows) == (0, 0)
    archive.expire(TABLE)
    archive.drop_day(SEGMENT)
    archive.remove(TABLE, [ArchivedFile("nowhere", SEGMENT, 1, 1)])
    assert lake.place.left() == []


def test_written_files_are_no_part_of_the_table_until_they_are_committed(lake: Lake) -> None:
    paths = lake.archive.write(SEGMENT, "r7", varied_rows("b1").to_batches())
    assert lake.archive.files(TABLE) == []
    assert {entry.key for entry in lake.archive.unreachable(TABLE)} >= set(paths)
    lake.archive.commit(SEGMENT, "r7", paths)
    (file,) = lake.archive.files(TABLE)
    assert (file.path, file.segment, file.rows, file.bytes) == (paths[0], SEGMENT, 6, len(lake.place.get(paths[0])))
    assert file.path == f"{lake.archive.day_location(SEGMENT)}r7-00000.parquet"
    assert (file.is_of("r7"), file.is_of("r"), file.is_of("r70")) == (True, False, False)
    assert lake.archive.streams() == [TABLE]


def test_what_is_read_back_has_the_digest_and_count_of_the_hot_file(lake: Lake, tmp_path: Path) -> None:
    hot = HotStore(tmp_path / "hot", tmp_path / "scratch", threads=1)
    hot.append(SEGMENT, KEY, varied_rows("b1"), "b1")
    hot.append(SEGMENT, KEY, day_rows("b2", 2000, url_path="/index.html"), "b2")
    with hot.read(SEGMENT, KEY, "source_ip, event_time", batch_rows=1000) as rows:
        paths = lake.archive.write(SEGMENT, "r1", rows)
    assert lake.archive.digest(paths) == hot.digest(SEGMENT, KEY)
    assert lake.archive.count(paths) == 2006
    lake.archive.commit(SEGMENT, "r1", paths)
    assert lake.archive.oldest(SEGMENT) == hot.oldest(SEGMENT, KEY) == SEGMENT.start
    assert lake.archive.oldest(NEXT) is None
    hot.close()


def test_a_large_day_is_cut_into_files_and_row_groups(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "_LEAST_ROWS", 10)
    monkeypatch.setattr(archive_files, "_MOST_ROWS", 100)
    monkeypatch.setattr(archive_files, "FILE_BYTES", 12_000)
    rows = day_rows("b1", 730)
    paths = lake.archive.write(SEGMENT, "r1", rows.to_batches(max_chunksize=90))
    footers = [pq.read_metadata(pa.BufferReader(lake.place.get(path))) for path in paths]
    groups = [[footer.row_group(number).num_rows for number in range(footer.num_row_groups)] for footer in footers]
    assert [count for each in groups for count in each] == [100] * 7 + [30]
    assert len(groups) > 1
    assert all(len(each) > 1 for each in groups[:-1])
    assert [path.rsplit("/", 1)[-1] for path in paths] == [f"r1-{number:05d}.parquet" for number in range(len(paths))]
    lake.archive.commit(SEGMENT, "r1", paths)
    assert sorted(file.rows for file in lake.archive.files(TABLE)) == sorted(map(sum, groups))
    other = lake.archive.write(NEXT, "r2", [rows.combine_chunks().to_batches()[0]], rows.num_rows)
    assert lake.archive.digest(paths) == lake.archive.digest(other)


def test_a_small_day_has_several_row_groups(local_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "_LEAST_ROWS", 10)
    monkeypatch.setattr(archive_files, "_VECTOR_ROWS", 2)
    (path,) = local_lake.archive.write(SEGMENT, "r1", day_rows("b1", 101).to_batches())
    footer = pq.read_metadata(pa.BufferReader(local_lake.place.get(path)))
    assert [footer.row_group(number).num_rows for number in range(footer.num_row_groups)] == [18, 18, 18, 18, 18, 11]


@pytest.mark.parametrize("batches", [[], [day_rows("b1", 0).to_batches(max_chunksize=1)], day_rows("b1", 0).to_batches()])
def test_no_rows_make_no_file(local_lake: Lake, batches: list[pa.RecordBatch]) -> None:
    given = [batch for batch in batches if isinstance(batch, pa.RecordBatch)]
    assert local_lake.archive.write(SEGMENT, "r1", given) == []
    assert local_lake.archive.write(SEGMENT, "r1", [pa.RecordBatch.from_pylist([], schema=day_rows("b1", 0).schema)]) == []


def test_late_rows_add_a_file_to_their_day(lake: Lake) -> None:
    first = lake.add(SEGMENT, "r1", day_rows("b1", 5))
    late = lake.add(SEGMENT, "r2", day_rows("b2", 2))
    lake.add(NEXT, "r3", day_rows("b3", 1, NEXT))
    lake.add(MAIL, "r4", day_rows("b4", 1, MAIL))
    files = lake.archive.files(TABLE)
    assert [(file.segment, file.rows) for file in files if file.segment == SEGMENT] == [(SEGMENT, 5), (SEGMENT, 2)]
    assert lake.archive.digest(first + late).rows == 7
    assert [file.segment for file in lake.archive.files("mail")] == [MAIL]
    assert lake.archive.streams() == ["mail", TABLE]


def test_a_commit_names_its_segment_and_roll(lake: Lake) -> None:
    lake.add(SEGMENT, "r7", day_rows("b1", 5))
    metadata = lake.archive.metadata(TABLE)
    assert metadata is not None
    text = lake.place.get(metadata).decode()
    assert '"auditlake.segment":"requests/2026-01-30"' in text
    assert '"auditlake.roll":"r7"' in text


def test_an_older_metadata_file_shows_the_older_table(lake: Lake) -> None:
    first = lake.add(SEGMENT, "r1", day_rows("b1", 5))
    seen = lake.archive.metadata(TABLE)
    second = lake.add(SEGMENT, "r2", day_rows("b2", 2))
    assert lake.paths(seen) == first
    assert lake.paths() == sorted(first + second)


# ----------------------------------------------------------------------------------------------------------------- remove


def test_removed_files_leave_the_table_at_once_and_the_place_with_the_sweep(lake: Lake) -> None:
    kept, gone = lake.add(SEGMENT, "r1", day_rows("b1", 5)), lake.add(SEGMENT, "r2", day_rows("b2", 2))
    lake.archive.remove(TABLE, [file for file in lake.archive.files(TABLE) if file.is_of("r2")])
    assert lake.paths() == kept
    assert lake.place.get(gone[0])
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert gone[0] not in lake.below(lake.archive.table_location(TABLE))
    assert lake.archive.digest(kept).rows == 5


def test_a_dropped_day_leaves_no_byte_and_the_other_days_stay(lake: Lake) -> None:
    for roll, batch, count in (("r1", "b1", 5), ("r2", "b2", 2)):
        lake.add(SEGMENT, roll, day_rows(batch, count, user_name="of the day that goes"))
    others = lake.add(NEXT, "r3", day_rows("b3", 3, NEXT)) + lake.add(BEFORE, "r4", day_rows("b4", 4, BEFORE))
    wanted = lake.archive.digest(others)
    lake.archive.drop_day(SEGMENT)
    lake.archive.drop_day(SEGMENT)
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert lake.below(lake.archive.day_location(SEGMENT)) == []
    assert lake.paths() == sorted(others)
    assert lake.archive.digest(lake.paths()) == wanted
    assert lake.archive.unreachable(TABLE) == []
    left = lake.below(lake.archive.table_location(TABLE))
    assert len(left) == len(set(left)), "each needed object once: no version beside it"
    for url in left:
        assert b"event_day=2026-01-30" not in lake.place.get(url)
        assert f"day={(DAY - dt.date(1970, 1, 1)).days}".encode() not in lake.place.get(url)


def test_the_last_day_takes_the_table_and_everything_with_it(lake: Lake) -> None:
    lake.add(SEGMENT, "r1", day_rows("b1", 5))
    lake.archive.drop_day(SEGMENT)
    lake.archive.expire(TABLE)
    assert lake.archive.streams() == []
    assert lake.archive.metadata(TABLE) is None
    assert lake.archive.sweep(TABLE) == []
    assert lake.below(lake.archive.table_location(TABLE)) == []
    assert lake.place.left() == []
    lake.archive.expire(TABLE)
    assert lake.add(SEGMENT, "r2", day_rows("b2", 1)) == lake.paths()


def test_a_table_that_was_never_committed_to_is_dropped(lake: Lake) -> None:
    lake.archive.write(SEGMENT, "r1", day_rows("b1", 5).to_batches())
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert lake.place.left() == []


def test_expiry_leaves_one_snapshot_and_loses_no_row(lake: Lake) -> None:
    for number in range(4):
        lake.add(SEGMENT, f"r{number}", day_rows(f"b{number}", number + 1))
    before = lake.archive.digest(lake.paths())
    lake.archive.expire(TABLE)
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert lake.archive.digest(lake.paths()) == before
    kinds = sorted(url.rsplit(".", 1)[-1] for url in lake.below(lake.archive.table_location(TABLE)))
    assert kinds.count("json") == 1
    assert kinds.count("parquet") == 4


def test_what_a_pointer_needs_is_kept_until_the_pointer_moves(lake: Lake) -> None:
    lake.add(SEGMENT, "r1", day_rows("b1", 5))
    seen = lake.archive.metadata(TABLE)
    lake.add(NEXT, "r2", day_rows("b2", 2, NEXT))
    lake.archive.drop_day(SEGMENT)
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE, seen, None) == []
    assert lake.archive.digest(lake.paths(seen)).rows == 5
    assert lake.archive.sweep(TABLE) == []
    with pytest.raises(AuditlakeError, match="archive of requests cannot be read"):
        lake.paths(seen)
    assert lake.archive.digest(lake.paths()).rows == 2


def test_orphans_are_found_and_swept_and_the_table_stays_whole(lake: Lake) -> None:
    paths = lake.add(SEGMENT, "r1", day_rows("b1", 5))
    lake.archive.expire(TABLE)
    lake.archive.sweep(TABLE)
    orphans = [
        f"{lake.archive.day_location(SEGMENT)}r0-00000.parquet",
        f"{lake.archive.day_location(NEXT)}r9-00000.parquet",
        f"{lake.archive.table_location(TABLE)}metadata/left-m0.avro",
        f"{lake.archive.table_location(TABLE)}metadata/00099-left.metadata.json",
        f"{lake.archive.table_location(TABLE)}stranger",
    ]
    beside = f"{lake.archive.location}/requests_of_others/data/x.parquet"
    for url in (*orphans, beside):
        lake.place.put(url, b"orphan")
    assert sorted(entry.key for entry in lake.archive.unreachable(TABLE)) == sorted(orphans)
    assert lake.archive.sweep(TABLE) == []
    assert lake.archive.unreachable(TABLE) == []
    assert lake.archive.digest(lake.paths()).rows == 5
    assert lake.paths() == paths
    assert lake.place.get(beside) == b"orphan"


# --------------------------------------------------------------------------------------------------------------------- S3


def test_versions_markers_and_uploads_are_unreachable_and_swept(bucket_lake: Lake) -> None:
    lake, place = bucket_lake, bucket_lake.place
    assert isinstance(place, S3Place)
    (path,) = lake.add(SEGMENT, "r1", day_rows("b1", 5))
    lake.archive.expire(TABLE)
    lake.archive.sweep(TABLE)
    place.put(path, place.get(path))
    orphan = f"{lake.archive.day_location(SEGMENT)}r0-00000.parquet"
    place.put(orphan, b"orphan")
    place.hide(orphan)
    place.begin_upload(f"{lake.archive.day_location(SEGMENT)}r2-00000.parquet")
    place.begin_upload(path)
    found = sorted((entry.kind, entry.latest) for entry in lake.archive.unreachable(TABLE))
    assert found == [("marker", True), ("object", False), ("object", False), ("upload", True), ("upload", True)]
    assert lake.archive.sweep(TABLE) == []
    assert lake.archive.unreachable(TABLE) == []
    assert lake.archive.digest(lake.paths()).rows == 5
    assert place.bucket.listing(place.key(lake.archive.day_location(SEGMENT)))[0][:2] == ("version", place.key(path))


def test_a_marker_over_a_needed_file_is_swept_and_the_file_is_there_again(bucket_lake: Lake) -> None:
    place = bucket_lake.place
    assert isinstance(place, S3Place)
    (path,) = bucket_lake.add(SEGMENT, "r1", day_rows("b1", 5))
    wanted = bucket_lake.archive.digest([path])
    place.hide(path)
    with pytest.raises(AuditlakeError, match=f"archive file {path} cannot be read back"):
        bucket_lake.archive.digest([path])
    bucket_lake.archive.expire(TABLE)
    assert [entry.kind for entry in bucket_lake.archive.unreachable(TABLE) if entry.key == path] == ["marker"]
    assert bucket_lake.archive.sweep(TABLE) == []
    assert bucket_lake.archive.digest([path]) == wanted


def test_below_a_marker_the_newest_version_comes_back_and_the_older_ones_go(bucket_lake: Lake) -> None:
    place = bucket_lake.place
    assert isinstance(place, S3Place)
    (path,) = bucket_lake.add(SEGMENT, "r1", day_rows("b1", 5))
    whole, wanted = place.get(path), bucket_lake.archive.digest([path])
    place.put(path, b"an older version")
    place.put(path, whole)
    place.hide(path)
    for _ in range(2):  # first the marker, then what the newest version has replaced
        assert bucket_lake.archive.sweep(TABLE) == []
        assert bucket_lake.archive.digest([path]) == wanted
    assert bucket_lake.archive.unreachable(TABLE) == []
    assert [kind for kind, key, _ in place.bucket.listing(place.key(path)) if key == place.key(path)] == ["version"]


def test_a_sweep_that_may_not_delete_says_so_and_the_next_one_finishes(bucket_lake: Lake) -> None:
    place = bucket_lake.place
    assert isinstance(place, S3Place)
    bucket_lake.add(SEGMENT, "r1", day_rows("b1", 5))
    bucket_lake.archive.drop_day(SEGMENT)
    bucket_lake.archive.expire(TABLE)
    left = place.left()
    with place.bucket.deletion_denied():
        failures = bucket_lake.archive.sweep(TABLE)
    assert len(failures) == len(left) == len(place.left()) > 0
    assert {failure.reason for failure in failures} == {"AccessDenied"}
    assert bucket_lake.archive.sweep(TABLE) == []
    assert place.left() == []


def test_a_bucket_out_of_reach_is_an_error_in_one_line(s3: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.objects._ATTEMPTS", 1)
    control = Control.in_file(tmp_path / "control.sqlite")
    access = resolve_s3(s3.endpoint, s3.region, path_style=True)
    archive = Archive(control.url, "s3://no-such-bucket/lake", access, S3Objects("no-such-bucket", access))
    with pytest.raises(
        AuditlakeError, match=r"archive of requests/2026-01-30 cannot be written: .*; check the archive's location"
    ) as refused:
        archive.write(SEGMENT, "r1", day_rows("b1", 5).to_batches())
    assert "\n" not in str(refused.value)
    with pytest.raises(AuditlakeError, match="bucket no-such-bucket cannot be listed"):
        archive.unreachable(TABLE)
    archive.close()
    control.close()


# ----------------------------------------------------------------------------------------------------------------- damage


def test_a_damaged_file_is_refused_or_has_another_digest(local_lake: Lake) -> None:
    (path,) = local_lake.add(SEGMENT, "r1", day_rows("b1", 1000, url_path="/a", user_name="someone"))
    whole, wanted = local_lake.place.get(path), local_lake.archive.digest([path])
    changed: list[object] = []
    for at in range(50, len(whole) - 1, max(len(whole) // 40, 1)):
        local_lake.place.put(path, whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            changed.append(local_lake.archive.digest([path]))
        except AuditlakeError as error:
            changed.append(str(error))
    assert all("\n" not in str(outcome) for outcome in changed)
    assert sum(outcome != wanted for outcome in changed) > 10
    for size in (0, 4, len(whole) // 2, len(whole) - 1):
        local_lake.place.put(path, whole[:size])
        with pytest.raises(AuditlakeError, match=rf"archive file {path} cannot be read back: .*"):
            local_lake.archive.digest([path])


def test_a_missing_file_is_an_error_that_names_it(lake: Lake) -> None:
    missing = f"{lake.archive.day_location(SEGMENT)}r1-00000.parquet"
    for act in (lake.archive.digest, lake.archive.count):
        with pytest.raises(AuditlakeError, match=f"archive file {missing} cannot be read back"):
            act([missing])


def test_a_table_whose_metadata_is_gone_is_an_error_in_one_line(local_lake: Lake) -> None:
    local_lake.add(SEGMENT, "r1", day_rows("b1", 5))
    metadata = local_lake.archive.metadata(TABLE)
    assert metadata is not None
    Path(metadata.removeprefix("file://")).unlink()
    archive = local_lake.archive
    for act in (archive.metadata, archive.files, archive.expire, archive.unreachable):
        with pytest.raises(AuditlakeError, match=r"archive of requests cannot be .*; check the archive's location"):
            act(TABLE)


def test_rows_that_stop_half_way_leave_only_an_orphan(lake: Lake) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield day_rows("b1", 5).to_batches()[0]
        raise OSError("the hot file went away")

    with pytest.raises(AuditlakeError, match="archive of requests/2026-01-30 cannot be written: the hot file went away"):
        lake.archive.write(SEGMENT, "r1", broken())
    assert lake.archive.files(TABLE) == []
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert lake.place.left() == []


@pytest.mark.parametrize("name", ["what?", "a#b", "per%20cent"])
def test_a_folder_that_a_url_would_change_is_refused(tmp_path: Path, name: str) -> None:
    control = Control.in_file(tmp_path / "control.sqlite")
    with pytest.raises(UsageError, match=r"holds one of \? # %"):
        Archive(control.url, f"file://{tmp_path}/{name}", None, LocalObjects(tmp_path / name))
    control.close()


@pytest.mark.parametrize("name", ["with space", "ü\N{SNOWMAN}", "quo'te", "a=b&c"])
def test_a_folder_of_an_odd_name_is_as_good_as_any(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    lake = Lake(LocalPlace(tmp_path / name), tmp_path / name / ".." / "control.sqlite")
    paths = lake.add(SEGMENT, "r1", day_rows("b1", 5))
    assert lake.archive.digest(lake.paths()) == lake.archive.digest(paths)
    lake.archive.drop_day(SEGMENT)
    lake.archive.expire(TABLE)
    assert lake.archive.sweep(TABLE) == []
    assert lake.place.left() == []
    lake.close()
