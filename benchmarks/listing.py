"""Listing a store of many sessions, against the bare SQL that asks for the same columns in the same order."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.chain import BenchSpider
from benchmarks.figures import Figure, Size, compare
from benchmarks.records import fill_store
from scrapy_sessions import SessionManager

__all__ = ["measure"]

_PAGE = 100
# The cheapest way to ask: all sessions here stand outside of pools, so one walk of the index answers it.
_QUERY = """
    SELECT session_id, namespace, pool, profile_name, status, start_time, last_activity, pages_visited, actions_count,
        expires_at
    FROM sessions WHERE namespace = ? AND pool IS NULL ORDER BY last_activity DESC, session_id LIMIT ?
"""


def measure(size: Size) -> list[Figure]:
    """List the first page of 100, and all."""
    return asyncio.run(_measure(size))


async def _measure(size: Size) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sessions.db"
        await fill_store(file, size.stored)
        figures = []
        with closing(sqlite3.connect(file)) as connection:
            async with SessionManager(file, namespace=BenchSpider.name) as manager:
                for name, limit in ((f"the first {_PAGE} of", _PAGE), ("all", None)):
                    ours, bare = [], []
                    for number in range(size.rounds + 1):
                        began = time.perf_counter()
                        listed = await manager.list_sessions(limit=limit)
                        between = time.perf_counter()
                        found = connection.execute(
                            _QUERY, (BenchSpider.name, -1 if limit is None else limit)
                        ).fetchall()
                        ended = time.perf_counter()
                        if [info["session_id"] for info in listed] != [row[0] for row in found]:
                            raise AssertionError("The two listings differ")
                        if number:  # the first round warms up
                            ours.append((between - began) * 1e3)
                            bare.append((ended - between) * 1e3)
                    figures.append(compare(f"list {name} {size.stored} sessions", ours, bare, "ms", "bare SQL"))
        return figures
