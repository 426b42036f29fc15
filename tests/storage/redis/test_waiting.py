"""Waiting for a session of an exclusive pool, by the clock of the server."""

from __future__ import annotations

import asyncio
import time

from scrapy_sessions.storage.redis.store import RedisStore
from tests.support.redis_client import client_of, open_store
from tests.support.redis_server import RedisServer

POOL = ("shop", "staff")


async def one_waits(store: RedisStore, ttl: float = 30.0) -> None:
    """Let p hold the only session of the pool, and q wait for it."""
    await store.enrol(*POOL, "p", ["alice"], 60.0)
    assert len((await store.claim(*POOL, "p", [], 1, ttl)).held) == 1
    assert (await store.claim(*POOL, "q", [], 1, 60.0)).place == 1


def calls(server: RedisServer) -> int:
    """How many scripts the server has run."""
    lines = server.tell("INFO commandstats").splitlines()
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in lines if "_eval" in line)


async def test_hand_over(redis_server: RedisServer) -> None:
    """A process that waits asks nothing until a session is given back, by a process of another connection."""
    async with open_store(redis_server.url) as store, open_store(redis_server.url) as other:
        await one_waits(store)
        held = (await store.claim(*POOL, "p", [], 1, 30.0)).held
        waiting = asyncio.ensure_future(other.wait(*POOL, "q", 60.0))
        await asyncio.sleep(1.0)
        before = calls(redis_server)
        await asyncio.sleep(1.0)
        assert calls(redis_server) == before
        assert not waiting.done()
        assert await store.give_back(*POOL, held) == [True]
        await asyncio.wait_for(waiting, 30.0)
        assert len((await other.claim(*POOL, "q", [], 1, 30.0)).held) == 1


async def test_what_happens_before_the_wait_is_not_missed(redis_server: RedisServer) -> None:
    """A session that is given back between the claim and the wait is seen."""
    async with open_store(redis_server.url) as store:
        await one_waits(store)
        await store.give_back(*POOL, (await store.claim(*POOL, "p", [], 1, 30.0)).held)
        await asyncio.wait_for(store.wait(*POOL, "q", 600.0), 30.0)


async def test_the_session_of_a_dead_process(redis_server: RedisServer) -> None:
    """The wait ends when the claim of a process that no longer calls has expired."""
    async with open_store(redis_server.url) as store:
        await one_waits(store, ttl=0.7)
        await asyncio.wait_for(store.wait(*POOL, "q", 600.0), 30.0)
        assert len((await store.claim(*POOL, "q", [], 1, 30.0)).held) == 1


async def test_a_dead_process_before_it(redis_server: RedisServer) -> None:
    """A process that waits behind one that no longer calls is woken when that one has lost its place."""
    async with open_store(redis_server.url) as store:
        await store.enrol(*POOL, "p", ["alice"], 60.0)
        held = (await store.claim(*POOL, "p", [], 1, 60.0)).held
        await store.claim(*POOL, "dead", [], 1, 1.0)
        assert (await store.claim(*POOL, "q", [], 1, 60.0)).place == 2
        await store.give_back(*POOL, held)
        assert (await store.claim(*POOL, "q", [], 1, 60.0)).held == []
        await asyncio.wait_for(store.wait(*POOL, "q", 600.0), 30.0)
        assert len((await store.claim(*POOL, "q", [], 1, 30.0)).held) == 1


async def test_longer_than_the_timeout_of_the_client(redis_server: RedisServer) -> None:
    """A wait may be longer than the client waits for an answer."""
    async with client_of(redis_server.url, socket_timeout=0.4) as client, open_store(client) as store:
        await one_waits(store)
        began = time.monotonic()
        await store.wait(*POOL, "q", 1.5)
        assert time.monotonic() - began >= 1.4


async def test_close_ends_the_waits(redis_server: RedisServer) -> None:
    """Closing the store doesn't wait for those who wait in line."""
    async with open_store(redis_server.url) as store:
        await one_waits(store)
        waits = [asyncio.ensure_future(store.wait(*POOL, "q", 600.0)) for _ in range(2)]
        await asyncio.sleep(0.3)
        await asyncio.wait_for(store.close(), 30.0)
        await asyncio.wait_for(asyncio.gather(*waits), 30.0)


async def test_nothing_is_left(redis_server: RedisServer) -> None:
    """When all processes have left and the sessions are retired, no key of theirs stays but tokens."""
    async with open_store(redis_server.url) as store:
        await one_waits(store)
        held = (await store.claim(*POOL, "p", [], 1, 30.0)).held
        await store.give_back(*POOL, held, retire=True)
        await store.claim(*POOL, "p", [], 0, 30.0)
        await store.claim(*POOL, "q", [], 0, 30.0)
        keys = {line for line in redis_server.tell("KEYS *").split() if line.startswith("sessions:")}
        assert {key.rpartition("}:")[2] for key in keys} == {"claims", "left"}
