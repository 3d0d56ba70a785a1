"""The report as a page: whole markup, nothing fetched, exceptions first, and nothing in it that a log or a person has written as it was."""

import datetime as dt

import pytest

from compliance.posture import Check
from compliance.report import Report
from compliance.report_findings import Chain
from compliance.report_html import GENERATOR, page
from core.events import Kind
from core.policy import Period, StreamPolicy
from core.schema import COLUMNS
from tests.unit.compliance.markup_check import Page
from tests.unit.compliance.story import BEGIN, Story

A_DAY = dt.timedelta(days=1)
NOW = f"{BEGIN + 19 * A_DAY}T13:00:00Z"
HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e\ud800"


def a_month() -> Story:
    return Story().live_through(20)


def hostile() -> Report:
    """Every text that a page shows, as bad as it can be."""
    story = a_month()
    story.tell(NOW, Kind.BATCH_INGESTED, stream=HOSTILE, batch="b", read=9, stored=1, quarantined=8, refused=0, days={str(BEGIN): 1})
    story.tell(NOW, Kind.LINES_QUARANTINED, stream=HOSTILE, day=NOW[:10], batch="b", rows=8, reasons={HOSTILE: 8})
    story.tell(NOW, Kind.RESIDUE_FOUND, stream=HOSTILE, day=str(BEGIN), things=1, digest=HOSTILE)
    story.tell(NOW, Kind.SEGMENT_PURGED, stream=HOSTILE, day=str(BEGIN), rows=1, found=0, listed=1, listing=HOSTILE)
    story.tell(NOW, Kind.QUERY_ANSWERED, user=1, role=HOSTILE, rows=1, ms=1, digest="")
    story.tell(NOW, Kind.JOB_FINISHED, job=HOSTILE, outcome="failed")
    story.tell(NOW, Kind.HOLD_ADDED, hold=1, stream=HOSTILE, first=NOW[:10], last=NOW[:10], digest="")
    story.tell(NOW, Kind.SUBJECT_REQUEST_RECEIVED, request=1, right=HOSTILE, subject=HOSTILE, deadline=NOW)
    policy = StreamPolicy(HOSTILE, *[Period(days=30)] * 3)
    return story.report(
        NOW,
        policies={**story.policies, HOSTILE: policy},
        dues={HOSTILE: []},
        chain=Chain(len(story.events), HOSTILE, HOSTILE, (HOSTILE,)),
        others={HOSTILE: HOSTILE},
        posture=[Check(HOSTILE, False, HOSTILE, HOSTILE)],
    )


def test_a_page_is_whole_and_fetches_nothing() -> None:
    found = Page(page(a_month().report(NOW), "evidence.zip"))
    assert (found.count["h1"], found.count["main"], found.count["title"]) == (1, 1, 1 + found.count["svg"])
    assert found.count["h2"] == found.count["section"] == 12
    assert found.count["table"] == found.count["caption"] == found.count["thead"]
    assert found.count["svg"] == found.count["desc"] == 3


def test_what_others_wrote_is_escaped_wherever_it_stands() -> None:
    text = page(hostile(), HOSTILE)
    found = Page(text)
    assert text.count("alert(1)") > 20
    assert "<script" not in text
    assert not any(character in text for character in "\x1b\u202e\ud800")
    assert "\\x1b[31m\\u202e\\ud800" in "".join(found.words["td"])
    text.encode()


def test_exceptions_come_first_and_their_absence_is_said() -> None:
    calm = page(a_month().report(NOW))
    assert calm.index("There are no exceptions") < calm.index("<nav") < calm.index('id="policy"')
    story = Story().live_through(20, missed=range(3, 20))
    wild = page(story.report(NOW))
    assert "There are no exceptions" not in wild
    assert wild.index("purge did not run on 17 nights") < wild.index("<nav")
    assert "2 exceptions; still so at the end of these days: 2." in wild, "a roll is overdue too"


@pytest.mark.parametrize(
    "part",
    ["exceptions", "policy", "age", "nights", "purges", "requests", "holds", "queries", "quarantine", "accounts", "posture", "origin"],
)
def test_each_part_is_there(part: str) -> None:
    found = Page(page(a_month().report(NOW)))
    assert part in found.ids
    assert f"#{part}" in found.links


def test_a_place_that_was_not_looked_at_has_no_part() -> None:
    found = Page(page(a_month().report(NOW, posture=None)))
    assert "posture" not in found.ids
    assert found.count["h2"] == 11


def test_the_policy_names_every_personal_column_and_the_limits() -> None:
    text = page(a_month().report(NOW, others={"texts of queries": "1 year"}))
    assert [column.name for column in COLUMNS if column.personal and f">{column.name}<" not in text] == []
    assert ">event_duration<" not in text
    assert "requests are at hand for at least 10 days" in text
    assert "They are destroyed 30 days after their day began" in text
    assert '<th scope="row">texts of queries</th><td>1 year</td>' in text


def test_the_table_of_ages_has_a_row_for_every_day() -> None:
    text = page(Story().live_through(60, missed=(40,)).report(f"{BEGIN + 59 * A_DAY}T13:00:00Z"))
    rows = {day: f'<th scope="row">{BEGIN + day * A_DAY}</th><td>requests</td>' for day in range(60)}
    assert [day for day, row in rows.items() if row not in text] == []
    numbers = "".join(f'<td class="n">{number}</td>' for number in ("30.0", 30, 0, 0))
    within = f"{rows[39]}<td>{BEGIN + 10 * A_DAY}</td>{numbers}<td>within</td>"
    assert within in text
    assert f'<tr class="bad">{rows[40]}<td>{BEGIN + 10 * A_DAY}</td><td class="n">31.0</td>' in text
    assert "Without any rows all the time: requests.quarantine." in text


def test_where_the_figures_come_from_is_said() -> None:
    text = page(a_month().report(NOW), "evidence.zip")
    assert "cd" * 32 in text
    assert "auditlake 1.2.3" in text
    assert "evidence.zip, beside this page" in text
    assert "no pack was made" in page(a_month().report(NOW))
    assert GENERATOR in text[:1000]
