"""Stores that fail when they are told to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row, SQLiteStore

__all__ = ["NOBODY", "AsNobody", "Failing", "Full", "Unopenable"]

NOBODY = 65_534


class AsNobody(SQLiteStore):
    """The store at ``$STORE_FILE`` of a crawl without root's rights.

    The process lays them down at the last moment: before, Scrapy has yet to import what may stand in root's folders.
    """

    def __init__(self) -> None:
        super().__init__(os.environ["STORE_FILE"])

    def prepare(self) -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        super().prepare()


class Failing(MemoryStore):
    """Fails while ``broken`` names its methods. ``saves`` and ``loads`` are what it was asked for; what ``before`` has
    under the name of a method is done once, in the middle of its next call."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.saves: list[list[Row]] = []
        self.loads: list[Key] = []
        self.opened = self.closed = 0
        self.before: dict[str, Callable[[], object]] = {}

    async def open(self) -> None:
        self._meet("open")
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def load(self, key: Key) -> Row | None:
        await asyncio.sleep(0)
        self._meet("load")
        self.loads.append(key)
        return await super().load(key)

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        await asyncio.sleep(0)
        self._meet("save")
        self.saves.append(list(rows))
        return await super().save(rows)

    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        await asyncio.sleep(0)
        self._meet("delete")
        return await super().delete(keys, revisions)

    def _meet(self, name: str) -> None:
        if name in self.broken:
            raise StoreError(f"The test lets {name}() fail")
        if name in self.before:
            self.before.pop(name)()


class Full(SQLiteStore):
    """An SQLite store on a disk that is full from the start: a test's class says where, as ``place``."""

    place = ""
    pages = 30

    def __init__(self) -> None:
        super().__init__(self.place)

    def _open(self) -> None:
        super()._open()
        assert self._connection is not None
        self._connection.execute(f"PRAGMA max_page_count = {self.pages}")


class Unopenable(MemoryStore):
    """Can't be opened: its server is down, say."""

    async def open(self) -> None:
        raise StoreError("The test's server is down")
