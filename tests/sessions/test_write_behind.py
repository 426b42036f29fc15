"""Saving in the background: when, in what batches, through faults, and without holding up the loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from scrapy_sessions import BrowserSession, SessionManager, StoreError
from scrapy_sessions.pools.claim import Claim
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode
from tests.support.stores import Failing
from tests.support.waiting import until


class Spam:
    """Can't be copied, compared or shown."""

    def __deepcopy__(self, memo: object) -> object:
        raise TypeError("no copies")


def manager_of(store: Any, counts: Counter[str] | None = None, **settings: Any) -> SessionManager:
    def count(name: str, n: int) -> None:
        if counts is not None:
            counts[name] += n

    return SessionManager(store=store, namespace="shop", settings=SessionsSettings(**settings), on_event=count)


async def test_a_change_is_saved_by_itself() -> None:
    """A session that changed is saved within the interval, without a call."""
    store = Failing()
    async with manager_of(store, save_interval=0) as manager:
        (await manager.get("alice")).record("came")
        await until(lambda: store.saves)
        assert [row.session_id for row in store.saves[0]] == ["alice"]


async def test_saving_goes_on_whatever_a_store_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that is none of ours, as a store of others may raise it, is logged, counted, and tried again."""
    counts: Counter[str] = Counter()

    class Foreign(Failing):
        async def save(self, rows: Sequence[Row]) -> list[Outcome]:
            if not counts["save_errors"]:
                raise OSError("connection reset")
            return await super().save(rows)

    store = Foreign()
    async with manager_of(store, counts, save_interval=0) as manager:
        (await manager.get("alice")).record("came")
        await until(lambda: store.saves)
    assert counts["save_errors"] == 1
    assert "connection reset" in caplog.text
    assert "Traceback" in caplog.text


async def test_changes_within_an_interval_are_one_save() -> None:
    """What changes within one interval is saved together, each session once."""
    store = Failing()
    async with manager_of(store, save_interval=0.01) as manager:
        for name in ("alice", "bob", "alice"):
            (await manager.get(name)).record("came")
        await until(lambda: store.saves)
        assert [[row.session_id for row in rows] for rows in store.saves] == [["alice", "bob"]]


async def test_a_change_after_a_save_is_saved_too() -> None:
    """Every change is saved, those after the first save as well."""
    store = Failing()
    async with manager_of(store, save_interval=0) as manager:
        session = await manager.get("alice")
        for number in (1, 2, 3):
            session.record(str(number))
            await until(lambda: not runtime_of(session).dirty and runtime_of(session).revision == number)  # noqa: B023  # asked now only
        assert len(store.saves) == 3


async def test_a_change_during_a_save_is_saved_next() -> None:
    """What changes while its session is being written isn't taken for saved."""
    store = Failing()
    async with manager_of(store, save_interval=0) as manager:
        session = await manager.get("alice")
        session.record("before")
        flushing = asyncio.ensure_future(manager.flush())
        await until(lambda: not runtime_of(session).dirty)
        session.record("during")
        await flushing
        await until(lambda: len(store.saves) == 2)
        assert b'"before","during"' in store.saves[1][0].body


async def test_an_unchanged_session_is_not_saved() -> None:
    """A flush writes what changed and nothing else; a session that only was read stays unwritten."""
    store = Failing()
    async with manager_of(store) as manager:
        session = await manager.get("alice")
        session.record("came")
        await manager.flush()
        assert session.data == {}
        await manager.flush()
    assert len(store.saves) == 1


async def test_data_changed_in_place_is_saved_by_itself() -> None:
    """What a spider changes inside session.data is saved within the interval though nothing else happens."""
    store = Failing()
    async with manager_of(store, save_interval=0) as manager:
        session = await manager.get("alice")
        session.data["cart"] = []
        await until(lambda: store.saves)
        store.saves.clear()
        session.data["cart"].append("book")  # type: ignore[union-attr]
        await until(lambda: store.saves)
        assert b'"cart":["book"]' in store.saves[0][0].body


async def test_data_changed_with_the_session_is_saved_once() -> None:
    """Data that changed together with its session is one save, not two."""
    store = Failing()
    async with manager_of(store) as manager:
        session = await manager.get("alice")
        session.data["step"] = 1
        session.record("came")
        await manager.flush()
        await manager.flush()
    assert len(store.saves) == 1


async def test_many_sessions_go_in_batches() -> None:
    """Many changed sessions are saved in several transactions, so that other processes get in between."""
    store = Failing()
    async with manager_of(store, save_interval=60) as manager:
        for number in range(1201):
            (await manager.get(str(number))).record("came")
    sizes = [len(rows) for rows in store.saves]
    assert sum(sizes) == 1201
    assert max(sizes) <= 500


async def test_a_transient_session_is_never_saved() -> None:
    """A session that lives for this crawl only never reaches the store."""
    store = Failing()
    async with manager_of(store) as manager:
        session = await registry_of(manager).obtain(Claim(None, None, transient=object()))
        session.record("came")
        session.watched_data().current["data"]["step"] = 1
    assert store.saves == []


async def test_a_failing_store_keeps_sessions_to_be_saved(caplog: pytest.LogCaptureFixture) -> None:
    """While saving fails it is counted each time, told once, and what changed is saved when it works again."""
    store = Failing()
    counts: Counter[str] = Counter()
    store.broken.add("save")
    async with manager_of(store, counts, save_interval=0) as manager:
        session = await manager.get("alice")
        session.record("one")
        await until(lambda: counts["save_errors"] >= 3)
        session.record("two")
        assert runtime_of(session).dirty
        assert caplog.text.count("could not be saved") == 1
        store.broken.clear()
        # Not the first save: that may have been encoded before the second record.
        await until(lambda: any(b'"one","two"' in rows[0].body for rows in store.saves))


async def test_a_single_save_that_fails_is_tried_again() -> None:
    """By itself, within the interval: nothing else has to change before."""
    store = Failing()
    settings = SessionsSettings(save_interval=0.01)
    async with SessionManager(store=store, namespace="shop", settings=settings) as manager:
        session = await manager.get("alice")
        store.broken.add("save")
        with pytest.raises(StoreError):
            await manager.save_session("alice", session)
        store.broken.clear()
        await until(lambda: store.saves)
        assert [[row.session_id for row in rows] for rows in store.saves] == [["alice"]]


async def test_a_second_failure_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    """After a save that worked, the next failure is told of again."""
    store = Failing()
    async with manager_of(store, save_interval=0) as manager:
        session = await manager.get("alice")
        for times in (1, 2):
            store.broken.add("save")
            session.record("came")
            await until(lambda: caplog.text.count("could not be saved") == times)  # noqa: B023  # asked now only
            store.broken.clear()
            await until(lambda: not runtime_of(session).dirty)
            await manager.flush()


async def test_failing_to_load_for_a_merge_forgets_nothing() -> None:
    """A session in conflict, whose stored record can't be had at the moment, is saved later."""
    store = Failing()
    async with manager_of(store, save_interval=60) as one, manager_of(store) as two:
        mine = await one.get("alice")
        (await two.get("alice")).record("theirs")
        await two.flush()
        mine.record("mine")
        store.broken.add("load")
        with pytest.raises(StoreError, match="load"):
            await one.flush()
        assert runtime_of(mine).dirty
        store.broken.clear()
        await one.flush()
        assert mine.actions == ["theirs", "mine"]


async def test_a_cancelled_flush_takes_place_once() -> None:
    """A flush whose waiter was cancelled halfway is completed: nothing is lost, and nothing counted twice."""
    written, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Failing):
        async def save(self, rows: Sequence[Row]) -> list[Outcome]:
            outcomes = await super().save(rows)
            written.set()
            await go_on.wait()
            return outcomes

    store = Slow()
    async with manager_of(store, save_interval=60) as manager:
        session = await manager.get("alice")
        runtime_of(session).pages_visited = 1
        session.record("came")
        flushing = asyncio.ensure_future(manager.flush())
        await written.wait()
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        go_on.set()
        session.record("later")
        await manager.flush()
        record = await manager.load_session("alice")
        assert record is not None
        assert (record.pages_visited, record.actions_performed) == (1, ["came", "later"])
    assert len(store.saves) == 2


async def test_a_flush_cancelled_while_it_encodes_forgets_nothing() -> None:
    """Sessions that were taken up by a flush, but not yet given to the store when it was cancelled, are saved."""
    store = Failing()
    async with manager_of(store, save_interval=3600) as manager:
        for number in range(400):
            session = await manager.get(str(number))
            session.record("x" * 20_000)  # large enough for the loop to get its turn in between
        flushing = asyncio.ensure_future(manager.flush())
        await until(lambda: not registry_of(manager).cache._recent["0"].dirty)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
    assert len({row.session_id for rows in store.saves for row in rows}) == 400


async def test_a_change_that_always_meets_another_ends() -> None:
    """A session that changes elsewhere at every try is an error in the end, and stays to be saved."""
    tries: list[int] = []

    class Contended(Failing):
        async def save(self, rows: Sequence[Row]) -> list[Outcome]:
            tries.append(len(rows))
            return [Outcome.CONFLICT] * len(rows)

    async with manager_of(store := Contended(), save_interval=60) as manager:
        session = await manager.get("alice")
        session.record("came")
        with pytest.raises(StoreError, match="for example 'alice': let fewer processes share a session"):
            await manager.flush()
        assert runtime_of(session).dirty
        assert len(tries) == 20
        store.save = Failing.save.__get__(store)  # type: ignore[method-assign]


async def test_the_last_try_counts() -> None:
    """A session that is saved at the very last try is saved, and that is no error."""
    tries: list[int] = []

    class Contended(Failing):
        async def save(self, rows: Sequence[Row]) -> list[Outcome]:
            tries.append(len(rows))
            return await super().save(rows) if len(tries) == 20 else [Outcome.CONFLICT] * len(rows)

    async with manager_of(Contended(), save_interval=60) as manager:
        session = await manager.get("alice")
        session.record("came")
        await manager.flush()
        assert runtime_of(session).revision == 1


@pytest.mark.parametrize("value", [object(), threading.Lock(), "\ud800", Spam()])
async def test_data_that_is_not_json_costs_only_the_data(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What isn't JSON in session.data is told, counted and left out; the rest of the session is saved, and others."""
    store = Failing()
    counts: Counter[str] = Counter()
    async with manager_of(store, counts, save_interval=60) as manager:
        session = await manager.get("alice")
        session.data["things"] = [1]
        await manager.flush()
        session.data["things"].append(value)
        session.record("came")
        (await manager.get("bob")).record("came")
        await manager.flush()
        assert counts["save_errors"] == 1
        assert "'alice'" in caplog.text
        assert "session.data" in caplog.text
        runtime_of(session).closed = True  # what the store has now is what counts
    async with manager_of(store) as manager:
        alice = await manager.get("alice")
        assert alice.actions == ["came"]
        assert alice.data == {"things": [1]}
        assert (await manager.get("bob")).actions == ["came"]


async def test_data_put_right_is_saved() -> None:
    """Once the spider has put its data right, it is saved."""
    store = Failing()
    async with manager_of(store, save_interval=60) as manager:
        session = await manager.get("alice")
        session.data["things"] = things = [1]
        things.append(object())
        session.record("came")
        await manager.flush()
        things[:] = [2]
        await manager.flush()
    assert b'"things":[2]' in store.saves[-1][0].body


async def test_a_session_that_cannot_be_saved_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """A session that holds something impossible elsewhere is told of and counted, and the others are saved."""
    store = Failing()
    counts: Counter[str] = Counter()
    async with manager_of(store, counts) as manager:
        (await registry_of(manager).get("alice")).last_activity = float("inf")
        (await manager.get("alice")).record("came")
        (await manager.get("bob")).record("came")
        await manager.flush()
        assert [[row.session_id for row in rows] for rows in store.saves] == [["bob"]]
    assert counts["save_errors"] == 1
    assert "'alice'" in caplog.text


async def test_saved_sessions_are_counted() -> None:
    """Each session written is counted once."""
    counts: Counter[str] = Counter()
    async with manager_of(Failing(), counts) as manager:
        for name in ("alice", "bob"):
            (await manager.get(name)).record("came")
    assert counts["saved"] == 2


async def test_no_value_is_told_when_saving_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Neither cookies nor data are quoted when a save goes wrong."""
    caplog.set_level(logging.DEBUG)
    async with manager_of(Failing()) as manager:
        session = await manager.get("alice")
        session.cookies.set("sid", "s3cret", domain="shop.example")
        session.data["token"] = token = {}
        token["s3cret"] = object()
        await manager.flush()
    assert "s3cret" not in caplog.text
    assert "can't be saved" in caplog.text


async def test_the_loop_goes_on_during_a_large_flush() -> None:
    """While 10,000 changed sessions are flushed, the loop has its turn again and again, not only between batches."""
    async with manager_of(MemoryStore(), save_interval=3600) as manager:
        for number in range(10_000):
            session = await manager.get(str(number))
            for step in range(20):
                session.record(f"GET https://shop.example/p/{step} 200")
        flushing = asyncio.ensure_future(manager.flush())
        beats = 0
        while not flushing.done():
            await asyncio.sleep(0)
            beats += 1
        await flushing
        assert not any(session.dirty for session in registry_of(manager).cache._recent.values())
    assert beats > 40  # this store never waits, so every beat came in the middle of a batch


async def test_close_waits_for_the_save_under_way() -> None:
    """close() lets a save in the background finish before it is done."""
    store = Failing()
    manager = manager_of(store, save_interval=0)
    await manager.open()
    session: BrowserSession = await manager.get("alice")
    session.record("came")
    await until(lambda: not runtime_of(session).dirty)  # being saved
    await manager.close()
    assert len(store.saves) == 1
    assert runtime_of(session).revision == 1


async def test_data_that_holds_itself_costs_only_the_data(caplog: pytest.LogCaptureFixture) -> None:
    """A dict inside itself can't be saved, and keeps neither its session nor another from being saved; said once."""
    async with SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice, bob = await manager.get("alice"), await manager.get("bob")
        alice.data["me"] = me = {}
        me["me"] = me
        bob.data["n"] = 1
        alice.record("one")
        await manager.flush()
        alice.record("two")
        await manager.flush()
        stored = await manager.store.load(Key("shop", "alice"))
        assert stored is not None
        assert decode(stored).actions_performed == ["one", "two"]
        assert await manager.store.load(Key("shop", "bob")) is not None
    assert len([r for r in caplog.records if "data as last saved" in r.getMessage()]) == 1


async def test_no_timer_outlives_the_manager() -> None:
    """What changes while or after the manager closes starts no save by itself; opened again, it is saved."""
    store = MemoryStore()
    manager = manager_of(store, save_interval=0)
    await manager.open()
    session = await manager.get("alice")
    await manager.close()
    before = asyncio.all_tasks()
    session.record("late")
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert await store.load(Key("shop", "alice")) is None
    await manager.open()
    await until(lambda: not runtime_of(session).dirty)
    await manager.close()
    assert await store.load(Key("shop", "alice")) is not None
