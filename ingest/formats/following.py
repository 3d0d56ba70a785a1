"""A source that changes its format half-way: followed where the formats are told apart for certain.

The main format, chosen by the source's first lines, reads every line. Of those it rejects:

- Lines after a line that announces another format (``#Fields:``) are read as that one; of several announced in the same way
  as the first that takes them.
- Else, when nine of ten are of one other format, read completely and by none other in another way, they are read as that one.
  At least :data:`MIN_LINES` must be: a single line that was cut off may look like a shorter format. Where a chunk rejects few,
  the last lines before it are looked at too, so that a file that grows by a line at a time is followed as well.
- All others stay rejected, with the main format's reasons.

What is decided for a chunk depends on its lines and the last ones before it only, so that it is the same after a crash.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from core import schema
from ingest.formats.base import Format, FormatOptions, Parsed, State, announced_by, is_stateful, no_numbers, skim
from ingest.formats.detection import DETECT_LINES, DETECT_SHARE, Choice, UndetectedError, certain, detect, is_complete
from ingest.formats.registry import get, names, parse
from ingest.lines import Lines, Numbers

__all__ = ["MIN_LINES", "RECENT_LINES", "Followed", "Following", "choose", "formats_used"]

MIN_LINES = 3
"""So many lines at least must be of another format."""
RECENT_LINES = 64
"""How many of the lines before a chunk are kept in mind."""

_RECENT_BYTES = 256 << 10
_EVIDENCE = 48
_MAINS = 3
_MARK = b"#"


@dataclass(frozen=True)
class Followed:
    """The state.

    :param main: the main format's.
    :param announced: the first bytes of the line by which other formats were announced, or nothing.
    :param others: their states, by name.
    :param recent: the last lines, at most :data:`RECENT_LINES` and 256 KiB.
    :param used: names of the formats that the lines just parsed were of.
    """

    main: State = None
    announced: bytes = b""
    others: Mapping[str, State] = field(default_factory=dict)
    recent: tuple[bytes, ...] = ()
    used: tuple[str, ...] = ()


def choose(lines: Lines, options: FormatOptions | None = None, numbers: Numbers | None = None) -> Choice:
    """The format that the first lines are of, or that they begin with, when they change it for certain.

    :param numbers: as in :func:`ingest.formats.detection.detect`.
    :raises UndetectedError: none can be told.
    """
    try:
        return detect(lines, options, numbers)
    except UndetectedError as problem:
        sample = lines.take(np.arange(min(len(lines), DETECT_LINES)))
        for score in problem.scores[:_MAINS]:
            why = _why_changing(get(score.name, options), sample, options) if score.taken >= MIN_LINES else ""
            if why:
                return Choice(score.name, why, problem.scores)
        raise


def _why_changing(main: Format, sample: Lines, options: FormatOptions | None) -> str:
    """What people are told when the format, and others that are told apart for certain, read the sample; else nothing."""
    own = parse(main, sample)
    told = certain(sample.take(np.union1d(own.numbers, own.eventless)), options, lambda _: True)
    followed = parse(Following(main, options), sample)
    events = len(sample) - len(followed.eventless)
    if told is None or told.name != main.name or len(followed.numbers) < DETECT_SHARE * events:
        return ""
    others = ", ".join(name for name in followed.state.used if name != main.name)
    return f"{main.name}: reads {len(own.numbers)} of {events} lines, and {others} {len(followed.numbers) - len(own.numbers)}: they change"


def formats_used(form: Format, state: State) -> str:
    """Names of the formats that the lines were of whose parse left that state, with commas between them."""
    return ", ".join(state.used) if isinstance(state, Followed) and state.used else form.name


class Following:
    """A format that follows changes; see :class:`ingest.formats.base.Format`."""

    def __init__(self, main: Format, options: FormatOptions | None = None) -> None:
        """Follow a source whose first lines are of ``main``."""
        self.main, self.options = main, options
        self.name, self.description, self.source, self.sample = main.name, main.description, main.source, main.sample

    @property
    def stateful(self) -> bool:
        """Whether the main format is; if not, lines that begin with ``#`` and the last ones are all that :meth:`skim` must be shown."""
        return is_stateful(self.main)

    @cached_property
    def announcing(self) -> dict[bytes, list[Format]]:
        """Formats that may be announced in this source, by the first bytes of the line that does so."""
        found: dict[bytes, list[Format]] = {}
        for form in () if self.stateful else (get(name, self.options) for name in names()):
            if announced_by(form):
                found.setdefault(announced_by(form), []).append(form)
        return found

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        """Parse every line; total, never raises for what a line holds."""
        before = state or Followed()
        first, announced = self._announcement(lines, before)
        readings = [_read(self.main, lines, np.arange(first), before.main)]
        after = replace(before, main=readings[0].parsed.state, announced=announced)
        if announced:
            others = self._announced(lines, np.arange(first, len(lines)), after)
            after = replace(after, others={reading.name: reading.parsed.state for reading in others})
            readings += [*others, _read(self.main, lines, others[-1].parsed.rejected, after.main)]
        left = _left(readings)
        other = self._other(lines.take(left), before)
        if other:
            readings.append(_read(other, lines, left, None).complete())
        used = tuple(dict.fromkeys(reading.name for reading in readings if len(reading.parsed.numbers)))
        return replace(_joined(readings), state=replace(after, recent=_recent(before.recent, lines), used=used))

    def skim(self, lines: Lines, state: State = None) -> State:
        """The state after these lines."""
        before = state or Followed()
        first, announced = self._announcement(lines, before)
        after = replace(before, announced=announced, recent=_recent(before.recent, lines), used=())
        if self.stateful:
            return replace(after, main=skim(self.main, lines, before.main))
        rest = lines.take(np.arange(first, len(lines)))
        forms = self.announcing.get(announced, [])
        return replace(after, others={form.name: skim(form, rest, before.others.get(form.name)) for form in forms})

    def _announcement(self, lines: Lines, state: Followed) -> tuple[int, bytes]:
        """Where the headers begin that announce other formats, and how they do; or the number of lines, and nothing."""
        if state.announced:
            return 0, state.announced
        found = [(int(at[0]), prefix) for prefix in self.announcing if len(at := _beginning(lines, prefix))]
        if not found:
            return len(lines), b""
        first, prefix = min(found)
        marked = _beginning(lines.take(np.arange(first + 1)), _MARK)
        together = marked - np.arange(len(marked)) == first - (len(marked) - 1)
        return int(marked[np.argmax(together)]), prefix

    def _announced(self, lines: Lines, numbers: Numbers, state: Followed) -> list["_Reading"]:
        """The lines read as the first announced format; those that it rejects, and all headers, as the next."""
        readings: list[_Reading] = []
        marked = numbers[_beginning(lines.take(numbers), _MARK)]
        for form in self.announcing[state.announced]:
            readings.append(_read(form, lines, numbers, state.others.get(form.name)))
            numbers = np.union1d(readings[-1].parsed.rejected, marked)
        return readings

    def _other(self, rejected: Lines, state: Followed) -> Format | None:
        """The format that lines which the main one rejects are of for certain."""
        if not len(rejected):
            return None
        sample = rejected.take(np.unique(np.linspace(0, len(rejected) - 1, min(len(rejected), _EVIDENCE)).astype(np.int64)))
        if len(sample) < _EVIDENCE:
            sample = self._with_recent(sample, state)
        if len(sample) < MIN_LINES:
            return None
        return certain(sample, self.options, lambda form: form.name != self.main.name and not is_stateful(form))

    def _with_recent(self, sample: Lines, state: Followed) -> Lines:
        """The sample, and before it those of the last lines before that neither the main format nor an announced one reads."""
        recent = _lines_of(state.recent)
        for form in (self.main, *self.announcing.get(state.announced, [])):
            known = state.main if form is self.main else state.others.get(form.name)
            recent = recent.take(parse(form, recent, known).rejected)
        before = recent.take(np.arange(max(len(recent) + len(sample) - _EVIDENCE, 0), len(recent)))
        return _lines_of([text.line(number) for text in (before, sample) for number in range(len(text))])


@dataclass(frozen=True)
class _Reading:
    """What a format made of some lines of a chunk; numbers are those of the chunk's lines."""

    name: str
    parsed: Parsed

    def complete(self) -> "_Reading":
        """Only the rows that the format understood wholly; the other lines are in none of its outcomes."""
        keep = is_complete(self.parsed.rows)
        kept = Parsed(self.parsed.rows.filter(pa.array(keep)), self.parsed.numbers[keep], no_numbers())
        return _Reading(self.name, kept)


def _beginning(lines: Lines, prefix: bytes) -> Numbers:
    """Numbers of the lines that begin with these bytes."""
    hits = lines.ends - lines.starts >= len(prefix)
    for place, byte in enumerate(prefix):
        hits &= lines.data.take(lines.starts + place, mode="clip") == byte
    return np.flatnonzero(hits)


def _read(form: Format, lines: Lines, numbers: Numbers, state: State) -> _Reading:
    parsed = parse(form, lines.take(numbers), state)
    moved = {name: numbers[getattr(parsed, name)] for name in ("numbers", "rejected", "eventless")}
    return _Reading(form.name, replace(parsed, **moved))


def _left(readings: list[_Reading]) -> Numbers:
    """Numbers of the lines that no reading made an event of, nor found without one."""
    rejected = np.concatenate([reading.parsed.rejected for reading in readings])
    done = np.concatenate([numbers for reading in readings for numbers in (reading.parsed.numbers, reading.parsed.eventless)])
    return np.setdiff1d(rejected, done)


def _joined(readings: list[_Reading]) -> Parsed:
    """One outcome of all; a line that none reads keeps the first reason."""
    if len(readings) == 1:
        return readings[0].parsed
    every = [reading.parsed for reading in readings]
    numbers = np.concatenate([parsed.numbers for parsed in every])
    order = np.argsort(numbers, kind="stable")
    rows = _concat([parsed.rows for parsed in every]).take(pa.array(order))
    reasons: dict[int, str] = {}
    for parsed in every:
        reasons = dict(zip(parsed.rejected.tolist(), parsed.reasons, strict=True)) | reasons
    left = _left(readings)
    eventless = np.unique(np.concatenate([parsed.eventless for parsed in every]))
    return Parsed(rows, numbers[order], left, [reasons[number] for number in left.tolist()], eventless)


def _concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of all, with every column that any of them has: null where it has not."""
    held = {name for batch in batches for name in batch.schema.names}
    names = [name for name in (*(column.name for column in schema.COLUMNS), *schema.INPUT_COLUMNS) if name in held]
    types = {name: schema.input_type(name) for name in names}
    columns = [
        pa.concat_arrays([batch[name] if name in batch.schema.names else pa.nulls(len(batch), types[name]) for batch in batches])
        for name in names
    ]
    return pa.RecordBatch.from_arrays(columns, names=names)


def _recent(before: tuple[bytes, ...], lines: Lines) -> tuple[bytes, ...]:
    """The last lines, the oldest first."""
    kept: list[bytes] = []
    room = _RECENT_BYTES
    newest = (lines.line(number) for number in range(len(lines) - 1, max(len(lines) - RECENT_LINES, 0) - 1, -1))
    for line in itertools.islice(itertools.chain(newest, reversed(before)), RECENT_LINES):
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return tuple(reversed(kept))


def _lines_of(texts: Sequence[bytes]) -> Lines:
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Lines(np.frombuffer(b"\n".join(texts) or b"\n", np.uint8), ends - lengths, ends)
