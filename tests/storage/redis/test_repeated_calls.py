"""A call whose answer was lost is sent again, and what it does is done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from scrapy_sessions.analytics.model import Event, HourCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome
from scrapy_sessions.storage.abilities import Batch
from scrapy_sessions.storage.redis.store import RedisStore
from scrapy_sessions.testing import make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import RedisServer

HOUR = 1_700_000_000 // 3600 * 3600
ALICE = Key("shop", "alice")


@asynccontextmanager
async def two_stores(server: RedisServer) -> AsyncIterator[tuple[RedisProxy, RedisStore, RedisStore]]:
    """A store behind a proxy, and that of another process."""
    async with RedisProxy(server) as proxy, open_store(proxy.url) as store, open_store(server.url) as other:
        yield proxy, store, other
        assert (proxy.lose, proxy.drop) == (0, 0)


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


async def test_shared_data_that_another_process_writes_meanwhile(redis_server: RedisServer) -> None:
    """A write that took place is reported as one, also if there is a newer version when it is sent again."""
    async with two_stores(redis_server) as (proxy, store, other):
        assert await store.write_shared("shop", 0, b"0")
        proxy.lose, proxy.meanwhile = 1, lambda: other.write_shared("shop", 2, b"2")
        assert await store.write_shared("shop", 1, b"1")
        assert await store.read_shared("shop") == (b"2", 3)


async def test_deletions(redis_server: RedisServer) -> None:
    """A deletion that took place is reported as one."""
    async with two_stores(redis_server) as (proxy, store, _):
        await store.save([make_row("alice"), make_row("bob")])
        proxy.lose = 1
        assert await store.delete([ALICE, Key("shop", "nobody")]) == [True, False]
        proxy.lose = 1
        assert await store.delete([Key("shop", "bob")], [1]) == [True]
        assert await store.list(now=0.0) == []


@pytest.mark.parametrize("quarantined", [False, True])
async def test_a_deletion_leaves_a_session_that_is_created_meanwhile(
    quarantined: bool, redis_server: RedisServer
) -> None:
    """What is created under the id before the call is sent again isn't deleted."""
    async with two_stores(redis_server) as (proxy, store, other):
        anew = make_row("alice", start_time=5000.0)
        await store.save([make_row("alice")])
        if quarantined:
            await store.quarantine(ALICE, 1, "broken")
        proxy.lose, proxy.meanwhile = 2, lambda: other.save([anew])
        assert await store.delete([ALICE]) == [not quarantined]
        assert await store.load(ALICE) == anew


async def test_a_save_brings_back_no_session_that_is_deleted_meanwhile(redis_server: RedisServer) -> None:
    """A new session that was saved, and deleted before the call is sent again, stays deleted; so does one that
    replaces another."""
    async with two_stores(redis_server) as (proxy, store, other):
        proxy.meanwhile = lambda: other.delete([ALICE])
        proxy.lose = 1
        row = make_row("alice")
        assert await store.save([make_row("bob"), row]) == [Outcome.SAVED] * 2
        assert await store.save([make_row("alice", 2)]) == [Outcome.DELETED]
        proxy.lose = 1
        assert await store.replace([row], [None]) == [Outcome.SAVED]
        assert await store.load(ALICE) is None


async def test_a_replacement_that_did_not_arrive(redis_server: RedisServer) -> None:
    """A row is replaced when the call is sent again, also by one with the same revision and stamp, encrypted anew."""
    async with two_stores(redis_server) as (proxy, store, _):
        row = make_row("alice")
        await store.save([row])
        new = row._replace(body=b"encrypted")
        proxy.drop = 1
        assert await store.replace([new], [row]) == [Outcome.SAVED]
        assert await store.load(ALICE) == new


async def test_quarantine(redis_server: RedisServer) -> None:
    """A session that was moved to the quarantine is reported as moved, and another one isn't moved after it."""
    async with two_stores(redis_server) as (proxy, store, other):
        anew = make_row("alice", start_time=5000.0)
        await store.save([make_row("alice")])
        proxy.lose, proxy.meanwhile = 1, lambda: other.save([anew])
        assert await store.quarantine(ALICE, 1, "broken")
        assert await store.quarantined() == [(ALICE, "broken")]
        assert await store.load(ALICE) == anew


async def test_what_is_kept_of_a_call(redis_server: RedisServer) -> None:
    """The answer of a call that creates or deletes is kept for a minute; that of one that saves anew, or changes
    nothing, isn't."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        for revision in (1, 2, 3):
            await store.save([make_row(f"s{number}", revision) for number in range(50)])
            (call,) = await client.keys("sessions:{shop}:call:*")
        assert 0 < await client.ttl(call) <= 60
        assert await client.memory_usage(call) < 300
        assert await store.delete([ALICE]) == [False]
        assert not await store.write_shared("shop", 5, b"late")
        assert await store.save([make_row("s1")]) == [Outcome.CONFLICT]
        assert await client.keys("sessions:{shop}:call:*") == [call]


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
