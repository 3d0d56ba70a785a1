"""Calendar periods, and the plan that follows from them."""

import datetime as dt
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import UTC
from core.errors import UsageError
from core.policy import Decision, Hold, Period, StreamPolicy, conflicts, plan, purge_due, roll_due
from core.segment import Segment, SegmentState

INSTANT = dt.timedelta(microseconds=1)
DAY = dt.date(2026, 1, 30)
SEGMENT = Segment("requests", DAY)
REJECTED = Segment("requests.quarantine", DAY)
POLICY = StreamPolicy("requests", Period(months=1), Period(months=12), Period(days=90))
POLICIES = {"requests": POLICY, "requests.quarantine": POLICY}


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=UTC)


def decide(state: SegmentState, now: dt.datetime, *holds: Hold, policies: Mapping[str, StreamPolicy] = POLICIES) -> Decision:
    (decision,) = plan([state], policies, holds, now)
    return decision


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2026-01-31", "1 month", "2026-02-28"),
        ("2024-01-31", "1 month", "2024-02-29"),
        ("2026-12-31", "1 month", "2027-01-31"),
        ("2026-03-31", "1 month", "2026-04-30"),
        ("2026-11-30", "3 months", "2027-02-28"),
        ("2024-02-29", "1 year", "2025-02-28"),
        ("2024-02-29", "12 months", "2025-02-28"),
        ("2024-02-29", "4 years", "2028-02-29"),
        ("2096-02-29", "4 years", "2100-02-28"),
        ("2026-02-28", "1 year", "2027-02-28"),
        ("2023-06-01", "1y", "2024-06-01"),
        ("2026-01-31", "30 days", "2026-03-02"),
        ("2024-02-01", "29 days", "2024-03-01"),
        ("2026-01-01", "6 weeks", "2026-02-12"),
        ("2026-01-01", "2w", "2026-01-15"),
        ("2026-01-01", "32d", "2026-02-02"),
        ("2026-01-01", " 1  day ", "2026-01-02"),
    ],
)
def test_periods_are_calendar_periods(start: str, period: str, end: str) -> None:
    assert Period.parse(period).after(at(start)) == at(end)


def test_time_of_day_is_kept() -> None:
    assert Period.parse("1 month").after(at("2026-01-31T23:59:59.999999")) == at("2026-02-28T23:59:59.999999")


@pytest.mark.parametrize(
    ("start", "period"), [("9999-12-31", "1 day"), ("9999-12-15", "1 month"), ("9900-01-01", "200 years"), ("9999-02-28", "52 weeks")]
)
def test_past_the_calendars_end_is_its_last_instant(start: str, period: str) -> None:
    assert Period.parse(period).after(at(start)) == dt.datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["0 days", "0d", "0 months", "00 years", "000w"])
def test_zero_is_refused_as_zero(text: str) -> None:
    with pytest.raises(UsageError, match="is zero; write a period of at least one day"):
        Period.parse(text)


@pytest.mark.parametrize("text", ["201 years", "2413 months", "73201 days", "99999 weeks"])
def test_a_period_over_200_years_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is longer than 200 years"):
        Period.parse(text)


def test_the_longest_periods_are_taken() -> None:
    assert Period.parse("200 years") == Period(months=2400)
    assert Period.parse("73200 days") == Period(days=73_200)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "month", "1", "1 m", "1 fortnight", "one month", "-1 days", "+1 days", "1.5 days", "1e3 days", "1 month 2 days"),
        *("1 days days", "1,000 days", "100000 days", "9" * 400 + " days", "1 day\0", "inf days", "nan", "1 Month", "1 dayss"),
    ],
)
def test_nonsense_is_refused_by_its_own_words(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Period.parse(text)
    assert repr(text)[:20] in str(refused.value)
    assert "\n" not in str(refused.value)


counts = st.integers(1, 200)
periods = st.builds(lambda count, unit: Period.parse(f"{count} {unit}"), counts, st.sampled_from(["days", "weeks", "months", "years"]))
midnights = st.dates(dt.date(1970, 1, 1), dt.date(2300, 1, 1)).map(lambda day: dt.datetime.combine(day, dt.time.min, UTC))


@given(periods)
def test_a_period_reads_back_as_it_prints(period: Period) -> None:
    assert Period.parse(str(period)) == period


@given(periods, midnights)
def test_a_period_spans_between_its_lower_and_upper_days(period: Period, start: dt.datetime) -> None:
    assert period.lower_days <= (period.after(start) - start).days <= period.upper_days


@given(periods, midnights, midnights)
def test_an_older_day_never_falls_due_later(period: Period, one: dt.datetime, other: dt.datetime) -> None:
    first, second = sorted([one, other])
    assert period.after(first) <= period.after(second)


def test_roll_is_due_when_the_days_last_instant_was_hot_for_the_period() -> None:
    assert roll_due(SEGMENT, POLICY) == at("2026-02-28")
    assert roll_due(Segment("requests", dt.date(2026, 3, 10)), POLICY) == at("2026-04-11")


def test_purge_is_due_when_the_days_first_instant_reaches_the_limit() -> None:
    assert purge_due(SEGMENT, POLICY) == at("2027-01-30")
    assert purge_due(REJECTED, POLICY) == at("2026-04-30")


def test_each_action_is_due_exactly_at_its_instant_and_not_before() -> None:
    hot, archived = SegmentState(SEGMENT, stored=5, hot=5), SegmentState(SEGMENT, stored=5, archived=5)
    rolls, ends = roll_due(SEGMENT, POLICY), purge_due(SEGMENT, POLICY)
    assert decide(hot, rolls - INSTANT) == Decision(SEGMENT, "keep", "hot for 1 month", rolls)
    assert decide(hot, rolls) == Decision(SEGMENT, "roll", "its last rows were hot for 1 month on 2026-02-28", rolls)
    assert decide(archived, ends - INSTANT) == Decision(SEGMENT, "keep", "destroyed when 1 year is over", ends)
    assert decide(archived, ends) == Decision(SEGMENT, "purge", "its first rows reached the limit of 1 year on 2027-01-30", ends)


def test_a_day_that_was_never_rolled_is_purged_all_the_same() -> None:
    assert decide(SegmentState(SEGMENT, stored=5, hot=5), purge_due(SEGMENT, POLICY)).action == "purge"


def test_late_rows_of_an_archived_day_are_rolled_again() -> None:
    decision = decide(SegmentState(SEGMENT, stored=7, hot=2, archived=5), roll_due(SEGMENT, POLICY))
    assert (decision.action, decision.reason) == ("roll", "its last rows (late rows) were hot for 1 month on 2026-02-28")


def test_a_roll_that_has_begun_is_finished_though_nothing_is_hot() -> None:
    assert decide(SegmentState(SEGMENT, stored=5, archived=5, open_action="roll"), roll_due(SEGMENT, POLICY)).action == "roll"


def test_a_purge_that_has_begun_is_finished_though_the_limit_was_raised() -> None:
    begun = SegmentState(SEGMENT, stored=5, archived=5, open_action="purge")
    assert decide(begun, at("2026-02-01")).action == "purge"
    assert decide(SegmentState(SEGMENT, stored=5, open_action="purge"), at("2026-02-01")).action == "purge"


def test_rejected_lines_are_never_rolled_and_end_by_their_own_limit() -> None:
    state = SegmentState(REJECTED, stored=3, hot=3)
    limit = at("2026-04-30")
    assert decide(state, limit - INSTANT) == Decision(REJECTED, "keep", "destroyed when 90 days is over", limit)
    assert decide(state, limit).action == "purge"


def test_a_stream_without_limits_is_kept_and_says_so() -> None:
    segment = Segment("forgotten", DAY)
    decision = decide(SegmentState(segment, stored=1, hot=1), at("2200-01-01"))
    assert decision.action == "keep"
    assert "no stream forgotten is configured" in decision.reason
    assert decision.due == dt.datetime.max.replace(tzinfo=UTC)


def test_a_hold_stops_the_purge_and_the_roll_and_names_its_reason() -> None:
    hold = Hold("requests", DAY, DAY, "case 12/2026")
    hot, archived = SegmentState(SEGMENT, stored=5, hot=5), SegmentState(SEGMENT, stored=5, archived=5)
    rolls, ends = roll_due(SEGMENT, POLICY), purge_due(SEGMENT, POLICY)
    assert decide(archived, ends, hold) == Decision(SEGMENT, "keep", "held: case 12/2026", ends)
    assert decide(hot, rolls, hold) == Decision(SEGMENT, "keep", "held: case 12/2026", rolls)
    assert decide(hot, rolls - INSTANT, hold).reason == "hot for 1 month"


def test_a_hold_covers_its_first_and_last_day_of_its_own_stream() -> None:
    hold = Hold("requests", dt.date(2026, 1, 10), dt.date(2026, 1, 12), "audit")
    covered = [day for day in range(8, 15) if hold.covers(Segment("requests", dt.date(2026, 1, day)))]
    assert covered == [10, 11, 12]
    assert not hold.covers(Segment("mail", dt.date(2026, 1, 11)))


def test_a_day_without_rows_needs_no_decision() -> None:
    assert plan([SegmentState(SEGMENT, stored=5, purged=5)], POLICIES, (), at("2200-01-01")) == ()


def test_a_hot_period_as_long_as_the_limit_ends_in_a_purge() -> None:
    short = StreamPolicy("requests", Period(months=1), Period(months=1), Period(months=1))
    state = SegmentState(SEGMENT, stored=5, hot=5)
    before = decide(state, purge_due(SEGMENT, short) - INSTANT, policies={"requests": short})
    assert (before.action, before.due) == ("keep", purge_due(SEGMENT, short))
    assert decide(state, roll_due(SEGMENT, short), policies={"requests": short}).action == "purge"


def test_decisions_and_policies_print_as_english() -> None:
    decision = decide(SegmentState(SEGMENT, stored=5, hot=5), roll_due(SEGMENT, POLICY))
    assert str(decision) == "roll requests/2026-01-30: its last rows were hot for 1 month on 2026-02-28"
    assert str(POLICY) == "requests: hot for 1 month, destroyed after 1 year; rejected lines destroyed after 90 days"


streams = st.sampled_from(["requests", "requests.quarantine", "mail", "forgotten"])
days = st.one_of(st.sampled_from([dt.date.min, dt.date.max]), st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)))
rows = st.integers(0, 5)
states = st.lists(
    st.builds(
        lambda stream, day, hot, archived, action: SegmentState(
            Segment(stream, day), stored=hot + archived, hot=hot, archived=archived, open_action=action
        ),
        *(streams, days, rows, rows, st.sampled_from(["", "", "roll", "purge"])),
    ),
    max_size=8,
    unique_by=lambda state: state.segment,
)
limits = st.builds(StreamPolicy, st.just("any"), periods, periods, periods)
policies = st.fixed_dictionaries({"requests": limits, "requests.quarantine": limits, "mail": limits})
holds = st.lists(st.builds(Hold, streams, days, days, st.just("a case")), max_size=3)
instants = st.builds(lambda midnight, hours: midnight + dt.timedelta(hours=hours), midnights, st.integers(0, 23))


@given(states, policies, holds, instants)
def test_the_plan_decides_on_every_live_segment_once_in_order(
    given_states: list[SegmentState], limits_of: dict[str, StreamPolicy], duties: list[Hold], now: dt.datetime
) -> None:
    decisions = plan(given_states, limits_of, duties, now)
    live = sorted(state.segment for state in given_states if state.present or state.open_action)
    assert [decision.segment for decision in decisions] == live
    assert {decision.action for decision in decisions} <= {"roll", "purge", "keep"}
    assert all(decision.reason and decision.due.tzinfo is UTC for decision in decisions)


@given(states, policies, holds, instants)
def test_the_plan_depends_on_nothing_but_its_arguments(
    given_states: list[SegmentState], limits_of: dict[str, StreamPolicy], duties: list[Hold], now: dt.datetime
) -> None:
    before = (list(given_states), dict(limits_of), list(duties))
    first = plan(given_states, limits_of, duties, now)
    assert plan(iter(reversed(given_states)), limits_of, tuple(duties), now) == first
    assert (given_states, limits_of, duties) == before


@given(states, policies, holds, instants)
def test_nothing_is_purged_before_its_limit_nor_rolled_or_kept_past_it_without_a_duty(
    given_states: list[SegmentState], limits_of: dict[str, StreamPolicy], duties: list[Hold], now: dt.datetime
) -> None:
    by_segment = {state.segment: state for state in given_states}
    for decision in plan(given_states, limits_of, duties, now):
        segment, policy = decision.segment, limits_of.get(decision.segment.stream)
        if policy is None:
            assert decision.action == "keep"
            continue
        over, held = now >= purge_due(segment, policy), any(hold.covers(segment) for hold in duties)
        begun = by_segment[segment].open_action == "purge"
        assert decision.action != "purge" or over or begun
        assert decision.action == "purge" or held or not over
        if decision.action == "roll":
            assert now >= roll_due(segment, policy)
            assert not held
            assert not segment.is_quarantine


def test_a_hold_covers_the_rejected_lines_of_its_days_too() -> None:
    hold = Hold("requests", DAY, DAY, "audit", number=7)
    state, limit = SegmentState(REJECTED, stored=3, hot=3), at("2026-04-30")
    assert decide(state, limit, hold) == Decision(REJECTED, "keep", "held (hold 7): audit", limit)
    assert decide(state, limit - INSTANT, hold).reason == "destroyed when 90 days is over"
    assert not hold.covers(Segment("requests.quarantine", DAY + dt.timedelta(days=1)))


def test_a_hold_binds_until_the_instant_at_which_it_expires() -> None:
    ends = purge_due(SEGMENT, POLICY)
    state = SegmentState(SEGMENT, stored=5, archived=5)
    hold = Hold("requests", DAY, DAY, "audit", expires=ends + INSTANT)
    assert decide(state, ends, hold).action == "keep"
    assert decide(state, ends + INSTANT, hold).action == "purge"


def test_a_purge_that_has_begun_is_finished_though_a_hold_covers_the_day() -> None:
    begun = SegmentState(SEGMENT, stored=5, archived=5, open_action="purge")
    assert decide(begun, purge_due(SEGMENT, POLICY), Hold("requests", DAY, DAY, "audit")).action == "purge"


def test_a_day_that_two_holds_cover_is_kept_until_both_have_ended() -> None:
    ends, state = purge_due(SEGMENT, POLICY), SegmentState(SEGMENT, stored=5, archived=5)
    expired, other = Hold("requests", DAY, DAY, "one", expires=ends), Hold("requests", DAY, DAY, "two")
    assert decide(state, ends, expired, other) == Decision(SEGMENT, "keep", "held: two", ends)
    assert decide(state, ends, expired).action == "purge"


def test_holds_that_conflict_with_a_day_are_those_that_cover_it() -> None:
    one, other = Hold("requests", DAY, DAY, "one"), Hold("mail", DAY, DAY, "two")
    assert conflicts((one, other), "requests", DAY) == (one,)
    assert conflicts((one, other), "mail.quarantine", DAY) == (other,)
    assert conflicts((one, other), "requests", DAY + dt.timedelta(days=1)) == ()
