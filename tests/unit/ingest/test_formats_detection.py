"""The choice of a format by a sample of lines: what decides, what is said, and what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core import schema
from core.errors import UsageError
from ingest import formats
from ingest.formats import detection, registry
from ingest.formats.access import COMBINED, COMMON
from ingest.formats.base import FormatOptions, Parsed, State, Unwrapped, no_numbers
from ingest.formats.detection import Score, UndetectedError, certain, score
from ingest.lines import Lines
from tests.unit.ingest.test_formats_registry import LOGS, every_format, lines_of, sample_of

SPLIT = '10.0.0.1 - - [19/May/2015:10:00:00 +0000] "GET /{} HTTP/1.1" 200 7 "-" "agent"'


class Toy:
    """Lines ``KIND NUMBER``, for tests: it reads those of its kinds, as rows of so many columns."""

    description, source, sample = "a toy", "https://example.com", "a 1"

    def __init__(self, name: str, kinds: str, columns: dict[str, Any], *, eventless: str = "", is_json: bool = False) -> None:
        self.name, self.kinds, self.columns, self.eventless, self.is_json = name, kinds, columns, eventless, is_json

    def parse(self, lines: Lines, state: State = None) -> Parsed:  # noqa: ARG002 - each line stands alone
        first = [lines.line(number)[:1].decode() for number in range(len(lines))]
        numbers = np.array([number for number, kind in enumerate(first) if kind in self.kinds], np.int64)
        empty = np.array([number for number, kind in enumerate(first) if kind in self.eventless], np.int64)
        rejected = np.setdiff1d(np.arange(len(lines)), np.concatenate((numbers, empty)))
        columns = {"event_time": 0, **self.columns}
        rows = {name: pa.array([value] * len(numbers), schema.input_type(name)) for name, value in columns.items()}
        return Parsed(pa.RecordBatch.from_pydict(rows), numbers, rejected, ["not of it"] * len(rejected), empty)


WIDE = {"source_address": "10.0.0.1", "user_name": "ann", "url_path": "/"}
NARROW = {"source_address": "10.0.0.1", "user_name": "ann"}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let these formats be all there are."""

    def these(*toys: Toy) -> None:
        monkeypatch.setattr(registry, "_formats", {toy.name: toy for toy in toys})
        monkeypatch.setattr(detection, "wrappers", tuple)

    return these


def told(*texts: str, options: FormatOptions | None = None) -> formats.Choice:
    return formats.detect(lines_of(*texts), options)


# ------------------------------------------------------------------------------------------------------ the real formats


@every_format
def test_the_format_of_lines_is_told_from_them(name: str) -> None:
    *headers, line = sample_of(name)
    assert told(*headers, *[line] * 19, "bad").name == name


@pytest.mark.parametrize("wrapper", registry.wrappers(), ids=lambda wrapper: wrapper.name)
def test_what_a_wrapper_holds_is_told(wrapper: Any) -> None:
    choice = told(*[wrapper.sample] * 30)
    assert choice.name == f"{wrapper.name}+combined"
    assert choice.why.startswith(f"{wrapper.name}+combined: reads 30 of 30 lines, 10.0 columns each")


@pytest.mark.parametrize(("folder", "name", "columns"), [("apache-combined", "combined", 8.5), ("nasa-common", "common", 7.0)])
def test_the_format_of_real_lines_is_told_and_why(folder: str, name: str, columns: float) -> None:
    choice = told(*(LOGS / folder / "access.log").read_text().splitlines())
    assert choice.name == name
    assert choice.why.startswith(f"{name}: reads 200 of 200 lines, {columns} columns each; next best: ")
    assert choice.scores[0].name == name
    assert (choice.scores[0].taken, choice.scores[0].of, choice.scores[0].share) == (200, 200, 1.0)
    assert {one.taken for one in choice.scores[1:]} == {0}
    assert {"combined", "common", "vhost_combined"} <= {one.name for one in choice.scores}, "all that were tried"


def test_formats_of_objects_are_tried_on_objects_and_the_others_on_other_lines() -> None:
    text, objects = told(*[COMBINED.sample] * 3), told(*sample_of("json"))
    assert "json" not in {one.name for one in text.scores}
    assert {"combined", "json"} & {one.name for one in objects.scores} == {"json"}


def test_a_field_map_helps_to_tell_json() -> None:
    line = '{"when": 1431857103}'
    assert told(line, options=FormatOptions(json_fields={"when": "event_time"})).name == "json"
    with pytest.raises(UndetectedError, match="the lines are of no known format; line 1: "):
        told(line)


# ------------------------------------------------------------------------------------------------------------ the choice


def test_the_format_that_fills_most_columns_is_chosen(only: Any) -> None:
    only(Toy("narrow", "a", NARROW), Toy("wide", "a", WIDE))
    choice = told("a 1", "a 2")
    assert choice.why == "wide: reads 2 of 2 lines, 4.0 columns each; next best: narrow, 2 of 2"
    assert choice.scores == (Score("wide", 2, 2, 4.0), Score("narrow", 2, 2, 3.0))


def test_labels_are_no_columns_and_a_rest_counts_against(only: Any) -> None:
    labels = {**NARROW, "labels": '{"a":"1","b":"2"}'}
    only(Toy("labels", "a", labels), Toy("rest", "a", {**WIDE, "labels": '{"trailing":"x"}'}), Toy("wide", "a", WIDE))
    assert [(one.name, one.columns) for one in told("a 1").scores] == [("wide", 4.0), ("labels", 3.0), ("rest", 3.0)]
    quoting = {**WIDE, "labels": '{"a":"\\"trailing\\":"}'}
    only(Toy("quoting", "a", quoting))
    assert told("a 1").scores[0].columns == 4.0, "a value that says it does not count"


def test_the_share_comes_first_but_a_few_lines_do_not_decide(only: Any) -> None:
    only(Toy("all", "ab", NARROW), Toy("most", "a", WIDE))
    assert told(*["a"] * 199, "b").name == "most"
    assert told(*["a"] * 190, *["b"] * 10).name == "all"


def test_lines_without_an_event_do_not_count(only: Any) -> None:
    only(Toy("headed", "a", WIDE, eventless="#"))
    with pytest.raises(UndetectedError, match="best are headed 1 of 2 lines; line 5 is not headed"):
        told("#", "#", "#", "a 1", "x")
    assert told("#", "#", "a 1").scores[0] == Score("headed", 1, 1, 4.0)
    assert told("#").scores[0] == Score("headed", 0, 0, 0.0), "a file of headers alone is of their format"


def test_only_the_first_lines_are_looked_at(only: Any) -> None:
    only(Toy("a", "a", WIDE), Toy("b", "b", WIDE))
    assert told(*["a"] * 200, *["b"] * 1000).scores == (Score("a", 200, 200, 4.0), Score("b", 0, 200, 0.0))


def test_equal_rows_are_read_as_the_format_registered_first(only: Any) -> None:
    only(Toy("one", "a", {**WIDE, "labels": '{"a":1}'}), Toy("two", "a", WIDE))
    assert told("a 1").name == "one"


def test_a_format_of_the_configuration_goes_before_others_of_equal_score(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.formats import custom

    mine = Toy("mine", "a", {**WIDE, "user_name": "bob"})
    monkeypatch.setattr(custom, "compile_custom", lambda name, _spec, _options: {"mine": mine}[name])
    only(Toy("theirs", "a", WIDE))
    options = FormatOptions(custom={"mine": {"csv": "a"}})
    assert told("a 1", options=options).name == "mine"
    assert formats.get("mine", options) is mine
    with pytest.raises(UsageError, match="'mine' is not a format"):
        formats.get("mine")


class Box:
    """A wrapper whose messages are the lines without their last sign."""

    name, description, source, sample = "box", "a box", "https://example.com", "a 1!"

    def unwrap(self, lines: Lines, state: State = None) -> Unwrapped:  # noqa: ARG002 - each line stands alone
        return Unwrapped(Lines(lines.data, lines.starts, lines.ends - 1), np.arange(len(lines)), no_numbers())


class Echo(Toy):
    """Its rows say what the line says."""

    def parse(self, lines: Lines, state: State = None) -> Parsed:
        parsed = super().parse(lines, state)
        said = pa.array([lines.line(int(number)).decode() for number in parsed.numbers], pa.string())
        return replace(parsed, rows=parsed.rows.append_column("account_id", said))


def test_a_format_goes_before_itself_unwrapped(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only(Echo("echo", "a", WIDE))
    monkeypatch.setattr(detection, "wrappers", lambda: (Box(),))
    choice = told("a 1", "a 2")
    assert [(one.name, one.share, one.columns) for one in choice.scores] == [("echo", 1.0, 5.0), ("box+echo", 1.0, 5.0)]
    assert choice.name == "echo"


# ----------------------------------------------------------------------------------------------------------- what cannot be told


def test_two_ways_to_read_equally_well_are_an_error(only: Any) -> None:
    only(Toy("one", "a", WIDE), Toy("two", "a", {**WIDE, "user_name": "bob"}), Toy("none", "b", WIDE))
    with pytest.raises(UndetectedError, match=r"can be read in several ways, equally well \(one, two\); name the format") as raised:
        told("a 1")
    assert [one.name for one in raised.value.scores] == ["one", "two", "none"]


def test_a_poor_fit_lists_the_candidates_and_a_failing_line() -> None:
    lines = [SPLIT.format(n) for n in range(7)]
    common = formats.get("common").sample
    with pytest.raises(UndetectedError) as raised:
        formats.detect(lines_of(*lines[:4], common, *lines[4:]), None, np.arange(11, 19))
    assert raised.value.problem == (
        "the lines are of no format for certain, best are combined 7 of 8 lines, common 1 of 8; "
        f"line 15 is not combined (it looks like format common): '{common}'"
    )
    assert [(one.name, one.taken) for one in raised.value.scores[:2]] == [("combined", 7), ("common", 1)]
    assert raised.value.exit_code == 2


def test_nine_of_ten_are_enough() -> None:
    lines = [SPLIT.format(n) for n in range(9)]
    assert told(*lines, "bad").name == "combined"
    with pytest.raises(UndetectedError):
        told(*lines, "bad", "bad")


def test_a_line_is_shown_cut_and_harmless() -> None:
    with pytest.raises(UndetectedError) as raised:
        told("\x1b[31m" + "é" * 5000)
    text = str(raised.value)
    assert text.isprintable()
    assert "line 1: '\\x1b[31méé" in text
    assert len(text) < 400


def test_rows_with_a_time_and_no_more_are_no_requests(only: Any) -> None:
    only(Toy("any", "a", {}))
    with pytest.raises(UndetectedError, match="of no request log, best is any 2 of 2 lines"):
        told("a 1", "a 2")


def test_nothing_is_of_no_format() -> None:
    with pytest.raises(UndetectedError, match="there is no line to tell the format from"):
        told()


def test_a_format_that_reads_none_of_a_tenth_is_not_tried_on_all(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    toy = Toy("never", "", WIDE)
    parse = toy.parse

    def counted(lines: Lines, state: State = None) -> Parsed:
        seen.append(len(lines))
        return parse(lines, state)

    monkeypatch.setattr(toy, "parse", counted)
    only(toy, Toy("a", "a", WIDE))
    assert told(*["a"] * 200).scores[1] == Score("never", 0, 200, 0.0)
    assert seen == [21]


# ------------------------------------------------------------------------------------------------------- certainty, one score


def test_certain_means_wholly_and_in_one_way(only: Any) -> None:
    every = lambda _: True  # noqa: E731 - as short as it is
    lines = lines_of(*["a 1"] * 10)
    only(Toy("one", "a", WIDE))
    assert certain(lines, None, every) is formats.get("one")
    assert certain(lines, None, lambda form: form.name != "one") is None
    only(Toy("one", "a", {**WIDE, "labels": '{"request":"x"}'}))
    assert certain(lines, None, every) is None, "a rest is unexplained"
    only(Toy("one", "a", WIDE), Toy("two", "a", {**WIDE, "user_name": "bob"}))
    assert certain(lines, None, every) is None, "there are two ways"
    only(Toy("one", "a", WIDE))
    assert certain(lines_of(*["a 1"] * 8, "x", "x"), None, every) is None, "they are too few"


def test_the_score_of_one_format() -> None:
    assert score(COMMON, lines_of(COMMON.sample, "bad")) == Score("common", 1, 2, 8.0)
    assert str(score(COMMON, lines_of(COMMON.sample, "bad"))) == "common 1 of 2"


# ------------------------------------------------------------------------------------------------------------------ names


def test_wrapped_names() -> None:
    assert formats.get("syslog+json").name == "syslog+json"
    with pytest.raises(UsageError, match=r"'box' is not a wrapper; use one of syslog, docker, cri, journald, shipper before the plus sign"):
        formats.get("box+combined")
    with pytest.raises(UsageError, match="'nothing' is not a format"):
        formats.get("syslog+nothing")
    with pytest.raises(UsageError, match="'' is not a format"):
        formats.get("syslog+")
