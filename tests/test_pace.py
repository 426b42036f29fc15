"""A session's delay, as the site measures it by the times at which requests arrive."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionMiddleware
from tests.life import PLAIN
from tests.pools import BanningSite, ask
from tests.pools.spiders import Habits, Slots

pytestmark = pytest.mark.alone  # it measures time

pytest_plugins = ("tests.pools.fixtures",)

SLACK = 0.03  # seconds by which a request may be late on its way, so that the next one seems early


def asked_of(bans: BanningSite, session: str, number: int, **meta: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(bans.url(f"/{session}/{each}"), {"session_id": session, **meta}) for each in range(number)]


async def test_delay(bans: BanningSite) -> None:
    """Requests of one session come DELAY seconds apart; those of several don't wait for each other."""
    requests = [request for name in ("alice", "bob", "carol") for request in asked_of(bans, name, 4)]
    began = time.monotonic()
    asked = await ask(*requests, SESSIONS_DELAY=0.3)
    assert time.monotonic() - began < 3  # one after the other it would be 3.3
    assert asked.statuses == {200: 12}
    for name in ("alice", "bob", "carol"):
        assert [gap > 0.3 - SLACK for gap in bans.times(f"/{name}/")] == [True] * 3


async def test_the_delay_of_a_pool(bans: BanningSite) -> None:
    """A pool's delay goes before DELAY, 0 too; and the pool's requests are shared by the sessions that may go."""
    pools = {"slow": {"size": 3, "delay": 0.4}, "fast": {"size": 1, "delay": 0}}
    requests = [(bans.url(f"/{name}/{number}"), {"session_pool": name}) for name in pools for number in range(9)]
    began = time.monotonic()
    asked = await ask(*requests, SESSIONS_POOLS=pools, SESSIONS_DELAY=30, concurrency=20)
    assert asked.statuses == {200: 18}
    assert time.monotonic() - began < 2.5  # all in one session, it would be 3.2
    by_session = {name: numbers for name, numbers in asked.groups().items() if name.startswith("slow")}
    assert (len(by_session), max(map(len, by_session.values())) <= 4) == (3, True)
    arrivals: dict[str, list[float]] = {}
    for seen in bans.journal("/slow/"):
        arrivals.setdefault(seen.sid, []).append(seen.time)
    gaps = [later - earlier for each in arrivals.values() for earlier, later in pairwise(each)]
    assert (len(gaps), min(gaps) > 0.4 - SLACK) == (6, True)


async def test_delay_of_a_config(bans: BanningSite) -> None:
    """SessionConfig.delay() is asked at every request, and says how long after it the next may go."""
    asked = await ask(
        *asked_of(bans, "alice", 4),
        *asked_of(bans, "bob", 2),
        SESSIONS_CONFIG=Habits,
        SESSIONS_DELAY=30,
        concurrency=16,
    )
    assert asked.statuses == {200: 6}
    assert [round(gap, 1) for gap in bans.times("/alice/")] == [0.1, 0.2, 0.3]
    assert bans.times("/bob/")[0] < 0.09


async def test_the_slot_of_the_domain(bans: BanningSite) -> None:
    """However many sessions there are, the domain has its one download slot, and DOWNLOAD_DELAY bounds the sum."""
    requests = [request for name in ("alice", "bob", "carol") for request in asked_of(bans, name, 2)]
    asked = await ask(*requests, spider=Slots, SESSIONS_DELAY=0.01, DOWNLOAD_DELAY=0.1)
    assert asked.crawler.spider.slots == {"127.0.0.1"}  # type: ignore[union-attr]
    assert [gap > 0.05 - SLACK for gap in bans.times()] == [True] * 5


@pytest.mark.parametrize(
    ("settings", "waits"),
    [
        ({}, False),
        ({"SESSIONS_DELAY": 0.5}, True),
        ({"SESSIONS_CONCURRENCY": 1}, True),
        ({"SESSIONS_CONFIG": Habits}, True),
    ],
)
async def test_off_by_default(settings: dict[str, Any], waits: bool) -> None:
    """Without a pace of its own, a request in a session that is in memory takes no coroutine; with one, it does."""
    crawler = get_crawler(settings_dict={**PLAIN, "SESSIONS_STORE": "memory://", **settings})
    crawler.spider = crawler._create_spider("x")
    crawler._apply_settings()
    extension = crawler.get_extension(SessionsExtension)
    assert extension is not None
    middleware = SessionMiddleware(extension)
    await extension.manager.get("alice")
    way = middleware.process_request(Request("http://x.example/", meta={"session_id": "alice"}))
    assert asyncio.iscoroutine(way) is waits
    if way is not None:
        way.close()
    await extension.close()
