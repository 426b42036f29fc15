"""A killed crawl has counted everything but its last seconds, and nothing twice."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from scrapy_sessions.sessions.collector import flush_interval
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import sqlite_url, start
from tests.support.site import Site
from tests.support.spiders.pages import Steady
from tests.support.waiting import HANG, slowness

SAVE_INTERVAL = 0.1
SLACK = 1.0
"""Seconds that a save and a write of counts may take."""
LIFE = 3 * (SAVE_INTERVAL + flush_interval(SAVE_INTERVAL))
"""Seconds that the crawl runs: several writes of counts, without which the test could not fail."""


async def counted(path: Path) -> int:
    store = SQLiteStore(path)
    await store.open()
    try:
        return sum(row.pages for row in await store.hour_counts("steady"))
    finally:
        await store.close()


def test_a_kill_loses_one_interval(tmp_path: Path, site: Site) -> None:
    """What was recorded before the last save and write of counts is there after SIGKILL; nothing is there twice."""
    site.reset()
    path = tmp_path / "s.db"
    settings = {
        "SESSIONS_STORE": sqlite_url(path),
        "SESSIONS_SAVE_INTERVAL": SAVE_INTERVAL,
        "DOWNLOAD_DELAY": 0.02,
        "LOG_ENABLED": False,
    }
    slack = SLACK * slowness()
    crawl = start(Steady, settings, {"site": site.url(""), "sessions_used": ["a", "b"]})
    moments: list[float] = []
    assert crawl.stdout is not None
    for line in crawl.stdout:
        moments.append(float(line.split()[2]))
        if moments[-1] - moments[0] > LIFE + slack:
            slack = max(slack, SLACK * slowness())  # of a machine that has slowed down since, too
            if moments[-1] - moments[0] > LIFE + slack:
                crawl.kill()
                break
    killed = time.time()
    moments += [float(line.split()[2]) for line in crawl.stdout]
    crawl.wait(HANG)
    crawl.stdout.close()
    found = asyncio.run(counted(path))
    longest = SAVE_INTERVAL + flush_interval(SAVE_INTERVAL) + slack
    safe = sum(moment < killed - longest for moment in moments)
    assert 0 < safe <= found <= len(site.journal("/answer"))
