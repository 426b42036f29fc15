"""What another program has put under our keys is looked at, set aside, and never trusted."""

from __future__ import annotations

import json
import logging
import pickle
import zlib
from contextlib import suppress
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome
from scrapy_sessions.testing import make_row
from tests.support.redis_client import client_of, open_store
from tests.support.redis_server import RedisServer

ALICE = Key("shop", "alice")
PLACE = "sessions:{shop}:s:alice"
MEGABYTE = 2**20


class Bomb:
    """Unpickled, it would fail the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a value of the store was unpickled",))


FOREIGN: dict[str, tuple[Any, ...]] = {
    "string": ("SET", PLACE, "x"),
    "empty string": ("SET", PLACE, ""),
    "100 MB": ("SETRANGE", PLACE, 100 * MEGABYTE, "x"),
    "list": ("RPUSH", PLACE, "x"),
    "other hash": ("HSET", PLACE, "name", "alice"),
    "no columns": ("HSET", PLACE, "c", "", "b", "p{}"),
    "columns of another kind": ("HSET", PLACE, "c", "1\n2"),
    "columns not in UTF-8": ("HSET", PLACE, "c", b"\xff\xfe\x00"),
    "large columns": ("HSET", PLACE, "c", "1" * MEGABYTE),
    "large body": ("HSET", PLACE, "b", "p" + "x" * 100 * MEGABYTE),
    "bomb": ("HSET", PLACE, "b", b"z" + zlib.compress(bytes(200 * MEGABYTE))),
    "damaged": ("HSET", PLACE, "b", b"z" + zlib.compress(b"{}")[:-1]),
    "pickle": ("HSET", PLACE, "b", pickle.dumps(Bomb())),
    "no body": ("HDEL", PLACE, "b"),
}
COLUMNS = {
    "revision": (0, "x"),
    "status": (3, "lost"),
    "start": (1, "nan"),
    "activity": (6, "1e999"),
    "pool": (4, '["p"]'),
    "deep pool": (4, "[" * 4000),
    "expires by": (8, "wish"),
    "pages": (9, "-1"),
    "digits": (9, "1" * 5000),
    "written otherwise": (1, "1e3"),
}


async def damaged(server: RedisServer, *command: Any) -> None:
    """Save alice and bob, and run *command* on alice."""
    async with open_store(server.url) as store, client_of(server.url) as client:
        assert await store.save([make_row("alice"), make_row("bob")]) == [Outcome.SAVED] * 2
        if command[2] not in ("b", "c"):  # a value of its own, not a change of alice's
            await client.delete(PLACE)
        await client.execute_command(*command)


@pytest.mark.parametrize("name", FOREIGN)
async def test_foreign_value_is_set_aside(
    name: str, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It loads as nothing, is kept in the quarantine, logged once, and its id can be used again."""
    await damaged(redis_server, *FOREIGN[name])
    before = sent_by(redis_server)
    async with open_store(redis_server.url) as store:
        with caplog.at_level(logging.ERROR):
            found = await store.load_many([ALICE, Key("shop", "bob")])
        assert [row and row.session_id for row in found] == [None, "bob"]
        assert [key for key, _ in await store.quarantined()] == [ALICE]
        assert len(caplog.records) == 1
        assert "'alice'" in caplog.text
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        assert await store.load(ALICE) is not None
        assert await store.delete([ALICE]) == [True]
        assert await store.quarantined() == []
    assert sent_by(redis_server) - before < MEGABYTE
    assert [each.session_id for each in await listed(redis_server)] == ["bob"]


@pytest.mark.parametrize("name", COLUMNS)
async def test_foreign_columns_are_set_aside(name: str, redis_server: RedisServer) -> None:
    """A listing skips a session whose columns aren't ours, and sets it aside; loading it does the same."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        for read in ("list", "find", "load", "expired"):
            assert await store.save([make_row("alice", expires_at=1.0, expires_by="max_age")]) == [Outcome.SAVED]
            columns = (await client.hget(PLACE, "c")).decode().split("\n")
            place, value = COLUMNS[name]
            await client.hset(PLACE, "c", "\n".join([*columns[:place], value, *columns[place + 1 :]]))
            found: Any = {
                "list": lambda: store.list(now=0.0),
                "find": lambda: store.find("alice", now=0.0),
                "load": lambda: store.load_many([ALICE]),
                "expired": lambda: store.expired(None, now=5.0, limit=5),
            }[read]
            assert await found() in ([], [None]), read
        assert len(await store.quarantined()) == 4


async def test_a_foreign_value_is_not_overwritten(redis_server: RedisServer) -> None:
    """A save onto it is a fault of this row alone; a delete deletes it."""
    await damaged(redis_server, "RPUSH", PLACE, "x")
    async with open_store(redis_server.url) as store:
        rows = [make_row("alice"), make_row("carol"), make_row("alice", 2)]
        assert await store.save(rows) == [Outcome.FAULT, Outcome.SAVED, Outcome.FAULT]
        assert await store.delete([ALICE]) == [True]
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]


@pytest.mark.parametrize("body", [b"[" * 100_000, pickle.dumps(Bomb()), b"null", b"{", b'{"schema_version": 1e999}'])
async def test_a_body_that_is_no_record(body: bytes, redis_server: RedisServer) -> None:
    """A body that isn't a record is found by the manager, which sets it aside and creates the session anew."""
    async with open_store(redis_server.url) as store:
        assert await store.save([make_row("alice", body=body)]) == [Outcome.SAVED]
        async with SessionManager(store=store, namespace="shop") as manager:
            session = await manager.get("alice")
            assert session.pages_visited == 0
            assert [key for key, _ in await store.quarantined()] == [ALICE]


async def test_entries_without_a_session(redis_server: RedisServer) -> None:
    """Ids whose session another program has deleted are in no listing, and keep no other from the cleanup."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        rows = [make_row(f"s{n}", expires_at=float(n), expires_by="max_age") for n in range(20)]
        await store.save(rows)
        await client.delete(*(f"sessions:{{shop}}:s:s{n}" for n in range(15)))
        assert len(await store.list(now=0.0, limit=5)) == 5
        assert [each.key.session_id for each in await store.expired("shop", now=99.0, limit=3)] == ["s15", "s16", "s17"]
        assert [pool.sessions for pool in await store.pool_counts("shop", now=0.0)] == [5]


async def test_foreign_shared_data(redis_server: RedisServer) -> None:
    """Shared data of another type or size raise, with the key; they aren't overwritten."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        key = "sessions:{shop}:shared"
        for command in (
            ("SET", key, json.dumps([])),
            ("HSET", key, "v", "x", "b", "p{}"),
            ("HSET", key, "v", "1", "b", "x" * 100 * MEGABYTE),
        ):
            await client.delete(key)
            await client.execute_command(*command)
            with pytest.raises(StoreError, match=key):
                await store.read_shared("shop")
            with suppress(StoreError):
                assert not await store.write_shared("shop", 0, b"{}")


async def test_foreign_analytics(redis_server: RedisServer) -> None:
    """Foreign analytics raise, with the key, and leave sessions alone."""
    async with open_store(redis_server.url) as store, client_of(redis_server.url) as client:
        await store.save([make_row("alice")])
        await client.zadd("sessions:{shop}:hours", {"3600": 3600})
        await client.hset("sessions:{shop}:h:3600", mapping={'"p"\n"alice"': "1 2 x;"})
        await client.zadd("sessions:{shop}:events", {"[1, 2]": 5.0})
        for read in (store.hour_counts, store.events):
            with pytest.raises(StoreError, match="Sessions are not affected"):
                await read("shop")
        assert len(await store.list(now=0.0)) == 1


def sent_by(server: RedisServer) -> int:
    """How many bytes the server has sent so far."""
    (line,) = [line for line in server.tell("INFO stats").splitlines() if line.startswith("total_net_output_bytes:")]
    return int(line.partition(":")[2])


async def listed(server: RedisServer) -> list[Key]:
    async with open_store(server.url) as store:
        return [Key(info["namespace"], info["session_id"]) for info in await store.list(now=0.0)]
