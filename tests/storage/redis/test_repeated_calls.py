"""A call whose answer was lost is sent again, and what it does is done once."""

from __future__ import annotations

import asyncio

import pytest

from scrapy_sessions.analytics.model import Event, HourCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome
from scrapy_sessions.storage.abilities import Batch
from scrapy_sessions.testing import make_row
from tests.support.redis_client import open_store
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import RedisServer

HOUR = 1_700_000_000 // 3600 * 3600


async def test_saves(redis_server: RedisServer) -> None:
    """A save that took place is saved, not in conflict with itself: a new row, a changed one, and one that replaces."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url) as store:
        first, second = make_row("alice"), make_row("alice", 2)
        other = make_row("alice", start_time=5.0)
        for number, save in enumerate(
            (lambda: store.save([first]), lambda: store.save([second]), lambda: store.replace([other], [second]))
        ):
            proxy.lose = 1
            assert await save() == [Outcome.SAVED]
            assert (proxy.lose, proxy.lost) == (0, number + 1)
        assert await store.load(Key("shop", "alice")) == other


async def test_repeated_by_the_caller(redis_server: RedisServer) -> None:
    """When all tries fail, the caller may repeat the call: the rows that were saved are saved."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url) as store:
        rows = [make_row(f"s{number}") for number in range(120)]
        proxy.lose = 4
        with pytest.raises(StoreError, match="can't be reached"):
            await store.save(rows)
        assert proxy.lose == 0
        assert await store.save(rows) == [Outcome.SAVED] * 120
        assert await store.save([make_row("s0")]) == [Outcome.CONFLICT]


async def test_lease(redis_server: RedisServer) -> None:
    """The holder of a lease gets it, also if the first answer is lost; another one doesn't."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url) as store:
        proxy.lose = 2
        lease = await store.lease("shop", "login", 30.0)
        assert lease is not None
        assert await store.lease("shop", "login", 30.0) is None
        proxy.lose = 1
        renewed = await store.renew(lease, 60.0)
        assert renewed is not None
        assert renewed.token == lease.token
        assert await store.release(lease)
        assert redis_server.tell("KEYS sessions:{shop}:lease*").startswith("*0")


async def test_shared_data(redis_server: RedisServer) -> None:
    """A write that took place is reported as one: its caller doesn't change the data twice."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url) as store:
        for version in (0, 1):
            proxy.lose = 1
            assert await store.write_shared("shop", version, b"%d" % version)
            assert await store.read_shared("shop") == (b"%d" % version, version + 1)
        assert not await store.write_shared("shop", 1, b"late")


async def test_analytics(redis_server: RedisServer) -> None:
    """Counters are added once, and events stored once: whoever repeats the call, in however many parts it goes."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url, clock=lambda: HOUR + 1.0) as store:
        hours = [HourCounts("shop", "p", f"s{number}", HOUR, requests=1) for number in range(1200)]
        event = Event("shop", "s1", "p", float(HOUR), "login")
        proxy.lose = 1
        await store.add_analytics(hours, [event], Batch("writer", 1))
        proxy.lose = 6
        with pytest.raises(StoreError):
            await store.add_analytics(hours, [event], Batch("writer", 2))
        await store.add_analytics(hours, [event], Batch("writer", 2))
        await store.add_analytics(hours, [event], Batch("writer", 1))
        proxy.lose = 1
        await store.add_analytics(hours, [event])
        assert {row.requests for row in await store.hour_counts("shop")} == {3}
        (pool,) = await store.hour_counts("shop", by_session=False)
        assert pool.requests == 3600
        assert await store.events("shop") == [event] * 3


async def test_claims(redis_server: RedisServer) -> None:
    """A process gets the claims of a lost answer, and no more than it wants."""
    async with RedisProxy(redis_server) as proxy, open_store(proxy.url) as store:
        proxy.lose = 1
        assert await store.enrol("shop", "staff", "p", ["a", "b", "c"], 30.0) == ["a", "b", "c"]
        proxy.lose = 1
        claims = await store.claim("shop", "staff", "p", [], 2, 30.0)
        assert [claim.session_id for claim in claims.held] == ["a", "b"]
        others = await store.claim("shop", "staff", "q", [], 3, 30.0)
        assert [claim.session_id for claim in others.held] == ["c"]


async def test_a_server_that_forgot_the_scripts(redis_server: RedisServer) -> None:
    """After SCRIPT FLUSH, as after a restart, scripts are sent in full."""
    async with open_store(redis_server.url) as store:
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        redis_server.tell("SCRIPT FLUSH")
        assert await store.save([make_row("alice", 2)]) == [Outcome.SAVED]


async def test_a_cancelled_call(redis_server: RedisServer) -> None:
    """A call that is cancelled in its middle leaves no answer behind for the next one."""
    async with open_store(redis_server.url) as store:
        await store.save([make_row(f"s{number}") for number in range(50)])
        for number in range(50):
            task = asyncio.ensure_future(store.load(Key("shop", f"s{number}")))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
            row = await store.load(Key("shop", "s7"))
            assert row is not None
            assert row.session_id == "s7"
