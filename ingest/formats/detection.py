"""Which format lines are of: every format is tried on a sample of them, and scored by how many it reads and how completely.

- The share of the lines that a format reads comes first: lines that hold no event of their own do not count in it. Of the
  formats within :data:`NEAR` of the best share the one that fills most columns is chosen; ``labels`` is no such column, and a
  row that leaves a rest unexplained counts one column less.
- Of equal scores a format of the configuration goes before the others, and of those that make the same rows the one
  registered first. When two of equal score make different rows, nobody can tell: that is an error, as is a poor fit.
- Formats of JSON objects are tried only on lines most of which begin with a brace, the others only on other lines.
- A format that reads none of a tenth of the lines, taken from all over the sample, cannot be it and is not tried further.
- A wrapper that takes the sample apart is tried with every format inside.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import UsageError
from ingest.formats.base import Format, FormatOptions, Parsed, Unwrapped, Wrapper, begins_with_brace, is_stateful
from ingest.formats.registry import custom_names, get, names, parse, wrappers
from ingest.lines import Lines, Numbers

__all__ = ["DETECT_LINES", "DETECT_SHARE", "NEAR", "Choice", "Score", "UndetectedError", "certain", "detect", "is_complete", "score"]

DETECT_LINES = 200
"""Lines that :func:`detect` looks at."""
DETECT_SHARE = 0.9
"""Share of them that must be of a format for it to be chosen."""
NEAR = 0.02
"""Shares that differ by less are not told apart by it."""

_Allowed = Callable[[Format | Wrapper], bool]

_BRACE = ord("{")
_FEW = 20
_LEAST_COLUMNS = 2
_LISTED = 8
_SHOWN = 200
_UNEXPLAINED = r'[{,]"(trailing|request)":'
"""Labels by which a format says that it did not understand a part of a line."""


@dataclass(frozen=True)
class Score:
    """How well a format reads the sample.

    :param taken: lines of the sample it reads.
    :param of: lines of the sample, but those it says hold no event.
    :param columns: columns filled in the mean of the lines it reads; one less where a rest is unexplained.
    """

    name: str
    taken: int
    of: int
    columns: float

    @property
    def share(self) -> float:
        """Part of the lines it reads, 0 to 1."""
        return self.taken / self.of if self.of else 1.0

    @property
    def completeness(self) -> float:
        """Columns filled in the mean of all lines."""
        return round(self.share * self.columns, 2)

    def __str__(self) -> str:
        return f"{self.name} {self.taken} of {self.of}"


@dataclass(frozen=True)
class Choice:
    """The format that was chosen.

    :param why: one sentence for people.
    :param scores: of all formats that were tried, best first.
    """

    name: str
    why: str
    scores: tuple[Score, ...]


class UndetectedError(UsageError):
    """No format can be told from the lines.

    :param scores: of the formats that were tried, best first.
    """

    def __init__(self, problem: str, scores: Sequence[Score] = ()) -> None:
        super().__init__(problem, "name the format with --format, or look closer with: auditlake formats test FILE")
        self.scores = tuple(scores)


@dataclass(frozen=True)
class _Trial:
    """A format and what it made of the sample."""

    name: str
    custom: bool
    parsed: Parsed
    of: int

    @cached_property
    def score(self) -> Score:
        rows = self.parsed.rows
        cells = sum(rows.num_rows - rows[name].null_count for name in rows.schema.names if name != "labels")
        unexplained = rows.num_rows - int(is_complete(rows).sum())
        return Score(self.name, rows.num_rows, self.of, (cells - unexplained) / rows.num_rows if rows.num_rows else 0.0)

    @property
    def rank(self) -> tuple[float, float, bool, bool]:
        """The smaller the better; a format that reads the lines as they are goes before one that must unwrap them."""
        return -self.score.completeness, -self.score.share, not self.custom, "+" in self.name

    @property
    def fits(self) -> bool:
        """Whether it may be chosen: of rows with a time and no more only the configuration can say that they are requests."""
        some = self.custom or not self.score.taken or self.score.columns >= _LEAST_COLUMNS
        return self.score.share >= DETECT_SHARE and some

    def same_rows(self, other: "_Trial") -> bool:
        """Whether both read the same lines and make the same of them; labels are not compared."""
        if not np.array_equal(self.parsed.numbers, other.parsed.numbers):
            return False
        one, two = self.parsed.rows, other.parsed.rows
        return all(_same(one, two, name) for name in {*one.schema.names, *two.schema.names} - {"labels"})


def _same(one: pa.RecordBatch, two: pa.RecordBatch, name: str) -> bool:
    held = [rows[name] for rows in (one, two) if name in rows.schema.names and rows[name].null_count < rows.num_rows]
    return not held or (len(held) == 2 and bool(held[0].equals(held[1])))


def is_complete(rows: pa.RecordBatch) -> np.ndarray:
    """For each row whether the format understood all of the line; bool[rows]."""
    if "labels" not in rows.schema.names:
        return np.ones(rows.num_rows, np.bool_)
    return ~np.array(pc.fill_null(pc.match_substring_regex(rows["labels"], _UNEXPLAINED), False), np.bool_)


def detect(lines: Lines, options: FormatOptions | None = None, numbers: Numbers | None = None) -> Choice:
    """The format that the first lines are of.

    :param lines: of them the first :data:`DETECT_LINES` are looked at.
    :param numbers: for each line its number in the source, for messages; from 1 when not given.
    :raises UndetectedError: no format reads :data:`DETECT_SHARE` of them, or several do, each in another way.
    """
    sample = lines.take(np.arange(min(len(lines), DETECT_LINES)))
    if not len(sample):
        raise UndetectedError("there is no line to tell the format from")
    trials = _trials(sample, options)
    scores = tuple(trial.score for trial in sorted(trials, key=lambda trial: (-trial.score.share, *trial.rank)))
    best = _best(trials)
    if best is None:
        raise UndetectedError(_poor(trials, sample, np.arange(1, len(sample) + 1) if numbers is None else numbers), scores)
    rivals = _rivals(best, trials)
    if rivals:
        listed = ", ".join(trial.name for trial in (best, *rivals)[:_LISTED])
        raise UndetectedError(f"the lines can be read in several ways, equally well ({listed})", scores)
    return Choice(best.name, _why(best, trials), (best.score, *(one for one in scores if one is not best.score)))


def score(form: Format, lines: Lines) -> Score:
    """How well one format reads the lines."""
    parsed = parse(form, lines)
    return _Trial(form.name, False, parsed, len(lines) - len(parsed.eventless)).score


def certain(lines: Lines, options: FormatOptions | None, allowed: _Allowed) -> Format | None:
    """The one format that these lines are of for certain: read completely, and by none other in another way; or none.

    :param allowed: tells the formats and wrappers to try.
    """
    trials = _trials(lines, options, allowed)
    best = _best(trials)
    if best is None or _rivals(best, trials) or is_complete(best.parsed.rows).sum() < DETECT_SHARE * best.of:
        return None
    return get(best.name, options)


def _trials(sample: Lines, options: FormatOptions | None, allowed: _Allowed = lambda _: True) -> list[_Trial]:
    trials = [_Trial(form.name, custom, parsed, of) for form, custom, parsed, of in _attempts(sample, options, allowed)]
    for wrapper in wrappers():
        if begins_with_brace(wrapper) != _braces(sample) or not allowed(wrapper):
            continue
        unwrapped = wrapper.unwrap(sample)
        whole = len(unwrapped.numbers) + len(unwrapped.eventless) >= DETECT_SHARE * len(sample)
        if whole and len(unwrapped.numbers):
            trials += _wrapped(wrapper.name, unwrapped, options, allowed)
    return trials


def _attempts(sample: Lines, options: FormatOptions | None, allowed: _Allowed) -> Iterator[tuple[Format, bool, Parsed, int]]:
    """Every format that may be tried, whether the configuration has it, what it made of the lines, and how many could be events."""
    braces, custom = _braces(sample), custom_names(options)
    for name in (*custom, *names()):
        form = get(name, options)
        if begins_with_brace(form) == braces and allowed(form):
            parsed = _hopeless(form, sample) or parse(form, sample)
            named = name in custom or (name == "json" and options is not None and bool(options.json_fields))
            yield form, named, parsed, len(sample) - len(parsed.eventless)


def _hopeless(form: Format, sample: Lines) -> Parsed | None:
    """The outcome that all lines are rejected, when so many of them are that the others cannot make it good."""
    count = len(sample) - math.ceil(DETECT_SHARE * len(sample)) + 1
    if is_stateful(form) or len(sample) < _FEW:
        return None
    parsed = parse(form, sample.take(np.arange(count) * len(sample) // count))
    if len(parsed.rejected) < count:
        return None
    return replace(parsed, rejected=np.arange(len(sample)), reasons=[parsed.reasons[0]] * len(sample))


def _braces(sample: Lines) -> bool:
    """Whether most of the lines begin with a brace."""
    return bool(2 * (sample.data[sample.starts] == _BRACE).sum() > len(sample))


def _wrapped(outer: str, unwrapped: Unwrapped, options: FormatOptions | None, allowed: _Allowed) -> Iterator[_Trial]:
    for form, custom, parsed, of in _attempts(unwrapped.lines, options, allowed):
        mended = np.concatenate((unwrapped.rejected, unwrapped.numbers[parsed.rejected]))
        reasons = [*unwrapped.reasons, *parsed.reasons]
        order = np.argsort(mended, kind="stable")
        inner = Parsed(parsed.rows, unwrapped.numbers[parsed.numbers], mended[order], [reasons[at] for at in order])
        yield _Trial(f"{outer}+{form.name}", custom, inner, of + len(unwrapped.rejected))


def _best(trials: list[_Trial]) -> _Trial | None:
    trials = [trial for trial in trials if trial.fits]
    shares = [trial.score.share for trial in trials]
    least = max(shares, default=0) - NEAR
    return min((trial for trial in trials if trial.score.share >= least), key=lambda trial: trial.rank, default=None)


def _rivals(best: _Trial, trials: list[_Trial]) -> list[_Trial]:
    """Those that read the lines as well as the best, and in another way."""
    return [trial for trial in trials if trial is not best and trial.rank == best.rank and not best.same_rows(trial)]


def _why(best: _Trial, trials: list[_Trial]) -> str:
    mine = best.score
    others = sorted((trial for trial in trials if trial is not best), key=lambda trial: (-trial.score.share, *trial.rank))
    text = f"{mine.name}: reads {mine.taken} of {mine.of} lines, {mine.columns:.1f} columns each"
    return f"{text}; next best: {others[0].score.name}, {others[0].score.taken} of {others[0].score.of}" if others else text


def _poor(trials: list[_Trial], sample: Lines, numbers: Numbers) -> str:
    """What people are told when no format fits."""
    some = sorted((trial for trial in trials if trial.score.taken), key=lambda trial: (-trial.score.share, *trial.rank))
    if not some:
        return f"the lines are of no known format; line {numbers[0]}: {_quoted(sample.line(0))}"
    if some[0].score.share >= DETECT_SHARE:
        return f"the lines are of no request log, best is {some[0].score} lines, which finds little but a time in them"
    parsed = some[0].parsed
    listed = ", ".join(f"{trial.score} lines" if trial is some[0] else str(trial.score) for trial in some[:_LISTED])
    failing = (
        f"line {numbers[parsed.rejected[0]]} is not {some[0].name} ({parsed.reasons[0]}): {_quoted(sample.line(int(parsed.rejected[0])))}"
    )
    return f"the lines are of no format for certain, best are {listed}; {failing}"


def _quoted(line: bytes) -> str:
    """A line for a terminal: cut, control characters as escapes."""
    text = line[: 4 * _SHOWN].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_SHOWN])
    return f"'{shown[:_SHOWN]}{'…' if len(text) > _SHOWN or len(shown) > _SHOWN else ''}'"
