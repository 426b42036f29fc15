"""Stores that fail when they are told to."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row, SQLiteStore

__all__ = ["NOBODY", "AsNobody", "Chaotic", "Crumbling", "Failing", "Full", "Unopenable"]

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

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        await asyncio.sleep(0)
        self._meet("save")
        self.saves.append(list(rows))
        return await super().save(rows, tokens)

    async def delete(
        self,
        keys: Sequence[Key],
        revisions: Sequence[int] | None = None,
        start_times: Sequence[float] | None = None,
    ) -> list[bool]:
        await asyncio.sleep(0)
        self._meet("delete")
        return await super().delete(keys, revisions, start_times)

    def _meet(self, name: str) -> None:
        if name in self.broken:
            raise StoreError(f"The test lets {name}() fail")
        if name in self.before:
            self.before.pop(name)()


class Full(SQLiteStore):
    """An SQLite store on a disk that is full from the start: a test's class says where, as ``place``."""

    place = ""
    pages = 38

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


CALLS = (
    *("load", "load_many", "save", "replace", "delete", "find", "expired", "quarantine"),
    *("lease", "renew", "release", "enrol", "claim", "give_back"),
    *("epoch", "add_analytics", "read_shared", "write_shared"),
)


class Chaotic(MemoryStore):
    """Fails by chance: before a call, or after it was done. By chance, it begins late, or its answer comes late."""

    def __init__(self, source: random.Random) -> None:
        super().__init__()
        self.source = source
        self.rate = 0.0
        self.faults: Counter[str] = Counter()

    async def dawdle(self) -> None:
        """Let others go first, by chance: before a call is carried out, and before its answer comes."""
        for _ in range(self.source.choice((0, 0, 1, 3)) if self.rate else 0):
            await asyncio.sleep(0)


def _chaotic(name: str) -> Any:
    method = getattr(MemoryStore, name)

    async def call(self: Chaotic, *args: Any, **kwargs: Any) -> Any:
        draw = self.source.random() / self.rate if self.rate else 9.0
        await self.dawdle()
        if draw < 0.5:
            self.faults[f"{name} failed"] += 1
            raise StoreError(f"{name}() fails")
        result = await method(self, *args, **kwargs)
        await self.dawdle()
        if draw < 1:
            self.faults[f"{name} lost its answer"] += 1
            raise StoreError(f"the answer of {name}() is lost")
        return result

    return call


for _name in CALLS:
    setattr(Chaotic, _name, _chaotic(_name))


class Crumbling(Chaotic):
    """Works when a crawl begins. Then every third call fails."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))

    async def load(self, key: Key) -> Row | None:
        row = await super().load(key)
        self.rate = 0.3
        return row
