"""Followed files: each line once, whatever is done to the files, and no byte read again without need."""

import datetime as dt
import gzip
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditlake import lake as lakes
from auditlake.settings import Settings
from core.clock import WallClock
from core.errors import AuditlakeError
from ingest.batches import Limits
from jobs import tail, watch
from jobs.ingest import IngestOptions, ingest
from jobs.tail import FollowFeed
from tests.simulation.support import ask, log_line
from transforms.pipeline import TransformOptions, build

TRANSFORMS = TransformOptions(geo=False)
WHEN = WallClock().now() - dt.timedelta(minutes=5)


def lines(first: int, count: int) -> str:
    return "".join(log_line(number, WHEN) for number in range(first, first + count))


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class Site:
    """A data directory, a folder of logs, and a feed that follows them; a new one after :meth:`restart`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        lakes.create(folder / "data", Settings(), None)
        self.lake = stack.enter_context(lakes.open_lake(folder / "data", Settings()))
        self.logs = folder / "logs"
        self.log = self.logs / "access.log"
        self.logs.mkdir()
        self.said: list[str] = []
        self.counts: Counter[str] = Counter()
        self.options = IngestOptions(format="combined", limits=Limits(), transforms=TRANSFORMS)
        self.patterns = [str(self.log)]
        self.pipeline = build(TRANSFORMS)
        self.restart()
        stack.callback(lambda: self.feed.close())

    def restart(self) -> None:
        self.feed = FollowFeed("web", self.patterns, self.options, WallClock(), self.said.append, self.count)

    def count(self, _source: str, _form: str, figures: dict[str, int]) -> None:
        self.counts.update({name: figures[name] for name in ("stored", "quarantined", "refused", "repeated")})

    def poll(self) -> int:
        """Poll until nothing is pending; lines stored by it."""
        before = self.counts["stored"]
        for _ in range(50):
            self.feed._watch._expand_at = 0.0
            if not self.feed.pending():
                break
            self.feed.poll(self.lake.context, self.pipeline)
        else:
            raise AssertionError("it never ends")
        return self.counts["stored"] - before

    def check(self, count: int) -> None:
        """So many lines are there, numbered from 0, each once."""
        found = [row[0] for row in ask(self.lake, "SELECT url_path FROM requests")]
        assert Counter(found) == Counter(f"/e/{number}" for number in range(count))
        assert self.said == []


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(tail, "_PACE", 0.0)
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)


def test_only_new_bytes_are_read(site: Site) -> None:
    assert site.poll() == 0
    add(site.log, lines(0, 1000))
    assert site.poll() == 1000
    assert site.feed.behind() == 0
    before, new = site.feed.bytes_read, lines(1000, 7)
    add(site.log, new)
    site.feed.pending()
    assert site.feed.behind() == len(new)
    assert 0 < site.feed.lag() < 60
    assert site.poll() == 7
    assert site.feed.bytes_read - before == len(new) + 2 * tail._TAIL
    assert (site.poll(), site.feed.lag(), site.feed.behind()) == (0, 0, 0)
    site.check(1007)


def test_a_poll_of_idle_files_reads_nothing(site: Site) -> None:
    add(site.log, lines(0, 10))
    site.poll()
    before = site.feed.bytes_read
    assert not site.feed.pending()
    assert site.feed.bytes_read == before


def test_a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_beginning(site: Site) -> None:
    add(site.log, lines(0, 20))
    site.poll()
    old = site.log.rename(site.logs / "access.log.1")
    add(old, lines(20, 5))
    add(site.log, lines(25, 10))
    assert site.poll() == 15
    add(old, lines(35, 2))
    assert site.poll() == 2
    site.check(37)


def test_names_with_dates(site: Site) -> None:
    site.patterns = [str(site.logs / "*" / "access-*.log")]
    site.restart()
    assert site.poll() == 0
    for number, day in enumerate(("2026-01-01", "2026-01-02", "2026-01-03")):
        folder = site.logs / day[:7]
        folder.mkdir(exist_ok=True)
        add(folder / f"access-{day}.log", lines(10 * number, 10))
        assert site.poll() == 10
    site.check(30)


def test_a_deleted_file_is_read_as_long_as_it_is_written(site: Site) -> None:
    with site.log.open("a") as file:
        file.write(lines(0, 5))
        file.flush()
        site.poll()
        site.log.unlink()
        file.write(lines(5, 5))
        file.flush()
        assert site.poll() == 5
    add(site.log, lines(10, 5))
    assert site.poll() == 5
    site.check(15)


def test_a_lost_file_is_let_go_after_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    add(site.log, lines(0, 5))
    site.poll()
    site.log.unlink()
    site.poll()
    assert len(site.feed._watch.files) == 1
    monkeypatch.setattr(watch, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    site.poll()
    site.feed.pending()
    assert site.feed._watch.files == []
    site.check(5)


@pytest.mark.parametrize("seen", [False, True], ids=["at once", "the copy is seen before"])
def test_copied_and_truncated(site: Site, seen: bool) -> None:
    site.patterns = [str(site.logs / "access.log*")]
    site.restart()
    add(site.log, lines(0, 300))
    site.poll()
    add(site.log, lines(300, 20))
    shutil.copy(site.log, site.logs / "access.log.1")
    if seen:
        assert site.poll() == 20
    os.truncate(site.log, 0)
    add(site.log, lines(320, 10))
    assert site.poll() == (10 if seen else 30)
    site.check(330)


def test_truncated_and_longer_than_before(site: Site) -> None:
    add(site.log, lines(0, 5))
    site.poll()
    os.truncate(site.log, 0)
    add(site.log, lines(5, 50))
    assert site.poll() == 50
    site.check(55)


def test_a_packed_rotation_brings_nothing_and_waits_until_it_is_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.patterns = [str(site.logs / "access.log*")]
    site.restart()
    add(site.log, lines(0, 500))
    site.poll()
    packed = gzip.compress((lines(0, 500) + lines(500, 5)).encode())
    (site.logs / "access.log.1.gz").write_bytes(packed[:1000])
    assert site.poll() == 0
    (site.logs / "access.log.1.gz").write_bytes(packed)
    assert site.poll() == 0
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    assert site.poll() == 5
    add(site.log, lines(505, 5))  # the packed copy was ahead of the file: what it has more is another line
    assert site.poll() == 5
    site.check(510)


def test_a_last_line_waits_for_its_newline_until_the_file_is_quiet(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = lines(0, 4)
    add(site.log, text[:-1])
    assert site.poll() == 3
    add(site.log, text[-1] + lines(4, 1)[:40])
    assert site.poll() == 1
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.0)
    assert site.poll() == 0
    assert site.counts["quarantined"] == 1
    add(site.log, lines(4, 1)[40:-1])
    assert site.poll() == 1
    add(site.log, "\n" + lines(5, 3))
    assert site.poll() == 3
    site.check(8)
    assert site.counts["quarantined"] == 1


@pytest.mark.usefixtures("quiet")
def test_a_restart_reads_what_came_meanwhile(site: Site) -> None:
    add(site.log, lines(0, 30))
    site.poll()
    for turn in range(3):
        site.feed.close()
        add(site.log, lines(30 + 3 * turn, 3))
        site.restart()
        assert site.poll() == 3
    site.check(39)


def test_another_process_reads_the_same_file(site: Site) -> None:
    add(site.log, lines(0, 30))
    site.poll()
    add(site.log, lines(30, 30))
    assert ingest(site.lake.context, [str(site.log)], site.options).stored == 30
    add(site.log, lines(60, 3))
    assert site.poll() == 3
    site.check(63)


def test_few_lines_are_looked_at_again_and_many_are_not(site: Site) -> None:
    site.options = IngestOptions(format="auto", transforms=TRANSFORMS)
    site.restart()
    for turn in range(4):
        add(site.log, lines(100 * turn, 100))
        assert site.poll() == 100
    before = site.feed.bytes_read
    add(site.log, lines(400, 1))
    assert site.poll() == 1
    assert site.feed.bytes_read - before == len(lines(400, 1)) + 2 * tail._TAIL
    site.check(401)


def test_a_backlog_is_read_in_slices(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_SLICE", 0)
    site.options = IngestOptions(format="combined", limits=Limits(batch_bytes=10_000, line_bytes=10_000), transforms=TRANSFORMS)
    site.restart()
    for first, count in ((0, 500), (500, 500)):  # a new file, and one that has grown
        add(site.log, lines(first, count))
        site.feed.pending()
        assert site.feed.poll(site.lake.context, site.pipeline)
        assert 0 < site.feed.behind() < len(lines(first, count))
        site.poll()
    site.check(1000)


def test_a_state_of_the_format_is_kept_and_found_again(site: Site) -> None:
    header = "#Version: 1.0\n#Fields: date time c-ip cs-method cs-uri-stem sc-status\n"
    when = WHEN.strftime("%Y-%m-%d %H:%M:%S")
    site.options = IngestOptions(format="w3c", transforms=TRANSFORMS)
    site.restart()
    add(site.log, header + f"{when} 203.0.113.1 GET /e/0 200\n")
    assert site.poll() == 1
    add(site.log, f"{when} 203.0.113.1 GET /e/1 200\n")
    assert site.poll() == 1
    add(site.log, "#Fields: date time cs-uri-stem sc-status\n")
    assert site.poll() == 0
    add(site.log, f"{when} /e/2 200\n")
    assert site.poll() == 1
    site.feed.close()
    site.restart()
    add(site.log, f"{when} /e/3 200\n")
    assert site.poll() == 1
    site.check(4)


@pytest.mark.usefixtures("quiet")
def test_what_cannot_be_read_is_said_once_and_stops_nothing(site: Site) -> None:
    site.patterns = [str(site.logs / "*")]
    os.mkfifo(site.logs / "a.fifo")
    (site.logs / "b.folder").mkdir()
    (site.logs / "c.gz").write_bytes(gzip.compress(lines(0, 3).encode())[:-10])
    (site.logs / "d.xz").write_bytes(b"\xfd7zXZ\0" + b"\0" * 30)
    add(site.log, lines(3, 3))
    site.restart()
    for _ in range(3):
        site.feed._watch._expand_at = 0.0
        site.feed.pending()
        site.feed.poll(site.lake.context, site.pipeline)
    assert len(site.said) == len(site.feed.problems) == 3
    assert ["a.fifo' is not a file" in site.said[0], "xz" in "".join(site.said), "damaged" in "".join(site.said)] == [True] * 3
    assert site.counts["stored"] == 5  # the last line of the packed file is broken off
    for name in ("a.fifo", "c.gz", "d.xz"):
        (site.logs / name).unlink()
    for file in site.feed._watch.files:
        file.let_go()
    site.feed._watch._expand_at = 0.0
    site.feed.pending()
    assert site.feed.problems == {}


def test_storage_that_fails_is_raised_and_nothing_is_lost(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    add(site.log, lines(0, 5))
    site.poll()
    add(site.log, lines(5, 5))
    with monkeypatch.context() as patch:
        patch.setattr("jobs.ingest._store", _full)
        site.feed.pending()
        with pytest.raises(AuditlakeError, match="disk full"):
            site.feed.poll(site.lake.context, site.pipeline)
    assert site.poll() == 5
    site.check(10)


def _full(*_: object) -> None:
    raise AuditlakeError("disk full")
