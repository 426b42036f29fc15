"""Worker: saving changed sessions, beside one raw ``executemany`` of the same bytes; and how long the loop is held."""

from __future__ import annotations

import asyncio
import gc
import selectors
import sqlite3
import time
from collections.abc import Coroutine
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from serve import Stopwatch, serve

from scrapy_sessions import SessionManager
from scrapy_sessions.keys import new_key
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings

URL = urlsplit("https://shop.example/")
KEY = ("session_id", "namespace")
# Those of our store that cost or spare something at a write, so that the raw side has no other.
PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "secure_delete = ON",
    "wal_autocheckpoint = 4000",
    "journal_size_limit = 16777216",
    "cache_size = -8000",
)


class WatchfulSelector(selectors.DefaultSelector):
    """Notes for how long the loop was held between two looks at what has come in: wall and CPU of its thread."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[float, float]] = []
        self._since: tuple[float, float] | None = None

    def select(self, timeout: float | None = None) -> Any:
        if self._since is not None:
            wall, cpu = self._since
            self.held.append((time.perf_counter() - wall, time.thread_time() - cpu))
        found = super().select(timeout)
        self._since = time.perf_counter(), time.thread_time()
        return found


class Saving:
    """The commands."""

    def __init__(self) -> None:
        self._selector = WatchfulSelector()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* in a loop of its own, watched."""
        loop = asyncio.SelectorEventLoop(self._selector)
        with closing(loop):
            loop.run_until_complete(work)

    async def open(self, file: str, sessions: int, cookies: int, actions: int, encrypted: bool = False) -> None:
        """Have *sessions* in memory and in the store, and a twin of the file for the raw side."""
        self._file = file
        key = new_key() if encrypted else None
        settings = SessionsSettings(save_interval=3600, history_limit=actions, cache_size=0, encryption_key=key)
        self._manager = SessionManager(file, namespace="bench", settings=settings)
        await self._manager.open()
        self._sessions = [await registry_of(self._manager).get(f"s{number}") for number in range(sessions)]
        self._cookies = cookies
        for session in self._sessions:
            for number in range(actions):
                session.record(f"GET https://shop.example/p/{number} 200")
            for number in range(cookies):
                _set_cookie(session, number, "0")
        await self._manager.flush()
        self._twin = sqlite3.connect(f"{file}.twin", isolation_level=None)
        with closing(sqlite3.connect(file)) as source:
            source.backup(self._twin)
        for pragma in PRAGMAS:
            self._twin.execute(f"PRAGMA {pragma}").fetchall()

    async def save(self, n: int, mark: int) -> dict[str, Any]:
        """Change *n* sessions, each a cookie and an action, and save them.

        Return milliseconds: ``wall`` and ``cpu`` of the save, and for each turn of the loop in it those that it took,
        ``held`` on the wall clock and ``busy`` of CPU.
        """
        for session in self._sessions[:n]:
            session.record(f"GET https://shop.example/p/{mark} 200")
            _set_cookie(session, mark % self._cookies, str(mark + 1))
        gc.collect()  # what the changes above left behind: in a crawl they don't come all at once
        await asyncio.sleep(0)  # what went before is a turn of its own
        self._selector.held.clear()
        with Stopwatch() as watch:
            await self._manager.flush()
        held = list(self._selector.held)
        return {
            "wall": watch.wall * 1e3,
            "cpu": watch.cpu * 1e3,
            "held": [wall * 1e3 for wall, _ in held],
            "busy": [cpu * 1e3 for _, cpu in held],
        }

    async def raw(self, n: int) -> dict[str, float]:
        """Write what :meth:`save` has written for *n* sessions into the twin, and return milliseconds.

        One ``executemany`` in one transaction, of parameters made beforehand; the file has the same schema and indexes.
        """
        with closing(sqlite3.connect(self._file)) as source:
            found = source.execute(
                f"SELECT * FROM sessions WHERE session_id IN ({', '.join('?' * n)})",
                [session.id for session in self._sessions[:n]],
            )
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found]
        if len(rows) != n:
            raise AssertionError("Not all sessions were saved")
        changing = [name for name in names if name not in KEY]
        statement = f"UPDATE sessions SET {', '.join(f'{name} = ?' for name in changing)}"
        statement += f" WHERE {' AND '.join(f'{name} = ?' for name in KEY)}"
        order = {session.id: number for number, session in enumerate(self._sessions)}
        rows.sort(key=lambda row: order[row["session_id"]])  # as they are saved
        parameters = [tuple(row[name] for name in (*changing, *KEY)) for row in rows]
        del rows
        gc.collect()
        with Stopwatch() as watch:
            self._twin.execute("BEGIN IMMEDIATE")
            self._twin.executemany(statement, parameters)
            self._twin.execute("COMMIT")
        return {"wall": watch.wall * 1e3, "cpu": watch.cpu * 1e3}

    async def close(self) -> None:
        """Close both files."""
        await self._manager.close()
        self._twin.close()


def _set_cookie(session: Any, number: int, value: str) -> None:
    header = f"c{number}=value-{value}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly"
    session.jar.store([header], URL)


if __name__ == "__main__":
    saving = Saving()
    serve({name: getattr(saving, name) for name in ("open", "save", "raw", "close")}, saving.run)
