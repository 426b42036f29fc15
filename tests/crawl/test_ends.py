"""However a crawl ends, everything is saved before the store closes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import BrowserSession, PersistentSession, SessionManager
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import crawl, session_stats, sqlite_url, start
from tests.support.site import Site
from tests.support.spiders.pages import Ending, Own, Pages, Telling

NEVER = 3600.0
"""A SAVE_INTERVAL within which no test ends: what is saved is saved by the end of the crawl."""


async def alice(path: Path, namespace: str) -> PersistentSession:
    """The stored record of alice."""
    async with SessionManager(path, namespace=namespace) as manager:
        record = await manager.load_session("alice")
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("how", "reason"), [("well", "finished"), ("close", "enough"), ("raise", "finished"), ("late", "finished")]
)
async def test_saved_at_the_end(tmp_path: Path, site: Site, how: str, reason: str) -> None:
    """All is saved after a normal end, a CloseSpider, an exception in a callback, and an async closed()."""
    path = tmp_path / "s.db"
    settings = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_SAVE_INTERVAL": NEVER}
    url = site.url("/answer", set="a=1")
    crawler = await crawl(Ending, settings, urls=[(url, {"session_id": "alice"})], how=how)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == reason
    record = await alice(path, "ending")
    assert record.pages_visited == 1
    assert [cookie.name for cookie in record.cookies] == ["a"]
    assert record.data == {"seen": url, "closed": "finished"} if how == "late" else {"seen": url}


def test_saved_after_ctrl_c(tmp_path: Path, site: Site) -> None:
    """All is saved when the process gets a SIGINT in the middle of a crawl."""
    path = tmp_path / "s.db"
    settings = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_SAVE_INTERVAL": NEVER, "LOG_LEVEL": "ERROR"}
    with start(Telling, settings, {"urls": [(site.url("/answer"), {"session_id": "alice"})]}) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "page 5\n":
                process.send_signal(signal.SIGINT)
                break
        said = process.stdout.read().splitlines()
        assert process.wait(30) == 0
    assert '"finish_reason": "shutdown"' in said[-1]
    pages = 5 + sum(line.startswith("page") for line in said)

    async def look() -> None:
        record = await alice(path, "telling")
        assert record.metrics.requests >= record.pages_visited >= pages
        assert record.data["pages"] == pages - 1

    asyncio.run(look())


async def test_the_store_closes_last(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store closes once, after the last save, which is after spider.closed()."""
    events: list[str] = []

    class Noting(SQLiteStore):
        def __init__(self) -> None:
            super().__init__(tmp_path / "s.db")

        async def save(self, rows: Any) -> Any:
            events.append("save")
            return await super().save(rows)

        async def close(self) -> None:
            events.append("close")
            await super().close()

    closed = Ending.closed

    async def note(self: Ending, reason: str) -> None:
        await closed(self, reason)
        events.append("spider closed")

    monkeypatch.setattr(Ending, "closed", note)
    settings = {"SESSIONS_STORE": Noting, "SESSIONS_SAVE_INTERVAL": NEVER}
    await crawl(Ending, settings, urls=[(site.url("/answer"), {"session_id": "alice"})], how="late")
    assert events[-3:] == ["spider closed", "save", "close"]
    assert events.count("close") == 1


async def test_nothing_runs_on(tmp_path: Path, site: Site) -> None:
    """After a crawl no task of ours is left."""
    before = asyncio.all_tasks()
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_CLEANUP_INTERVAL": 1}
    await crawl(Pages, settings, urls=[(site.url("/answer"), {})])
    left = {task for task in asyncio.all_tasks() - before if "scrapy_sessions" in repr(task)}
    assert left == set()


async def test_a_session_attribute_of_the_spider_is_left_alone(
    tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A spider's own attribute ``sessions`` stays, with one warning, and the crawl goes in sessions all the same."""
    crawler = await crawl(Own, {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}, urls=[(site.url("/answer"), {})])
    assert crawler.spider is not None
    assert crawler.spider.sessions == ("mine",)  # type: ignore[attr-defined]
    assert session_stats(crawler)["created"] == 1
    assert "an attribute 'sessions' of its own" in caplog.text


async def test_the_warning_comes_once(tmp_path: Path, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """That warning comes once a crawl."""
    await crawl(Own, {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}, urls=[(site.url("/answer"), {})])
    assert caplog.text.count("an attribute 'sessions' of its own") == 1


async def test_the_facade(tmp_path: Path, site: Site) -> None:
    """self.sessions gives the session of a response, and sessions by id; of none, an error."""
    found: list[Any] = []

    class Looking(Pages):
        name = "looking"

        async def parse(self, response: Any, **kwargs: Any) -> None:
            found.append((self.sessions.of(response), await self.sessions.get("alice"), self.sessions))

    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    await crawl(Looking, settings, urls=[(site.url("/answer"), {"session_id": "alice"})])
    (of, got, facade) = found[0]
    assert isinstance(of, BrowserSession)
    assert of is got
    assert type(facade).__name__ == "SpiderSessions"


async def test_the_namespace(tmp_path: Path, site: Site) -> None:
    """Sessions stand in the namespace of the setting, else of the spider's name."""
    for settings in ({}, {"SESSIONS_NAMESPACE": "shared"}):
        url = [(site.url("/answer"), {"session_id": "alice"})]
        await crawl(Pages, {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), **settings}, urls=url)
    async with SessionManager(tmp_path / "s.db") as manager:
        assert {info["namespace"] for info in await manager.list_sessions()} == {"pages", "shared"}


async def test_two_runs_make_one_history(tmp_path: Path, site: Site) -> None:
    """What the first run got, the second sends and adds to."""
    path = tmp_path / "s.db"
    for number in (1, 2):
        url = site.url(f"/answer/{number}", set=f"c{number}=1; Path=/")
        await crawl(Pages, {"SESSIONS_STORE": sqlite_url(path)}, urls=[(url, {"session_id": "alice"})])
    assert site.journal("/answer/2")[0].cookies == {"c1": "1"}
    record = await alice(path, "pages")
    assert record.pages_visited == record.metrics.requests == 2
    assert {cookie.name for cookie in record.cookies} == {"c1", "c2"}
