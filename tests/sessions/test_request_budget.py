"""How requests are counted within the windows of a budget, by a clock that the tests move."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.record_fields import RECORD
from scrapy_sessions.sessions.request_budget import RequestBudget
from scrapy_sessions.sessions.runtime import SessionRuntime

NOW = 1_800_000_000.0  # at the beginning of an hour
DAY = 86400


def sent(budget: RequestBudget, now: float, number: int = 1) -> bool:
    """Send *number* requests at *now*. Whether the last one was the last of the budget."""
    last = False
    for _ in range(number):
        budget.reserve()
        last = budget.send(now)
    return last


def test_within_its_budget() -> None:
    """Until the limit is reached nothing waits; the last request says so, once."""
    budget = RequestBudget({"per_hour": 3})
    assert [sent(budget, NOW) for _ in range(2)] == [False, False]
    assert (budget.seconds(NOW), budget.rests_until) == (0, None)
    assert sent(budget, NOW)
    assert not sent(budget, NOW)  # as of another process, say


def test_until_the_hour_is_over() -> None:
    """It rests until the five minutes in which they were sent are an hour ago: never less than an hour."""
    budget = RequestBudget({"per_hour": 2})
    sent(budget, NOW + 10)
    sent(budget, NOW + 1200)
    assert budget.rests_until == NOW + 300 + 3600
    assert budget.seconds(NOW + 1200) == 300 + 3600 - 1200
    assert budget.seconds(NOW + 3610) == 290
    assert budget.seconds(NOW + 3900) == 0
    sent(budget, NOW + 3900)  # that of minute 20 still counts
    assert budget.rests_until == NOW + 1500 + 3600


def test_the_day() -> None:
    """The limit of a day holds beside that of an hour: the later end counts."""
    budget = RequestBudget({"per_hour": 3, "per_day": 4})
    sent(budget, NOW, 3)
    assert budget.rests_until == NOW + 3900
    later = NOW + 2 * 3600
    assert budget.seconds(later) == 0
    assert sent(budget, later)
    assert budget.rests_until == NOW + 3600 + DAY
    assert budget.seconds(later) == 3600 + DAY - 7200


def test_no_two_share_the_last_place() -> None:
    """A request counts from when it has got the session; one that is not sent gives its place back, and says so."""
    budget = RequestBudget({"per_hour": 2})
    sent(budget, NOW)
    budget.reserve()
    assert budget.seconds(NOW + 1) == 3899
    budget.release()
    assert budget.seconds(NOW + 1) == 0
    assert budget.used == {"per_hour": {"6000000": 1}, "per_day": {"500000": 1}}


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.booleans()), max_size=200),
    st.integers(1, 20),
    st.integers(1, 60),
)
def test_never_more_than_the_limits(steps: list[tuple[int, bool]], per_hour: int, per_day: int) -> None:
    """Whatever the pace: no hour and no day has more requests than its limit, and what rests goes on some time."""
    budget = RequestBudget({"per_hour": per_hour, "per_day": per_day})
    now, times = NOW, []
    for seconds, patient in steps:
        now += seconds
        rest = budget.seconds(now)
        if rest and patient:
            assert budget.seconds(now + rest - 0.01) > 0
            now += rest
            rest = budget.seconds(now)
            assert not rest
        if not rest:
            sent(budget, now)
            times.append(now)
    for limit, length in ((per_hour, 3600), (per_day, DAY)):
        assert all(later - earlier >= length for earlier, later in zip(times, times[limit:], strict=False))


def test_what_is_over_is_forgotten() -> None:
    """A record has at most 14 slots of five minutes and 26 of an hour, however long the session is used."""
    budget = RequestBudget({"per_hour": 1000})
    for minute in range(0, 3 * 24 * 60, 2):
        sent(budget, NOW + 60 * minute)
        assert budget.used is not None
        assert [len(slots) <= most for slots, most in zip(budget.used.values(), (14, 26), strict=True)] == [True] * 2


def test_a_clock_that_was_wrong() -> None:
    """What was counted by a clock that was days ahead doesn't hold the session up for days."""
    budget = RequestBudget({"per_day": 1})
    sent(budget, NOW + 9 * DAY)
    assert budget.seconds(NOW + 9 * DAY) > 0
    assert budget.seconds(NOW) == 0


@pytest.mark.parametrize("wrong", [-660, -1800, 7200, 2 * DAY])
def test_a_clock_that_is_wrong_for_a_moment(wrong: int) -> None:
    """Looked at by a clock that was moved, and is right again, the budget is used up as before."""
    budget = RequestBudget({"per_hour": 10})
    sent(budget, NOW, 10)
    budget.seconds(NOW + wrong)
    assert budget.seconds(NOW + 1) == 3899
    if -3600 < wrong < 0:
        sent(budget, NOW + wrong)
        assert budget.seconds(NOW + 1) == 3899


async def test_it_says_when_it_is_used_up() -> None:
    """Who waits for that hears it with the request that gets the last place, and when the record is read."""
    budget = RequestBudget({"per_hour": 2})
    budget.seconds(NOW)
    first = budget.used_up()
    budget.reserve()
    assert not first.done()
    budget.reserve()
    assert first.done()
    second = budget.used_up()
    assert not second.done()
    budget.restore(budget.limits, budget.used)
    assert second.done()


def runtime(**used: Any) -> SessionRuntime:
    session = SessionRuntime("alice", budget={"per_hour": 10})
    assert session.budget is not None
    session.budget.restore({"per_hour": 10}, used)
    return session


def record(session: SessionRuntime) -> PersistentSession:
    return session.snapshot()


def test_two_processes_add_up() -> None:
    """Merging adds what each has sent, by slot; who has forgotten a slot drops it; who doesn't count adds nothing."""
    base = record(runtime(per_hour={"1": 5, "2": 3}))
    mine = record(runtime(per_hour={"2": 4, "3": 7}))
    theirs = record(runtime(per_hour={"1": 5, "2": 5, "3": 1, "4": 2}))
    merged = RECORD.merge(base, mine, theirs)
    assert merged.budget_used == {"per_hour": {"2": 6, "3": 8, "4": 2}, "per_day": {}}
    others = record(SessionRuntime("alice"))
    assert others.budget_used is None
    assert RECORD.merge(base, others, theirs).budget_used == theirs.budget_used
    assert RECORD.merge(None, others, others).budget_used is None
    assert RECORD.merge(None, mine, others).budget_used == mine.budget_used


def test_a_crawl_without_a_budget_counts_on() -> None:
    """A session with requests of a budget keeps them where none is set; one without has nothing to keep."""
    session = SessionRuntime("alice")
    session.keeps_limits = True
    session.restore(record(runtime(per_hour={"6000000": 5})))
    assert session.budget is not None
    assert (session.budget.limits, session.rest(NOW)) == ({}, 0)
    sent(session.budget, NOW)
    assert record(session).budget_used == {"per_hour": {"6000000": 6}, "per_day": {"500000": 1}}
    other = SessionRuntime("bob")
    other.restore(record(SessionRuntime("bob")))
    assert other.budget is None


def test_a_session_that_rests_is_not_idle() -> None:
    """It expires when it was idle after its rest. Else it would begin anew, with its whole budget."""
    session = SessionRuntime("alice", budget={"per_hour": 1}, idle_timeout=60)
    assert session.budget is not None
    sent(session.budget, session.last_activity)
    until = session.rests_until
    assert until is not None
    assert record(session).rests_until == until
    assert record(session).expiry == (until + 60, "idle_timeout")
    session.idle_timeout = 0
    assert record(session).expiry is None


@pytest.mark.parametrize("slot", ["x", "-1", "", "9" * 13])
def test_a_crafted_record(slot: str) -> None:
    """Slots are numbers."""
    with pytest.raises(ValueError, match="budget_used"):
        PersistentSession.model_validate({"session_id": "alice", "budget_used": {"per_hour": {slot: 1}}})
