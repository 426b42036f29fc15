"""A store that lost its data, or went back in time, while sessions are live: what is in memory is kept and wins."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import BrowserSession, SessionManager
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore
from tests.support.crawl import sqlite_url
from tests.support.stores import Failing


def manager_of(store: Any, counts: Counter[str] | None = None) -> SessionManager:
    def count(name: str, n: int) -> None:
        if counts is not None:
            counts[name] += n

    settings = SessionsSettings(save_interval=3600)
    return SessionManager(store=store, namespace="shop", settings=settings, on_event=count)


def lose_all(store: MemoryStore) -> None:
    """As if its server was started again without its data."""
    fresh = MemoryStore()
    store._rows, store._epoch = fresh._rows, fresh._epoch


def set_cookie(session: BrowserSession, value: str) -> None:
    session.cookies.set("sid", value, domain="shop.example")


def cookie(session: BrowserSession) -> str:
    (found,) = session.cookies
    return found.value


def revert(path: Path, copy: Path) -> None:
    """Put the content of *copy* into the file *path*, which stays the same file."""
    with contextlib.closing(sqlite3.connect(copy)) as source, contextlib.closing(sqlite3.connect(path)) as target:
        source.backup(target)


@pytest.mark.parametrize("moment", ["between two saves", "between the look and the save"])
async def test_a_store_that_lost_its_data(moment: str, caplog: pytest.LogCaptureFixture) -> None:
    """No live session is closed: all of them are saved again, one ERROR says so, and it is counted."""
    store, counts = Failing(), Counter[str]()
    async with manager_of(store, counts) as manager:
        sessions = [await manager.get(name) for name in ("alice", "bob")]
        for session in sessions:
            set_cookie(session, "first")
        await manager.flush()
        sessions[0].record("came")
        if moment == "between two saves":
            lose_all(store)
        else:
            store.before["save"] = lambda: lose_all(store)
        await manager.flush()
        await manager.flush()
        assert not any(runtime_of(session).closed for session in sessions)
    async with manager_of(store) as manager:
        assert [cookie(await manager.get(name)) for name in ("alice", "bob")] == ["first", "first"]
        assert (await manager.get("alice")).actions == ["came"]
    assert counts["store_replaced"] == 1
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "The 2 sessions in memory are saved again" in errors[0].getMessage()


async def test_deleted_sessions_are_closed() -> None:
    """What another process has deleted is closed, as ever: the store is still the same one."""
    store = MemoryStore()
    async with manager_of(store) as one, manager_of(store) as two:
        session = await one.get("alice")
        session.record("came")
        await one.flush()
        await two.delete_session("alice")
        session.record("again")
        await one.flush()
        assert runtime_of(session).closed
    assert store._rows == {}


@pytest.mark.parametrize("saves", [1, 2, 5])
async def test_a_store_that_went_back(tmp_path: Path, saves: int, caplog: pytest.LogCaptureFixture) -> None:
    """The cookie in memory wins, with as many saves as the store has lost; it is said once and counted once."""
    path, counts = tmp_path / "s.db", Counter[str]()
    async with manager_of(sqlite_url(path), counts) as manager:
        sessions = [await manager.get(name) for name in ("alice", "bob")]
        for session in sessions:
            set_cookie(session, "old")
        await manager.flush()
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as target,
        ):
            source.backup(target)
        for number in range(saves):
            for session in sessions:
                set_cookie(session, f"new {number}")
            await manager.flush()
        revert(path, tmp_path / "copy.db")
        for session in sessions:
            session.data["step"] = 1
        await manager.flush()
        assert [cookie(session) for session in sessions] == [f"new {saves - 1}"] * 2
    async with manager_of(sqlite_url(path)) as manager:
        stored = [await manager.get(name) for name in ("alice", "bob")]
        assert [(cookie(session), session.data) for session in stored] == [(f"new {saves - 1}", {"step": 1})] * 2
    assert counts["store_replaced"] == 1
    assert caplog.text.count("went back in time") == 1


async def test_another_clock_is_no_way_back() -> None:
    """Processes whose clocks differ share a session: neither takes the other's times for those of an older store."""
    store, counts = MemoryStore(), Counter[str]()
    settings = SessionsSettings(save_interval=3600, idle_timeout=0.0)

    def count(name: str, n: int) -> None:
        counts[name] += n

    async def use(manager: SessionManager, text: str, now: float) -> None:
        session = runtime_of(await manager.get("alice"))
        session.requests += 1
        session.last_activity = now
        session.set_data("data", {**session.data_of("data"), text: True})

    def process() -> SessionManager:
        return SessionManager(store=store, namespace="shop", settings=settings, on_event=count)

    async with process() as ahead, process() as behind:
        for number in range(5):
            await use(ahead, f"ahead {number}", 1_000_000.0 + number)
            await ahead.flush()
            await use(behind, f"behind {number}", 999_900.0 + number)
            await behind.flush()
    async with process() as manager:
        assert len((await manager.get("alice")).data) == 10
    assert "store_replaced" not in counts


async def test_all_live_sessions_are_saved_again(tmp_path: Path) -> None:
    """Sessions that didn't change since are restored in the store, too, and so are those that it has never had."""
    path = tmp_path / "s.db"
    async with manager_of(sqlite_url(path)) as manager:
        sessions = {name: await manager.get(name) for name in ("alice", "bob")}
        for session in sessions.values():
            set_cookie(session, "old")
        await manager.flush()
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as target,
        ):
            source.backup(target)
        sessions["carol"] = await manager.get("carol")
        for session in sessions.values():
            set_cookie(session, "new")
        await manager.flush()
        revert(path, tmp_path / "copy.db")
        for name in ("carol", "alice"):  # that carol is missing is seen first
            sessions[name].record("again")
        await manager.flush()
        await manager.flush()
    async with manager_of(sqlite_url(path)) as manager:
        assert [cookie(await manager.get(name)) for name in ("alice", "bob", "carol")] == ["new"] * 3


async def test_what_another_process_saved_after_that_is_merged(tmp_path: Path) -> None:
    """After the store went back, another process saves the revision that was there before: neither overwrites the
    other."""
    path = tmp_path / "s.db"
    async with manager_of(sqlite_url(path)) as one:
        mine = await one.get("alice")
        mine.record("first")
        await one.flush()
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as target,
        ):
            source.backup(target)
        mine.record("second")
        await one.flush()
        revert(path, tmp_path / "copy.db")
        async with manager_of(sqlite_url(path)) as two:
            (await two.get("alice")).record("theirs")
        mine.record("third")
        await one.flush()
    async with manager_of(sqlite_url(path)) as manager:
        assert set((await manager.get("alice")).actions) >= {"first", "theirs", "third"}
