"""A server that loses its data, or all of them but one namespace's, is noticed with the next call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.exceptions import StoreError, StoreUnavailable
from scrapy_sessions.storage import Key, Outcome
from scrapy_sessions.testing import make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_server import RedisServer


async def test_a_save_after_the_loss(redis_server: RedisServer) -> None:
    """The first save after it saves nothing and says so; it isn't answered as if the session had been deleted."""
    async with open_store(redis_server.url) as store:
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        before = await store.epoch()
        redis_server.tell("FLUSHALL")
        with pytest.raises(StoreError, match="has lost the data of namespace 'shop'"):
            await store.save([make_row("alice", 2), make_row("bob")])
        assert await store.load(Key("shop", "bob")) is None
        after = await store.epoch()
        assert after not in ("", before)
        assert await store.save([make_row("alice"), make_row("alice", 2)]) == [Outcome.SAVED] * 2
        assert [info["session_id"] for info in await store.list(now=0.0)] == ["alice"]
        assert await store.epoch() == after


async def test_other_processes(redis_server: RedisServer) -> None:
    """Each process notices it, also one that has only loaded; one that comes later has nothing to notice."""
    async with open_store(redis_server.url) as first, open_store(redis_server.url) as reader:
        await first.save([make_row("alice")])
        assert await reader.load(Key("shop", "alice")) is not None
        epochs = await first.epoch(), await reader.epoch()
        redis_server.tell("FLUSHALL")
        async with open_store(redis_server.url) as late:
            await late.save([make_row("bob")])
            assert await late.epoch() == await late.epoch()
        assert await first.epoch() != epochs[0]
        assert await reader.epoch() != epochs[1]


async def test_one_namespace(redis_server: RedisServer) -> None:
    """Namespaces may be on different shards: the loss of one is noticed, and the others can be used."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        await store.save([make_row("alice"), make_row("alice", namespace="news")])
        before = await store.epoch()
        await client.delete(*[key async for key in client.scan_iter("sessions:{shop}:*")])
        assert await store.save([make_row("alice", 2, namespace="news")]) == [Outcome.SAVED]
        assert await store.epoch() != before


async def test_a_restart(tmp_path: Path) -> None:
    """A server that restarts with its data has lost nothing: neither sessions nor the epoch."""
    with RedisServer(tmp_path, appendonly="yes", appendfsync="always") as server:
        async with open_store(server.url) as store:
            await store.save([make_row("alice")])
            before = await store.epoch()
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.load(Key("shop", "alice"))
            await asyncio.to_thread(server.start)
            assert await store.save([make_row("alice", 2)]) == [Outcome.SAVED]
            assert await store.epoch() == before


async def test_live_sessions_are_saved_again(redis_server: RedisServer) -> None:
    """The manager saves what is in memory, whatever was the last call before the loss."""
    async with open_store(redis_server.url) as store:
        manager = SessionManager(store=store, namespace="shop")
        await manager.open()
        session = await manager.get("alice")
        session.data["a"] = 1
        await manager.flush()
        redis_server.tell("FLUSHALL")
        session.data["b"] = 2
        await manager.flush()
        await manager.close()
    async with open_store(redis_server.url) as store:
        found = await SessionManager(store=store, namespace="shop").load_session("alice")
        assert found is not None
        assert found.data == {"a": 1, "b": 2}
