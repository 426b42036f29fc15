"""A file of any older version is brought up to date, and keeps what it holds."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Batch, Outcome, SQLiteStore
from scrapy_sessions.storage.sqlite import migrations
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID
from scrapy_sessions.storage.sqlite.migrations import LATEST, MIGRATIONS, migrate
from scrapy_sessions.storage.sqlite.schema import DIGEST, definitions, digest_of
from scrapy_sessions.testing import make_row


@contextlib.contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def schema(path: Path) -> list[tuple[str, ...]]:
    with connect(path) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def version(path: Path) -> int:
    with connect(path) as connection:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        return int(number)


def make_old(path: Path, number: int) -> None:
    """Make a file as the version left it whose last schema was *number*."""
    with connect(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, upto=number)
        if number:
            connection.execute(
                "INSERT INTO sessions (namespace, session_id, status, start_time, last_activity, pages_visited, "
                "actions_count, revision, body) VALUES ('shop', 'old', 'ready', 1, 2, 0, 0, 1, x'7b7d')"
            )


def test_steps_are_numbered_in_order() -> None:
    """The steps count from 1 without a gap."""
    assert [number for number, _ in MIGRATIONS] == list(range(1, LATEST + 1))


def test_the_digest_of_the_latest_schema(tmp_path: Path) -> None:
    """A file of the latest schema is recognised by its digest; a file with a table of the user has another one."""
    make_old(tmp_path / "new.db", LATEST)
    with connect(tmp_path / "new.db") as connection:
        assert digest_of(definitions(connection)) == DIGEST, "write the new digest into sqlite/schema.py"
        connection.execute("CREATE TABLE notes (text)")
        assert digest_of(definitions(connection)) != DIGEST


@pytest.mark.parametrize("number", range(LATEST + 1))
def test_from_each_older_schema(tmp_path: Path, number: int) -> None:
    """From each older schema the file comes to the one that a new file has, with its rows, and works."""
    make_old(tmp_path / "old.db", number)
    make_old(tmp_path / "new.db", LATEST)

    async def use() -> None:
        store = SQLiteStore(tmp_path / "old.db")
        await store.open()
        rows = [make_row("new"), make_row("old", 2, start_time=1.0)]
        assert await store.save(rows) == [Outcome.SAVED, Outcome.SAVED if number else Outcome.DELETED]
        assert await store.quarantine(rows[0].key, 1, "broken")
        assert await store.lease("shop", "login", 30.0) is not None
        assert await store.write_shared("shop", 0, b"{}")
        assert await store.enrol("shop", "staff", "p", ["alice"], 30.0) == ["alice"]
        await store.add_analytics([], [], Batch("writer", 1))
        await store.close()

    asyncio.run(use())
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")
    assert version(tmp_path / "old.db") == LATEST


def test_version_stands_in_the_file_itself(tmp_path: Path) -> None:
    """After a migration the version is in the file, not only in its WAL, where the next check wouldn't see it."""
    make_old(tmp_path / "s.db", 1)

    async def look() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        await store.open()
        assert int.from_bytes((tmp_path / "s.db").read_bytes()[60:64], "big") == LATEST
        await store.close()

    asyncio.run(look())


def test_current_file_is_not_migrated(tmp_path: Path) -> None:
    """A file of the current schema takes no step."""
    make_old(tmp_path / "s.db", LATEST)
    with connect(tmp_path / "s.db") as connection:
        assert migrate(connection) == 0


def test_failed_step_leaves_the_step_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that fails halfway is undone as a whole, and the next open goes on from there."""

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (id)")
        connection.execute("CREATE TABLE half (id)")

    make_old(tmp_path / "s.db", 1)
    before = schema(tmp_path / "s.db")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (MIGRATIONS[0], (2, broken)))
        store = SQLiteStore(tmp_path / "s.db")
        with pytest.raises(StoreError, match="half"):
            store.prepare()
        asyncio.run(store.close())
    assert (schema(tmp_path / "s.db"), version(tmp_path / "s.db")) == (before, 1)
    store = SQLiteStore(tmp_path / "s.db")
    store.prepare()
    asyncio.run(store.close())
    assert version(tmp_path / "s.db") == LATEST
