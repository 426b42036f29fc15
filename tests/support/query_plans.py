"""The SQL that an SQLite store runs, and the query plans of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.testing import make_row

__all__ = ["Ask", "Recorder", "plans", "record"]

Ask = Callable[[SQLiteStore], Awaitable[Any]]


class Recorder(sqlite3.Connection):
    """A connection that notes what it runs."""

    asked: ClassVar[list[tuple[str, Any]]] = []
    rows = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.row_factory = self._count

    @staticmethod
    def _count(_: sqlite3.Cursor, row: tuple[Any, ...]) -> tuple[Any, ...]:
        Recorder.rows += 1
        return row

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.asked.append((sql, parameters))
        return super().execute(sql, parameters)


def record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores that are opened from now on note what they run."""
    monkeypatch.setattr(
        "scrapy_sessions.storage.sqlite.file.sqlite3.connect", functools.partial(sqlite3.connect, factory=Recorder)
    )


def plans(path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the query plan of each SELECT that *ask* runs, one line a step, those on temporary tables left out."""
    record(monkeypatch)

    async def run() -> list[tuple[str, Any]]:
        store = SQLiteStore(path)
        await store.open()
        await store.save([make_row(f"s{number}", namespace="ab"[number % 2], pool="p") for number in range(9)])
        Recorder.asked.clear()
        await ask(store)
        selects = [(sql, parameters) for sql, parameters in Recorder.asked if "SELECT" in sql]
        await store.close()
        return selects

    selects = asyncio.run(run())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [
            step
            for sql, parameters in selects
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
            if "sessions" in step or "TEMP B-TREE" in step
        ]
