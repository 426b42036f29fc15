"""What isn't a session is encrypted in its place: the quarantine and shared data."""

from __future__ import annotations

from scrapy_sessions.storage import Key
from scrapy_sessions.testing import make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_server import RedisServer

ALICE, CAROL = Key("shop", "alice"), Key("shop", "carol")


def encrypt(body: bytes) -> bytes:
    return body if body.startswith(b"!") else b"!" + body[::-1]


async def test_bodies_are_replaced(redis_server: RedisServer) -> None:
    """Each body in the quarantine, and the shared data of each namespace, are replaced once; sessions are not."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        await store.save([make_row("alice", body=b"secret"), make_row("bob"), make_row("carol")])
        assert await store.quarantine(ALICE, 1, "a reason\nof two lines")
        await client.delete("sessions:{shop}:s:carol")
        await client.rpush("sessions:{shop}:s:carol", "no session")
        assert await store.load(CAROL) is None
        for name in ("shop", "news"):
            assert await store.write_shared(name, 0, b"shared")
        for _ in range(2):
            await store.encrypt_rest(encrypt)
        assert await client.hget("sessions:{shop}:q:1", "b") == b"p!terces"
        assert [await store.read_shared(name) for name in ("shop", "news")] == [(b"!derahs", 2)] * 2
        assert await client.lrange("sessions:{shop}:q:2", 0, -1) == [b"no session"]
        bob = await store.load(Key("shop", "bob"))
        assert bob is not None
        assert bob.body == b"bob 1"
        assert [key for key, _ in await store.quarantined()] == [ALICE, CAROL]
        assert (await store.quarantined())[0][1] == "a reason of two lines"


async def test_what_changes_meanwhile(redis_server: RedisServer) -> None:
    """A body that is deleted while it is encrypted isn't brought back; one that is replaced is read again."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        await store.save([make_row("alice", body=b"secret"), make_row("bob", body=b"old")])
        assert await store.quarantine(ALICE, 1, "broken")
        assert await store.quarantine(Key("shop", "bob"), 1, "broken")

        def change(body: bytes) -> bytes:
            if body == b"secret":
                redis_server.tell("DEL sessions:{shop}:q:1")
            elif body == b"old":
                redis_server.tell("HSET sessions:{shop}:q:2 b pnew")
            return encrypt(body)

        await store.encrypt_rest(change)
        assert await client.keys("sessions:{shop}:q:*") == [b"sessions:{shop}:q:2"]
        assert await client.hget("sessions:{shop}:q:2", "b") == b"p!wen"
