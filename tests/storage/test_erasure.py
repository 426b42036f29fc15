"""Deleted means gone: no byte of a deleted session is in any file of the store's folder."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from scrapy_sessions import Cookie, PersistentSession, SessionManager
from scrapy_sessions.analytics.model import Event
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.storage.sqlite import migrations
from scrapy_sessions.storage.sqlite import rows as row_statements
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID, is_to_erase, open_file
from scrapy_sessions.testing import make_row
from tests.support.command_line import fill, sessions

MARK = "t0psecret"
SIZES = (50, 9000, 200, 30_000, 3000)
"""Bytes of one session's body from save to save: within a page, over several, and back."""


def files_with_mark(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if MARK.encode() in file.read_bytes())


def body(size: int) -> bytes:
    return (MARK.encode() * size)[:size]


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep a connection of another process open, so that nothing is cleaned up because the last one closes."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("SELECT count(*) FROM sessions").fetchone()
        yield


def with_store(path: Path, scenario: Callable[[SQLiteStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = SQLiteStore(path)
        await store.open()
        await scenario(store)
        with in_use(path):
            await store.close()
            assert files_with_mark(path.parent) == []

    asyncio.run(run())


async def save_often(store: SQLiteStore) -> None:
    """Save alice, and others in between, in changing sizes."""
    for revision, size in enumerate(SIZES, 1):
        rows = [make_row("alice", revision, start_time=1.0, body=body(size))]
        rows += [make_row(f"{revision} {number}", body=bytes(2000)) for number in range(20)]
        assert set(await store.save(rows)) == {Outcome.SAVED}


def test_the_mark_is_found(tmp_path: Path) -> None:
    """Before a deletion, the file has what these tests look for."""

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        await store.open()
        await save_often(store)
        await store.close()

    asyncio.run(use())
    assert files_with_mark(tmp_path) == ["s.db"]


def test_delete(tmp_path: Path) -> None:
    """A deleted session is in no file, nor is anything that it was saved with before."""

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        await store.delete([Key("shop", "alice")])

    with_store(tmp_path / "s.db", use)


def test_delete_while_the_store_stays_open(tmp_path: Path) -> None:
    """What a crawl deletes is gone at its next flush, not only at its end."""

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        await store.delete([Key("shop", "alice")])
        await store.epoch()
        assert files_with_mark(tmp_path) == []

    with_store(tmp_path / "s.db", use)


def test_a_reader_only_delays_it(tmp_path: Path) -> None:
    """While another process reads an older state the content stays for it, and is gone once it has read it."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sessions").fetchone()
            await store.delete([Key("shop", "alice")])
            await store.epoch()
            assert files_with_mark(tmp_path) != []
            reader.execute("COMMIT")
            await store.epoch()
        assert files_with_mark(tmp_path) == []

    with_store(path, use)


def test_delete_of_a_revision(tmp_path: Path) -> None:
    """So is one that was deleted because it had expired."""

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        assert await store.delete([Key("shop", "alice")], [len(SIZES)]) == [True]

    with_store(tmp_path / "s.db", use)


def test_replace(tmp_path: Path) -> None:
    """What a row was before it was replaced is in no file."""

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        old = await store.load(Key("shop", "alice"))
        await store.replace([make_row("alice")], [old])

    with_store(tmp_path / "s.db", use)


def test_quarantined_record(tmp_path: Path) -> None:
    """What was set aside of a session is deleted with it."""

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        await store.quarantine(Key("shop", "alice"), len(SIZES), "broken")
        await store.save([make_row("alice")])
        await store.delete([Key("shop", "alice")])
        assert await store.quarantined() == []

    with_store(tmp_path / "s.db", use)


def delete_and_die(path: Path) -> None:
    """Delete alice as a process does that is killed before it has erased her."""
    with contextlib.closing(open_file(path, busy_timeout=5.0)) as connection:
        assert row_statements.delete(connection, [Key("shop", "alice")], None, None) == [True]


def test_a_killed_process(tmp_path: Path) -> None:
    """What a process has deleted that was killed before it has erased it is erased by the next flush of any other."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await save_often(store)
        delete_and_die(path)
        assert files_with_mark(tmp_path) != []
        await store.epoch()
        assert files_with_mark(tmp_path) == []
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert not is_to_erase(connection)

    with_store(path, use)


def test_a_killed_process_and_a_command(tmp_path: Path) -> None:
    """It is erased as well by any command, beside a crawl that does nothing."""
    path = tmp_path / "s.db"
    fill(path, record("alice"), record("bob", cookies=[], headers={}, data={}))
    with in_use(path):
        delete_and_die(path)
        assert sessions(tmp_path, "list", "--ids", "--store", "s.db").out == "bob\n"
        assert files_with_mark(tmp_path) == []


def test_pruned_analytics(tmp_path: Path) -> None:
    """Events that are beyond the bounds are in no file."""

    async def use(store: SQLiteStore) -> None:
        now = time.time()
        store.events_retention = 1000.0
        await store.add_analytics([], [Event("shop", "alice", None, now - 900, "retired", MARK)])
        store.events_retention = 100.0
        await store.add_analytics([], [Event("shop", "bob", None, now, "retired", "x") for _ in range(600)])
        assert {event.session_id for event in await store.events(None)} == {"bob"}

    with_store(tmp_path / "s.db", use)


def test_a_migrated_file(tmp_path: Path) -> None:
    """Migrating an old file leaves no copy of it behind."""
    path = tmp_path / "s.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA journal_mode = WAL")
        migrations.migrate(connection, upto=1)
        values = ("shop", "old", None, None, "ready", 1, 2, None, None, 0, 0, 1, body(9000))
        connection.execute(f"INSERT INTO sessions VALUES ({', '.join('?' * 13)})", values)

    async def use(store: SQLiteStore) -> None:
        assert await store.delete([Key("shop", "old")]) == [True]

    with_store(path, use)


def record(session_id: str, **fields: object) -> PersistentSession:
    now = time.time()
    values = {
        "session_id": session_id,
        "namespace": "shop",
        "start_time": now,
        "last_activity": now,
        "cookies": [Cookie(name="sid", value=MARK, domain="shop.example")],
        "headers": {"https://shop.example": {"Authorization": f"Bearer {MARK}"}},
        "data": {"token": MARK * 1000},
        **fields,
    }
    return PersistentSession.model_validate(values)


@pytest.mark.parametrize(
    "command",
    [["delete", "alice", "--yes"], ["delete", "--all", "--yes"], ["delete", "--expired", "--yes"], ["cleanup"]],
)
def test_commands(tmp_path: Path, command: list[str]) -> None:
    """After ``scrapy sessions delete`` and ``cleanup``, also beside a running crawl, nothing is left."""
    expires = (
        {"start_time": 1.0, "last_activity": 1.0}
        if command[-1] in ("--yes", "cleanup") and "alice" not in command
        else {}
    )
    fill(tmp_path / "s.db", record("alice", **expires))
    with in_use(tmp_path / "s.db"):
        done = sessions(tmp_path, *command, "--store", "s.db")
        assert (done.code, done.err) == (0, "")
        assert files_with_mark(tmp_path) == []


async def test_a_live_session(tmp_path: Path) -> None:
    """A session that a manager has saved several times is gone when it deletes it and goes on."""
    async with SessionManager(tmp_path / "s.db", namespace="shop") as manager:
        for number in range(5):
            session = await manager.get("alice")
            session.cookies.set("sid", f"{MARK}{number}", domain="shop.example")
            session.data["token"] = MARK * 1000 * number
            await manager.flush()
        assert files_with_mark(tmp_path) != []
        await manager.delete_session("alice")
        await manager.flush()
        assert files_with_mark(tmp_path) == []
