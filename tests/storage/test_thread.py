"""The store's thread: what a caller's cancellation, order of calls and closing mean to it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.testing import make_row

ALICE = Key("shop", "alice")


async def opened(path: Path) -> tuple[SQLiteStore, threading.Thread]:
    """Open a store and return it with its thread."""
    before = set(threading.enumerate())
    store = SQLiteStore(path)
    await store.open()
    (thread,) = set(threading.enumerate()) - before
    return store, thread


def test_prepare_opens(tmp_path: Path) -> None:
    """prepare() makes and opens the file without an event loop, and open() then has nothing left to do."""

    async def use() -> None:
        await store.open()
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        await store.close()

    store = SQLiteStore(tmp_path / "s.db")
    store.prepare()
    assert (tmp_path / "s.db").stat().st_size > 0
    asyncio.run(use())


def test_prepare_raises(tmp_path: Path) -> None:
    """A bad file is known at prepare()."""
    (tmp_path / "s.db").write_bytes(b"not a database")
    with pytest.raises(StoreError, match="isn't a SQLite file"):
        SQLiteStore(tmp_path / "s.db").prepare()


def test_closed_store(tmp_path: Path) -> None:
    """A store that isn't open says so, before and after, and can be opened again."""

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        with pytest.raises(StoreError, match=r"is not open: call open\(\)"):
            await store.load(ALICE)
        await store.open()
        await store.save([make_row("alice")])
        await store.close()
        with pytest.raises(StoreError, match=r"is not open: call open\(\)"):
            await store.load(ALICE)
        await store.open()
        assert await store.load(ALICE) is not None
        await store.close()

    asyncio.run(use())


def test_close_ends_the_thread(tmp_path: Path) -> None:
    """Nothing runs on after close()."""

    async def use() -> None:
        store, thread = await opened(tmp_path / "s.db")
        await store.close()
        thread.join(5.0)
        assert not thread.is_alive()

    asyncio.run(use())


def test_cancelled_operations_leave_the_store_in_order(tmp_path: Path) -> None:
    """A cancelled save took place as a whole or not at all, and the store goes on."""

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        await store.open()
        for turn in range(30):
            batch = [make_row(f"{turn} {number}") for number in range(50)]
            save = asyncio.ensure_future(store.save(batch))
            load = asyncio.ensure_future(store.load(ALICE))
            for _ in range(turn % 5):
                await asyncio.sleep(0)
            save.cancel()
            load.cancel()
            await asyncio.gather(save, load, return_exceptions=True)
            saved = [await store.load(row.key) is not None for row in batch]
            assert len(set(saved)) == 1
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        await store.close()

    asyncio.run(use())


def test_cancelled_close_closes(tmp_path: Path) -> None:
    """A close() that is cancelled closes all the same, after what was under way."""

    async def use() -> None:
        store, thread = await opened(tmp_path / "s.db")
        save = asyncio.ensure_future(store.save([make_row(f"s{number}") for number in range(500)]))
        close = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
        close.cancel()
        assert await save == [Outcome.SAVED] * 500
        with pytest.raises(asyncio.CancelledError):
            await close
        await store.close()
        with pytest.raises(StoreError, match="not open"):
            await store.load(ALICE)
        thread.join(5.0)
        assert not (tmp_path / "s.db-wal").exists()  # the last connection takes it away when it closes

    asyncio.run(use())


def test_busy_database_waits(tmp_path: Path) -> None:
    """While another connection writes, a save waits, and takes place once that is done."""

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db", busy_timeout=20.0)
        await store.open()
        with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            save = asyncio.ensure_future(store.save([make_row("alice")]))
            done, _ = await asyncio.wait([save], timeout=0.2)
            assert not done
            other.execute("COMMIT")
        assert await save == [Outcome.SAVED]
        await store.close()

    asyncio.run(use())


def test_busy_for_too_long(tmp_path: Path) -> None:
    """A database that stays busy is an error in the end, which says how long it waited."""

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db", busy_timeout=0.1)
        await store.open()
        with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=r"locked.*longer than 0\.1 s") as caught:
                await store.save([make_row("alice")])
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
            assert await store.load(ALICE) is None  # readers don't wait for a writer
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]
        await store.close()

    asyncio.run(use())


def test_lease_time_counts_from_when_it_is_taken(tmp_path: Path) -> None:
    """The wait for a busy database is not taken off a lease's time."""

    async def use() -> None:
        moments = iter([100.0, 100.0])
        began = threading.Event()

        def clock() -> float:
            assert began.is_set()
            return next(moments)

        store = SQLiteStore(tmp_path / "s.db", clock=clock, busy_timeout=20.0)
        await store.open()
        with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            lease = asyncio.ensure_future(store.lease("shop", "login", 30.0))
            await asyncio.wait([lease], timeout=0.2)
            began.set()
            other.execute("COMMIT")
        taken = await lease
        assert taken is not None
        assert taken.expires_at == 130.0
        await store.close()

    asyncio.run(use())


def test_repr_is_the_path(tmp_path: Path) -> None:
    """The repr names the file and nothing else."""
    assert repr(SQLiteStore(tmp_path / "s.db")) == f"SQLiteStore({str(tmp_path / 's.db')!r})"
