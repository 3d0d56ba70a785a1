"""A source that changes its format: what is followed, what stays rejected, and that it does not depend on where chunks end."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ingest import formats
from ingest.formats import registry
from ingest.formats.following import RECENT_LINES, Followed, Following, formats_used
from tests.unit.ingest.test_formats_registry import lines_of, sample_of

TIME = "[19/May/2015:10:00:00 +0000]"


def combined(number: int) -> str:
    return f'10.0.0.1 - - {TIME} "GET /combined/{number} HTTP/1.1" 200 7 "-" "agent"'


def common(number: int) -> str:
    return f'10.0.0.1 - - {TIME} "GET /common/{number} HTTP/1.1" 200 7'


def vhost(number: int) -> str:
    return f"www.example.com:80 {combined(number)}".replace("combined", "vhost")


def document(number: int) -> str:
    return f'{{"@timestamp": "2015-05-19T10:00:00Z", "url.path": "/json/{number}", "source.ip": "10.0.0.1"}}'


def w3c(number: int) -> str:
    return f"2015-05-19 10:00:00 10.0.0.1 /w3c/{number} 200"


FIELDS = "#Fields: date time c-ip cs-uri-stem sc-status"


def form(name: str = "combined") -> Following:
    return Following(formats.get(name))


def read(follow: Following, chunks: Sequence[Sequence[str]]) -> tuple[list[tuple[int, str]], list[str], Any, list[str]]:
    """Number and path of each row, reasons of the others, the last state, and the formats of each chunk."""
    state: Any = None
    rows: list[tuple[int, str]] = []
    reasons: list[str] = []
    used: list[str] = []
    before = 0
    for chunk in chunks:
        parsed = formats.parse(follow, lines_of(*chunk), state)
        state = parsed.state
        table = parsed.rows.to_pylist()
        paths = [(row.get("url_original") or row.get("url_path") or "").strip() for row in table]
        rows += [(before + int(number), path) for number, path in zip(parsed.numbers, paths, strict=True)]
        reasons += parsed.reasons
        used.append(formats_used(follow, state))
        before += len(chunk)
    return rows, reasons, state, used


def test_a_source_that_does_not_change_is_read_as_its_format_reads_it() -> None:
    lines = [combined(n) for n in range(5)] + ["bad"]
    alone, followed = formats.get("combined").parse(lines_of(*lines)), formats.parse(form(), lines_of(*lines))
    assert followed.rows.equals(alone.rows)
    assert (followed.numbers.tolist(), followed.reasons) == ([0, 1, 2, 3, 4], alone.reasons)
    assert formats_used(form(), followed.state) == "combined"
    assert formats_used(form(), None) == "combined"
    assert form().name == "combined"


@pytest.mark.parametrize(("other", "name"), [(common, "common"), (vhost, "vhost_combined"), (document, "json")])
def test_a_change_within_a_chunk_is_followed(other: Any, name: str) -> None:
    rows, reasons, _, used = read(form(), [[combined(0), combined(1), other(2), other(3), other(4), combined(5)]])
    kind = {"vhost_combined": "vhost"}.get(name, name)
    assert rows == [
        (0, "/combined/0"),
        (1, "/combined/1"),
        *((n, f"/{kind}/{n}") for n in (2, 3, 4)),
        (5, "/combined/5"),
    ], "in the order of the lines"
    assert (reasons, used) == ([], [f"combined, {name}"])


def test_columns_of_both_formats_are_kept() -> None:
    lines = lines_of(combined(0), *[vhost(n) for n in range(1, 4)])
    rows = formats.parse(form(), lines).rows
    assert rows["url_domain"].to_pylist() == [None, *["www.example.com"] * 3]
    assert rows["user_agent_original"].to_pylist() == ["agent"] * 4


def test_a_few_lines_are_not_followed() -> None:
    """One line that was cut off looks like a shorter format."""
    rows, reasons, _, used = read(form(), [[combined(0), common(1), combined(2), common(3)]])
    assert [number for number, _ in rows] == [0, 2]
    assert (reasons, used) == (["it looks like format common"] * 2, ["combined"])


def test_what_is_of_several_kinds_is_not_followed() -> None:
    _, reasons, _, used = read(form(), [[combined(0), *[common(n) for n in range(1, 6)], "junk", "more junk"]])
    assert len(reasons) == 7
    assert used == ["combined"]
    _, reasons, _, used = read(form(), [[combined(0), *[common(n) for n in range(1, 20)], "junk"]])
    assert (len(reasons), used) == (1, ["combined, common"]), "nine of ten are enough, and the rest stays rejected"


def test_a_line_that_is_not_understood_wholly_stays_rejected() -> None:
    tail = [vhost(n) for n in range(1, 12)]
    rows, reasons, _, _ = read(form(), [[combined(0), *tail, vhost(12) + ' "and more"']])
    assert len(rows) == 12
    assert reasons == ["it looks like format vhost_combined"]


def test_lines_that_come_one_by_one_are_followed_from_the_third_on() -> None:
    rows, reasons, _, used = read(form(), [[combined(n) for n in range(4)], *[[common(n)] for n in range(4, 9)]])
    assert [number for number, _ in rows] == [0, 1, 2, 3, 6, 7, 8]
    assert len(reasons) == 2
    assert used == ["combined"] * 3 + ["common"] * 3


def test_what_is_kept_in_mind_is_bounded() -> None:
    _, _, state, _ = read(form(), [[combined(n) for n in range(100)], [combined(100)]])
    assert len(state.recent) == RECENT_LINES
    assert state.recent[-1].decode() == combined(100)
    assert state.recent[0].decode() == combined(101 - RECENT_LINES)
    long = combined(0).replace("agent", "a" * 200_000)
    _, _, state, _ = read(form(), [[long, long, combined(1)]])
    assert [len(line) for line in state.recent] == [len(long), len(combined(1))]


# ---------------------------------------------------------------------------------------------------------- announcements


def test_a_header_announces_its_format_for_certain() -> None:
    rows, reasons, state, used = read(form(), [[combined(0), FIELDS, w3c(2)], [w3c(3), "junk"], [combined(5), w3c(6)]])
    assert rows == [(0, "/combined/0"), (2, "/w3c/2"), (3, "/w3c/3"), (5, "/combined/5"), (6, "/w3c/6")]
    assert len(reasons) == 1
    assert used == ["combined, w3c", "w3c", "w3c, combined"]
    assert state.announced == b"#Fields:"


def test_other_formats_announced_in_the_same_way_are_told_by_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    *headers, line = sample_of("cloudfront")
    announced = replace(registry.get("cloudfront"), announced_by=b"#Fields:")  # type: ignore[type-var] # it is a dataclass
    monkeypatch.setitem(registry._formats, "cloudfront", announced)
    rows, reasons, _, used = read(form(), [[combined(0), *headers, line, FIELDS, w3c(1)]])
    assert [number for number, _ in rows] == [0, len(headers) + 1, len(headers) + 3]
    assert (reasons, used) == ([], ["combined, w3c, cloudfront"])


def test_headers_hold_no_event() -> None:
    parsed = formats.parse(form(), lines_of(combined(0), FIELDS, w3c(2), FIELDS))
    assert parsed.eventless.tolist() == [1, 3]


def test_a_line_that_only_looks_like_a_header_announces_nothing() -> None:
    rows, reasons, state, _ = read(form(), [[combined(0), "# Fields", "#fields of gold", combined(3)]])
    assert ([number for number, _ in rows], len(reasons), state.announced) == ([0, 3], 2, b"")


def test_a_stateful_main_format_keeps_its_state() -> None:
    rows, reasons, _, used = read(form("w3c"), [[FIELDS, w3c(1)], [w3c(2), *[combined(n) for n in range(3, 7)]], [w3c(7)]])
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert (reasons, used) == ([], ["w3c", "w3c, combined", "w3c"])


# ----------------------------------------------------------------------------------------------------- the state, again


@pytest.mark.parametrize("name", ["combined", "w3c"])
def test_lines_that_are_shown_again_leave_the_same_state(name: str) -> None:
    lines = [FIELDS, *[w3c(n) for n in range(1, 5)], *[combined(n) for n in range(5, 90)], FIELDS, w3c(91), combined(92)]
    follow = form(name)
    for cut in (0, 1, 3, 6, 50, 90, 92, 93):
        _, _, parsed, _ = read(follow, [lines[:cut], lines[cut:]])
        skimmed: Any = None
        for part in (lines[:cut], lines[cut:]):
            skimmed = follow.skim(lines_of(*part), skimmed)
        assert isinstance(skimmed, Followed)
        assert (skimmed.announced, skimmed.recent) == (parsed.announced, parsed.recent)
        after = [w3c(100), common(101), common(102), common(103), document(104)]
        first, second = (formats.parse(follow, lines_of(*after), state) for state in (parsed, skimmed))
        assert first.rows.equals(second.rows)
        assert (first.numbers.tolist(), first.reasons) == (second.numbers.tolist(), second.reasons)
        assert 0 in first.numbers, "the fields are in force still"


# ------------------------------------------------------------------------------------------------------ within the head


def test_lines_that_change_their_format_for_certain_are_told() -> None:
    lines = [*[combined(n) for n in range(20)], *[vhost(n) for n in range(15)]]
    choice = formats.choose(lines_of(*lines))
    assert (choice.name, choice.why) == ("combined", "combined: reads 20 of 35 lines, and vhost_combined 15: they change")
    assert [(one.name, one.taken) for one in choice.scores[:2]] == [("combined", 20), ("vhost_combined", 15)]
    assert formats.choose(lines_of(*lines[:20])).why.startswith("combined: reads 20 of 20 lines, ")


@pytest.mark.parametrize("others", [[common(1), common(2)], ["junk"] * 5, [*[common(n) for n in range(5)], *["junk"] * 5]])
def test_lines_that_change_in_a_way_that_is_not_certain_are_not_told(others: list[str]) -> None:
    with pytest.raises(formats.UndetectedError, match="best are combined 10 of "):
        formats.choose(lines_of(*[combined(n) for n in range(10)], *others))
