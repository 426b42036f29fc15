"""SessionManager shows its documented names only, and iter_sessions reads the sessions in pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionError, SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.storage import MemoryStore, SQLiteStore
from scrapy_sessions.testing import make_row
from tests.support.docs_pages import DOCS, text_of

NAMES = [
    *("open", "close", "flush", "store", "namespace"),
    *("save_session", "load_session", "restore_session", "delete_session", "cleanup_expired_sessions", "cleanup"),
    *("get_session_info", "list_sessions", "iter_sessions", "get", "fork_session", "open_browser", "save_browser"),
]


class Counting(MemoryStore):
    """Counts the pages that were read."""

    pages_read = 0

    async def list_with_expiry(self, **options: Any) -> Any:
        self.pages_read += 1
        return await super().list_with_expiry(**options)


async def ids(manager: SessionManager, **filters: Any) -> list[str]:
    """Return the ids that iter_sessions yields."""
    return [info["session_id"] async for info in manager.iter_sessions(**filters)]


def test_manager_shows_its_documented_names() -> None:
    """The manager has the documented names and no others; what modules need among themselves is in the registry."""
    manager = SessionManager(store="memory://")
    assert [name for name in dir(manager) if not name.startswith("_")] == sorted(NAMES)
    assert vars(manager) == {"_registry": registry_of(manager), "_contexts": {}}


@pytest.mark.parametrize("name", NAMES)
def test_name_is_documented(name: str) -> None:
    """Each name has a docstring and is listed in the reference."""
    assert getattr(SessionManager, name).__doc__
    reference = text_of(DOCS / "reference" / "api.rst")
    members = re.search(r"autoclass:: scrapy_sessions\.SessionManager\n    :members: ((?:.+\n)+)", reference)
    assert members is not None
    assert name in re.split(r",\s+", members[1].strip())


async def test_store_and_namespace(tmp_path: Path) -> None:
    """The manager says which store and namespace it uses."""
    manager = SessionManager(tmp_path / "s.db", namespace="shop")
    assert isinstance(manager.store, SQLiteStore)
    assert (manager.store.location, manager.namespace) == (str(tmp_path / "s.db"), "shop")
    assert SessionManager(store="memory://").namespace is None


async def test_iter_sessions_reads_pages() -> None:
    """All sessions are yielded in the order of list_sessions, in pages of 2000, and only the needed pages are read."""
    store = Counting()
    await store.save([make_row(f"s{number:04}", last_activity=float(number % 7)) for number in range(4500)])
    async with SessionManager(store=store, namespace="shop") as manager:
        listed = [info["session_id"] for info in await manager.list_sessions()]
        store.pages_read = 0
        assert await ids(manager) == listed
        assert store.pages_read == 3
        store.pages_read = 0
        async for info in manager.iter_sessions():
            assert info["session_id"] == listed[0]
            break
        assert store.pages_read == 1


async def test_iter_sessions_filters() -> None:
    """Pool, status, namespace and start are those of list_sessions."""
    store = MemoryStore()
    await store.save(
        [
            make_row("a", pool="staff", last_activity=9.0),
            make_row("b", pool="staff", status="retired", last_activity=8.0),
            make_row("c", last_activity=7.0),
            make_row("d", namespace="news", last_activity=6.0),
        ]
    )
    async with SessionManager(store=store, namespace="shop") as manager:
        assert await ids(manager) == ["a", "b", "c"]
        assert await ids(manager, pool="staff", status="retired") == ["b"]
        assert await ids(manager, after="a") == ["b", "c"]
        (first, *_) = await manager.list_sessions()
        assert await ids(manager, after=first) == ["b", "c"]
        with pytest.raises(SessionError, match="There is no session 'nobody' to list from"):
            await ids(manager, after="nobody")
    async with SessionManager(store=store) as manager:
        assert await ids(manager) == ["a", "b", "c", "d"]


async def test_iter_sessions_has_the_latest_changes() -> None:
    """A live session that was not saved yet is saved, and yielded."""
    async with SessionManager(store="memory://", namespace="shop") as manager:
        (await manager.get("alice")).record("came")
        assert await ids(manager) == ["alice"]
