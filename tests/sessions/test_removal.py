"""Sessions are deleted; others that take their place meanwhile are not, and none comes back."""

from __future__ import annotations

import asyncio
import time

import pytest

from scrapy_sessions import PersistentSession, SessionManager
from scrapy_sessions.storage import Key
from scrapy_sessions.storage.base import Row
from scrapy_sessions.storage.codec import encode
from tests.support.stores import Failing
from tests.support.waiting import until

ALICE = Key("shop", "alice")


def saved_once(moment: float) -> Row:
    """The row of alice, created and saved at *moment*."""
    return encode(
        PersistentSession(
            session_id="alice",
            namespace="shop",
            start_time=moment,
            last_activity=moment,
            idle_timeout=60.0,
            revision=1,
            data={"made": moment},
        )
    )


@pytest.fixture
def store() -> Failing:
    """A store with an expired session, which is replaced by a new one when a session is first deleted."""
    store = Failing()
    now = time.time()
    store._rows[ALICE] = saved_once(now - 1000.0)
    store.before["delete"] = lambda: store._rows.update({ALICE: saved_once(now)})
    return store


async def test_cleanup(store: Failing) -> None:
    """Cleanup leaves the new session, and doesn't count it."""
    async with SessionManager(store=store, namespace="shop") as manager:
        assert await manager.cleanup() == {}
        assert await manager.load_session("alice") is not None
    assert store.before == {}


async def test_get(store: Failing) -> None:
    """Who asks for the expired session gets the new one."""
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await manager.get("alice")
        assert session.data["made"] > time.time() - 500.0
    assert store.before == {}


class Slow(Failing):
    """Reads at once, and answers when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = asyncio.Event()

    async def load(self, key: Key) -> Row | None:
        row = await super().load(key)
        await self.allowed.wait()
        return row


@pytest.mark.parametrize("first", ["load", "delete"])
async def test_what_is_loaded_during_a_deletion_is_gone(first: str) -> None:
    """Whichever answer comes first: the deleted session isn't live after it."""
    store = Slow()
    store._rows[ALICE] = saved_once(time.time())
    if first == "load":
        store.before["delete"] = store.allowed.set
    async with SessionManager(store=store, namespace="shop") as manager:
        loading = asyncio.ensure_future(manager.get("alice"))
        await until(lambda: store.loads)
        assert await manager.delete_session("alice")
        store.allowed.set()
        await loading
        assert (await manager.get("alice")).data == {}
