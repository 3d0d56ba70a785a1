"""New objects of a bucket, on a real S3 server: each line once, whatever comes late, twice, broken or anew."""

import gzip
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from auditlake import lake as lakes
from auditlake.settings import Settings
from core.clock import WallClock
from jobs import bucket as job
from jobs.bucket import BucketFeed
from jobs.ingest import IngestOptions
from storage.incoming import Bucket, Message
from storage.objects import S3Access
from tests.integration.test_serve_follow import numbered, stored
from tests.s3server import Bucket as Place
from tests.server import serve
from tests.simulation.support import ask, log_line
from transforms.pipeline import TransformOptions, build

TRANSFORMS = TransformOptions(geo=False)
WHEN = WallClock().now()


def lines(first: int, count: int) -> bytes:
    return "".join(log_line(number, WHEN) for number in range(first, first + count)).encode()


class Notes:
    """A queue that gives the messages it is told, until they are deleted."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.deleted: list[str] = []

    def receive(self, _bucket: str, _prefix: str) -> list[Message]:
        time.sleep(0.05)
        given, self.messages = self.messages, []
        return given

    def delete(self, message: Message) -> None:
        self.deleted.append(message.handle)


class Site:
    """A data directory, and a feed of a bucket's prefix ``in/``."""

    def __init__(self, folder: Path, place: Place, stack: ExitStack) -> None:
        lakes.create(folder / "data", Settings(), None)
        self.lake = stack.enter_context(lakes.open_lake(folder / "data", Settings()))
        self.place, self.client = place, place.client()
        self.said: list[str] = []
        self.counts: Counter[str] = Counter()
        self.pipeline = build(TRANSFORMS)
        self.most = 1 << 20
        self.notes: Any = None
        self.restart()
        stack.callback(lambda: self.feed.close())

    def restart(self) -> None:
        access = S3Access(self.place.endpoint, self.place.region, True, self.place.access_key, self.place.secret_key, "")
        options = IngestOptions(format="combined", transforms=TRANSFORMS)
        place = Bucket(self.place.name, "in/", access, self.most)
        self.feed = BucketFeed("lb", place, self.notes, options, WallClock(), self.said.append, self.count, 0.05)

    def count(self, _source: str, _form: str, figures: dict[str, int]) -> None:
        self.counts.update({name: figures[name] for name in ("stored", "repeated")})

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.place.name, Key=key, Body=body)

    def poll(self, stored: int, repeated: int = 0) -> None:
        """Poll until so many lines are counted, and a little longer."""
        deadline = time.monotonic() + 20
        extra = iter(range(8))
        while time.monotonic() < deadline:
            if self.feed.pending():
                self.feed.poll(self.lake.context, self.pipeline)
            if (self.counts["stored"], self.counts["repeated"]) >= (stored, repeated) and next(extra, None) is None:
                break
            time.sleep(0.03)
        assert (self.counts["stored"], self.counts["repeated"]) == (stored, repeated)

    def check(self, count: int) -> None:
        assert Counter(row[0] for row in ask(self.lake, "SELECT url_path FROM requests")) == numbered(count)


@pytest.fixture
def site(tmp_path: Path, s3: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(job, "_SHORTEST_PAUSE", 0.3)
    with ExitStack() as stack:
        yield Site(tmp_path, s3, stack)


def test_new_objects_are_read_once(site: Site) -> None:
    site.put("in/a.log", lines(0, 5))
    site.put("in/b.log.gz", gzip.compress(lines(5, 5)))
    site.put("in/folder/", b"")
    site.put("out/c.log", lines(90, 5))
    site.poll(10)
    site.put("in/c.log", lines(10, 5))
    site.poll(15)
    assert (site.feed.lag(), site.feed.behind(), site.said) == (0.0, 0, [])
    site.check(15)


def test_a_restart_downloads_nothing_again_and_what_is_the_same_is_repeated(site: Site) -> None:
    site.put("in/a.log", lines(0, 5))
    site.poll(5)
    site.feed.close()
    site.put("in/copy of a.log", lines(0, 5))
    site.restart()
    site.poll(5, 5)
    site.put("in/a.log", lines(0, 7))
    site.restart()
    site.poll(7, 10)
    site.check(7)


def test_keys_that_come_late_are_found_by_a_whole_listing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("in/m.log", lines(0, 5))
    site.poll(5)
    site.put("in/a.log", lines(5, 5))
    site.poll(5)
    monkeypatch.setattr(job, "_WHOLE_SECONDS", 0.0)
    site.feed._whole_at = 0.0
    site.poll(10)
    site.check(10)


def test_what_cannot_be_read_stops_nothing_and_is_read_once_it_is_mended(site: Site) -> None:
    packed = gzip.compress(lines(0, 3))
    site.put("in/a.log.gz", packed[:-8])
    site.put("in/b.log", b"x" * ((1 << 20) + 1))
    site.put("in/c.log", lines(3, 5))
    deadline = time.monotonic() + 20
    while (site.counts["stored"], len(site.feed.problems)) != (8, 2) and time.monotonic() < deadline:
        site.feed.poll(site.lake.context, site.pipeline)
        time.sleep(0.03)
    assert sorted(site.feed.problems) == [f"s3://{site.place.name}/in/{name}" for name in ("a.log.gz", "b.log")]
    assert len(site.said) == 2
    assert site.feed.behind() == len(packed) - 8 + (1 << 20) + 1
    site.put("in/a.log.gz", packed)
    site.client.delete_object(Bucket=site.place.name, Key="in/b.log")
    deadline = time.monotonic() + 10
    while site.feed.problems and time.monotonic() < deadline:
        site.feed.poll(site.lake.context, site.pipeline)
        time.sleep(0.03)
    assert (site.feed.problems, site.counts["stored"], len(site.said)) == ({}, 8, 2)
    site.check(8)


def test_a_message_is_deleted_when_what_it_names_is_stored(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.notes = Notes()
    site.restart()
    site.poll(0)
    site.put("in/a.log", lines(0, 5))
    site.put("in/b.log", lines(5, 5))
    site.notes.messages = [Message(("in/a.log", "in/b.log"), "both"), Message((), "none"), Message(("in/gone.log",), "gone")]
    monkeypatch.setattr(job, "_TURN_SECONDS", 0.0)
    deadline = time.monotonic() + 10
    while not site.feed.pending() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    assert sorted(site.notes.deleted) == ["gone", "none"]
    monkeypatch.setattr(job, "_TURN_SECONDS", 0.5)
    site.poll(10)
    assert sorted(site.notes.deleted) == ["both", "gone", "none"]
    site.notes.messages = [Message(("in/a.log",), "again")]
    time.sleep(0.5)
    site.poll(10)
    assert "again" in site.notes.deleted
    site.check(10)


def test_a_bucket_out_of_reach_is_said_once_and_found_again(site: Site) -> None:
    access = S3Access("http://127.0.0.1:9", "us-east-1", True, "a", "b", "")
    good, site.feed._bucket = site.feed._bucket, Bucket("nowhere", "in/", access, 1)
    site.put("in/a.log", lines(0, 5))
    deadline = time.monotonic() + 30
    while not site.said and time.monotonic() < deadline:
        site.poll(0)
    assert "bucket nowhere cannot be listed" in site.said[0]
    site.feed._bucket = good
    site.poll(5)
    assert (site.feed.problems, len(site.said)) == ({}, 1)


def test_a_server_that_is_killed_reads_each_object_once(tmp_path: Path, s3: Place) -> None:
    source = {"name": "lb", "kind": "s3", "url": f"s3://{s3.name}/in/", "endpoint": s3.endpoint, "path_style": True, "every": 0}
    config = "[[sources]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in source.items())
    client = s3.client()
    for number, part in enumerate(_threes(60)):
        client.put_object(Bucket=s3.name, Key=f"in/{number:03}.log", Body=lines(part[0], len(part)))
    with serve(tmp_path / "data", config, **s3.environment) as served:
        time.sleep(0.5)
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
    with serve(tmp_path / "data", config, **s3.environment) as served:
        deadline = time.monotonic() + 30
        while stored(served).total() < 60 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert stored(served) == numbered(60)
        assert served.stop() == 0


def _threes(count: int) -> Iterator[tuple[int, ...]]:
    return (tuple(range(first, first + 3)) for first in range(0, count, 3))
