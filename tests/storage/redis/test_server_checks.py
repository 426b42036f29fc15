"""A server that can't keep sessions is refused, and each error says what to do."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.exceptions import SessionConfigurationError, StoreError, StoreUnavailable
from scrapy_sessions.storage import store_from_url
from scrapy_sessions.storage.redis.store import RedisStore
from scrapy_sessions.testing import make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_server import RedisServer


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl", "noeviction"])
async def test_policy(policy: str, redis_server: RedisServer) -> None:
    """A server that deletes keys without expiry is refused, with the remedy; others are not."""
    redis_server.tell(f"CONFIG SET maxmemory-policy {policy}")
    try:
        if policy.startswith("allkeys"):
            with pytest.raises(StoreError, match=rf"{policy}.*CONFIG SET maxmemory-policy noeviction"):
                await RedisStore(redis_server.url).open()
        else:
            async with open_store(redis_server.url) as store:
                assert await store.list(now=0.0) == []
    finally:
        redis_server.tell("CONFIG SET maxmemory-policy noeviction")


async def test_old_server(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than Redis 6.2 is refused."""
    store = RedisStore(redis_server.url)
    monkeypatch.setattr("scrapy_sessions.storage.redis.server._OLDEST", (99, 0))
    with pytest.raises(StoreError, match=r"version \d+\.\d+.*upgrade it"):
        await store.open()


async def test_no_server(tmp_path: Path) -> None:
    """Without a server the error comes soon, and says what to check."""
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"redis://localhost:1/0 can't be reached: check that the server runs"):
        await RedisStore("redis://localhost:1").open()
    with pytest.raises(StoreError, match="can't be reached"):
        await RedisStore(f"unix://{tmp_path}/redis.sock").open()
    assert time.monotonic() - began < 30


def test_prepare_without_a_server() -> None:
    """prepare() checks the server before an event loop runs."""
    with pytest.raises(StoreError, match="can't be reached"):
        RedisStore("redis://localhost:1").prepare()


def test_prepare(redis_server: RedisServer) -> None:
    """prepare() leaves the store closed, to be opened in any event loop."""
    store = RedisStore(redis_server.url)
    store.prepare()

    async def use() -> Any:
        await store.open()
        try:
            return await store.list(now=0.0)
        finally:
            await store.close()

    assert asyncio.run(use()) == []
    assert asyncio.run(use()) == []


@pytest.mark.parametrize("cluster", [False, True])
def test_prepare_with_a_client_of_ones_own(redis_server: RedisServer, cluster: bool) -> None:
    """A class with another client, as SESSIONS_STORE names it, is checked like a URL, and is left as it is."""
    redis = pytest.importorskip("redis.asyncio")

    class Own(RedisStore):
        port = 1

        def __init__(self) -> None:
            client = redis.RedisCluster if cluster else redis.Redis
            super().__init__(client(host="127.0.0.1", port=self.port, socket_timeout=5))

    with pytest.raises(StoreUnavailable, match="can't be reached"):
        Own().prepare()
    Own.port = redis_server.port
    if cluster:
        with pytest.raises(StoreUnavailable, match="can't be reached"):  # it is none
            Own().prepare()
        return
    store = Own()
    store.prepare()

    async def use() -> Any:
        async with open_store(store._client) as opened:
            found = await opened.list(now=0.0)
        await store._client.aclose()
        return found

    assert asyncio.run(use()) == []
    redis_server.tell("CONFIG SET maxmemory-policy allkeys-lru")
    try:
        with pytest.raises(StoreError, match="allkeys-lru"):
            Own().prepare()
    finally:
        redis_server.tell("CONFIG SET maxmemory-policy noeviction")


async def test_password(tmp_path: Path) -> None:
    """A missing or wrong password is told from other faults, and is in no message."""
    with RedisServer(tmp_path, requirepass="hunter2") as server:
        for url in (server.url, server.url.replace("//", "//:hunter3@"), server.url.replace("//", "//me:hunter3@")):
            with pytest.raises(StoreError, match="refuses its user name or password") as caught:
                await RedisStore(url).open()
            assert "hunter" not in str(caught.value)
        async with open_store(server.url.replace("//", "//:hunter2@")) as store:
            assert "hunter" not in repr(store)
            assert await store.save([make_row("alice")])


async def test_rights(redis_server: RedisServer) -> None:
    """A user with the rights that the docs name can do everything; one without them gets an error that names them."""
    rights = "~sessions:* +@read +@write +@scripting +ping +info +select +time"
    redis_server.tell(f"ACL SETUSER crawler on >secret {rights}")
    redis_server.tell("ACL SETUSER reader on >secret ~sessions:* +@read +ping +select")
    try:
        async with open_store(redis_server.url.replace("//", "//crawler:secret@")) as store:
            assert await store.save([make_row("alice")])
            assert await store.enrol("shop", "staff", "p", ["alice"], 30.0) == ["alice"]
            assert (await store.claim("shop", "staff", "p", [], 1, 30.0)).held
        with pytest.raises(StoreError, match=r"needs the keys 'sessions:\*'"):
            await RedisStore(redis_server.url.replace("//", "//reader:secret@")).open()
    finally:
        redis_server.tell("ACL DELUSER crawler reader")


async def test_out_of_memory(redis_server: RedisServer) -> None:
    """A full server saves nothing, and the error says so; then it goes on."""
    async with open_store(redis_server.url) as store:
        assert await store.save([make_row("alice")])
        redis_server.tell("CONFIG SET maxmemory 1")
        try:
            with pytest.raises(StoreError, match=r"out of memory.*raise its maxmemory"):
                await store.save([make_row("bob")])
            assert await store.load(make_row("alice").key) is not None
        finally:
            redis_server.tell("CONFIG SET maxmemory 0")
        assert await store.save([make_row("bob")])


async def test_a_replica(redis_server: RedisServer) -> None:
    """A server that only copies another one can't be written to, and the error says what to name instead."""
    async with open_store(redis_server.url) as store:
        redis_server.tell("REPLICAOF 127.0.0.1 1")
        try:
            with pytest.raises(StoreError, match=r"is a replica.*name the primary"):
                await store.save([make_row("alice")])
        finally:
            redis_server.tell("REPLICAOF NO ONE")


async def test_a_database_that_is_not_there(redis_server: RedisServer) -> None:
    """A number beyond the databases of the server is refused when the store is opened."""
    with pytest.raises(StoreError, match="has fewer databases"):
        await RedisStore(redis_server.url.replace("/0", "/999")).open()


async def test_a_client_that_decodes(redis_server: RedisServer) -> None:
    """A client that decodes replies is refused: bodies are no text."""
    async with client_of(redis_server.url, decode_responses=True) as client:
        with pytest.raises(StoreError, match="decode_responses=False"):
            await RedisStore(client).open()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:hunter2/@host", "percent-encode"),
        ("redis://:hunter2#x@host", "percent-encode"),
        ("redis://host/shop", "no number"),
        ("redis://host?hunter2=1", "redis-py refuses"),
        ("redis://host?socket_timeout=hunter2", "redis-py refuses"),
        ("unix://", "names no socket"),
    ],
)
def test_bad_urls(url: str, words: str) -> None:
    """A URL that can't be used is refused at once, without what may be a password."""
    with pytest.raises(SessionConfigurationError, match=words) as caught:
        store_from_url(url)
    assert "hunter2" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error has the command that installs it; other stores work."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SessionConfigurationError, match=r"pip install 'scrapy-persistent-sessions\[redis\]'"):
        store_from_url("redis://localhost")
    assert store_from_url("memory://")
