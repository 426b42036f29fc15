"""The waits of a session, without a crawl: who comes first goes first, and nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from scrapy_sessions import BrowserSession
from scrapy_sessions.closing import Closing
from scrapy_sessions.exceptions import CrawlClosing
from scrapy_sessions.pace import backlog, free, may_go, take_turn
from scrapy_sessions.visits import Visit


@asynccontextmanager
async def opened() -> AsyncIterator[Closing]:
    closing = Closing(lambda: False)
    yield closing
    await closing.close()


async def settle() -> None:
    """Let the tasks run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_first_come_first_served() -> None:
    """A place that becomes free goes to the one that has waited for longest, not to one who comes that moment."""
    session = BrowserSession("alice", concurrency=1)
    order: list[int] = []

    async def go(number: int, closing: Closing) -> Visit:
        if not may_go(session, float("inf")):
            await take_turn(session, 0, closing)
        order.append(number)
        return Visit(session)

    async with opened() as closing:
        visit = Visit(session)
        waiting = [asyncio.ensure_future(go(number, closing)) for number in range(3)]
        await settle()
        visit.end()
        waiting.append(asyncio.ensure_future(go(3, closing)))
        for task in waiting:
            await settle()
            assert session.in_flight == 1
            (await task).end()
    assert order == [0, 1, 2, 3]


async def test_a_place_that_is_not_used() -> None:
    """Who was let in, and doesn't go, passes its place on."""
    session = BrowserSession("alice", concurrency=1)
    async with opened() as closing:
        visit = Visit(session)
        waiting = [asyncio.ensure_future(take_turn(session, 0, closing)) for _ in range(2)]
        await settle()
        visit.end()
        await settle()
        assert [task.done() for task in waiting] == [True, False]
        free(session)
        await settle()
        assert [task.done() for task in waiting] == [True, True]


async def test_as_many_as_there_are_places() -> None:
    """With a concurrency of two, two are let in at once."""
    session = BrowserSession("alice", concurrency=2)
    async with opened() as closing:
        visits = [Visit(session), Visit(session)]
        waiting = [asyncio.ensure_future(take_turn(session, 0, closing)) for _ in range(3)]
        await settle()
        for visit in visits:
            visit.end()
        await settle()
        assert [task.done() for task in waiting] == [True, True, False]


async def test_the_backlog() -> None:
    """A session that may go has no backlog; one that must wait has its seconds; one that is full its requests."""
    session = BrowserSession("alice", concurrency=1)
    assert (backlog(session, 10.0), may_go(session, 10.0)) == (0, True)
    session.next_at = 12.5
    assert (backlog(session, 10.0), may_go(session, 10.0)) == (2.5, False)
    async with opened() as closing:
        visit = Visit(session)
        assert backlog(session, 20.0) == 1
        waiting = [asyncio.ensure_future(take_turn(session, 0, closing)) for _ in range(2)]
        await settle()
        assert backlog(session, 20.0) == 3
        visit.end()
        assert not may_go(session, 20.0)  # it is theirs
    assert (await asyncio.gather(*waiting, return_exceptions=True))[0] is None
    with pytest.raises(CrawlClosing):
        await waiting[1]
    assert not session.queue
