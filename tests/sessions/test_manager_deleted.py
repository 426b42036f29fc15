"""A deleted session stays deleted, whoever still holds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scrapy_sessions import BrowserSession, SessionManager
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import Row
from scrapy_sessions.storage.codec import encode
from tests.support.crawl import ENVIRONMENT
from tests.support.stores import Failing
from tests.support.waiting import HANG

DELETE_ELSEWHERE = """
import asyncio, sys
from scrapy_sessions import BrowserSession, SessionManager

async def main(path, anew):
    async with SessionManager(path, namespace="shop") as manager:
        assert await manager.delete_session("alice") is True
        if anew:
            session = BrowserSession("alice")
            session.data["made"] = "anew"
            assert await manager.save_session("alice", session) is True

asyncio.run(main(sys.argv[1], sys.argv[2] == "anew"))
"""


async def test_deleting_returns_whether_it_was_there(tmp_path: Path) -> None:
    """delete_session() is True once, then False."""
    async with SessionManager(tmp_path) as manager:
        await manager.save_session("alice", BrowserSession("alice"))
        assert await manager.delete_session("alice") is True
        assert await manager.delete_session("alice") is False
        assert await manager.load_session("alice") is None


async def test_deleting_one_that_was_never_saved() -> None:
    """A live session that isn't stored yet can be deleted too, and never reaches the store."""
    store = Failing()
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await manager.get("alice")
        session.record("did")
        assert await manager.delete_session("alice") is True
    assert store.saves == []


async def test_a_late_change_of_a_deleted_session_is_not_saved() -> None:
    """Who still holds a deleted session may change it: it isn't brought back."""
    store = Failing()
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await manager.get("alice")
        session.data["step"] = 1
        await manager.flush()
        await manager.delete_session("alice")
        session.record("late")
        session.data["step"] = 2
        assert await manager.save_session("alice", session) is False
    async with SessionManager(store=store, namespace="shop") as manager:
        assert await manager.load_session("alice") is None


async def test_after_a_deletion_the_id_begins_anew() -> None:
    """The id of a deleted session gives a new session, beside which the old one changes nothing."""
    async with SessionManager(store=Failing(), namespace="shop") as manager:
        old = await manager.get("alice")
        old.data["step"] = 1
        await manager.delete_session("alice")
        new = await manager.get("alice")
        assert new is not old
        old.record("late")
        assert await manager.save_session("alice", old) is False
        assert await manager.get("alice") is new
        record = await manager.load_session("alice")
        assert record is not None
        assert (record.data, record.actions_performed) == ({}, [])


async def test_deleted_by_another_manager() -> None:
    """What another manager deleted meanwhile is not saved again: False, and it stays away."""
    store = Failing()
    async with (
        SessionManager(store=store, namespace="shop") as one,
        SessionManager(store=store, namespace="shop") as two,
    ):
        session = await one.get("alice")
        session.record("early")
        await one.flush()
        await two.delete_session("alice")
        session.record("late")
        assert await one.save_session("alice", session) is False
        assert await two.load_session("alice") is None
        assert await one.get("alice") is not session


async def test_made_anew_by_another_manager_meanwhile() -> None:
    """Nor does a late save get into a session that another manager made anew under the id."""
    store = Failing()
    async with (
        SessionManager(store=store, namespace="shop") as one,
        SessionManager(store=store, namespace="shop") as two,
    ):
        session = await one.get("alice")
        session.cookies.set("sid", "old", domain="shop.example")
        await one.flush()
        await two.delete_session("alice")
        await two.save_session("alice", BrowserSession("alice"))
        session.record("late")
        assert await one.save_session("alice", session) is False
        record = await two.load_session("alice")
        assert record is not None
        assert (record.cookies, record.actions_performed) == ([], [])


async def test_made_anew_between_conflict_and_merge() -> None:
    """Nor if it was made anew at the last moment, after the store had reported a mere conflict."""
    store = Failing()
    async with (
        SessionManager(store=store, namespace="shop") as one,
        SessionManager(store=store, namespace="shop") as two,
    ):
        session = await one.get("alice")
        session.cookies.set("sid", "old", domain="shop.example")
        await one.flush()
        (await two.get("alice")).record("theirs")
        await two.flush()
        session.record("late")
        key = next(iter(store._rows))

        def make_anew() -> None:
            new = SessionRuntime("alice", namespace="shop")
            new.start_time += 1
            store._rows.pop(key)
            store._rows[key] = first_row(new)

        store.before["load"] = make_anew
        assert await one.save_session("alice", session) is False
        row = store._rows[key]
        assert row.revision == 1
        assert b"old" not in row.body


async def test_deleted_by_another_process(tmp_path: Path) -> None:
    """What another process deleted meanwhile is not saved again."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        session = await manager.get("alice")
        session.record("early")
        await manager.flush()
        elsewhere(tmp_path, "")
        session.record("late")
        assert await manager.save_session("alice", session) is False
        assert await manager.list_sessions() == []


async def test_made_anew_by_another_process(tmp_path: Path) -> None:
    """A session that another process made anew under the id stays as that process made it."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        session = await manager.get("alice")
        session.record("early")
        await manager.flush()
        elsewhere(tmp_path, "anew")
        session.data["made"] = "long ago"
        assert await manager.save_session("alice", session) is False
        record = await manager.load_session("alice")
        assert record is not None
        assert record.data == {"made": "anew"}


def elsewhere(path: Path, then: str) -> None:
    """Delete alice in another process, and make her anew if *then* says so."""
    subprocess.run([sys.executable, "-c", DELETE_ELSEWHERE, str(path), then], check=True, timeout=HANG, env=ENVIRONMENT)


def first_row(session: BrowserSession) -> Row:
    """The row of *session* at its first save."""
    record = session.snapshot()
    record.revision = 1
    return encode(record)
