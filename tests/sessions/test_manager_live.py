"""The manager alone: each session lives once in a process, and a bounded number of them does."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.pools.claim import Claim
from scrapy_sessions.sessions.browser_session import runtime_of, view_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime, must_go_alone
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.testing import Clock
from tests.support.stores import Failing


def manager_of(store: Failing, **settings: Any) -> SessionManager:
    return SessionManager(store=store, namespace="shop", settings=SessionsSettings(**settings))


async def test_the_same_object_each_time() -> None:
    """get() of one id gives one object."""
    async with manager_of(Failing()) as manager:
        assert await manager.get("alice") is await manager.get("alice")


@pytest.mark.parametrize(
    ("size", "session_id", "alone"), [(1, "shop#1", False), (1, "shop#2", True), (2, "shop#1", True)]
)
async def test_a_new_session_of_a_pool(size: int, session_id: str, alone: bool) -> None:
    """It sends one request at a time until a response is good; the first one of a pool of one doesn't."""
    async with manager_of(Failing(), pools={"shop": {"size": size}}) as manager:
        session = runtime_of(await manager.get(session_id, pool="shop"))
        assert must_go_alone(session) is alone
        session.responses = {"4xx": 1}
        assert must_go_alone(session) is alone
        session.ok_count += 1
        assert not must_go_alone(session)


async def test_many_at_once_make_one() -> None:
    """Twenty get() of an unknown id at once make one session."""
    async with manager_of(Failing()) as manager:
        sessions = await asyncio.gather(*(manager.get("alice") for _ in range(20)))
        assert len(set(sessions)) == 1


async def test_many_at_once_load_once() -> None:
    """Twenty get() of a stored id at once load it once, into one object."""
    store = Failing()
    async with manager_of(store) as manager:
        (await manager.get("alice")).data["step"] = 1
    store.loads.clear()
    async with manager_of(store) as manager:
        sessions = await asyncio.gather(*(manager.get("alice") for _ in range(20)))
        assert len(set(sessions)) == 1
        assert sessions[0].data == {"step": 1}
    assert len(store.loads) == 1


async def test_a_waiter_that_gives_up_fails_no_other() -> None:
    """The others get their session when one of those that wait for it is cancelled."""
    async with manager_of(Failing()) as manager:
        first, second = (asyncio.ensure_future(manager.get("alice")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).id == "alice"
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize("stored", [True, False])
async def test_made_without_waiting_while_it_loads(stored: bool) -> None:
    """A session made without waiting, while it is looked for in the store, stays the only one, and is merged."""
    store = Failing()
    if stored:
        async with manager_of(store) as manager:
            (await manager.get("alice")).data["step"] = 1
    async with manager_of(store) as manager:
        made: list[SessionRuntime] = []
        store.before["load"] = lambda: made.append(registry_of(manager).obtain_now(Claim("alice", None)))
        assert await registry_of(manager).get("alice") is made[0]
        made[0].record("made")
        await manager.flush()
        assert view_of(made[0]).data == ({"step": 1} if stored else {})


async def test_the_cache_is_bounded() -> None:
    """No more than CACHE_SIZE saved sessions are kept alive."""
    async with manager_of(Failing(), cache_size=10) as manager:
        sessions = []
        for number in range(100):
            session = await registry_of(manager).get(str(number))
            session.record("came")
            sessions.append(weakref.ref(session))
            await manager.flush()
        del session
        gc.collect()
        assert sum(session() is not None for session in sessions) <= 10


async def test_the_least_recently_used_leaves() -> None:
    """Of three sessions with room for two, the one that was used longest ago leaves."""
    async with manager_of(Failing(), cache_size=2) as manager:
        references = {}
        for name in "ab":
            references[name] = weakref.ref(await registry_of(manager).get(name))
        await manager.get("a")
        await manager.flush()
        await manager.get("c")
        gc.collect()
        assert references["a"]() is not None
        assert references["b"]() is None


async def test_only_saved_sessions_leave() -> None:
    """While the store fails nothing leaves memory; when it works again, all is saved."""
    store = Failing()
    store.broken.add("save")
    async with manager_of(store, cache_size=1) as manager:
        for number in range(50):
            (await manager.get(str(number))).record(f"did {number}")
        gc.collect()
        assert len(registry_of(manager).cache) == 50
        store.broken.clear()
    async with manager_of(store) as manager:
        for number in range(50):
            assert (await manager.get(str(number))).actions == [f"did {number}"]


async def test_evicted_sessions_come_back_with_all_their_state(tmp_path: Path) -> None:
    """A session that left memory comes back as it was: cookies, headers, data, counters, history."""
    settings = SessionsSettings(cache_size=1)
    async with SessionManager(tmp_path, namespace="shop", settings=settings) as manager:
        session = await manager.get("alice")
        session.cookies.set("sid", "1", domain="shop.example")
        session.headers.set("X-Token", "t", url="https://shop.example")
        session.data["cart"] = ["book"]
        session.session_storage["https://shop.example"] = {"tab": "1"}
        runtime_of(session).responses[200] = 4
        runtime_of(session).bytes, runtime_of(session).latency, runtime_of(session).logins = 100, 0.5, 1
        session.record("did")
        await manager.flush()
        before = session.snapshot()
        gone = weakref.ref(runtime_of(session))
        del session
        await manager.get("bob")
        gc.collect()
        assert gone() is None
        again = await manager.get("alice")
        assert again.snapshot() == before
        assert before.revision == 1


async def test_a_session_that_leaves_memory_unused_was_created_once() -> None:
    """It isn't saved; when it is asked for again, it has the profile that it was created with, and counts once."""
    stats: Counter[str] = Counter()
    profiles = {name: {"user_agent": name} for name in ("one", "two")}
    settings = SessionsSettings.model_validate({"cache_size": 1, "profiles": profiles})

    def count(event: str, n: int) -> None:
        stats[event] += n

    manager = SessionManager(store=Failing(), namespace="shop", settings=settings, on_event=count)
    async with manager:
        first = (await manager.get("alice")).profile_name
        for name in ("bob", "carol"):
            await manager.get(name)
        gc.collect()
        assert "alice" not in registry_of(manager).cache
        session = await manager.get("alice")
        assert (session.profile_name, stats["created"]) == (first, 3)
        session.record("did")
        del session
        await manager.flush()
        assert stats["saved"] == 1
        await manager.get("bob")
        gc.collect()
        await manager.get("alice")
        assert (stats["created"], stats["restored"]) == (3, 1)
        assert await manager.delete_session("alice")
        await manager.get("alice")
        assert stats["created"] == 4


async def test_evicted_but_referenced_is_the_same_object() -> None:
    """A session that somebody still holds is never loaded a second time beside itself."""
    store = Failing()
    async with manager_of(store, cache_size=1) as manager:
        held = await manager.get("alice")
        await manager.flush()
        for name in ("bob", "carol"):
            await manager.get(name)
            await manager.flush()
        store.loads.clear()
        assert registry_of(manager).ready("alice") is runtime_of(held)
        assert await manager.get("alice") is held
        assert store.loads == []


async def test_data_changed_in_place_keeps_a_session_in_memory() -> None:
    """A change inside session.data, which nobody announced, is saved though the session had its turn to leave."""
    store = Failing()
    async with manager_of(store, cache_size=1) as manager:
        data = (await manager.get("alice")).data
        await manager.flush()
        data["step"] = 1
        await manager.get("bob")
        del data
        await manager.flush()
    async with manager_of(store) as manager:
        assert (await manager.get("alice")).data == {"step": 1}


async def test_data_that_cannot_be_compared_stays_out_of_others_way() -> None:
    """Data that can't be copied is no reason for another session not to come."""
    async with manager_of(Failing(), cache_size=1) as manager:
        session = await manager.get("alice")
        await manager.flush()
        session.data["things"] = []
        session.data["things"].extend([threading.Lock(), iter("ab")])
        assert (await manager.get("bob")).id == "bob"


async def test_an_expired_session_makes_room_for_a_new_one() -> None:
    """get() of an expired id deletes it, counts why, and gives a new session."""
    clock = Clock()
    counts: dict[str, int] = {}
    manager = SessionManager(store=Failing(), namespace="shop", clock=clock, on_event=counts.__setitem__)
    async with manager:
        old = await manager.get("alice")
        old.data["step"] = 1
        clock.now += 1800
        new = await manager.get("alice")
        assert new is not old
        assert new.data == {}
        assert counts["expired"] == counts["expired/idle_timeout"] == 1


async def test_kept_alive_elsewhere() -> None:
    """A session that looks expired here, but that another process used since, goes on."""
    store, clock = Failing(), Clock()
    one = SessionManager(store=store, namespace="shop", clock=clock)
    two = SessionManager(store=store, namespace="shop", clock=clock)
    async with one, two:
        mine = await one.get("alice")
        mine.record("early")
        await one.flush()
        theirs = await two.get("alice")
        clock.now += 1000
        runtime_of(theirs).last_activity = clock.now
        theirs.data["step"] = 2
        await two.flush()
        clock.now += 1000
        assert await one.get("alice") is mine
        assert mine.data == {"step": 2}
