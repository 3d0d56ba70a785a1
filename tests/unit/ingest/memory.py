"""A caller of ``ingest.follow`` that remembers, in memory, what a store would keep."""

from dataclasses import replace
from pathlib import Path

from ingest.batches import Chunk, Limits
from ingest.follow import Event, Fresh, Repeated, Unfinished, follow
from ingest.identity import KnownSource, Span
from ingest.sources import open_source

CONTINUES = "continues a line already read"


def texts(chunk: Chunk) -> list[bytes]:
    """The chunk's lines in order, good and set aside."""
    good = {int(number): chunk.good.line(at) for at, number in enumerate(chunk.numbers)}
    aside = {row["ingest_row"]: row["raw"] for row in chunk.set_aside.to_pylist()}
    return [text for _, text in sorted((good | aside).items())]


class Memory:
    """A caller: ingests files, and remembers what it is told to in the way the docstrings say."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.folder = folder
        self.limits = Limits(**limits)
        self.keys: dict[str, list[str]] = {}
        self.spans: dict[str, list[Span]] = {}
        self.batches: dict[str, str] = {}
        self.lines: list[bytes] = []

    def lookup(self, key: str) -> list[KnownSource]:
        return [KnownSource(source, tuple(self.spans[source])) for source in self.keys.get(key, [])]

    def ingest(self, data: bytes, name: str = "access.log", *, leave: bool = False, stop_before: int = 1 << 30) -> list[Event]:
        path = self.folder / name
        path.write_bytes(data)
        events: list[Event] = []
        with open_source(path) as reader:
            for event in follow(reader, self.lookup, self.limits, leave_unterminated=leave):
                if isinstance(event, Fresh):
                    if sum(isinstance(one, Fresh) for one in events) == stop_before:
                        self.begin(event)
                        return events
                    self.store(event)
                events.append(event)
        return events

    def begin(self, fresh: Fresh) -> None:
        """What is remembered before a batch is written."""
        spans = self.spans.setdefault(fresh.source, [])
        if fresh.new:
            assert spans == []
            self.keys.setdefault(fresh.key, []).append(fresh.source)
            if fresh.branch:
                spans += self.spans[fresh.branch.parent][: fresh.branch.spans]
                spans += [fresh.branch.partial] if fresh.branch.partial else []
        spans[:] = [span for span in spans if span.stored]
        assert (spans[-1].end if spans else 0) == fresh.chunk.start
        spans.append(replace(fresh.span, stored=False))

    def store(self, fresh: Fresh) -> None:
        self.begin(fresh)
        assert fresh.batch not in self.batches
        self.batches[fresh.batch] = fresh.source
        self.lines += texts(fresh.chunk)
        self.spans[fresh.source][-1] = fresh.span


def sums(events: list[Event]) -> tuple[int, int, int]:
    """Lines repeated, fresh and unfinished."""
    repeated = sum(event.lines for event in events if isinstance(event, Repeated))
    fresh = sum(event.chunk.lines for event in events if isinstance(event, Fresh))
    return repeated, fresh, sum(event.lines for event in events if isinstance(event, Unfinished))


def fresh_of(events: list[Event]) -> list[Fresh]:
    return [event for event in events if isinstance(event, Fresh)]
