"""We against the expected output of other projects: every compared field agrees, or its difference is listed with a reason."""

from collections import Counter

import pytest

from tests.conformance.cases import CaseFile, numbers_of
from tests.conformance.crowdsec import parse_assertion
from tests.conformance.differences import DIFFERENCES
from tests.conformance.files import CUSTOM, UNREAD_LINES
from tests.conformance.loading import lines_of
from tests.conformance.mapping import HOW, MAPPING
from tests.conformance.runner import compare, files, waits
from tools.conformance import PAGE, Figures, document, figures

LEAST_AGREEMENT = 0.97
CASES = {"elastic-beats": 151, "crowdsec-hub": 161, "lnav": 1047}
every_file = pytest.mark.parametrize("file", files(), ids=lambda file: file.id)


@every_file
def test_every_difference_is_listed_and_every_listed_one_occurs(file: CaseFile) -> None:
    compared = compare(file)
    if not compared:
        pytest.skip(f"no format yet: {', '.join(waits(file))}")
    lines = {field.line for field in compared}
    found = Counter((field.line, field.column, field.ours, field.theirs) for field in compared if not field.agrees)
    listed = Counter(tuple(row[1:]) for kind in DIFFERENCES for row in kind.rows if row[0] == file.id and row[1] in lines)
    assert found == listed


def test_every_file_is_read() -> None:
    assert {file.id: waits(file) for file in files() if waits(file)} == {}


@pytest.mark.parametrize("project", [*CASES, "all"])
def test_almost_all_fields_agree(project: str) -> None:
    sums: Figures = figures()[project]
    assert sums.compared > 0
    assert sums.agreeing / sums.compared >= LEAST_AGREEMENT


def test_the_page_says_what_the_code_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), "write it: python -m tools.conformance > docs/conformance.md"


def test_no_case_is_lost_on_the_way() -> None:
    counts: Counter[str] = Counter()
    for file in files():
        counts[file.project] += len(file.cases)
        assert all(case.expected for case in file.cases)
    assert counts == CASES


@every_file
def test_every_line_is_read_once_or_said_not_to_be(file: CaseFile) -> None:
    unread = set(numbers_of(UNREAD_LINES[file.id][0])) if file.id in UNREAD_LINES else set()
    given = {number for number, line in enumerate(lines_of(file.data), start=1) if line} - unread
    read = [number for reading in file.readings for number in (numbers_of(reading.lines) if reading.lines else sorted(given))]
    assert sorted(read) == sorted(given)
    assert given - {case.line for case in file.cases} <= {n for n, line in enumerate(lines_of(file.data), start=1) if line.startswith("#")}


def test_tables_hold_nothing_that_is_not_used() -> None:
    read = {reading.format for file in files() for reading in file.readings}
    assert set(CUSTOM) <= read
    assert set(UNREAD_LINES) <= {file.id for file in files()}
    assert {row[0] for kind in DIFFERENCES for row in kind.rows} <= {file.id for file in files()}
    targets = [target for scopes in MAPPING.values() for fields in scopes.values() for target in fields.values()]
    assert {target.how for target in targets} == set(HOW)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (
            r'results["s01-parse"]["crowdsecurity/nginx-logs"][0].Evt.Parsed["request"] == "\"a\\x16"',
            ("s01-parse", "crowdsecurity/nginx-logs", 0, "Parsed.request", '"a\\x16'),
        ),
        (
            'results["s02"]["p"][12].Evt.Unmarshaled["caddy"]["request"]["uri"] == "/)"',
            ("s02", "p", 12, "Unmarshaled.caddy.request.uri", "/)"),
        ),
        ('FloatApproxEqual(results["s01"]["p"][3].Evt.Unmarshaled["caddy"]["ts"], 1.5)', ("s01", "p", 3, "Unmarshaled.caddy.ts", 1.5)),
        ('basename(results["s00"]["p"][1].Evt.Meta["datasource_path"]) == "a.log"', ("s00", "p", 1, "Meta.datasource_path", "a.log")),
        ('results["s00"]["p"][1].Success == true', ("s00", "p", 1, "Success", True)),
        ('len(results["s00"]["p"]) == 9', None),
        ("", None),
    ],
)
def test_an_assertion_is_read(text: str, field: tuple[object, ...] | None) -> None:
    assert parse_assertion(text) == field
