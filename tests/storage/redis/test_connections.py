"""A store reaches its server over TCP, TLS and a socket, through Sentinel, and in a cluster."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Outcome, SessionStore
from scrapy_sessions.storage.redis import connection
from scrapy_sessions.storage.redis.connection import connect
from scrapy_sessions.storage.redis.store import RedisStore
from scrapy_sessions.testing import Clock, StoreContract, make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import RedisServer, free_port

redis = pytest.importorskip("redis.asyncio")


async def saves_and_loads(server: Any) -> str:
    """Use the store at *server*, and return its location."""
    async with open_store(server) as store:
        rows = [make_row("alice"), make_row("alice", namespace="a {b} %c"), make_row("bob", namespace="}")]
        assert await store.save(rows) == [Outcome.SAVED] * 3
        assert await store.load_many([row.key for row in rows]) == rows
        assert len(await store.list(now=0.0)) == 3
        assert [info["namespace"] for info in await store.find("alice", now=0.0)] == ["a {b} %c", "shop"]
        return store.location


async def test_socket(redis_server: RedisServer) -> None:
    """unix:// is a socket of this machine."""
    url = f"unix://{redis_server.folder}/redis.sock?db=3"
    assert await saves_and_loads(url) == url


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost, and its key beside it."""
    file = tmp_path / "redis.pem"
    options = "-x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", "req", *options.split(), "-keyout", file.with_suffix(".key"), "-out", file],
        check=True,
        capture_output=True,
    )
    return file


async def test_tls(redis_server: RedisServer, certificate: Path) -> None:
    """rediss:// is TLS: the certificate, and its host, are checked against ?ssl_ca_certs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    async with RedisProxy(redis_server, tls=context) as proxy:
        trusted = f"{proxy.url}?ssl_ca_certs={certificate}"
        assert await saves_and_loads(trusted) == f"rediss://localhost:{proxy.port}/0"
        for url in (proxy.url, trusted.replace("localhost", "127.0.0.1")):
            with pytest.raises(StoreError, match="ssl_ca_certs"):
                await RedisStore(url).open()
        missing = f"{proxy.url}?ssl_ca_certs={certificate}.missing"
        with pytest.raises(StoreError, match="ssl_ca_certs"):
            await RedisStore(missing).open()


async def test_client(redis_server: RedisServer) -> None:
    """A client that was passed in stays open, has its own options, and may be used by others."""
    async with client_of(redis_server.url, socket_timeout=3) as client:
        assert await saves_and_loads(client) == redis_server.url.replace("localhost", "127.0.0.1")
        assert await client.ping()
        await client.flushdb()
        assert await saves_and_loads(client)


def test_our_options() -> None:
    """Timeouts and keep-alive are ours, whatever those of the version of redis-py are; the URL's win."""
    options = connect("rediss://localhost").connection_pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (5.0, 3.0)
    assert options["socket_keepalive"]
    assert options["ssl_check_hostname"]
    assert connect("redis://localhost?socket_timeout=9").connection_pool.connection_kwargs["socket_timeout"] == 9.0


def test_scripts_have_contracts() -> None:
    """Each script begins with comments that say what it does, gets and returns."""
    folder = Path(connection.__file__).parent / "lua"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.lua")}
    assert len(texts) > 10
    for name, text in texts.items():
        assert text.startswith("-- "), name
        if "ARGV" in text and name not in ("common", "pools", "counts"):
            assert "\n-- ARGV: " in text, name
            assert "\n-- Returns " in text, name


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """Two servers, each with half of the slots."""
    folders = [tmp_path_factory.mktemp("node") for _ in range(2)]
    options = {"cluster_enabled": "yes", "cluster_node_timeout": 60000}
    servers = [RedisServer(folder, **options, cluster_port=free_port()) for folder in folders]
    with servers[0], servers[1]:
        servers[0].tell("CLUSTER ADDSLOTSRANGE 0 8191")
        servers[1].tell("CLUSTER ADDSLOTSRANGE 8192 16383")
        servers[0].tell("CLUSTER SET-CONFIG-EPOCH 1")
        servers[1].tell(f"CLUSTER MEET 127.0.0.1 {servers[0].port} {servers[0].options['cluster-port']}")
        until(lambda: all("cluster_state:ok" in server.tell("CLUSTER INFO") for server in servers))
        until(lambda: all(server.tell("CLUSTER SLOTS").startswith("*2") for server in servers))
        yield servers


class TestRedisCluster(StoreContract):
    """The store in a cluster of two servers passes the contract: a namespace lives on one of them."""

    @pytest.fixture(autouse=True)
    def _empty(self, cluster: list[RedisServer]) -> None:
        for server in cluster:
            server.tell("FLUSHALL")
        self.servers = cluster

    def make_store(self, clock: Clock) -> SessionStore:
        return _ClusterStore(self.servers[0].port, clock)

    async def restart(self) -> bool:
        for server in self.servers:
            server.restart()
        until(lambda: all("cluster_state:ok" in server.tell("CLUSTER INFO") for server in self.servers))
        return True

    async def test_shards(self) -> None:
        """Namespaces are on both shards, each with all its keys; checks look at every server."""
        store = _ClusterStore(self.servers[0].port, Clock())
        await store.open()
        await store.save([make_row("alice", namespace=name) for name in "abcdefgh"])
        assert len(await store.list(now=0.0)) == 8
        assert store.location.startswith("redis+cluster://")
        await store.close()
        assert all("sessions:{" in server.tell("KEYS *:s:*") for server in self.servers)
        self.servers[1].tell("CONFIG SET maxmemory-policy allkeys-lru")
        with pytest.raises(StoreError, match="allkeys-lru"):
            await store.open()
        self.servers[1].tell("CONFIG SET maxmemory-policy noeviction")
        await store.close()


class _ClusterStore(RedisStore):
    """Creates its client in the event loop that it is used in, and closes it."""

    def __init__(self, port: int, clock: Clock) -> None:
        self.client = redis.RedisCluster(host="127.0.0.1", port=port, socket_timeout=5)
        super().__init__(self.client, clock=clock)

    async def close(self) -> None:
        await super().close()
        await self.client.aclose()


async def test_sentinel(tmp_path: Path) -> None:
    """Through Sentinel the store finds the primary server, and the new one after a failover."""
    folders = [tmp_path / name for name in ("a", "b", "sentinel")]
    for folder in folders:
        folder.mkdir()
    first = RedisServer(folders[0])
    second = RedisServer(folders[1], replicaof=("127.0.0.1", first.port))
    with first, second:
        until(lambda: "master_link_status:up" in second.tell("INFO replication"))
        lines = f"sentinel monitor shop 127.0.0.1 {first.port} 1\nsentinel down-after-milliseconds shop 300\n"
        with RedisServer(folders[2], sentinel=lines) as watcher:
            sentinel = redis.Sentinel([("127.0.0.1", watcher.port)])
            until(lambda: "slaves=1" in watcher.tell("INFO sentinel"))
            client = sentinel.master_for("shop", socket_timeout=5)
            async with open_store(client) as store:
                assert store.location == "redis+sentinel://shop/0"
                assert await store.save([make_row("alice")]) == [Outcome.SAVED]
                await client.wait(1, 5000)
                first.kill()
                await works_again(lambda: store.save([make_row("alice", 2)]))
                assert await store.list(now=0.0)

            class ByName(RedisStore):
                def __init__(self) -> None:
                    own = redis.Sentinel([("127.0.0.1", watcher.port)])
                    super().__init__(own.master_for("shop", socket_timeout=5))

            # A watcher on a busy machine takes the new server for dead now and then.
            await works_again(lambda: asyncio.to_thread(ByName().prepare))
            await client.aclose()
            for each in sentinel.sentinels:
                await each.aclose()


async def works_again(call: Callable[[], Awaitable[Any]]) -> None:
    """Repeat *call* until the failover is done."""
    end = time.monotonic() + 60
    done = False
    while not done:
        assert time.monotonic() < end
        with suppress(StoreError):
            await call()
            done = True


def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
