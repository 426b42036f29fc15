"""SIGKILL at any moment of a crawl: the store opens, every record reads, and little is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from scrapy_sessions import PersistentSession, SessionManager
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import ENVIRONMENT, command, sqlite_url
from tests.support.launcher import spawn
from tests.support.site import Site
from tests.support.spiders.pages import Steady
from tests.support.waiting import slowness

pytestmark = [pytest.mark.alone, pytest.mark.heavy]

KILLS = 50
AT_ONCE = 2
SESSIONS = ("alice", "bob", "carol", "dora")
SAVE_INTERVAL = 0.05
FLUSH = 0.6
"""Seconds that one flush of four sessions may take. A crawl that isn't saved behind lives longer than that, and loses
more."""
LONGEST = 1500
"""Pages until the kill, at most: from a crawl's first moment to seconds after, most of them early, by powers."""


@dataclass
class Killed:
    """A crawl that was killed at *time* (UNIX seconds): for each session, when each of its pages had been recorded."""

    path: Path
    time: float
    seen: dict[str, list[float]]
    slowness: float
    """That of the machine, after the kill."""


def kill_one(number: int, folder: Path, site: Site) -> Killed:
    """Crawl in four sessions at once until a random number of pages is recorded, and kill the process."""
    path = folder / str(number) / "s.db"
    settings = {
        "SESSIONS_STORE": sqlite_url(path),
        "SESSIONS_SAVE_INTERVAL": SAVE_INTERVAL,
        "SESSIONS_HISTORY_LIMIT": 20,
        "SESSIONS_HISTORY_QUERY": True,
        "LOG_ENABLED": False,
    }
    pages = round(LONGEST ** random.Random(number).random())
    seen: dict[str, list[float]] = {session_id: [] for session_id in SESSIONS}
    reads, writes = os.pipe()
    arguments = {"site": site.url(""), "sessions_used": SESSIONS}
    process = spawn(command(Steady, settings, arguments), env=ENVIRONMENT, output=writes)
    os.close(writes)
    with os.fdopen(reads, encoding="ascii") as lines:
        for count, line in enumerate(lines, 1):
            session_id, page, moment = line.split()
            seen[session_id].append(float(moment))
            assert len(seen[session_id]) == int(page)
            if count == pages:
                os.kill(process, signal.SIGKILL)
    return Killed(path, time.time(), seen, slowness())  # the pipe has ended, so the process has


async def records_of(path: Path) -> dict[str, PersistentSession]:
    """Open the store after a kill, and read every record."""
    async with SessionManager(path, namespace="steady") as manager:
        assert isinstance(manager.store, SQLiteStore)
        assert await manager.store.quarantined() == []
        ids = [info["session_id"] for info in await manager.list_sessions()]
        records = [await manager.load_session(session_id) for session_id in ids]
    return {record.session_id: record for record in records if record is not None}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Killed]:
    """Fifty crawls that were killed."""
    folder = tmp_path_factory.mktemp("kills")
    with Site() as site, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda number: kill_one(number, folder, site), range(KILLS)))


def test_the_files_are_sound(killed: list[Killed]) -> None:
    """After each kill SQLite finds the file in order."""
    for crawl in killed:
        if crawl.path.exists():
            with closing(sqlite3.connect(crawl.path)) as file:
                assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_every_record_reads(killed: list[Killed]) -> None:
    """After each kill the store opens, nothing is set aside, and each record is whole: one moment of its session."""
    read = 0
    for crawl in killed:
        for session_id, record in asyncio.run(records_of(crawl.path)).items():
            read += 1
            pages = record.pages_visited
            assert session_id in SESSIONS
            assert [f"page%3D{pages}%3B" in action for action in record.actions_performed[-1:]] == [True] * bool(pages)
            assert [(c.name, c.value) for c in record.cookies] == [("page", str(pages))] * bool(pages)
            assert record.metrics.responses.get("200", 0) == pages
            assert pages <= record.metrics.requests <= pages + 1
    assert read > KILLS


def test_what_is_lost_is_young(killed: list[Killed]) -> None:
    """After each kill, what a session had done and its record doesn't hold is younger than a save and a flush."""
    for crawl in killed:
        records = asyncio.run(records_of(crawl.path))
        for session_id, moments in crawl.seen.items():
            record = records.get(session_id)
            kept = record.pages_visited if record is not None else 0
            lost = moments[kept:]
            ages = [crawl.time - moment for moment in lost]
            bound = SAVE_INTERVAL + FLUSH * crawl.slowness
            assert not ages or max(ages) < bound, (session_id, kept, len(moments), max(ages))


def test_the_kills_came_at_all_times(killed: list[Killed]) -> None:
    """Some crawls were killed in their first moments and some long after, or these tests would prove little."""
    lengths = sorted(crawl.time - min(moments[0] for moments in crawl.seen.values() if moments) for crawl in killed)
    assert lengths[0] < SAVE_INTERVAL + FLUSH
    assert lengths[-3] > SAVE_INTERVAL + FLUSH
