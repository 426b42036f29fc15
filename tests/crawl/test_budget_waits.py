"""What waits for a session that has used its budget up: until when, and what waits behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionManager
from scrapy_sessions.crawl.deferral import Deferral, Wanted
from scrapy_sessions.crawl.rests import Rests
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.throttle import wait_turn
from scrapy_sessions.exceptions import SessionError, SessionLost, SessionRetired
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.bans import BanningSite, ask
from tests.support.clock import Clock
from tests.support.crawl import sqlite_url
from tests.support.spiders.asking import Asking

ENDS = {"retire": SessionRetired, "delete": SessionLost}


class Alone(Asking):
    """Sends two requests in an ``alone()`` block, and ends the session by *end* meanwhile."""

    end = "retire"
    error: SessionError | None = None
    inside = False

    async def parse(self, response: Response, **kwargs: Any) -> None:
        ending = asyncio.ensure_future(self.end_session())
        try:
            async with self.sessions.of(response).alone() as fetch:
                self.inside = True
                for number in range(2):
                    await fetch(Request(response.urljoin(f"/alone/{number}"), dont_filter=True))
        except SessionError as e:
            self.error = e
        await ending
        super().parse(response, **kwargs)

    async def end_session(self) -> None:
        await asyncio.sleep(0.3)
        if self.end == "retire":
            await self.sessions.retire("alice", "by the test")
        else:
            await self.sessions.delete("alice")


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("end", ENDS)
async def test_an_alone_block_whose_session_ends(bans: BanningSite, end: str, limit: int) -> None:
    """The rest of the session keeps a block from beginning, or its second request: its end ends the wait at once."""
    spider = type("Ends", (Alone,), {"end": end})
    asked = await ask((bans.url("/1"), {"session_id": "alice"}), spider=spider, SESSIONS_BUDGET={"per_hour": limit})
    ended = asked.crawler.spider
    assert isinstance(ended, Alone)
    assert type(ended.error) is ENDS[end]
    assert ended.inside == (limit == 2)
    assert len(bans.journal("/alone")) == limit - 1


class Stopped(Asking):
    """Sends two requests, and is stopped while the second one waits."""

    def parse(self, response: Response, **kwargs: Any) -> None:
        super().parse(response, **kwargs)
        self.stopping = asyncio.ensure_future(self.stop())

    async def stop(self) -> None:
        await asyncio.sleep(1.5)
        assert self.crawler.engine is not None
        await self.crawler.engine.close_spider_async(reason="stopped")


@pytest.mark.parametrize("named", [True, False], ids=["named", "pooled"])
async def test_an_exclusive_session_that_is_waited_for(bans: BanningSite, tmp_path: Path, named: bool) -> None:
    """It isn't given back and taken again all the time while requests wait for the end of its rest."""
    meta = {"session_pool": "staff", **({"session_id": "alice"} if named else {})}
    pools = {"staff": {"sessions": ["alice"], "exclusive": True, "budget": {"per_day": 1}}}
    asked = await ask(
        *((bans.url(f"/{n}"), meta) for n in range(2)),
        spider=Stopped,
        SESSIONS_STORE=sqlite_url(tmp_path / "s.db"),
        SESSIONS_LEASE_TTL=0.3,
        SESSIONS_POOLS=pools,
    )
    assert len(bans.journal()) == 1
    assert asked.stats["created"] == 1
    assert "restored" not in asked.stats


async def test_who_need_not_wait_passes_who_must() -> None:
    """Three wait for the last place of a budget: once it is taken, who may go to another session leaves the queue,
    though the first in it waits for the whole rest. Who comes then doesn't begin to wait."""
    async with SessionManager(store="memory://", namespace="shop") as manager:
        closing = ShutdownGuard(lambda: False)
        session = await registry_of(manager).get("alice")
        session.concurrency = session.in_flight = 1
        session.restore_budget({"per_hour": 2}, None)
        assert session.budget is not None
        session.budget.reserve()

        async def go(movable: bool) -> None:
            await wait_turn(session, closing, until_rest=movable)

        tasks = [asyncio.ensure_future(go(movable)) for movable in (False, True, False, True)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in tasks)
        session.budget.send(time.time())
        session.budget.reserve()
        session.budget.send(time.time())
        session.in_flight = 0
        session.wake_first()
        tasks.append(asyncio.ensure_future(go(True)))
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [False, True, False, True, True]
        session.restore_budget({}, None)  # and the others keep their order
        session.wake_first()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert not session.queue
        await closing.close()


def test_a_session_is_not_idle_when_its_rest_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory as by its record: it has its whole ``idle_timeout`` from then on."""
    session = SessionRuntime("alice", budget={"per_hour": 1}, idle_timeout=60)
    assert session.budget is not None
    session.budget.reserve()
    session.budget.send(session.last_activity)
    until = session.rests_until
    assert until is not None
    for seconds, reason in ((-1, None), (1, None), (59, None), (60, "idle_timeout")):
        now = until + seconds
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert session.expired(now) == reason
    assert session.snapshot().expiry == (until + 60, "idle_timeout")


@pytest.mark.parametrize("moved", [0, 80000])
async def test_who_rests_longer_comes_later(monkeypatch: pytest.MonkeyPatch, moved: float) -> None:
    """Deferred requests return in the order of their ends, however far these are, and whenever they were deferred."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    rests = {"day": 90000.0, "hour": 3900.0}
    guard = ShutdownGuard(lambda: False)
    deferral = Deferral(get_crawler(), guard, lambda wanted: rests[wanted.session_id])
    first = deferral._defer(Request("http://shop.test/"), Wanted("day", "shop.test", ""))
    clock.ahead = moved
    rests["day"] -= moved
    second = deferral._defer(Request("http://shop.test/"), Wanted("hour", "shop.test", ""))
    assert second.priority > first.priority
    clock.ahead = 88000.0
    assert first.priority > deferral._defer(Request("http://shop.test/"), Wanted("hour", "shop.test", "")).priority
    await guard.close()


@pytest.mark.parametrize(("deferred", "first"), [([], "'alice'"), ([("bob", 60.0)], "'bob'"), ([("bob", 0.0)], None)])
async def test_what_is_said_of_a_crawl_that_waits(
    caplog: pytest.LogCaptureFixture, deferred: list[tuple[str, float]], first: str | None
) -> None:
    """The line names the first of all that wait, also of those that were deferred; none, if one of them may go."""
    caplog.set_level(logging.INFO)
    alice = SessionRuntime("alice", budget={"per_hour": 1})
    assert alice.budget is not None
    alice.budget.reserve()
    guard = ShutdownGuard(lambda: False)
    rests = Rests(get_crawler(), guard, lambda: deferred)
    with rests.waiting(alice):
        rests._say(3, time.time())
    lines = [record.getMessage() for record in caplog.records if record.name == "scrapy_sessions.crawl.rests"]
    assert [first in line for line in lines if first] == [True] * len(lines)
    assert len(lines) == (first is not None)
    await guard.close()
