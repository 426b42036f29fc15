"""A crawl whose SQLite file is deleted or replaced in the middle: at its end all of its sessions are on disk."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scrapy.http import Response

from scrapy_sessions import PersistentSession, SessionManager
from scrapy_sessions.extension import SessionsExtension
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages

IDS = ("alice", "bob", "carol")


def copy(path: Path) -> None:
    """Make a backup of the store."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(f"{path}.copy")) as target:
        source.backup(target)


def delete_file(path: Path) -> None:
    path.unlink()


def delete_files(path: Path) -> None:
    for file in path.parent.glob("s.db*"):
        file.unlink()


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def delete_wal(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def restore(path: Path) -> None:
    """Put the backup in the place of the store, as an operator does it."""
    Path(f"{path}.copy").replace(path)


def put_another(path: Path) -> None:
    """Put a store in its place that has another session, and one of an earlier life of alice."""

    async def make() -> None:
        async with SessionManager(f"{path}.other", namespace="pages", clock=lambda: 1.0) as manager:
            for session_id in ("alice", "dora"):
                (await manager.get(session_id)).data["of"] = "another"

    asyncio.run(make())
    Path(f"{path}.other").replace(path)


class Harmed(Pages):
    """Visits a page in each session; makes a copy of the store after three pages, and harms it after the sixth."""

    harm: Callable[[Path], None]
    path: Path

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.turn = asyncio.Lock()

    async def parse(self, response: Response, **kwargs: Any) -> Any:
        self.responses.append(response)
        count = len(self.responses)  # now: other pages come while this waits
        extension = self.crawler.get_extension(SessionsExtension)
        assert extension is not None
        if count in (3, 6):
            async with self.turn:
                await extension.manager.flush()
                await asyncio.to_thread(copy if count == 3 else self.harm, self.path)


async def crawled(
    site: Site, path: Path, harm: Callable[[Path], None], pages: int
) -> tuple[dict[str, Any], dict[str, PersistentSession]]:
    """Get *pages* in each session, one after the other, and return the stats and the stored records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"SESSIONS_STORE": sqlite_url(path), "CONCURRENT_REQUESTS": 1, "SESSIONS_IDLE_TIMEOUT": 0}
    urls = [
        (site.url("/answer", set=f"page={number}"), {"session_id": session_id})
        for number in range(pages)
        for session_id in IDS
    ]
    crawler = await crawl(Harmed, settings, urls=urls, harm=harm, path=path)
    async with SessionManager(path, namespace="pages") as manager:
        records = {
            info["session_id"]: await manager.load_session(info["session_id"]) for info in await manager.list_sessions()
        }
    return session_stats(crawler), {session_id: record for session_id, record in records.items() if record is not None}


HARMS = [delete_file, delete_files, delete_folder, delete_wal, restore, put_another]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("pages", [2, 4])
async def test_all_sessions_are_on_disk(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], pages: int
) -> None:
    """Whatever happened to the file, before the last page or after it, every session is there with all it did."""
    stats, records = await crawled(site, tmp_path / "sessions" / "s.db", harm, pages)
    assert set(records) - {"dora"} == set(IDS)
    for session_id in IDS:
        record = records[session_id]
        assert (record.pages_visited, record.metrics.requests, len(record.actions_performed)) == (pages,) * 3
        assert [cookie.value for cookie in record.cookies] == [str(pages - 1)]
        assert record.data == {}
    assert (stats["created"], stats["store_replaced"], stats.get("save_errors")) == (3, 1, None)
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "was deleted or replaced while it was in use" in errors[0]


@pytest.mark.parametrize("harm", [delete_file, delete_folder])
async def test_the_new_files_are_private(site: Site, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """A file, and a folder, that were created again have the modes of new ones."""
    folder = tmp_path / "sessions"
    await crawled(site, folder / "s.db", harm, 3)
    assert stat.S_IMODE((folder / "s.db").stat().st_mode) == 0o600
    if harm is delete_folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_what_else_the_new_store_contains_stays(site: Site, tmp_path: Path) -> None:
    """Sessions of the store that was put in its place are not touched."""
    _, records = await crawled(site, tmp_path / "s.db", put_another, 3)
    assert records["dora"].data == {"of": "another"}


async def test_a_deletion_holds_in_the_new_store(tmp_path: Path) -> None:
    """A session deleted after the file was replaced by a copy is deleted from the copy."""
    path = tmp_path / "s.db"
    async with SessionManager(path, namespace="shop") as manager:
        (await manager.get("alice")).data["a"] = 1
        await manager.flush()
        await asyncio.to_thread(copy, path)
        restore(path)
        assert await manager.delete_session("alice")
    async with SessionManager(path, namespace="shop") as manager:
        assert await manager.load_session("alice") is None


async def test_two_managers_lose_nothing(tmp_path: Path) -> None:
    """Two processes that share a session keep what each did to it, when their file is deleted between."""
    path = tmp_path / "s.db"
    async with SessionManager(path, namespace="shop") as one, SessionManager(path, namespace="shop") as two:
        (await one.get("alice")).data["first"] = 1
        await one.flush()
        (await two.get("alice")).data["second"] = 2
        (await one.get("alice")).data["third"] = 3
        path.unlink()
        await one.flush()
        await two.flush()
        record = await two.load_session("alice")
    assert record is not None
    assert record.data == {"first": 1, "second": 2, "third": 3}
