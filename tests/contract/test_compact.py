"""Compaction, in a local folder and in a bucket of a real S3 server: fewer files, the same rows, whenever it is stopped."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditlake import lake as lakes
from auditlake.settings import ArchiveSettings, Settings
from compliance.accounts import Stores, verify
from core.clock import UTC
from core.errors import AuditlakeError
from core.events import Kind
from core.policy import Period
from core.segment import Segment
from core.steps import observe
from jobs import runner
from jobs.compact import is_worth_it
from jobs.context import Context
from storage import archive_files, pointers
from storage.digest import METHOD
from tests.contract.places import Place, S3Place, open_place
from tests.unit.storage.rows import DAY, SEGMENT, day_rows, varied_rows

NEXT = Segment("requests", DAY + dt.timedelta(days=1))
MIB = 2**20


class Site:
    """A data directory whose archive is at a place, with two days: one of three files, one of a single file."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder = place, folder / "data"
        archive = ArchiveSettings(url=place.location)
        if isinstance(place, S3Place):
            archive = ArchiveSettings(url=place.location, endpoint=place.bucket.endpoint, region=place.bucket.region, path_style=True)
        self.settings = Settings(archive=archive)
        lakes.create(self.folder, self.settings, dt.datetime(2026, 4, 1, tzinfo=UTC))
        with self.opened() as ctx:
            for segment, batch, rows in (
                (SEGMENT, "b1", day_rows("b1", 40, source_ip="203.0.113.7", user_agent_original="curl/8.5.0")),
                (NEXT, "b2", day_rows("b2", 3, NEXT)),
                (SEGMENT, "b3", varied_rows("b3")),
                (SEGMENT, "b4", day_rows("b4", 2, source_ip="198.51.100.4", account_id="u-1")),
            ):
                _archive(ctx, segment, batch, rows)

    @contextmanager
    def opened(self) -> Iterator[Context]:
        with lakes.open_lake(self.folder, self.settings) as lake:
            yield lake.context

    def run(self, job: str, stop_at: int = 0) -> list[str]:
        """Run a job in a newly opened directory; it ends before the step of that number. Returns the steps."""
        steps: list[str] = []

        def count(name: str) -> None:
            steps.append(name)
            if len(steps) == stop_at:
                raise _StoppedError

        with self.opened() as ctx:
            observe(count)
            try:
                runner.run(ctx, job)
            except _StoppedError:
                pass
            finally:
                observe(None)
        return steps

    def check(self, files: dict[Segment, int], wanted: list[dict[str, object]]) -> None:
        """Readers see so many files of each day and these rows, and nothing is left over."""
        with self.opened() as ctx:
            seen = ctx.archive.files("requests", pointers.get(ctx.control, "requests"))
            assert {segment: sum(file.segment == segment for file in seen) for segment in files} == files
            assert _rows(ctx) == wanted
            report = verify(Stores(ctx.control, ctx.ledger, ctx.keys, ctx.hot, ctx.archive), full=True)
            assert report.ok, report


class _StoppedError(BaseException):
    """As a crash: nothing catches it."""


def _archive(ctx: Context, segment: Segment, batch: str, rows: pa.Table) -> None:
    named = {"stream": segment.stream, "day": segment.day.isoformat()}
    paths = ctx.archive.write(segment, f"r-{batch}", rows.to_batches())
    ctx.archive.commit(segment, f"r-{batch}", paths)
    digest = ctx.archive.digest(paths)
    counts = {"read": len(rows), "stored": len(rows), "quarantined": 0, "refused": 0, "days": {named["day"]: len(rows)}}
    with ctx.control.write() as connection:
        ctx.ledger.append(connection, Kind.BATCH_INGESTED, stream=segment.stream, batch=batch, source="test", format="combined", **counts)
        ctx.ledger.append(connection, Kind.ROLL_STARTED, **named)
        ctx.ledger.append(connection, Kind.ARCHIVE_VERIFIED, **named, rows=digest.rows, digest=digest.sum, method=METHOD, files=1, bytes=1)
        ctx.ledger.append(connection, Kind.SEGMENT_ROLLED, **named)
        pointers.put(connection, segment.stream, ctx.archive.metadata(segment.stream))
    ctx.archive.expire(segment.stream)
    pointers.move(ctx.control, segment.stream, ctx.archive.metadata(segment.stream))
    ctx.archive.sweep(segment.stream)


def _rows(ctx: Context) -> list[dict[str, object]]:
    files = ctx.archive.files("requests", pointers.get(ctx.control, "requests"))
    table = pa.Table.from_batches([*ctx.archive.read(file.path for file in files)])
    ordered: list[dict[str, object]] = table.sort_by([("ingest_batch", "ascending"), ("ingest_row", "ascending")]).to_pylist()
    return ordered


@pytest.fixture(params=["local", "s3"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(open_place(request.param, request, tmp_path), tmp_path)


@pytest.fixture
def wanted(site: Site) -> list[dict[str, object]]:
    with site.opened() as ctx:
        rows = _rows(ctx)
    assert len(rows) == 51
    return rows


def test_the_small_files_of_a_day_become_one(site: Site, wanted: list[dict[str, object]]) -> None:
    site.check({SEGMENT: 3, NEXT: 1}, wanted)
    with site.opened() as ctx:
        outcome = runner.run(ctx, "compact")
        assert (outcome.outcome, outcome.figures, outcome.problems) == ("done", {"segments": 1}, ())
        assert [str(decision.segment) for decision in outcome.decisions] == ["requests/2026-01-30"]
        started, ended = ctx.ledger.events("CompactionStarted", "SegmentCompacted")
        assert (started.segment, started.body["files"]) == (SEGMENT, 3)
        (file,) = [file for file in ctx.archive.files("requests") if file.segment == SEGMENT]
        assert ended.body == {"stream": "requests", "day": "2026-01-30", "rows": 48, "files": 1, "bytes": file.bytes}
        assert file.is_of(f"c{started.seq}")
        assert file.bytes == len(site.place.get(file.path))
        stored = pq.read_table(pa.BufferReader(site.place.get(file.path)))
    assert stored.sort_by([(name, "ascending") for name in archive_files.ORDER]).to_pylist() == stored.to_pylist()
    site.check({SEGMENT: 1, NEXT: 1}, wanted)
    with site.opened() as ctx:
        assert runner.run(ctx, "compact").outcome == "nothing due"


def test_a_dry_run_says_what_is_due_and_changes_nothing(site: Site, wanted: list[dict[str, object]]) -> None:
    with site.opened() as ctx:
        events = len([*ctx.ledger.events()])
        outcome = runner.run(ctx, "compact", dry_run=True)
        assert outcome.outcome == "planned"
        assert [(str(d.segment), d.action, d.reason) for d in outcome.decisions] == [
            ("requests/2026-01-30", "compact", "3 files of 0.0 MB together")
        ]
        assert len([*ctx.ledger.events()]) == events
    site.check({SEGMENT: 3, NEXT: 1}, wanted)


def test_stopped_before_each_step_and_run_again(
    site: Site, wanted: list[dict[str, object]], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kind = "s3" if isinstance(site.place, S3Place) else "local"
    steps = site.run("compact")
    assert {"archive.write", "archive.replace"} <= set(steps)
    for number in range(1, len(steps) + 1, 3 if kind == "s3" else 1):
        folder = tmp_path / f"again-{number}"
        folder.mkdir()
        other = Site(open_place(kind, request, folder), folder)
        other.run("compact", stop_at=number)
        with other.opened() as ctx:
            assert _rows(ctx) == wanted, f"before step {number}, {steps[number - 1]}"
        other.run(("compact", "roll", "upkeep")[number % 3])
        other.run("compact")
        other.check({SEGMENT: 1, NEXT: 1}, wanted)


@pytest.mark.parametrize("then", ["archive.replace", "after"])
def test_a_purge_after_a_stopped_compaction_destroys_the_day(site: Site, wanted: list[dict[str, object]], then: str) -> None:
    names: list[str] = []

    def stop(name: str) -> None:
        if (then == name) or (then == "after" and "archive.replace" in names):
            raise _StoppedError
        names.append(name)

    with site.opened() as ctx:
        observe(stop)
        with pytest.raises(_StoppedError):
            runner.run(ctx, "compact")
        observe(None)
    with lakes.open_lake(site.folder, site.settings) as lake:
        lakes.advance_clock(lake, Period.parse("304d"))  # to 30 January of the next year
    site.run("purge")
    site.check({SEGMENT: 0, NEXT: 1}, [row for row in wanted if row["event_day"] == NEXT.day])
    with site.opened() as ctx:
        assert not list(ctx.archive.objects.entries(ctx.archive.day_location(SEGMENT)))


def test_files_that_hold_other_rows_are_not_put_in_place(
    site: Site, wanted: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.opened() as ctx:
        read = ctx.archive.read
        monkeypatch.setattr(ctx.archive, "read", lambda paths: (batch.slice(1) for batch in read(paths)))
        with pytest.raises(AuditlakeError, match="hold 45 rows"):
            runner.run(ctx, "compact")
    site.run("upkeep")
    site.check({SEGMENT: 3, NEXT: 1}, wanted)


@pytest.mark.parametrize(
    ("sizes", "worth"),
    [
        ([], False),
        ([1], False),
        ([63 * MIB], False),
        ([1, 1], True),
        ([63 * MIB, 40 * MIB], False),
        ([63 * MIB, 63 * MIB], False),
        ([63 * MIB, 20 * MIB], True),
        ([40 * MIB] * 3, True),
    ],
)
def test_what_is_worth_it(sizes: list[int], worth: bool) -> None:
    assert is_worth_it(sizes) == worth
