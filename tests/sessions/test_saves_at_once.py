"""The save of one session, as after a login, doesn't wait for a save of many; a deletion waits for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from scrapy_sessions import SessionManager, StoreError
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode
from tests.support.waiting import until


class Hanging(MemoryStore):
    """A save of several rows hangs until ``go_on`` is set: before it is carried out, or with ``done`` after that."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.hangs = 0
        self.done = self.fails = False

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        if len(rows) == 1:
            return await super().save(rows, tokens)
        outcomes = await super().save(rows, tokens) if self.done else []
        self.hangs += 1
        await self.go_on.wait()
        if self.fails:
            raise StoreError("no answer in time")
        return outcomes or await super().save(rows, tokens)


class Waiting(Hanging):
    """A save of one row waits, too: until ``then`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.then = asyncio.Event()
        self.singles = 0

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        if len(rows) == 1:
            self.singles += 1
            await self.then.wait()
            if self.fails:
                self.fails = False
                raise StoreError("no answer in time")
        return await super().save(rows, tokens)


@asynccontextmanager
async def hanging(store: Hanging) -> AsyncIterator[tuple[SessionManager, asyncio.Future[None]]]:
    """A manager in which a save of alice and bob, whose pages are 1, hangs."""
    settings = SessionsSettings(save_interval=3600)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        for name in ("alice", "bob"):
            session = await manager.get(name)
            runtime_of(session).pages_visited = 1
            session.record("before")
        flushing = asyncio.ensure_future(manager.flush())
        await until(lambda: store.hangs)
        try:
            yield manager, flushing
        finally:
            store.go_on.set()


async def actions(store: Hanging, name: str) -> list[str]:
    row = await store.load(Key("shop", name))
    assert row is not None
    return decode(row).actions_performed


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_single_save_passes(done: bool, fails: bool) -> None:
    """It doesn't wait, whether its session is among those of the hanging save or not, and nothing is counted twice."""
    store = Hanging()
    store.done, store.fails = done, fails
    async with hanging(store) as (manager, flushing):
        for name in ("alice", "carol"):
            session = await manager.get(name)
            session.record("logged in")
            assert await manager.save_session(name, session) is True
        assert not flushing.done()
        assert await actions(store, "alice") == ["before", "logged in"]
        assert await actions(store, "carol") == ["logged in"]
        store.go_on.set()
        if fails:
            with pytest.raises(StoreError):
                await flushing
        else:
            await flushing
        (await manager.get("alice")).record("after")
        store.fails = False
        await manager.flush()
        assert await actions(store, "alice") == ["before", "logged in", "after"]
        assert await actions(store, "bob") == ["before"]
        row = await store.load(Key("shop", "alice"))
        assert row is not None
        assert row.pages_visited == 1
        events = [event.session_id for event in await store.events("shop") if event.kind == "created"]
        assert sorted(events) == ["alice", "bob", "carol"]


@pytest.mark.parametrize("which", ["alice", "bob"])
async def test_a_save_of_many_that_ends_first(which: str) -> None:
    """The save of one session isn't dropped if the store carries out a save of many first, with what was before."""
    store = Waiting()
    async with hanging(store) as (manager, flushing):
        session = await manager.get(which)
        session.record("logged in")
        saving = asyncio.ensure_future(manager.save_session(which, session))
        await until(lambda: store.singles)
        store.go_on.set()
        await flushing
        store.then.set()
        assert await saving is True
        assert await actions(store, which) == ["before", "logged in"]


async def test_a_save_of_many_that_encodes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a save of many has of a session isn't dropped because a save of this one alone, begun before, came first."""
    store = Waiting()
    async with hanging(store) as (manager, flushing):
        store.go_on.set()
        await flushing
        store.go_on.clear()
        alice, bob = await manager.get("alice"), await manager.get("bob")
        alice.record("then")
        bob.record("logged in")
        saving = asyncio.ensure_future(manager.save_session("bob", bob))
        await until(lambda: store.singles)
        bob.record("then")
        monkeypatch.setattr(registry_of(manager).writer._turns, "_single", set())  # both have begun, this one encodes
        second = asyncio.ensure_future(manager.flush())
        await until(lambda: store.hangs == 2)
        store.then.set()
        assert await saving is True
        store.go_on.set()
        await second
        assert await actions(store, "bob") == ["before", "logged in", "then"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_flush_waits_for_a_single_save(fails: bool) -> None:
    """What had changed when it was called is saved when it returns, also if another save had it and has failed."""
    store = Waiting()
    settings = SessionsSettings(save_interval=3600)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        carol = await manager.get("carol")
        carol.record("logged in")
        store.fails = fails
        saving = asyncio.ensure_future(manager.save_session("carol", carol))
        await until(lambda: store.singles)
        flushing = asyncio.ensure_future(manager.flush())
        await asyncio.wait([flushing], timeout=0.05)
        assert not flushing.done()
        store.then.set()
        if fails:
            with pytest.raises(StoreError):
                await saving
        else:
            assert await saving is True
        await flushing
        assert await actions(store, "carol") == ["logged in"]


async def test_a_flush_saves_others_before_it_waits() -> None:
    """Sessions that have changed aren't held up by one that is saved alone at the moment."""

    class OneWaits(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.then = asyncio.Event()

        async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
            if rows[0].session_id == "carol":
                await self.then.wait()
            return await super().save(rows, tokens)

    store = OneWaits()
    settings = SessionsSettings(save_interval=3600)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        saving = asyncio.ensure_future(manager.save_session("carol", await manager.get("carol")))
        await asyncio.sleep(0)
        (await manager.get("alice")).record("came")
        flushing = asyncio.ensure_future(manager.flush())
        await until(lambda: Key("shop", "alice") in store._rows)
        assert not flushing.done()
        store.then.set()
        await asyncio.gather(saving, flushing)


async def test_a_login_reads_meanwhile() -> None:
    """What other processes have saved is read without waiting, too."""
    store = Hanging()
    async with hanging(store) as (manager, flushing):
        registry = registry_of(manager)
        await registry.refresh_record(await registry.get("alice"))
        assert not flushing.done()


async def test_a_deletion_waits() -> None:
    """A session is deleted after the save that it is part of, so that this doesn't bring it back; others at once."""
    store = Hanging()
    async with hanging(store) as (manager, flushing):
        carol = await manager.get("carol")
        assert await manager.save_session("carol", carol) is True
        assert await manager.delete_session("carol") is True
        deleting = asyncio.ensure_future(manager.delete_session("alice"))
        await asyncio.wait([deleting], timeout=0.05)
        assert not deleting.done()
        store.go_on.set()
        assert await deleting is True
        await flushing
        assert await store.load(Key("shop", "alice")) is None
        await manager.flush()
        assert await store.load(Key("shop", "alice")) is None


async def test_many_saves_of_one_session() -> None:
    """Saves of the same session at once are done one after the other, without a conflict."""

    class Counting(MemoryStore):
        outcomes: list[Outcome] = []  # noqa: RUF012  # one test

        async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
            await asyncio.sleep(0)
            outcomes = await super().save(rows, tokens)
            self.outcomes += outcomes
            return outcomes

    async with SessionManager(store=(store := Counting()), namespace="shop") as manager:
        session = await manager.get("alice")
        await asyncio.gather(*(manager.save_session("alice", session) for _ in range(20)))
        assert store.outcomes == [Outcome.SAVED] * 20
        await manager.delete_session("alice")


async def test_a_cancelled_wait_blocks_nobody() -> None:
    """A deletion whose waiter was cancelled lets the others go on."""
    store = Hanging()
    async with hanging(store) as (manager, flushing):
        deleting = asyncio.ensure_future(manager.delete_session("alice"))
        await asyncio.wait([deleting], timeout=0.05)
        deleting.cancel()
        store.go_on.set()
        await asyncio.gather(deleting, flushing, return_exceptions=True)
        assert await manager.delete_session("bob") is True
