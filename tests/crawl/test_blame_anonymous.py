"""The cases A1 to A7: refusals of anonymous sessions, decided without a crawl."""

from __future__ import annotations

import asyncio

import pytest

from scrapy_sessions.crawl.blame import Answer, Decision
from tests.support.blame import SITE, Pool

GOOD, REFUSED, NOTHING = Answer.GOOD, Answer.REFUSED, Answer.NOTHING


async def test_a1_a_session_that_was_retired_meanwhile() -> None:
    """The request moves on, without a question."""
    pool = Pool()
    pool.session("1")
    pool.actions["1"].retired.append("by another response")
    assert await pool.refused("1", "x") is Decision.MOVE
    assert pool.actions["1"].asked == []


async def test_a2_a_session_that_is_refused_what_it_got() -> None:
    """It is retired, and the page has not been tried."""
    pool = Pool()
    pool.good("1", "a", "b")
    pool.answer("1", "b", REFUSED)
    assert await pool.refused("1", "x") is Decision.MOVE
    assert pool.is_retired("1")
    assert pool.actions["1"].asked == ["b"]


async def test_a2_by_a_page_of_another_session() -> None:
    """A session without a good page of its own is asked the last good page of its pool."""
    pool = Pool()
    pool.good("1", "a")
    pool.answer("2", "a", REFUSED)
    assert await pool.refused("2", "x") is Decision.MOVE
    assert (pool.is_retired("1"), pool.is_retired("2")) == (False, True)


async def test_a2_for_all_that_wait() -> None:
    """However many requests wait, one question retires the session once."""
    pool = Pool()
    pool.good("1", "a")
    pool.answer("1", "a", REFUSED)
    decisions = await asyncio.gather(*(pool.refused("1", name) for name in "wxyz"))
    assert set(decisions) == {Decision.MOVE}
    assert pool.actions["1"].asked == ["a"]


async def test_a3_a_session_that_still_gets_its_page() -> None:
    """It is cleared: the page is tried in other sessions, and after three of them it is closed to everybody."""
    pool = Pool()
    for name in "123":
        pool.good(name, "a")
    decisions = [await pool.refused(name, "x", tries=tries) for tries, name in enumerate("123")]
    assert decisions == [Decision.TRIED, Decision.TRIED, Decision.CLOSED_TO_ALL]
    assert not any(pool.is_retired(name) for name in "123")


@pytest.mark.parametrize(("retry_times", "tries"), [(1, 1), (2, 2), (9, 2)])
async def test_a3_with_other_bounds(retry_times: int, tries: int) -> None:
    """RETRY_TIMES bounds the tries, too."""
    pool = Pool(retry_times=retry_times)
    pool.good("1", "a")
    assert await pool.refused("1", "x", tries=tries) is Decision.CLOSED_TO_ALL


async def test_a4_no_witness() -> None:
    """No witness: MAX_ERRORS different pages retire a session, one page never does. A retired one was no try."""
    pool = Pool(new=False)
    for _ in range(5):
        assert await pool.refused("1", "x") is Decision.UNPROVED
    assert await pool.refused("1", "y") is Decision.UNPROVED
    assert await pool.refused("1", "z") is Decision.MOVE
    assert pool.is_retired("1")


async def test_a4_a_new_session_before_anything_was_good() -> None:
    """It was a try of the page, although the session is retired: after three of them the page is handed on."""
    pool = Pool()
    for tries, session_id in enumerate("12"):
        for name in "xyz":
            assert await pool.refused(session_id, name, tries=tries) is Decision.TRIED
        assert pool.is_retired(session_id)
    assert await pool.refused("3", "x", tries=2) is Decision.CLOSED_TO_ALL


async def test_a4_a_good_page_clears() -> None:
    """Pages that were refused before a good one count no more."""
    pool = Pool()
    await pool.refused("1", "x")
    await pool.refused("1", "y")
    pool.good("1", "a")
    pool.answer("1", "a", NOTHING)
    assert await pool.refused("1", "z") is Decision.UNPROVED


async def test_a4_a_session_that_was_good() -> None:
    """Where a good response is no witness, as that to a POST, it takes twice as many pages."""
    pool = Pool(max_errors=3)
    pool.session("s").good(SITE + "posted", get=False)
    for number in range(6):
        assert not pool.is_retired("s")
        await pool.refused("s", f"p{number}")
    assert pool.is_retired("s")


async def test_a4_with_max_errors_0() -> None:
    """With MAX_ERRORS 0 no number of pages retires a session."""
    pool = Pool(max_errors=0)
    assert {await pool.refused("1", str(number)) for number in range(20)} == {Decision.TRIED}


async def test_a4_a_status_that_blocks() -> None:
    """A status of BLOCKED_STATUSES retires at once if nothing speaks for the session; a witness does."""
    pool = Pool(new=False)
    assert await pool.refused("1", "x", blocked=True) is Decision.MOVE
    assert pool.is_retired("1")
    pool.good("2", "a")
    assert await pool.refused("2", "x", blocked=True) is Decision.TRIED


async def test_a5_pages_that_are_good_elsewhere() -> None:
    """MAX_ERRORS of them, without a good page between, retire the session that refused them."""
    pool = Pool()
    pool.good("1", "a")
    for name in "xyz":
        assert not pool.is_retired("1")
        pool.session("1").opened(name, by_referee=False)
    assert pool.is_retired("1")


async def test_a5_a_good_page_between() -> None:
    """A good page in the session clears them."""
    pool = Pool()
    for name in "wxyz":
        pool.session("1").opened(name, by_referee=False)
        pool.good("1", "a")
    assert not pool.is_retired("1")


async def test_a6_a_referee() -> None:
    """After MAX_ERRORS pages closed to everybody in a row the next goes to a new session, at most once a minute."""
    pool = Pool()
    pool.good("1", "a")
    decisions = [await pool.refused("1", name, tries=2) for name in "vwxyz"]
    assert decisions == [*[Decision.CLOSED_TO_ALL] * 3, Decision.REFEREE, Decision.CLOSED_TO_ALL]
    pool.clock.now = 60
    assert await pool.refused("1", "u", tries=2) is Decision.REFEREE


async def test_a6_what_the_referee_finds() -> None:
    """Refused by it, the page is closed; good in it, it retires the session that refused the page."""
    pool = Pool()
    pool.good("1", "a")
    pool.session("4")
    assert await pool.refused("4", "x", tries=3) is Decision.CLOSED_TO_ALL
    pool.session("1").opened("x", by_referee=True)
    assert pool.is_retired("1")


async def ban(pool: Pool, count: int) -> list[bool]:
    """Let *count* new sessions be retired, and return of each whether it was."""
    for number in range(count):
        await pool.refused(str(number), "x", blocked=True)
    return [pool.is_retired(str(number)) for number in range(count)]


@pytest.mark.parametrize(("size", "count"), [(1, 5), (5, 5), (8, 8)])
async def test_a7_the_site_turns_everybody_away(size: int, count: int) -> None:
    """As many new sessions in a row as the pool has places, at least five: the last one is kept."""
    pool = Pool(size)
    assert await ban(pool, count) == [True] * (count - 1) + [False]
    assert pool.bans == [True]


async def test_a7_not_in_a_row() -> None:
    """A good response in between, in whichever session, begins the count anew."""
    pool = Pool(1)
    await ban(pool, 4)
    pool.good("9", "a")
    pool.answer("10", "a", REFUSED)
    await pool.refused("10", "x")
    assert pool.bans == []


async def test_a7_one_trial_a_minute() -> None:
    """One request a minute is tried; after RETRY_TIMES trials the others are handed on."""
    pool = Pool(1, retry_times=2)
    await ban(pool, 5)
    found = pool.blame.ban
    assert found is not None
    assert not found.take_trial()
    for minute in (1, 2):
        pool.clock.now = 60 * minute
        assert found.take_trial()
        assert not found.take_trial()
        decision = await pool.refused(found.session_id, "x")
        assert decision is (Decision.MOVE if minute == 1 else Decision.HAND_ON)
    assert found.is_final
    assert await pool.refused(found.session_id, "y") is Decision.HAND_ON


async def test_a7_ends_with_a_good_response() -> None:
    """A trial that is good ends it, and those that wait go on."""
    pool = Pool(1)
    await ban(pool, 5)
    found = pool.blame.ban
    assert found is not None
    pool.good("4", "a")
    assert found.ended.done()
    assert pool.blame.ban is None
    assert pool.bans == [True, False]


async def test_a_session_is_in_doubt_during_its_inquiry() -> None:
    """While the site is asked, other sessions are preferred."""
    pool = Pool()
    pool.good("1", "a")
    seen: list[bool] = []
    pool.actions["1"].asking = lambda name: seen.append(pool.actions["1"].doubted)
    await pool.refused("1", "x")
    assert seen == [True]
    assert not pool.actions["1"].doubted
