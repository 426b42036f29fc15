"""Forking a session: to a new id, or in place of one that exists."""

from __future__ import annotations

import pytest

from scrapy_sessions import SessionError, SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.storage import MemoryStore


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
