"""What reading analytics costs: searches in the order that is asked for, and no record is read."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.analytics.model import Event, HourCounts
from scrapy_sessions.storage import SQLiteStore
from tests.support.query_plans import Recorder, plans


@pytest.mark.parametrize("namespace", ["a", None])
def test_pools_are_counted_in_an_index(tmp_path: Path, namespace: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """To count a pool's sessions reads the index that covers the listing, and not the pages with the records."""
    steps = plans(tmp_path / "s.db", lambda store: store.pool_counts(namespace, now=0.0), monkeypatch)
    (step,) = (step for step in steps if "sessions" in step)
    assert "USING COVERING INDEX sessions_by_activity" in step
    assert step.startswith("SEARCH" if namespace else "SCAN")


def test_hours_and_events_are_sought_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch of hours is one of the table; events come newest first out of their index."""
    plans(tmp_path / "s.db", SQLiteStore.quarantined, monkeypatch)  # which makes the file, and records what is run

    async def ask() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        await store.open()
        await store.add_analytics([HourCounts("shop", "p", "a", 0)], [Event("shop", "a", "p", 0.0, "created")])
        Recorder.asked.clear()
        await store.hour_counts("shop", 1.0, 2.0)
        await store.hour_counts("shop", 1.0, 2.0, by_session=False)
        await store.events("shop", 1.0, 5)
        asked.extend((sql, values) for sql, values in Recorder.asked if "SELECT" in sql)
        await store.close()

    asked: list[tuple[str, Any]] = []
    asyncio.run(ask())
    monkeypatch.undo()
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        steps = [step for sql, values in asked for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    hours = [
        "SEARCH hour_statuses USING PRIMARY KEY (hour>? AND hour<?)",
        "SEARCH hours USING PRIMARY KEY (hour>? AND hour<?)",
    ]
    assert sorted(step for step in steps if "B-TREE" not in step) == sorted(
        [*hours * 2, "SEARCH events USING INDEX events_by_time (namespace=? AND time>?)"]
    )
    assert not any("B-TREE FOR ORDER BY" in step for step in steps)  # nothing is sorted as a whole
