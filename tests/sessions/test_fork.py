"""Forking a session: to a new id, or in place of one that exists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from scrapy_sessions import SessionError, SessionManager, StoreError
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode
from scrapy_sessions.storage.encryption import Cipher, is_encrypted
from tests.support.waiting import until


class Racing(MemoryStore):
    """Another process saves a bob of its own when this one has found out that there is none, or has deleted it."""

    raced = False

    async def load(self, key: Key) -> Row | None:
        row = await super().load(key)
        if row is None and key.session_id == "bob":
            await self.race()
        return row

    async def delete(self, keys: Sequence[Key], *conditions: object) -> list[bool]:
        deleted = await super().delete(keys, *conditions)  # type: ignore[arg-type]
        await self.race()
        return deleted

    async def race(self) -> None:
        if not self.raced:
            self.raced = True
            await save(self, "bob")


class Waiting(MemoryStore):
    """The save of a new bob waits until ``go_on`` is set, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.waits = self.fails = False

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        if [(row.session_id, row.revision) for row in rows] == [("bob", 1)] and not self.waits:
            if self.fails:
                raise StoreError("no answer in time")
            self.waits = True
            await self.go_on.wait()
        return await super().save(rows, tokens)


async def save(store: MemoryStore, name: str) -> None:
    """Save a session *name*, with a cookie that names it."""
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await manager.get(name)
        session.cookies.set("user", name, domain="shop.test")
        session.record(f"saved {name}")
        await manager.save_session(name, session)


async def users(store: MemoryStore, name: str) -> list[str]:
    """The values of the stored cookies of *name*."""
    row = await store.load(Key("shop", name))
    assert row is not None
    return [cookie.value for cookie in decode(row).cookies]


async def actions(store: MemoryStore, name: str) -> list[str]:
    """The stored history of *name*."""
    row = await store.load(Key("shop", name))
    assert row is not None
    return decode(row).actions_performed


async def forked(manager: SessionManager) -> None:
    """Two sessions, each with a cookie that names it."""
    for name in ("alice", "bob"):
        session = await manager.get(name)
        session.cookies.set("user", name, domain="shop.test")
        await manager.save_session(name, session)


async def test_replace_puts_the_copy_in_place_of_another() -> None:
    """The session that was there is gone: also for whoever still holds it."""
    async with SessionManager(store=MemoryStore(), namespace="shop") as manager:
        await forked(manager)
        before = await manager.get("bob")
        fork = await manager.fork_session("alice", "bob", replace=True)
        assert fork.cookies.get("user") == "alice"
        assert await manager.get("bob") is fork
        before.cookies.set("user", "late", domain="shop.test")
        assert not await manager.save_session("bob", before)
        record = await manager.load_session("bob")
        assert record is not None
        assert [cookie.value for cookie in record.cookies] == ["alice"]


async def test_without_replace_an_id_in_use_is_refused() -> None:
    """So is the session's own id, and a session that doesn't exist, before anything is deleted."""
    async with SessionManager(store=MemoryStore(), namespace="shop") as manager:
        await forked(manager)
        with pytest.raises(SessionError, match=r"'bob' exists.*replace it"):
            await manager.fork_session("alice", "bob")
        with pytest.raises(SessionError, match="its own id"):
            await manager.fork_session("alice", "alice", replace=True)
        with pytest.raises(SessionError, match="no session 'carol'"):
            await manager.fork_session("carol", "bob", replace=True)
        assert (await manager.get("bob")).cookies.get("user") == "bob"


async def test_a_fork_has_used_its_budget() -> None:
    """It is the same account: it rests as long as the one that it is a copy of."""
    async with SessionManager(store=MemoryStore(), namespace="shop") as manager:
        await manager.open()
        session = await registry_of(manager).get("alice")
        session.restore_budget({"per_hour": 2}, {"per_hour": {"6000000": 2}})
        session.changed()
        await manager.save_session("alice", await manager.get("alice"))
        await manager.fork_session("alice", "bob")
        record = await manager.load_session("bob")
        assert record is not None
        assert record.budget_used == {"per_hour": {"6000000": 2}, "per_day": {}}


async def test_a_session_that_another_process_saves_meanwhile_is_not_merged() -> None:
    """The fork is refused as for a session that existed before, and that one stays as it is."""
    store = Racing()
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop") as manager:
        with pytest.raises(SessionError, match=r"'bob' exists.*replace it"):
            await manager.fork_session("alice", "bob")
        assert (await manager.get("bob")).cookies.get("user") == "bob"
    assert await users(store, "bob") == ["bob"]


async def test_a_session_that_another_process_saves_meanwhile_is_replaced() -> None:
    """With replace, it is deleted, too, and not merged."""
    store = Racing()
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop") as manager:
        await manager.fork_session("alice", "bob", replace=True)
    assert store.raced
    assert await users(store, "bob") == ["alice"]


async def test_a_fork_goes_on_from_what_was_saved() -> None:
    """It is saved once. What it and another process change then is merged, and nothing is counted twice."""
    store = MemoryStore()
    settings = SessionsSettings(history_limit=3)
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        alice = await manager.get("alice")
        for number in range(5):
            alice.record(str(number))
        bob = await manager.fork_session("alice", "bob")
        await manager.flush()
        row = await store.load(Key("shop", "bob"))
        assert (row and row.revision, runtime_of(bob).revision) == (1, 1)
        await save(store, "bob")
        bob.record("mine")
        runtime_of(bob).pages_visited += 1
        assert await manager.save_session("bob", bob)
    assert await actions(store, "bob") == ["4", "saved bob", "mine"]
    assert await users(store, "bob") == ["bob"]


async def test_a_fork_is_used_while_it_is_saved() -> None:
    """Whoever asks for it meanwhile gets it, and their change is saved after it."""
    store = Waiting()
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop") as manager:
        forking = asyncio.ensure_future(manager.fork_session("alice", "bob"))
        await until(lambda: store.waits)
        bob = await manager.get("bob")
        bob.record("used")
        flushing = asyncio.ensure_future(manager.flush())
        store.go_on.set()
        assert await forking is bob
        await flushing
    assert await actions(store, "bob") == ["saved alice", "used"]


async def test_a_fork_that_can_not_be_saved_is_none() -> None:
    """The store fails: so does the fork, and the id is that of a new session."""
    store = Waiting()
    store.fails = True
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop") as manager:
        with pytest.raises(StoreError):
            await manager.fork_session("alice", "bob")
        bob = await manager.get("bob")
        assert (bob.cookies.get("user"), runtime_of(bob).dirty) == (None, False)


async def test_a_fork_is_encrypted() -> None:
    """It is saved with the key of the store, as all sessions are."""
    store = MemoryStore()
    store.cipher = Cipher(["0" * 43 + "="])
    await save(store, "alice")
    async with SessionManager(store=store, namespace="shop") as manager:
        await manager.fork_session("alice", "bob")
    row = await store.load(Key("shop", "bob"))
    assert row is not None
    assert is_encrypted(row.body)
    assert decode(row, store.cipher).cookies[0].value == "alice"
