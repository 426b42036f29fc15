"""The waits of a session, without a crawl: who comes first goes first, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.throttle import is_ready, postpone, wait_turn
from scrapy_sessions.exceptions import CrawlClosing
from scrapy_sessions.pools.pool import NO_BACKLOG
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime, backlog
from tests.support.configs import CONFIG


@asynccontextmanager
async def opened() -> AsyncIterator[ShutdownGuard]:
    closing = ShutdownGuard(lambda: False)
    yield closing
    await closing.close()


async def settle() -> None:
    """Let the tasks run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    """A place that becomes free goes to the one that has waited for longest, not to one who comes that moment."""
    session = SessionRuntime("alice", concurrency=1)
    order: list[int] = []

    async def go(number: int, closing: ShutdownGuard) -> InFlight:
        if not is_ready(session, float("inf")):
            await wait_turn(session, closing)
        order.append(number)
        return InFlight(session, CONFIG)

    async with opened() as closing:
        visit = InFlight(session, CONFIG)
        waiting = [asyncio.ensure_future(go(number, closing)) for number in range(3)]
        await settle()
        visit.end()
        waiting.append(asyncio.ensure_future(go(3, closing)))
        for task in waiting:
            await settle()
            assert session.in_flight == 1
            (await task).end()
    assert order == [0, 1, 2, 3]


async def test_a_question_goes_ahead() -> None:
    """What decides about a session waits for the first in its queue, and for no other request."""
    session = SessionRuntime("alice", concurrency=1)
    order: list[str] = []

    async def go(name: str, closing: ShutdownGuard) -> None:
        await wait_turn(session, closing, ahead=name == "question")
        order.append(name)

    async with opened() as closing:
        visit = InFlight(session, CONFIG)
        waiting = [asyncio.ensure_future(go(name, closing)) for name in ("first", "second", "question")]
        await settle()
        visit.end()
        await asyncio.gather(*waiting)
    assert order == ["first", "question", "second"]


async def test_a_place_that_is_not_used() -> None:
    """Who was let in, and doesn't go, passes its place on."""
    session = SessionRuntime("alice", concurrency=1)
    async with opened() as closing:
        visit = InFlight(session, CONFIG)
        waiting = [asyncio.ensure_future(wait_turn(session, closing)) for _ in range(2)]
        await settle()
        assert [task.done() for task in waiting] == [False, False]
        visit.end()
        await settle()
        assert [task.done() for task in waiting] == [True, True]


async def test_who_stops_waiting() -> None:
    """Who gives up, first or not, holds nobody up."""
    session = SessionRuntime("alice", concurrency=1)
    async with opened() as closing:
        visit = InFlight(session, CONFIG)
        waiting = [asyncio.ensure_future(wait_turn(session, closing)) for _ in range(4)]
        await settle()
        for number in (0, 2):
            waiting[number].cancel()
        await settle()
        visit.end()
        await settle()
        assert [task.cancelled() for task in waiting] == [True, False, True, False]
        assert [task.done() for task in waiting] == [True] * 4
    assert not session.queue


async def test_as_many_as_there_are_places() -> None:
    """With a concurrency of two, two are let in at once."""
    session = SessionRuntime("alice", concurrency=2)
    went: list[InFlight] = []

    async def go(closing: ShutdownGuard) -> None:
        await wait_turn(session, closing)
        went.append(InFlight(session, CONFIG))

    async with opened() as closing:
        visits = [InFlight(session, CONFIG), InFlight(session, CONFIG)]
        waiting = [asyncio.ensure_future(go(closing)) for _ in range(3)]
        await settle()
        for visit in visits:
            visit.end()
        await settle()
        assert [task.done() for task in waiting] == [True, True, False]


async def test_a_stall_brings_no_two_closer() -> None:
    """Where the machine stood still for longer than the delay, the requests after it still go the delay apart."""
    session = SessionRuntime("alice")
    times: list[float] = []

    async def go(closing: ShutdownGuard) -> None:
        if not is_ready(session, time.monotonic()):
            await wait_turn(session, closing)
        times.append(time.monotonic())
        postpone(session, 0.05)

    async with opened() as closing:
        waiting = [asyncio.ensure_future(go(closing)) for _ in range(4)]
        await settle()
        time.sleep(0.2)  # the stall
        await asyncio.gather(*waiting)
    assert [later - earlier >= 0.05 for earlier, later in pairwise(times)] == [True] * 3


async def test_a_pause_while_one_waits() -> None:
    """Who sleeps until its turn, and is told meanwhile to wait for longer, does."""
    session = SessionRuntime("alice")
    async with opened() as closing:
        began = time.monotonic()
        session.not_before = began + 0.02
        waiting = asyncio.ensure_future(wait_turn(session, closing))
        await settle()
        session.not_before = began + 0.1
        await waiting
    assert time.monotonic() - began >= 0.1


@pytest.mark.parametrize("end", ["retired", "closed"])
async def test_the_end_of_a_session_that_pauses(end: str) -> None:
    """Who waits for a session that ends meanwhile looks for another at once, however long the pause would have been."""
    async with SessionManager(store="memory://", namespace="shop") as manager, opened() as closing:
        session = await registry_of(manager).get("alice")
        session.not_before = time.monotonic() + 3600
        waiting = [asyncio.ensure_future(wait_turn(session, closing)) for _ in range(3)]
        await settle()
        assert not any(task.done() for task in waiting)
        if end == "retired":
            session.retire("by the test")
        else:
            await manager.delete_session("alice")
        await settle()
        assert all(task.done() for task in waiting)


async def test_a_session_is_not_idle_while_somebody_waits() -> None:
    """A pause longer than the idle timeout doesn't end the session: not here, nor for who reads its record."""
    async with SessionManager(store="memory://", namespace="shop") as manager, opened() as closing:
        session = await registry_of(manager).get("alice")
        session.idle_timeout = 0.2
        session.not_before = time.monotonic() + 0.7
        waiting = asyncio.ensure_future(wait_turn(session, closing))
        began = session.last_activity
        while not waiting.done():
            assert session.expired(time.time()) is None
            await asyncio.sleep(0.05)
        await manager.flush()
        record = await manager.load_session("alice")
        assert record is not None
        assert record.last_activity - began >= 0.3


def test_a_pause_is_not_idleness() -> None:
    """Nor does it end while the site has asked to be left alone, though no request waits yet."""
    session = SessionRuntime("alice", idle_timeout=1)
    late = session.last_activity + 2
    session.not_before = time.monotonic() + 60
    assert session.expired(late) is None
    session.not_before = 0.0
    assert session.expired(late) == "idle_timeout"


async def test_the_backlog() -> None:
    """A session that may go has no backlog; one that must wait has its seconds; one that is full its requests."""
    session = SessionRuntime("alice", concurrency=1)
    assert (backlog(session, 10.0), is_ready(session, 10.0)) == (NO_BACKLOG, True)
    session.not_before = 12.5
    assert (backlog(session, 10.0), is_ready(session, 10.0)) == ((2.5, 0), False)
    session.not_before = 0.0
    async with opened() as closing:
        visit = InFlight(session, CONFIG)
        assert backlog(session, 20.0) == (0, 1)
        waiting = [asyncio.ensure_future(wait_turn(session, closing)) for _ in range(2)]
        await settle()
        assert backlog(session, 20.0) == (0, 3)
        session.spacing = 1.5
        assert backlog(session, 20.0) == (3.0, 3)
        visit.end()
        assert not is_ready(session, 20.0)  # it is theirs
        visit = InFlight(session, CONFIG)
        await settle()
    for task in waiting:
        with pytest.raises(CrawlClosing):
            await task
    assert not session.queue
    visit.end()
