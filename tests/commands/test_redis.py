"""The commands work on a Redis server as on a file."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.analytics.model import HOUR, Event, HourCounts, hour_of
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage.codec import encode
from tests.support.command_line import make_project, sessions
from tests.support.redis_client import open_store
from tests.support.redis_server import RedisServer
from tests.support.waiting import HANG

NOW = 4_000_000_000.0  # sessions must not expire
CREATED = NOW - 9 * HOUR


@pytest.fixture
def project(tmp_path: Path, redis_server: RedisServer) -> Path:
    """A project whose store is a server with two sessions."""
    make_project(tmp_path)
    cookie = Cookie(name="sid", value="hunter2", domain="shop.example", path="/", created=CREATED, updated=CREATED)
    records = [
        PersistentSession(
            session_id=name,
            namespace="shop",
            pool=pool,
            start_time=CREATED,
            last_activity=NOW,
            pages_visited=7,
            cookies=[cookie],
            idle_timeout=0.0,
            revision=1,
        )
        for name, pool in (("alice", None), ("bob", "staff"))
    ]

    async def fill() -> None:
        async with open_store(redis_server.url) as store:
            await store.save([encode(record) for record in records])

    asyncio.run(fill())
    return tmp_path


def on(server: RedisServer, folder: Path, *arguments: str, **more: str) -> Any:
    return sessions(folder, *arguments, "-s", f"SESSIONS_STORE={server.url}", **more)


def test_reading_commands(project: Path, redis_server: RedisServer) -> None:
    """list, show, export and curl read from the server."""
    listed = json.loads(on(redis_server, project, "list", "--json").out)[0]
    assert (listed["session_id"], listed["storage"]) == ("alice", f"redis://127.0.0.1:{redis_server.port}/0")
    assert on(redis_server, project, "list", "--pool", "staff").out.count("\n") == 2
    assert "shop.example" in on(redis_server, project, "show", "bob").out
    assert "hunter2" in on(redis_server, project, "export", "alice").out
    assert "hunter2" in on(redis_server, project, "curl", "alice", "https://shop.example/").out
    assert on(redis_server, project, "show", "nobody").code == 1


def test_changing_commands(project: Path, redis_server: RedisServer) -> None:
    """fork, retire, delete and key rotate change the server."""
    assert on(redis_server, project, "fork", "alice", "carol").code == 0
    assert on(redis_server, project, "retire", "carol").code == 0
    assert on(redis_server, project, "delete", "bob", "--yes").code == 0
    assert on(redis_server, project, "cleanup").out == "No expired sessions deleted\n"
    key = sessions(project, "key", "new").out.strip()
    assert "2 sessions encrypted" in on(redis_server, project, "key", "rotate", SCRAPY_SESSIONS_KEY=key).out
    assert "is encrypted, and no key is set" in on(redis_server, project, "list").err
    listed = on(redis_server, project, "list", SCRAPY_SESSIONS_KEY=key).out
    assert ("carol" in listed, "retired" in listed, "bob" in listed) == (True, True, False)


def test_analytics(project: Path, redis_server: RedisServer) -> None:
    """stats and report read counters and events from the server."""
    now = hour_of(time.time())

    async def count() -> None:
        async with open_store(redis_server.url) as store:
            row = HourCounts("shop", "staff", "bob", now, requests=4711, pages=3, responses={200: 4711})
            await store.add_analytics([row], [Event("shop", "bob", "staff", now + 1.0, "login", "0.3 s")])

    asyncio.run(count())
    assert "4711" in on(redis_server, project, "stats").out.replace(",", "").replace(" ", "")
    assert on(redis_server, project, "report", "-o", "report.html").code == 0
    assert "bob" in (project / "report.html").read_text(encoding="utf-8")


def test_doctor(project: Path, redis_server: RedisServer) -> None:
    """doctor names the server, its memory and policy, the clocks, and who holds what."""

    async def hold() -> None:
        async with open_store(redis_server.url) as store:
            await store.lease("shop", "login alice", 2 * HANG)
            await store.enrol("shop", "staff", "a worker", ["bob", "eve"], 2 * HANG)
            assert len((await store.claim("shop", "staff", "a worker", [], 2, 2 * HANG)).held) == 2

    asyncio.run(hold())
    done = on(redis_server, project, "doctor")
    assert done.code == 1  # the sessions are from the future
    for words in (
        "server: Valkey ",
        " MB of memory used",
        "maxmemory-policy noeviction",
        "The clock of the server differs from this one by 0.",
        "1 lease: 'login alice' in namespace 'shop' by ",
        "a worker holds 2 sessions of pool 'staff' in namespace 'shop', for ",
        "2 records can be read",
        "The server has no append-only file",
    ):
        assert words in done.out


def test_doctor_without_a_server(tmp_path: Path) -> None:
    """A server that can't be reached is an error with its remedy."""
    make_project(tmp_path)
    done = sessions(tmp_path, "doctor", "--store", "redis://localhost:1")
    assert done.code == 1
    assert "can't be reached: check that the server runs" in done.out


def test_a_nearly_full_server(project: Path, redis_server: RedisServer) -> None:
    """doctor warns before the memory of the server is full."""
    redis_server.tell("CONFIG SET maxmemory 100mb")
    try:
        assert "of 104.9 MB of memory used" in on(redis_server, project, "doctor").out
        redis_server.tell("SETRANGE big 97000000 x")
        assert "when it is full, it saves nothing" in on(redis_server, project, "doctor").out
    finally:
        redis_server.tell("CONFIG SET maxmemory 0")
