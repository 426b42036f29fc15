"""A session's delay. What is measured can only be late: nothing here fails because the machine is slow."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.extension import SessionsExtension
from tests.support.bans import Asked, BanningSite, ask
from tests.support.crawl import PLAIN
from tests.support.spiders.asking import Habits, Slots, Turns
from tests.support.waiting import HANG

LONG = HANG  # seconds: a crawl that waits for it is stopped by then


def asked_of(bans: BanningSite, session: str, number: int, **meta: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(bans.url(f"/{session}/{each}"), {"session_id": session, **meta}) for each in range(number)]


def turns_of(asked: Asked) -> dict[str, list[float]]:
    """When the requests of each session went: at these moments, however late they come to the site."""
    assert asked.crawler.stats is not None
    turns: dict[str, list[float]] = asked.crawler.stats.get_value("turns")
    return turns


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


async def test_delay(bans: BanningSite) -> None:
    """Requests of one session come DELAY seconds apart; those of several don't wait for each other."""
    requests = [request for name in ("alice", "bob", "carol") for request in asked_of(bans, name, 4)]
    asked = await ask(*requests, SESSIONS_DELAY=0.5, SESSIONS_CONFIG=Turns)
    assert asked.statuses == {200: 12}
    turns = turns_of(asked)
    assert [min(gaps(turns[name])) >= 0.5 for name in ("alice", "bob", "carol")] == [True] * 3
    assert max(times[0] for times in turns.values()) < min(times[-1] for times in turns.values())


async def test_the_delay_at_the_site(bans: BanningSite) -> None:
    """What the site sees: the last of five requests comes four delays after the crawl began, or later."""
    began = time.time()
    asked = await ask(*asked_of(bans, "alice", 5), SESSIONS_DELAY=0.2)
    assert asked.statuses == {200: 5}
    assert bans.journal("/alice/")[-1].time - began >= 0.8


async def test_the_delay_of_a_pool(bans: BanningSite) -> None:
    """A pool's delay goes before DELAY, 0 too; and the pool's requests are shared by the sessions that may go."""
    pools = {"slow": {"size": 3, "delay": 0.4}, "fast": {"size": 1, "delay": 0}}
    requests = [(bans.url(f"/{name}/{number}"), {"session_pool": name}) for name in pools for number in range(9)]
    asked = await ask(*requests, SESSIONS_POOLS=pools, SESSIONS_DELAY=LONG, SESSIONS_CONFIG=Turns, concurrency=20)
    assert asked.statuses == {200: 18}
    slow = {name: times for name, times in turns_of(asked).items() if name.startswith("slow")}
    assert (len(slow), max(map(len, slow.values())) <= 4) == (3, True)
    assert [min(gaps(times)) >= 0.4 for times in slow.values()] == [True] * 3


async def test_delay_of_a_config(bans: BanningSite) -> None:
    """SessionConfig.delay() is asked at every request, and says how long after it the next may go."""
    asked = await ask(
        *asked_of(bans, "alice", 4),
        *asked_of(bans, "bob", 2),
        SESSIONS_CONFIG=Habits,
        SESSIONS_DELAY=LONG,
        concurrency=16,
    )
    assert asked.statuses == {200: 6}
    turns = turns_of(asked)
    assert [gap >= least for gap, least in zip(gaps(turns["alice"]), (0.1, 0.2, 0.3), strict=True)] == [True] * 3
    assert turns["bob"][-1] < turns["alice"][-1]


async def test_the_slot_of_the_domain(bans: BanningSite) -> None:
    """However many sessions there are, the domain has its one download slot, and DOWNLOAD_DELAY bounds the sum."""
    requests = [request for name in ("alice", "bob", "carol") for request in asked_of(bans, name, 2)]
    began = time.time()
    asked = await ask(*requests, spider=Slots, SESSIONS_DELAY=0.01, DOWNLOAD_DELAY=0.1)
    assert asked.crawler.spider.slots == {"127.0.0.1"}  # type: ignore[union-attr]
    assert bans.journal()[-1].time - began >= 5 * 0.05  # Scrapy draws each delay from 0.5 to 1.5 times the setting


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
    """Without a pace of its own, a request in a session that is in memory goes at once; with one, it takes its turn."""
    crawler = get_crawler(settings_dict={**PLAIN, "SESSIONS_STORE": "memory://", **settings})
    crawler.spider = crawler._create_spider("x")
    crawler._apply_settings()
    extension = crawler.get_extension(SessionsExtension)
    assert extension is not None
    await extension.manager.get("alice")
    way = extension.router.begin(Request("http://x.example/", meta={"session_id": "alice"}))
    assert asyncio.iscoroutine(way) is waits
    assert isinstance(await way if asyncio.iscoroutine(way) else way, InFlight)
    await extension.close()
