"""What a report says of a ledger: ages as they were made, and each exception when there is reason for it and only then."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from compliance.report import Report, span
from compliance.report_findings import Chain, Limits
from core.clock import UTC, parse_instant, to_iso
from core.errors import UsageError
from core.events import Event, Kind
from core.policy import Period
from core.segment import Segment
from tests.unit.compliance.story import BEGIN, Story

A_DAY = dt.timedelta(days=1)


def day(number: int) -> dt.date:
    """The day of that number, from 0."""
    return BEGIN + number * A_DAY


def kinds(report: Report) -> list[tuple[str, str, bool]]:
    return [(each.kind, each.where, each.open) for each in report.exceptions]


# ------------------------------------------------------------------------------------------------------------------- days


def test_the_days_are_those_asked_for_as_far_as_there_are_any() -> None:
    begun, now = parse_instant("2026-01-10T08:00:00Z"), parse_instant("2026-03-05T07:00:00Z")
    whole = span("2020-01-01", "2030-01-01", begun, now)
    assert (whole.first, whole.last, whole.until) == (dt.date(2026, 1, 10), dt.date(2026, 3, 5), now)
    past = span("2026-02-01", "2026-02-28", begun, now)
    assert (past.first, past.last, past.until) == (dt.date(2026, 2, 1), dt.date(2026, 2, 28), dt.datetime(2026, 3, 1, tzinfo=UTC))
    usual = span(None, None, begun, now)
    assert (usual.first, usual.last) == (dt.date(2026, 2, 3), dt.date(2026, 3, 5))
    assert span(None, "2026-01-12", begun, now).first == dt.date(2026, 1, 10)
    assert len(past.days) == 28


@pytest.mark.parametrize(
    ("first", "last", "why"),
    [
        ("2026-02-02", "2026-02-01", "is before the first"),
        ("2026-1-1", None, "'2026-1-1' is not a day"),
        ("2026-01-10T00:00:00Z", None, "is not a day"),
        ("20260110", None, "is not a day"),
        ("2026-02-30", None, "is not a day"),
        ("2025-01-01", "2025-12-31", "none from 2025-01-01 to 2025-12-31"),
        ("2026-03-06", None, "is before the first"),
        ("2026-03-06", "2026-03-07", "none from 2026-03-06 to 2026-03-07"),
    ],
)
def test_days_that_cannot_be_meant_are_refused(first: str, last: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        span(first, last, parse_instant("2026-01-10T08:00:00Z"), parse_instant("2026-03-05T07:00:00Z"))


# ------------------------------------------------------------------------------------------------------------------- ages


def test_the_bound_on_age_is_that_of_the_days_as_they_were_made() -> None:
    """A year and a bit: at each day's end the oldest day is the first whose limit, a calendar year, is not over."""
    found = Story(keep="1 year").live_through(420).report(f"{day(419)}T13:00:00Z")
    year = Period.parse("1 year")
    ages = [age for age in found.fold.ages if age.stream == "requests"]
    assert [age.day for age in ages] == [day(number) for number in range(420)]
    for age in ages[:-1]:
        end = Segment("", age.day).end
        oldest = next(each for number in range(420) if year.after(Segment("", each := day(number)).start) >= end)
        assert (age.oldest, age.age, age.limit, age.held, age.beyond) == (oldest, (end - Segment("", oldest).start) / A_DAY, 365, 0, 0)
    assert max(age.age for age in ages) == 365.0
    assert ages[-1].age == pytest.approx(364 + 13 / 24), "today is not over, and last night's purge has run"
    assert found.exceptions == ()


def test_missed_purges_show_in_the_bound_day_by_day() -> None:
    found = Story().live_through(60, missed=(40, 41, 42)).report(f"{day(59)}T13:00:00Z")
    ages = {(age.day - BEGIN).days: (age.age, age.beyond) for age in found.fold.ages if age.stream == "requests"}
    assert [ages[number] for number in (38, 39, 40, 41, 42, 43)] == [(30.0, 0), (30.0, 0), (31.0, 1), (32.0, 2), (33.0, 3), (30.0, 0)]
    assert kinds(found) == [("late purge", "requests", False), ("missed nights", "purge", False)]
    late, missed = found.exceptions
    assert (late.what, late.since) == ("3 days destroyed late, the latest 3 days after it was due", "2026-02-10T00:00:00Z")
    assert (missed.what, missed.since) == ("purge did not run on 3 nights, the last on 2026-02-12", "2026-02-10T00:05:00Z")


def test_a_report_on_the_past_says_what_was_so_then() -> None:
    story = Story().live_through(60, missed=(40, 41, 42))
    then = story.report(f"{day(59)}T13:00:00Z", last=str(day(41)))
    assert kinds(then) == [("overdue purge", "requests", True), ("overdue roll", "requests", True), ("missed nights", "purge", True)]
    assert then.exceptions[0].what == "2 days beyond the limit, of which the oldest is 2026-01-11"
    assert then.exceptions[0].since == then.exceptions[1].since == "2026-02-10T00:00:00Z"
    assert then.exceptions[1].what == "2 days hot for longer than the policy says, of which the oldest is 2026-01-30"
    before = story.report(f"{day(59)}T13:00:00Z", last=str(day(39)))
    assert before.exceptions == ()
    assert sum(purge.rows for purge in before.fold.purges) == 100
    after = story.report(f"{day(59)}T13:00:00Z", first=str(day(44)))
    assert after.exceptions == ()
    assert {age.day for age in after.fold.ages} == {day(number) for number in range(44, 60)}
    assert after.fold.flow[day(44)] == {"stored": 10, "destroyed": 10}


# ------------------------------------------------------------------------------------------------------------- exceptions


def a_month() -> Story:
    return Story().live_through(20)


NOW = f"{day(19)}T13:00:00Z"


def test_when_all_was_well_there_are_no_exceptions() -> None:
    story = a_month()
    story.tell(NOW, Kind.QUERY_ANSWERED, user=3, role="analyst", rows=5, ms=20, digest="0")
    assert story.report(NOW).exceptions == ()


def _told(kind: str, at: str = NOW, **body: Any) -> Callable[[Story], object]:
    return lambda story: story.tell(at, kind, **body)


RECEIVED = _told(
    Kind.SUBJECT_REQUEST_RECEIVED, f"{day(2)}T00:00:00Z", request=1, right="erase", subject="0", deadline=f"{day(18)}T00:00:00Z"
)
DONE_LATE = _told(Kind.SUBJECT_REQUEST_DONE, NOW, request=1, right="erase", subject="0")
GRANTED = _told(Kind.SUBJECT_REQUEST_GRANTED, f"{day(17)}T00:00:00Z", request=1, right="restrict", subject="0")
SOON = _told(Kind.SUBJECT_REQUEST_RECEIVED, NOW, request=2, right="access", subject="0", deadline=f"{day(25)}T00:00:00Z")
LATER = _told(Kind.SUBJECT_REQUEST_RECEIVED, NOW, request=3, right="access", subject="0", deadline=f"{day(40)}T00:00:00Z")
SOON_DONE = _told(Kind.SUBJECT_REQUEST_DONE, NOW, request=2, right="access", subject="0")
HELD = {"hold": 4, "stream": "requests", "first": str(day(0)), "last": str(day(3)), "digest": "0"}
EXPIRED = _told(Kind.HOLD_ADDED, f"{day(1)}T01:00:00Z", **HELD, expires=f"{day(9)}T00:00:00Z")
NOTED = _told(Kind.HOLD_EXPIRED, f"{day(10)}T00:05:00Z", **HELD)
FAILED = _told(Kind.JOB_FINISHED, f"{day(19)}T00:20:00Z", job="roll", outcome="failed")
ENDED_WELL = _told(Kind.JOB_FINISHED, f"{day(19)}T00:40:00Z", job="roll", outcome="nothing due")
RESIDUE = _told(Kind.RESIDUE_FOUND, f"{day(19)}T00:05:00Z", stream="requests", day=str(day(1)), things=2, digest="0")


def _gone(story: Story) -> None:
    story.purge(Segment("requests", day(1)), NOW)


def _torn(quarantined: int) -> Callable[[Story], object]:
    return lambda story: story.rows(day(19), 100 - quarantined, NOW, read=100, quarantined=quarantined)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ([RECEIVED], [("late request", "request 1", True)]),
        ([RECEIVED, DONE_LATE], [("late request", "request 1", False)]),
        ([RECEIVED, GRANTED], []),
        ([RECEIVED, GRANTED, DONE_LATE], []),
        ([SOON], [("request due soon", "request 2", True)]),
        ([SOON, SOON_DONE], []),
        ([LATER], []),
        ([EXPIRED], [("expired hold", "hold 4", True)]),
        ([EXPIRED, NOTED], []),
        ([FAILED], [("failed job", "roll", True)]),
        ([FAILED, ENDED_WELL], [("failed job", "roll", False)]),
        ([ENDED_WELL], []),
        ([RESIDUE], [("residue", f"requests/{day(1)}", True)]),
        ([RESIDUE, _gone], [("residue", f"requests/{day(1)}", False)]),
        ([_torn(5)], []),
        ([_torn(70)], [("quarantine", "requests", True)]),
        ([lambda story: story.rows(day(19), 3, NOW, stream="mail")], [("no limit", "mail", True)]),
        ([lambda story: story.rows(day(2), 3, f"{day(18)}T10:00:00Z")], [("overdue roll", "requests", True)]),
        ([lambda story: story.rows(day(2), 3, f"{day(19)}T10:00:00Z")], []),
        ([_told(Kind.CLOCK_CONFIRMED, NOW, now=NOW)], [("clock jump", "clock", False)]),
        ([lambda story: story.roll(day(3), NOW, rows=7)], [("account", f"requests/{day(3)}", True)]),
    ],
    ids=lambda each: str([kind for kind, *_ in each]) if each and isinstance(each[0], tuple) else None,
)
def test_an_exception_is_there_when_there_is_reason_for_it(
    told: list[Callable[[Story], object]], wanted: list[tuple[str, str, bool]]
) -> None:
    story = a_month()
    for tell in told:
        tell(story)
    assert kinds(_in_order(story).report(NOW)) == wanted


@pytest.mark.parametrize(("seconds", "told"), [(59, []), (600, [("clock jump", "clock", False)])])
def test_a_clock_that_goes_back_is_told_when_it_is_more_than_a_step(seconds: int, told: list[tuple[str, str, bool]]) -> None:
    story = a_month()
    before = to_iso(parse_instant(story.events[-1].at) - dt.timedelta(seconds=seconds))
    story.tell(before, Kind.TOKEN_ISSUED, user=1, role="analyst", token=1)
    assert kinds(story.report(NOW)) == told


def _in_order(story: Story) -> Story:
    ordered = sorted(story.events, key=lambda event: event.at)
    story.events = [Event(seq, event.at, event.kind, event.body) for seq, event in enumerate(ordered, start=1)]
    return story


def test_what_was_found_elsewhere_is_told() -> None:
    story = a_month()
    chain = Chain(len(story.events), "00", checkpoints=("checkpoint 000000000009.txt in the archive: it is missing",), states="they differ")
    found = story.report(NOW, chain=chain, faulty=[Segment("requests", day(4))])
    assert kinds(found) == [
        ("checkpoint", "ledger", True), ("account", "control database", True), ("digest", f"requests/{day(4)}", True),
    ]  # fmt: skip


def test_the_share_and_the_warning_are_those_asked_for() -> None:
    story = a_month()
    SOON(story)
    _torn(9)(story)
    assert kinds(story.report(NOW, limits=Limits(0.5, A_DAY))) == []
    assert len(story.report(NOW, limits=Limits(0.01, 10 * A_DAY)).exceptions) == 2


def test_a_changed_event_ends_the_figures_and_not_the_report() -> None:
    story = a_month()
    broken = [*story.events[:30], Event(31, "nonsense", Kind.BATCH_INGESTED, {}), *story.events[31:]]
    story.events = broken
    found = story.report(NOW, chain=Chain(len(broken), "00", "event 31 was changed"))
    assert found.exceptions[0].kind == "chain"
    assert found.exceptions[0].what.startswith("event 31 was changed")
    assert found.fold.newest == 30
    with pytest.raises(UsageError):
        story.report(NOW)


def test_events_after_the_chain_that_was_walked_are_left_out() -> None:
    story = a_month()
    walked = Chain(len(story.events), "00")
    FAILED(story)
    assert story.report(NOW, chain=walked).exceptions == ()


# ------------------------------------------------------------------------------------------------------- holds and the rest


def test_what_a_hold_keeps_is_held_and_neither_overdue_nor_late() -> None:
    story = Story(keep="12 days")
    held = [Segment("requests", day(number)) for number in range(3)]
    story.tell(f"{BEGIN}T00:00:00Z", Kind.HOLD_ADDED, hold=1, stream="requests", first=str(day(0)), last=str(day(2)), digest="0")
    for number in range(25):
        story.night(day(number), spare=held if number < 21 else ())
        story.rows(day(number))
        if number == 20:
            story.tell(f"{day(20)}T18:00:00Z", Kind.HOLD_RELEASED, hold=1, stream="requests", first=str(day(0)), last=str(day(2)))
    found = story.report(f"{day(24)}T13:00:00Z")
    ages = {(age.day - BEGIN).days: (age.age, age.held, age.beyond) for age in found.fold.ages if age.stream == "requests"}
    assert [ages[number] for number in (11, 12, 13, 14, 19, 20, 21)] == [
        (12.0, 0, 0), (13.0, 1, 0), (14.0, 2, 0), (15.0, 3, 0), (20.0, 3, 0), (21.0, 0, 0), (12.0, 0, 0),
    ]  # fmt: skip
    assert found.exceptions == ()
    assert [purge.late for purge in found.fold.purges if purge.segment in held] == [False] * 3
    released = story.report(f"{day(24)}T13:00:00Z", last=str(day(20))).fold.holds[1]
    assert (released.how, released.ended) == ("released", parse_instant(f"{day(20)}T18:00:00Z"))


def test_requests_and_erasures_are_added_up() -> None:
    story = a_month()
    LATER(story)
    for tier, rows in (("hot", 2), ("archived", 3)):
        where = day(19) if tier == "hot" else day(2)
        story.tell(NOW, Kind.ROWS_ERASED, stream="requests", day=str(where), request=3, tier=tier, rows=rows, left=1)
    story.tell(NOW, Kind.SUBJECT_ERASED, request=3, subject="0", rows={})
    found = story.report(NOW)
    assert (found.fold.requests[3].rows, found.fold.requests[3].certificate) == ({"hot": 2, "archived": 3}, len(story.events))
    assert found.fold.flow[day(19)]["erased"] == 5
    assert found.exceptions == ()


def test_queries_and_lines_are_counted_by_who_and_when() -> None:
    story = a_month()
    for kind, rows in ((Kind.QUERY_ANSWERED, 5), (Kind.QUERY_ANSWERED, 7), (Kind.QUERY_REFUSED, 0)):
        story.tell(NOW, kind, user=3, role="analyst", rows=rows, ms=20, digest="0")
    _torn(4)(story)
    story.tell(NOW, Kind.LINES_QUARANTINED, stream="requests", day=str(day(19)), batch="b", rows=4, reasons={"no time": 3, "empty": 1})
    story.tell(NOW, Kind.LINES_RETRIED, stream="requests", day=str(day(19)), batch="c", rows=1)
    story.rows(day(19), 1, NOW, source="quarantine")
    found = story.report(NOW).fold
    ((who, queries),) = found.queries.items()
    assert (who, queries.outcomes, queries.rows, queries.ms) == ((3, "analyst"), {"answered": 2, "refused": 1}, 12, 60)
    arrived = found.arrivals["requests", day(19)]
    assert {name: arrived.lines[name] for name in ("read", "stored", "quarantined", "retried")} == {
        "read": 110, "stored": 106, "quarantined": 4, "retried": 1,
    }  # fmt: skip
    assert arrived.reasons == {"no time": 3, "empty": 1}
    assert found.states[Segment("requests.quarantine", day(19))].hot == 3
