"""``scrapy sessions move`` copies a store, both ways, and goes on where it was interrupted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from scrapy_sessions.analytics.model import Event, HourCounts, hour_of
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage import Key, Outcome, RedisStore, SQLiteStore
from scrapy_sessions.storage.codec import decode, encode
from scrapy_sessions.testing import make_row
from tests.support.command_line import make_project, sessions
from tests.support.redis_server import RedisServer

HOUR = hour_of(time.time())
_T = TypeVar("_T")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


def use(store: RedisStore | SQLiteStore, action: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
    """Run *action* with *store*, which is open."""

    async def run() -> _T:
        await store.open()
        try:
            return await action(store)
        finally:
            await store.close()

    return asyncio.run(run())


def record(session_id: str, **fields: Any) -> PersistentSession:
    times = {"start_time": HOUR + 1.0, "last_activity": HOUR + 2.0}
    return PersistentSession(
        session_id=session_id, **{"namespace": "shop", "revision": 1, "idle_timeout": 0.0, **times, **fields}
    )


async def filled(store: Any) -> None:
    """Save 450 sessions of two namespaces, counters, events and shared data."""
    records = [record(f"s{number}", namespace=("shop", "news")[number % 2], pool="p") for number in range(449)]
    rows = [encode(each) for each in (*records, record("alice", data={"deep": [1]}, revision=3))]
    assert await store.replace(rows, [None] * 450) == [Outcome.SAVED] * 450
    await store.add_analytics(
        [HourCounts("shop", "p", f"s{number}", HOUR, requests=number, responses={200: number}) for number in range(30)],
        [Event("shop", "s1", "p", HOUR + 1.0, "login", "0.3 s"), Event("news", "s2", None, HOUR + 2.0, "retired")] * 2,
    )
    await store.write_shared("shop", 0, b'{"a": 1}')


async def content(store: Any) -> list[Any]:
    """All that is in *store*, but for the names of the store and the versions of shared data."""
    infos = await store.list(now=0.0)
    rows = await store.load_many([Key(info["namespace"], info["session_id"]) for info in infos])
    hours = await store.hour_counts(None)
    return [rows, hours, sorted(map(str, await store.events(None))), (await store.read_shared("shop"))[0]]


def test_to_a_server_and_back(project: Path, redis_server: RedisServer) -> None:
    """All that a file contains is the same in a server, and in another file after that; the old one is unchanged."""
    first, second, server = SQLiteStore(project / "a.db"), SQLiteStore(project / "b.db"), RedisStore(redis_server.url)
    use(first, filled)
    before = use(first, content)
    done = sessions(project, "move", "--store", "a.db", "--to", redis_server.url)
    assert (done.code, done.err) == (0, "")
    assert f"450 sessions copied to redis://127.0.0.1:{redis_server.port}/0" in done.out
    assert "Also copied: 30 hourly counts, 4 events, 1 object of shared data" in done.out
    assert use(server, content) == before
    assert sessions(project, "move", "--store", redis_server.url, "--to", "sqlite:///b.db").code == 0
    assert use(second, content) == use(first, content) == before


def test_again(project: Path, redis_server: RedisServer) -> None:
    """Called again, it copies what is new, and nothing twice; later states in the new store stay."""
    first, server = SQLiteStore(project / "a.db"), RedisStore(redis_server.url)
    use(first, filled)
    use(server, lambda store: store.save([encode(record("s1", namespace="news", pool="p"))]))
    sessions(project, "move", "--store", "a.db", "--to", redis_server.url)
    newer = encode(record("alice", revision=4))

    async def change(store: Any) -> None:
        assert await store.save([newer]) == [Outcome.SAVED]
        await store.delete([Key("news", "s3")])

    use(server, change)
    done = sessions(project, "move", "--store", "a.db", "--to", redis_server.url)
    assert "1 session copied" in done.out
    rows, hours, events, _ = use(server, content)
    assert [len(each) for each in (rows, hours, events)] == [450, 30, 4]
    assert newer in rows


def test_an_older_state_is_replaced(project: Path, redis_server: RedisServer) -> None:
    """A session that went on in the old store replaces its earlier state in the new one."""
    server = RedisStore(redis_server.url)
    use(server, lambda store: store.save([encode(record("alice"))]))
    use(SQLiteStore(project / "a.db"), lambda store: store.replace([encode(record("alice", revision=5))], [None]))
    assert sessions(project, "move", "--store", "a.db", "--to", redis_server.url).code == 0
    row = use(server, lambda store: store.load(Key("shop", "alice")))
    assert row is not None
    assert row.revision == 5


def test_conflicts(project: Path, redis_server: RedisServer) -> None:
    """Another session of the same id in the new store stays, is named, and makes the exit code 1."""
    server = RedisStore(redis_server.url)
    other = encode(record("alice", start_time=5.0))

    async def occupy(store: Any) -> None:
        await store.save([other])
        await store.write_shared("shop", 0, b"{}")

    use(server, occupy)
    use(SQLiteStore(project / "a.db"), filled)
    done = sessions(project, "move", "--store", "a.db", "--to", redis_server.url)
    assert done.code == 1
    assert "449 sessions copied" in done.out
    assert "session 'alice' in namespace 'shop'" in done.err
    assert "the shared data of namespace 'shop'" in done.err
    assert use(server, lambda store: store.load(Key("shop", "alice"))) == other


def test_with_a_key(project: Path, redis_server: RedisServer) -> None:
    """With a key, what was plain is encrypted on its way."""
    key = sessions(project, "key", "new").out.strip()
    use(SQLiteStore(project / "a.db"), filled)
    done = sessions(project, "move", "--store", "a.db", "--to", redis_server.url, SCRAPY_SESSIONS_KEY=key)
    assert done.code == 0
    rows, _, _, shared = use(RedisStore(redis_server.url), content)
    assert all(row.body.startswith(b"\0SCSS") for row in rows)
    assert shared.startswith(b"\0SCSS")
    assert sessions(project, "move", "--store", redis_server.url, "--to", "b.db").code == 1  # the key is missing
    back = sessions(project, "move", "--store", redis_server.url, "--to", "b.db", SCRAPY_SESSIONS_KEY=key)
    assert "450 sessions copied" in back.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--to"),
        (("--to", "memory://"), "ends with this command"),
        (("--to", "a.db"), "names the store that the sessions are in"),
        (("--to", "rediz://x"), "Did you mean 'redis://'"),
    ],
)
def test_refused(arguments: tuple[str, ...], words: str, project: Path) -> None:
    """What can't be the new store is refused as a usage error."""
    use(SQLiteStore(project / "a.db"), lambda store: store.save([make_row("alice")]))
    done = sessions(project, "move", "--store", "a.db", *arguments)
    assert done.code == 2
    assert words in done.err


def test_records_are_the_same(project: Path, redis_server: RedisServer) -> None:
    """A record is what it was, its data and history included."""
    whole = record("alice", actions_performed=["GET https://shop.example/ 200"], data={"a": [None, 1.5, "ü"]})
    use(SQLiteStore(project / "a.db"), lambda store: store.save([encode(whole)]))
    assert sessions(project, "move", "--store", "a.db", "--to", redis_server.url).code == 0
    row = use(RedisStore(redis_server.url), lambda store: store.load(Key("shop", "alice")))
    assert row is not None
    assert decode(row) == whole
