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
    """A caller: ingests files as ``jobs.ingest`` does, and remembers a span once its batch is stored. A crash forgets the batch wholly."""

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
            for event in follow(reader, self.lookup, self.limits):
                for one in without_last_line(event) if leave else [event]:
                    if isinstance(one, Fresh):
                        if len(fresh_of(events)) == stop_before:
                            return events
                        self.store(one)
                    events.append(one)
        return events

    def store(self, fresh: Fresh) -> None:
        spans = self.spans.setdefault(fresh.source, [])
        if fresh.new:
            assert spans == []
            self.keys.setdefault(fresh.key, []).append(fresh.source)
            if fresh.branch:
                spans += self.spans[fresh.branch.parent][: fresh.branch.spans]
                spans += [fresh.branch.partial] if fresh.branch.partial else []
        assert (spans[-1].end if spans else 0) == fresh.chunk.start
        spans.append(Span.of(fresh.chunk))
        assert fresh.batch not in self.batches
        self.batches[fresh.batch] = fresh.source
        self.lines += texts(fresh.chunk)


def without_last_line(event: Event) -> list[Event]:
    """The event without a last line that lacks its newline, and that line as unfinished."""
    if not isinstance(event, Fresh) or not event.chunk.unterminated:
        return [event]
    kept, line = event.chunk.without_last_line(), event.chunk.open_line
    assert line is not None
    return [*([replace(event, chunk=kept)] if kept else []), Unfinished(line.start, line.length)]


def sums(events: list[Event]) -> tuple[int, int, int]:
    """Lines repeated, fresh and unfinished."""
    repeated = sum(event.lines for event in events if isinstance(event, Repeated))
    fresh = sum(event.chunk.lines for event in events if isinstance(event, Fresh))
    return repeated, fresh, sum(event.lines for event in events if isinstance(event, Unfinished))


def fresh_of(events: list[Event]) -> list[Fresh]:
    return [event for event in events if isinstance(event, Fresh)]
