"""What users may get wrong, in crawls: each error names the thing and the remedy, and nothing stored is lost."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scrapy.crawler import Crawler

from scrapy_sessions import (
    BrowserSession,
    InvalidSessionId,
    NewerSchema,
    SessionConfigurationError,
    SessionManager,
    SessionRetired,
    StoreError,
    UnknownPool,
    UnknownProfile,
)
from tests.support.crawl import Finished, crawl, run, session_stats, sqlite_url, status_of_a_failed_start
from tests.support.site import Site
from tests.support.spiders.pages import Pages
from tests.support.stores import NOBODY, Full

needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another")


async def pages(site: Site, *metas: dict[str, Any], **settings: Any) -> Crawler:
    """Crawl one page for each of *metas*."""
    urls = [(site.url(f"/answer/{number}"), meta) for number, meta in enumerate(metas)]
    return await crawl(Pages, {"SESSIONS_STORE": "memory://", **settings}, urls=urls)


def ids(path: Path) -> list[str]:
    """The ids of the stored sessions."""

    async def read() -> list[str]:
        async with SessionManager(path) as manager:
            return sorted(info["session_id"] for info in await manager.list_sessions())

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("meta", "error", "words"),
    [
        ({"session_id": ""}, InvalidSessionId, "must not be empty: leave the meta key out"),
        ({"session_id": "x" * 256}, InvalidSessionId, "at most 255 characters, this one has 256"),
        ({"session_id": "a\x00b"}, InvalidSessionId, r"printable characters only: 'a\x00b'"),
        ({"session_id": 7}, InvalidSessionId, "must be a string, not int (7): use str()"),
        ({"session_id": ["a"]}, InvalidSessionId, "must be a string, not list"),
        ({"session_pool": "shpo"}, UnknownPool, "no pool 'shpo' (did you mean shop?); there are: default, shop"),
        ({"session_pool": 7}, UnknownPool, "'session_pool' must be a string, not int"),
        ({"session_profile": "dsek"}, UnknownProfile, "no profile 'dsek' (did you mean desk?); there are: desk"),
        ({"session_profile": 7}, UnknownProfile, "'session_profile' must be a string, not int"),
    ],
)
async def test_a_bad_request(site: Site, meta: dict[str, Any], error: type[Exception], words: str) -> None:
    """A request that asks for what can't be goes to its errback, unsent; the others go on."""
    settings: dict[str, Any] = {"SESSIONS_POOLS": {"shop": {}}, "SESSIONS_PROFILES": {"desk": {}}}
    crawler = await pages(site, meta, {"session_id": "alice"}, **settings)
    spider = crawler.spider
    assert isinstance(spider, Pages)
    assert [type(failure) for failure in spider.failures] == [error]
    assert words in str(spider.failures[0])
    assert [arrival.path for arrival in site.journal("/answer")] == ["/answer/1"]


async def test_a_retired_session(tmp_path: Path, site: Site) -> None:
    """A request in a retired session goes to its errback, with the reason and the remedy."""
    async with SessionManager(tmp_path / "s.db", namespace="pages") as manager:
        session = BrowserSession("alice")
        session.retire("banned")
        await manager.save_session("alice", session)
    metas = ({"session_id": "alice"}, {"session_id": "bob"})
    crawler = await pages(site, *metas, SESSIONS_STORE=sqlite_url(tmp_path / "s.db"))
    spider = crawler.spider
    assert isinstance(spider, Pages)
    (failure,) = spider.failures
    assert isinstance(failure, SessionRetired)
    assert "'alice' was retired (banned): put it back into use with 'scrapy sessions unretire'" in str(failure)
    assert len(spider.responses) == 1


async def test_a_newer_record(tmp_path: Path, site: Site) -> None:
    """A request in a session of a newer version goes to its errback; the record stays, and the crawl goes on."""
    path = tmp_path / "s.db"
    async with SessionManager(path, namespace="pages") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    with closing(sqlite3.connect(path)) as file, file:
        (body,) = file.execute("SELECT body FROM sessions").fetchone()
        newer = json.dumps({**json.loads(body), "schema_version": 99}).encode()
        file.execute("UPDATE sessions SET body = ?", (newer,))
    metas = ({"session_id": "alice"}, {"session_id": "bob"})
    crawler = await pages(site, *metas, SESSIONS_STORE=sqlite_url(path))
    spider = crawler.spider
    assert isinstance(spider, Pages)
    (failure,) = spider.failures
    assert isinstance(failure, NewerSchema)
    assert "'alice'" in str(failure)
    assert "upgrade the package" in str(failure)
    assert len(spider.responses) == 1
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT body FROM sessions WHERE session_id = 'alice'").fetchone() == (newer,)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SESSIONS_IDLE_TIMOUT": 5}, "no setting SESSIONS_IDLE_TIMOUT (did you mean SESSIONS_IDLE_TIMEOUT?)"),
        ({"SESSIONS_IDLE_TIMEOUT": "soon"}, "SESSIONS_IDLE_TIMEOUT: "),
        ({"SESSIONS_PROFILES": {"desk": {"user_agnet": "x"}}}, "did you mean user_agent?"),
        ({"SESSIONS_POOLS": {"shop": {"size": -1}}}, "SESSIONS_POOLS['shop']['size']"),
        ({"SESSIONS_POOLS": {"shop": {"profiles": ["x"]}}}, "the pool 'shop' names the profile 'x'"),
        ({"SESSIONS_STORE": "sqllite:///x.db"}, "Did you mean 'sqlite://'?"),
        ({"SESSIONS_STORE": "postgres://u:s3cret@host/db"}, "has the scheme 'postgres', which is unknown"),
        ({"SESSIONS_STORE": "no.such.Store"}, "'no.such.Store' can't be imported"),
        ({"SESSIONS_STORE": 5}, "SESSIONS_STORE must be a URL"),
    ],
)
async def test_a_bad_setting(site: Site, settings: dict[str, Any], words: str) -> None:
    """A bad setting stops the crawl before its first request."""
    with pytest.raises(SessionConfigurationError) as caught:
        await pages(site, {}, **settings)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert site.journal("/answer") == []


def test_a_bad_setting_ends_the_process_with_an_error(site: Site) -> None:
    """The process of a crawl with a bad setting ends as with any part that fails to start, and says why."""
    done = run(Pages, {"SESSIONS_IDLE_TIMOUT": 5}, {"urls": [(site.url("/answer"), {})]})
    assert done.status == status_of_a_failed_start()
    assert done.log.splitlines()[-1].endswith(
        "Bad session settings: there is no setting SESSIONS_IDLE_TIMOUT (did you mean SESSIONS_IDLE_TIMEOUT?)"
    )
    assert site.journal("/answer") == []


async def test_a_middleware_without_the_extension(site: Site) -> None:
    """A middleware without the extension says how sessions are set up."""
    middlewares = {"scrapy_sessions.middlewares.SessionMiddleware": 75}
    with pytest.raises(
        SessionConfigurationError, match=r"need scrapy_sessions\.extension\.SessionsExtension in EXTENS"
    ):
        await crawl(Pages, {"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": middlewares}, urls=[(site.url("/answer"), {})])


@pytest.mark.parametrize("content", ["not a store at all, but text", "foreign"])
async def test_a_corrupt_or_foreign_file(tmp_path: Path, site: Site, content: str) -> None:
    """A file that is no session store stops the crawl, is named, and stays as it is."""
    path = tmp_path / "s.db"
    if content == "foreign":
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("CREATE TABLE theirs (x)")
    else:
        path.write_text(content * 100, encoding="ascii")
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        await pages(site, {}, SESSIONS_STORE=sqlite_url(path))
    assert str(path) in str(caught.value)
    assert "name another" in str(caught.value)
    assert path.read_bytes() == before
    assert site.journal("/answer") == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(path: Path, site: Site) -> Finished:
    """Crawl with the store at *path*, without root's rights."""
    arguments = {"urls": [(site.url("/answer"), {"session_id": "alice"})]}
    return run(Pages, {"SESSIONS_STORE": "tests.support.stores.AsNobody"}, arguments, STORE_FILE=str(path))


@needs_root
def test_an_unwritable_folder(folder: Path, site: Site) -> None:
    """A folder that the user can't write to stops the crawl, is named with the remedy."""
    (folder / "closed").mkdir(mode=0o555)
    done = as_nobody(folder / "closed" / "s.db", site)
    assert done.status == 1
    assert f"{folder}/closed/s.db can't be opened" in done.log
    assert "name a file in a folder that this user may write to" in done.log
    assert site.journal("/answer") == []


@needs_root
def test_a_read_only_file(folder: Path, site: Site) -> None:
    """A file that the user can't write to stops the crawl, and what it holds stays."""
    (folder / "open").mkdir()
    path = folder / "open" / "s.db"

    async def prepare() -> None:
        async with SessionManager(path) as manager:
            await manager.save_session("carol", BrowserSession("carol"))

    asyncio.run(prepare())
    Path(f"{path}.lock").unlink(missing_ok=True)
    path.chmod(0o444)
    os.chown(path, NOBODY, NOBODY)
    (folder / "open").chmod(0o777)
    done = as_nobody(path, site)
    assert done.status == 1
    assert f"{path} failed" in done.log
    assert "give this user write permission" in done.log
    assert site.journal("/answer") == []
    for file in path.parent.iterdir():
        os.chown(file, 0, 0)
    path.chmod(0o600)
    assert ids(path) == ["carol"]


async def test_a_disk_that_fills_up(
    tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in mid-crawl is told and counted; the crawl goes on, and what was stored stays."""
    path = tmp_path / "s.db"
    old = {f"old{number}" for number in range(10)}
    async with SessionManager(path, namespace="pages") as manager:
        for session_id in old:
            session = BrowserSession(session_id)
            session.data["ballast"] = "x" * 3000
            await manager.save_session(session_id, session)
    monkeypatch.setattr(Full, "place", str(path))
    metas = [{"session_id": f"new{number}"} for number in range(100)]
    crawler = await pages(site, *metas, SESSIONS_STORE=Full, SESSIONS_SAVE_INTERVAL=0)
    spider = crawler.spider
    assert isinstance(spider, Pages)
    assert len(spider.responses) == 100
    assert session_stats(crawler)["save_errors"] >= 1
    assert f"{path} failed" in caplog.text
    assert "the disk is full: free some space" in caplog.text
    async with SessionManager(path) as manager:
        stored = {info["session_id"] for info in await manager.list_sessions()}
        assert old < stored  # and some of the new ones, but not all
        assert len(stored) < 110


async def test_room_again(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What couldn't be saved is saved once there is room again."""
    monkeypatch.setattr(Full, "place", str(tmp_path / "s.db"))
    store = Full()
    async with SessionManager(store=store, namespace="pages") as manager:
        for number in range(100):
            session = await manager.get(str(number))
            session.data["ballast"] = "x" * 3000
            session.record("came")
        with pytest.raises(StoreError, match="full"):
            await manager.flush()
        await store._call(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        await manager.flush()
        assert len(await manager.list_sessions()) == 100
    await store.close()
