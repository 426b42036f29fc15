"""The counters of live sessions become rows: each action once, in the hour of its save."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import BrowserSession, SessionManager, StoreError
from scrapy_sessions.analytics.model import FOLDED, HOUR, HourCounts, hour_of
from scrapy_sessions.pools.claim import Claim
from scrapy_sessions.sessions.browser_session import runtime_of, view_of
from scrapy_sessions.sessions.collector import flush_interval
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Batch, MemoryStore, SessionStore, SQLiteStore
from scrapy_sessions.testing import Clock
from tests.support.plain_store import PlainStore
from tests.support.waiting import HANG

NOON = 1_800_000_000.0 // HOUR * HOUR


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON + 60)


def manager_of(store: SessionStore, clock: Clock, counts: Counter[str] | None = None, **given: Any) -> SessionManager:
    def count(name: str, n: int) -> None:
        if counts is not None:
            counts[name] += n

    settings = SessionsSettings(idle_timeout=0, **given)
    return SessionManager(store=store, namespace="shop", settings=settings, clock=clock, on_event=count)


def work(session: BrowserSession, times: int = 1, status: int = 200) -> None:
    """Count *times* pages in *session*."""
    runtime_of(session).requests += times
    runtime_of(session).pages_visited += times
    runtime_of(session).responses[status] = runtime_of(session).responses.get(status, 0) + times
    runtime_of(session).bytes += 10 * times
    runtime_of(session).latency += 0.5 * times
    runtime_of(session).changed()


async def kinds(store: Any) -> list[tuple[str, str]]:
    return [(event.kind, event.session_id) for event in reversed(await store.events("shop"))]


async def test_each_hour_has_its_row(clock: Clock) -> None:
    """What a session did in two hours is in two rows."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        session = await manager.get("alice", pool="default")
        work(session, 3)
        await manager.flush()
        clock.now += HOUR
        work(session, 2, status=503)
        await manager.flush()
        await manager.flush()
    assert await store.hour_counts("shop") == [
        HourCounts("shop", "default", "alice", int(NOON), 3, 3, responses={200: 3}, bytes=30, latency=1.5),
        HourCounts("shop", "default", "alice", int(NOON) + HOUR, 2, 2, responses={503: 2}, bytes=20, latency=1.0),
    ]


async def test_what_was_saved_in_an_hour_counts_in_that_hour(clock: Clock) -> None:
    """Counts that are written in the next hour belong to the hour of their save."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        session = await manager.get("alice")
        work(session, 3)
        await manager.save_session("alice", session)
        clock.now += HOUR
    assert [(row.hour, row.requests) for row in await store.hour_counts("shop")] == [(int(NOON), 3)]


async def test_counts_reach_the_store_by_themselves(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are written some time after a save, and again after the next one."""
    monkeypatch.setattr("scrapy_sessions.sessions.collector._SHORTEST", 0.01)
    written = asyncio.Event()

    class Signalling(MemoryStore):
        async def add_analytics(self, hours: Any, events: Any, batch: Batch | None = None) -> None:
            await super().add_analytics(hours, events, batch)
            if hours:
                written.set()

    store = Signalling(clock=clock)
    async with manager_of(store, clock, save_interval=0) as manager:
        session = await manager.get("alice")
        for total in (1, 2):
            work(session)
            await asyncio.wait_for(written.wait(), HANG)
            written.clear()
            assert [row.requests for row in await store.hour_counts("shop")] == [total]


@pytest.mark.parametrize(("save", "seconds"), [(0, 1), (0.1, 1), (1, 5), (3, 15), (60, 30)])
def test_the_interval_follows_that_of_saving(save: float, seconds: float) -> None:
    """There is one write for five saves, at least one second and at most 30 seconds after the last."""
    assert flush_interval(save) == seconds


async def test_a_merge_counts_nothing_twice(tmp_path: Path, clock: Clock) -> None:
    """Two managers use one session, save in turn and merge: each counts its own requests."""
    stores = [SQLiteStore(tmp_path / "s.db", clock=clock) for _ in range(2)]
    for store in stores:
        await store.open()
    managers = [manager_of(store, clock) for store in stores]
    one, other = [await manager.get("alice") for manager in managers]
    done = 0
    for turn in range(6):
        for number, (manager, session) in enumerate(zip(managers, (one, other), strict=True)):
            work(session, turn + number, status=200 + number)
            runtime_of(session).failures += 1
            done += turn + number
            if turn % 2 == number:
                await manager.flush()
            else:
                await registry_of(manager).refresh_record(runtime_of(session))  # merged before it was counted
    for manager in (*managers, *managers[:1]):
        await manager.flush()
        await manager.close()
    (row,) = await stores[0].hour_counts("shop")
    assert (row.requests, row.pages, row.bytes, row.failures) == (done, done, 10 * done, 12)
    assert sum(row.responses.values()) == done
    record = await SessionManager(store=stores[0], namespace="shop").load_session("alice")
    assert record is not None
    assert (record.metrics.requests, record.metrics.failures) == (row.requests, row.failures)
    for store in stores:
        await store.close()


async def test_restored_counters_are_not_counted(clock: Clock) -> None:
    """Counters restored from a record, by restore_session() too, are not counted again."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        work(await manager.get("alice"), 7)
    async with manager_of(store, clock) as manager:
        mine = BrowserSession("alice", clock=clock)
        assert await manager.restore_session("alice", mine)
        work(mine)
        assert await manager.save_session("alice", mine)
    assert [row.requests for row in await store.hour_counts("shop")] == [8]
    assert await kinds(store) == [("created", "alice")]


async def test_a_deleted_session_is_counted(clock: Clock) -> None:
    """What it did since its last save is counted, and its deletion is one event."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        session = await manager.get("alice", pool="default")
        session.record("came")
        await manager.flush()
        work(session, 4)
        assert await manager.delete_session("alice")
        assert not await manager.delete_session("alice")
    assert [row.requests for row in await store.hour_counts("shop")] == [4]
    assert await kinds(store) == [("created", "alice"), ("deleted", "alice")]
    assert (await store.events("shop"))[0].pool == "default"


async def test_retirement_is_one_event(clock: Clock) -> None:
    """A retirement is one event with the reason; another process that loads the session records none."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        for name in ("alice", "bob"):
            await manager.get(name)
        await manager.flush()
        (await manager.get("alice")).retire("seen at https://user:hunter2@shop.example/?key=hunter2")
        (await manager.get("bob")).retire("enough")
        await manager.flush()
        work(await manager.get("bob"))
        await manager.flush()
    async with manager_of(store, clock) as manager:
        (await manager.get("bob")).record("again")
    ends = [(event.session_id, event.detail) for event in await store.events("shop") if event.kind == "retired"]
    assert sorted(ends) == [("alice", "seen at https://shop.example/?key=…"), ("bob", "enough")]


async def test_the_manager_that_retires_records_the_event(clock: Clock) -> None:
    """Of two managers, one retires the session and merges before it saves: it alone records the event."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as one, manager_of(store, clock) as other:
        mine = await one.get("alice")
        work(mine)
        await one.flush()
        work(await other.get("alice"))
        mine.retire("enough")
        await other.flush()
        await registry_of(one).refresh_record(runtime_of(mine))
        await one.flush()
        await registry_of(other).refresh_record(await registry_of(other).get("alice"))
        work(await other.get("alice"))
    assert await kinds(store) == [("created", "alice"), ("retired", "alice")]


async def test_expiry_is_an_event_with_its_limit(clock: Clock) -> None:
    """An expired session, cleaned up or requested, is an event with the limit that was exceeded."""
    store = MemoryStore(clock=clock)
    settings = SessionsSettings(max_age=100)
    for use in ("clean", "ask"):
        async with SessionManager(store=store, namespace="shop", settings=settings, clock=clock) as manager:
            (await manager.get(use, pool="default")).record("came")
            await manager.flush()
            clock.now += 200
            await (manager.cleanup() if use == "clean" else manager.get(use))
    ends = [event for event in await store.events("shop") if event.kind == "expired"]
    assert [(e.session_id, e.detail, e.pool) for e in ends] == [
        ("ask", "max_age", "default"),
        ("clean", "max_age", "default"),
    ]


async def test_transient_sessions_have_no_row_of_their_own(clock: Clock) -> None:
    """Sessions that are never saved are counted together, and have no events."""
    store = MemoryStore(clock=clock)
    async with manager_of(store, clock) as manager:
        for number in (1, 2):
            work(view_of(await registry_of(manager).obtain(Claim(None, None, transient=number))), number)
        await manager.flush()
        session = view_of(await registry_of(manager).obtain(Claim(None, None, transient=1)))
        work(session)
        session.retire("enough")
    assert [(row.session_id, row.requests) for row in await store.hour_counts("shop")] == [(FOLDED, 4)]
    assert await store.events("shop") == []


class Breaking(MemoryStore):
    """Raises when analytics are written while it is ``broken``."""

    broken = True

    async def add_analytics(self, hours: Any, events: Any, batch: Batch | None = None) -> None:
        if self.broken:
            raise StoreError("The test's disk is full")
        await super().add_analytics(hours, events, batch)


async def test_a_failed_write_is_repeated(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A failed write is logged once, counted each time, and its rows are written when the store works again."""
    store = Breaking(clock=clock)
    counts: Counter[str] = Counter()
    with caplog.at_level(logging.INFO):
        async with manager_of(store, clock, counts) as manager:
            session = await manager.get("alice")
            for _ in range(3):
                work(session, 2)
                await manager.flush()
            store.broken = False
            work(session, 1)
    assert counts["analytics_errors"] == 3
    assert counts["saved"] == 4
    assert caplog.text.count("Analytics could not be written") == 1
    assert "The test's disk is full" in caplog.text
    assert [(row.requests, row.responses) for row in await store.hour_counts("shop")] == [(7, {200: 7})]
    assert await kinds(store) == [("created", "alice")]


async def test_a_write_whose_answer_was_lost_counts_once(clock: Clock) -> None:
    """Rows and events that were stored, although the store raised, aren't added again; later ones are."""

    class Deaf(MemoryStore):
        deaf = True

        async def add_analytics(self, hours: Any, events: Any, batch: Batch | None = None) -> None:
            await super().add_analytics(hours, events, batch)
            if self.deaf:
                raise StoreError("the answer is lost")

    store = Deaf(clock=clock)
    async with manager_of(store, clock) as manager:
        session = await manager.get("alice")
        for _ in range(3):
            work(session, 2)
            await manager.flush()
        store.deaf = False
        await manager.flush()
        work(session, 1)
    assert [row.requests for row in await store.hour_counts("shop")] == [7]
    assert await kinds(store) == [("created", "alice")]


async def test_a_flush_stops_at_the_first_failed_write(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first failed batch no other is tried, because each might wait for the store's timeout."""
    monkeypatch.setattr("scrapy_sessions.sessions.collector._BATCH", 2)
    store = Breaking(clock=clock)
    counts: Counter[str] = Counter()
    async with manager_of(store, clock, counts) as manager:
        for number in range(9):
            work(await manager.get(f"s{number}"))
        await manager.flush()
        assert counts["analytics_errors"] == 1
        store.broken = False
    rows = await store.hour_counts("shop")
    assert [(row.session_id, row.requests) for row in rows] == [(f"s{number}", 1) for number in range(9)]
    assert sorted(await kinds(store)) == [("created", f"s{number}") for number in range(9)]


async def test_unwritten_rows_are_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many unwritten rows, the oldest are folded into their pools; of many events, the newest are kept."""
    monkeypatch.setattr("scrapy_sessions.sessions.collector._MAX_UNWRITTEN", 3)
    monkeypatch.setattr("scrapy_sessions.sessions.collector._MAX_EVENTS", 2)
    store = Breaking(clock=clock)
    async with manager_of(store, clock) as manager:
        for number in range(5):
            work(await manager.get(f"s{number}"))
            await manager.flush()
        store.broken = False
    rows = await store.hour_counts("shop")
    assert rows[0].session_id == FOLDED
    assert len(rows) <= 3
    assert sum(row.requests for row in rows) == 5
    assert await kinds(store) == [("created", "s3"), ("created", "s4")]


async def test_a_store_without_the_ability(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Sessions work without analytics: nothing is collected, which is logged once."""
    with caplog.at_level(logging.DEBUG, "scrapy_sessions"):
        async with manager_of(PlainStore(clock=clock), clock) as manager:
            work(await manager.get("alice"))
            (await manager.get("alice")).retire("enough")
            await manager.flush()
            assert await manager.delete_session("alice")
    assert [record.message for record in caplog.records] == [
        "PlainStore is no AnalyticsStore: statistics and events are not stored"
    ]


class Slow(MemoryStore):
    """Blocks when analytics are written, until ``go`` is set."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def add_analytics(self, hours: Any, events: Any, batch: Batch | None = None) -> None:
        self.begun.set()
        await self.go.wait()
        await super().add_analytics(hours, events, batch)


async def test_a_cancelled_flush_completes(clock: Clock) -> None:
    """Whoever waits for a write may be cancelled: nothing is lost, or counted twice."""
    store = Slow(clock)
    async with manager_of(store, clock) as manager:
        session = await manager.get("alice")
        work(session, 5)
        await manager.save_session("alice", session)
        waiting = asyncio.ensure_future(registry_of(manager).analytics.flush())
        await store.begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        store.go.set()
    assert [row.requests for row in await store.hour_counts("shop")] == [5]


def test_hours_begin_where_clocks_say() -> None:
    """An hour begins at its full hour, UTC."""
    assert hour_of(NOON) == hour_of(NOON + 3599.9) == NOON
    assert hour_of(NOON - 0.1) == NOON - HOUR
