"""Charts: what is drawn stands where the numbers say, and names are escaped."""

import re

import pytest

from compliance import charts
from compliance.charts import CELLS, Line
from compliance.markup import table, text
from tests.unit.compliance.markup_check import Page

DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


def test_a_line_goes_through_its_values_and_leaves_gaps() -> None:
    drawn = charts.lines("Age", "In days.", [Line("age", [0.0, 10.0, None]), Line("limit", [None, None, 5.0])], DAYS, "days")
    assert Page(drawn).count["path"] == 3 + 2 + 2, "three lines of a grid, two lines, their keys"
    first, second = re.findall(r'<path d="(M[^"H]*)" fill="none"', drawn)
    assert first == "M64.0 170.0h1L386.0 14.0", "from nought at the bottom to ten at the top, half-way to the right"
    assert second == "M708.0 92.0h1"
    assert drawn.count("stroke-dasharray") == 2, "the second line and its key"


def test_bars_are_as_high_as_their_values() -> None:
    drawn = charts.bars("Rows", "In all 6.", {"stored": [4, 0, 2]}, DAYS, "rows")
    heights = [float(height) for height in re.findall(r'height="([\d.]+)" fill="#1f4e79"', drawn)]
    assert heights == [156.0, 78.0, 10.0], "and the key"


def test_many_days_are_added_up_in_groups() -> None:
    drawn = charts.bars("Rows", "In all 400.", {"stored": [1] * 400}, ["2026-01-01"] * 400, "rows")
    assert drawn.count("<rect") == 100 + 1
    assert "4 days together" in drawn


def test_cells_are_told_apart_by_height_and_shade() -> None:
    drawn = charts.cells("Nights", "Of each job.", {"purge": ["run", "missed", "failed"], "roll": ["no", "run", "run"]}, DAYS)
    shades = re.findall(r'height="([\d.]+)" fill="(#\w+)"', drawn)
    assert shades[:3] == [("15.00", CELLS["run"]), ("4.00", CELLS["missed"]), ("15.00", CELLS["failed"])]
    assert len(shades) == 6 + len(CELLS)


def test_narrow_cells_that_are_alike_are_one() -> None:
    drawn = charts.cells("Nights", "Of each job.", {"purge": ["run"] * 300 + ["missed"] * 2 + ["run"] * 98}, ["2026-01-01"] * 400)
    assert drawn.count("<rect") == 3 + len(CELLS)


@pytest.mark.parametrize("values", [[], [0], [None]])
def test_nothing_can_be_drawn(values: list[float | None]) -> None:
    labels = DAYS[: len(values)]
    Page(charts.lines("Age", "None.", [Line("age", values)], labels, "days"))
    Page(charts.bars("Rows", "None.", {"stored": [int(value or 0) for value in values]}, labels, "rows"))
    Page(charts.cells("Nights", "None.", {}, labels))


def test_names_are_escaped() -> None:
    bad = "<b>\"'&"
    for drawn in (
        charts.lines(bad, bad, [Line(bad, [1.0])], [bad], bad),
        charts.bars(bad, bad, {bad: [1]}, [bad], bad),
        charts.cells(bad, bad, {bad: ["run"]}, [bad]),
    ):
        assert "b" not in Page(drawn).count


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, "-"), (1234567, "1,234,567"), (12.345, "12.3"), (True, "True"), ("a<b\x00\u2028", "a&lt;b\\x00\\u2028")]
)
def test_values_are_shown_as_text(value: object, wanted: str) -> None:
    assert text(value) == wanted


def test_a_table_has_headings_and_numbers_to_the_right() -> None:
    drawn = table("Days", ("Day", "Rows"), [("a", 1), ("b", None)], marked=[1])
    assert Page(drawn).count == {"table": 1, "caption": 1, "thead": 1, "tbody": 1, "tr": 3, "th": 4, "td": 2}
    assert '<tr class="bad"><th scope="row">b</th><td class="n">-</td></tr>' in drawn
    assert table("Days", ("Day", "Rows"), []) == '<p class="none">Days: none recorded.</p>\n'
