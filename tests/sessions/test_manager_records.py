"""The manager alone: saving, loading and restoring records."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scrapy_sessions import BrowserSession, InvalidSessionId, PersistentSession, SessionManager
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.testing import Clock
from tests.support.stores import Failing


async def test_saving_a_new_session_returns_true(tmp_path: Path) -> None:
    """A session that was never saved is written, and that is True."""
    async with SessionManager(tmp_path) as manager:
        assert await manager.save_session("alice", BrowserSession("alice")) is True
        assert isinstance(await manager.load_session("alice"), PersistentSession)


async def test_saving_again_returns_true(tmp_path: Path) -> None:
    """A session that is stored already is written again, and that is True."""
    async with SessionManager(tmp_path) as manager:
        session = BrowserSession("alice")
        await manager.save_session("alice", session)
        session.record("again")
        assert await manager.save_session("alice", session) is True
    async with SessionManager(tmp_path) as manager:
        record = await manager.load_session("alice")
        assert record is not None
        assert record.actions_performed == ["again"]
        assert record.revision == 2


async def test_saving_under_another_id_is_refused(tmp_path: Path) -> None:
    """A session can't be saved as another one; both ids are named."""
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(InvalidSessionId, match=r"'bob' can't be saved as 'alice'"):
            await manager.save_session("alice", BrowserSession("bob"))
        assert await manager.load_session("alice") is None


async def test_saved_by_hand_is_kept_from_then_on(tmp_path: Path) -> None:
    """What a session does after save_session() is saved without another call."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        session = BrowserSession("alice")
        await manager.save_session("alice", session)
        session.record("later")
        assert await manager.get("alice") is session
    async with SessionManager(tmp_path, namespace="shop") as manager:
        record = await manager.load_session("alice")
        assert record is not None
        assert record.actions_performed == ["later"]


async def test_saving_without_namespace_goes_to_default(tmp_path: Path) -> None:
    """A manager without a namespace saves in the namespace "default"."""
    async with SessionManager(tmp_path) as manager:
        await manager.save_session("alice", BrowserSession("alice"))
        assert [info["namespace"] for info in await manager.list_sessions()] == ["default"]


async def test_saving_goes_to_the_managers_namespace(tmp_path: Path) -> None:
    """A manager with a namespace saves in that one, wherever the session was created."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
        assert [info["namespace"] for info in await manager.list_sessions()] == ["shop"]


async def test_loading_what_is_not_there_returns_none(tmp_path: Path) -> None:
    """load_session() of an unknown id is None, and makes nothing."""
    async with SessionManager(tmp_path) as manager:
        assert await manager.load_session("alice") is None
        assert await manager.list_sessions() == []


async def test_loading_an_expired_session() -> None:
    """load_session() shows expired and retired sessions too."""
    store, clock = Failing(), Clock()
    async with SessionManager(store=store, clock=clock) as manager:
        session = BrowserSession("alice", idle_timeout=10, clock=clock)
        session.retire("blocked")
        await manager.save_session("alice", session)
    clock.now += 100
    async with SessionManager(store=store, clock=clock) as manager:
        record = await manager.load_session("alice")
        assert record is not None
        assert record.retired_reason == "blocked"


async def test_loading_shows_what_is_not_saved_yet() -> None:
    """load_session() gives a live session as it is now, not as it was last saved."""
    async with SessionManager(store=Failing(), namespace="shop") as manager:
        session = await manager.get("alice")
        await manager.flush()
        session.data["step"] = 2
        record = await manager.load_session("alice")
        assert record is not None
        assert record.data == {"step": 2}


async def test_restoring_fills_the_session(tmp_path: Path) -> None:
    """restore_session() is True and gives the session all that its record holds."""
    async with SessionManager(tmp_path) as manager:
        session = BrowserSession("alice")
        session.cookies.set("sid", "1", domain="shop.example")
        session.headers.set("X-Token", "t", url="https://shop.example")
        session.data["cart"] = [1, 2]
        session.local_storage["https://shop.example"] = {"theme": "dark"}
        session.record("looked")
        session.new_generation()
        await manager.save_session("alice", session)
        before = session.snapshot()
    async with SessionManager(tmp_path) as manager:
        restored = BrowserSession("alice")
        assert await manager.restore_session("alice", restored) is True
        assert restored.snapshot() == before


async def test_restoring_what_is_not_there_changes_nothing(tmp_path: Path) -> None:
    """restore_session() of an unknown id is False, and the session stays as it was."""
    async with SessionManager(tmp_path) as manager:
        session = BrowserSession("alice")
        session.data["mine"] = 1
        assert await manager.restore_session("alice", session) is False
        assert session.data == {"mine": 1}


async def test_restoring_an_expired_session_changes_nothing() -> None:
    """restore_session() of an expired session is False, and its record stays."""
    store, clock = Failing(), Clock()
    async with SessionManager(store=store, clock=clock) as manager:
        session = BrowserSession("alice", idle_timeout=10, clock=clock)
        session.data["old"] = 1
        await manager.save_session("alice", session)
    clock.now += 10
    async with SessionManager(store=store, clock=clock) as manager:
        fresh = BrowserSession("alice", clock=clock)
        assert await manager.restore_session("alice", fresh) is False
        assert fresh.data == {}
        assert await manager.load_session("alice") is not None


async def test_restoring_under_another_id_is_refused(tmp_path: Path) -> None:
    """The record of one id can't be restored into the session of another."""
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(InvalidSessionId, match="'alice' can't be restored into 'bob'"):
            await manager.restore_session("alice", BrowserSession("bob"))


async def test_restored_is_kept_from_then_on(tmp_path: Path) -> None:
    """What a restored session does is saved without another call, also if it was touched before it was restored."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path, namespace="shop") as manager:
        session = BrowserSession("alice")
        session.record("before")
        await manager.restore_session("alice", session)
        session.record("after")
    async with SessionManager(tmp_path, namespace="shop") as manager:
        record = await manager.load_session("alice")
        assert record is not None
        assert record.actions_performed == ["after"]


async def test_restoring_a_live_session_makes_no_second_one() -> None:
    """Of a session that is live, restore_session() gives a copy that nobody keeps."""
    async with SessionManager(store=Failing(), namespace="shop") as manager:
        live = await manager.get("alice")
        live.data["step"] = 1
        copy = BrowserSession("alice")
        assert await manager.restore_session("alice", copy) is True
        assert copy.data == {"step": 1}
        copy.data["step"] = 2
        assert await manager.get("alice") is live
        assert live.data == {"step": 1}


@pytest.mark.parametrize("method", ["load_session", "delete_session", "get_session_info"])
async def test_ids_are_checked(tmp_path: Path, method: str) -> None:
    """Every method refuses an id that can't be one."""
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(InvalidSessionId, match="must not be empty"):
            await getattr(manager, method)("")


async def test_methods_open_the_store() -> None:
    """The methods open the store by themselves, once."""
    store = Failing()
    manager = SessionManager(store=store)
    await manager.save_session("alice", BrowserSession("alice"))
    await asyncio.gather(manager.list_sessions(), manager.load_session("alice"))
    assert store.opened == 1
    await manager.close()


async def test_a_store_given_is_not_closed() -> None:
    """A store that was passed in stays open; who made it closes it."""
    store = Failing()
    async with SessionManager(store=store) as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    assert store.closed == 0


async def test_either_path_or_store(tmp_path: Path) -> None:
    """A path and a store together are a mistake of the caller."""
    with pytest.raises(TypeError, match="either storage_path or store"):
        SessionManager(tmp_path, store="memory://")


@pytest.mark.parametrize(("path", "file"), [("s.db", "s.db"), ("folder", "folder/sessions.db")])
async def test_storage_path(tmp_path: Path, path: str, file: str) -> None:
    """A path is an SQLite file, or a folder for one."""
    async with SessionManager(str(tmp_path / path)) as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    assert (tmp_path / file).is_file()


@pytest.mark.parametrize(
    "path",
    [
        "redis://:hunter2@prod:6379/0",
        Path("redis://:hunter2@prod:6379/0"),
        "memory://",
        "memory:",
        ":memory:",
        "sqlite:///s.db",
        "postgres://me:hunter2@prod/x",
    ],
    ids=str,
)
def test_a_url_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | Path) -> None:
    """A URL as storage_path is refused, without its password: it would be a folder of that name on this machine."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SessionConfigurationError, match=r"A URL isn't the path .* as store\.") as caught:
        SessionManager(path)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_store_by_url(tmp_path: Path) -> None:
    """A store can be given by its URL, as in SESSIONS_STORE."""
    async with SessionManager(store=f"sqlite:///{tmp_path}/other.db") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    assert (tmp_path / "other.db").is_file()
