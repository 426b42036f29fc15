"""Listing a store of many sessions, against the bare SQL that asks for the same columns in the same order.

Once from Python, once by ``scrapy sessions list`` as a process, from its start to its end, its output in a pipe.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Size, compare
from benchmarks.processes import environment
from benchmarks.records import NAMESPACE, fill_store
from scrapy_sessions import SessionManager

__all__ = ["measure"]

_PAGE = 100
_START = 1000.0  # ms that the command may take beside twice the bare SQL, the start of Scrapy included
_SHARE = 10  # of the largest store: to list all of a million takes seconds, and tells nothing else
# The cheapest way to ask: all sessions here stand outside of pools, so one walk of the index answers it.
_QUERY = """
    SELECT session_id, namespace, pool, profile_name, status, start_time, last_activity, pages_visited, actions_count,
        expires_at
    FROM sessions WHERE namespace = ? AND pool IS NULL ORDER BY last_activity DESC, session_id LIMIT ?
"""


def measure(size: Size) -> list[Figure]:
    """List the first page of 100, and all; then all by the command."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sessions.db"
        asyncio.run(fill_store(file, stored := size.stored // _SHARE))
        return [*asyncio.run(_measure(file, stored, size.rounds)), _command(file, stored, size.rounds)]


async def _measure(file: Path, stored: int, rounds: int) -> list[Figure]:
    figures = []
    with closing(sqlite3.connect(file)) as connection:
        async with SessionManager(file, namespace=NAMESPACE) as manager:
            for name, limit in ((f"the first {_PAGE} of", _PAGE), ("all", None)):
                ours, bare = [], []
                for number in range(rounds + 1):
                    began = time.perf_counter()
                    listed = await manager.list_sessions(limit=limit)
                    took = time.perf_counter() - began
                    found, took_bare = _bare(connection, limit)
                    if [info["session_id"] for info in listed] != [row[0] for row in found]:
                        raise AssertionError("The two listings differ")
                    if number:  # the first round warms up
                        ours.append(took * 1e3)
                        bare.append(took_bare)
                figures.append(compare(f"list {name} {stored} sessions", ours, bare, "ms", "bare SQL"))
    return figures


def _command(file: Path, stored: int, rounds: int) -> Figure:
    """Compare the command with the bare SQL in a process that has long begun."""
    command = [sys.executable, "-m", "scrapy", "sessions", "list", "--store", file.name, "--namespace", NAMESPACE]
    ours, bare = [], []
    with closing(sqlite3.connect(file)) as connection:
        for number in range(rounds + 1):
            began = time.perf_counter()
            printed = subprocess.run(
                command, cwd=file.parent, env=environment(), stdout=subprocess.PIPE, check=True
            ).stdout
            took = time.perf_counter() - began
            found, took_bare = _bare(connection, None)
            _, *lines = printed.decode().splitlines()
            if [line.split()[0] for line in lines] != [row[0] for row in found]:
                raise AssertionError("The command lists something else")
            if number:
                ours.append(took * 1e3)
                bare.append(took_bare)
    figure = compare(f"scrapy sessions list, all of {stored}", ours, bare, "ms", "bare SQL, without a start")
    return figure._replace(bound=round(2 * statistics.median(bare) + _START, -1), absolute=True)


def _bare(connection: sqlite3.Connection, limit: int | None) -> tuple[list[tuple[Any, ...]], float]:
    began = time.perf_counter()
    found = connection.execute(_QUERY, (NAMESPACE, -1 if limit is None else limit)).fetchall()
    return found, (time.perf_counter() - began) * 1e3
