"""The runs of spiders in the store: when they started, how they ended, and what they did."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scrapy_sessions.analytics.model import FOLDED, Event
from scrapy_sessions.analytics.runs import Run, runs_of
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import crawl, sqlite_url, start
from tests.support.site import Site
from tests.support.spiders.pages import Pages, Steady
from tests.support.waiting import HANG


async def recorded(path: Path) -> list[Run]:
    store = SQLiteStore(path)
    await store.open()
    try:
        return runs_of(await store.events(None))
    finally:
        await store.close()


async def test_a_run_is_recorded(tmp_path: Path, site: Site) -> None:
    """Each run has its spider, its times, Scrapy's finish reason, and its own pages and requests."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    for times in (3, 2):
        await crawl(Pages, settings, urls=[(site.url("/answer"), {"session_id": "alice"})] * times)
    await crawl(Pages, {**settings, "CLOSESPIDER_ITEMCOUNT": 0}, urls=[(site.url("/answer"), {"session_id": None})])
    runs = await recorded(tmp_path / "s.db")
    assert [(run.namespace, run.spider, run.reason, run.pages, run.requests) for run in runs] == [
        (Pages.name, Pages.name, "finished", 2, 2),
        (Pages.name, Pages.name, "finished", 3, 3),
    ]  # not the last one, which used no session
    assert all(run.finished is not None and run.started <= run.finished for run in runs)


def test_a_killed_run_has_no_end(tmp_path: Path, site: Site) -> None:
    """A run that was killed has its start alone."""
    path = tmp_path / "s.db"
    settings = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_SAVE_INTERVAL": 0, "LOG_ENABLED": False}
    with start(Steady, settings, {"site": site.url(""), "sessions_used": ["a"]}) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline() and not _has_run(path):
                pass
        finally:
            process.kill()
            process.communicate(timeout=HANG)
    (run,) = asyncio.run(recorded(path))
    assert (run.spider, run.finished, run.reason) == ("steady", None, "")


def _has_run(path: Path) -> bool:
    return path.exists() and bool(asyncio.run(recorded(path)))


@pytest.mark.parametrize("spider", ["shop", "a b", "shop: 3 pages, 4 requests in 5 s; x"])
def test_a_run_is_read_from_its_events(spider: str) -> None:
    """The start and the end of a run are one run, in whichever order, and the end alone will do."""
    run = Run("00000001", "shop", spider, 1000.0)
    end = run._replace(finished=1090.0, reason="session_login_failed", pages=3, requests=4)
    events = [
        Event("shop", FOLDED, None, 1000.0, "run_started", run.detail),
        Event("shop", FOLDED, None, 1090.0, "run_finished", end.detail),
    ]
    assert runs_of(events) == runs_of(events[::-1]) == runs_of(events[1:]) == [end]
    assert runs_of(events[:1]) == [run]


def test_other_events_are_no_runs() -> None:
    """Events of sessions, and details that this package doesn't write, are no runs."""
    texts = ["", "finished", "0000000g shop", "00000001 shop: -1 pages, 4 requests in 5 s; x"]
    assert runs_of(Event("shop", FOLDED, None, 1.0, "run_finished", text) for text in texts) == []
    assert runs_of([Event("shop", "alice", None, 1.0, "login", "00000001 shop")]) == []
