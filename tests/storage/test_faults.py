"""Disks that are full, files and folders that can't be written: clear errors, and nothing stored is lost."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import scrapy_sessions
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.testing import make_row
from tests.support.waiting import HANG

ROOT = Path(scrapy_sessions.__file__).parents[1]

OPEN_AND_SAVE = """
import asyncio, os, resource, sys  # all of it now: the other user may not be able to read Python's own files
path, number, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.testing import make_row
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(number)
    os.setuid(number)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

async def use():
    store = SQLiteStore(path, busy_timeout=5)
    try:
        await store.open()
        print("opened")
        for batch in range(100):
            await store.save([make_row(f"{batch} {number}", body=bytes(3000)) for number in range(20)])
            print("saved", batch, flush=True)
    except StoreError as error:
        print("StoreError", error)
    finally:
        await store.close()

asyncio.run(use())
"""


def as_another_user(path: Path, *, limit: int = 0) -> str:
    """Open and fill the store in a process without root's rights, files of *limit* bytes at most; return its words."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AND_SAVE, str(path), "12345", str(limit)],
        capture_output=True,
        text=True,
        timeout=HANG,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder() -> Any:
    """A folder that the other user can reach: pytest's own is closed to others."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


needs_users = pytest.mark.skipif(not hasattr(os, "setuid"), reason="no setuid here, so no rights to be without")


@needs_users
def test_unwritable_folder(folder: Path) -> None:
    """A folder that this user may not write to is named, with the remedy."""
    (folder / "closed").mkdir(mode=0o555)
    words = as_another_user(folder / "closed" / "s.db")
    assert "StoreError" in words
    assert str(folder / "closed" / "s.db") in words
    assert "name a file in a folder that this user may write to" in words


@needs_users
def test_folder_that_cannot_be_made(folder: Path) -> None:
    """So is a folder that can't be made."""
    (folder / "closed").mkdir(mode=0o555)
    words = as_another_user(folder / "closed" / "new" / "s.db")
    assert "StoreError" in words
    assert "name a file in a folder that this user may write to" in words


@needs_users
def test_read_only_file(folder: Path) -> None:
    """A store that can be read but not written is refused when it is opened, not at its first save."""
    (folder / "open").mkdir()
    store = SQLiteStore(folder / "open" / "s.db")
    store.prepare()
    asyncio.run(store.close())
    (folder / "open" / "s.db.lock").unlink(missing_ok=True)
    (folder / "open" / "s.db").chmod(0o444)
    (folder / "open").chmod(0o777)
    if os.getuid() == 0:
        os.chown(folder / "open" / "s.db", 12345, 12345)
    words = as_another_user(folder / "open" / "s.db")
    assert "StoreError" in words
    assert "can't be written" in words
    assert "opened" not in words


@needs_users
def test_unreadable_file(folder: Path) -> None:
    """A file that this user may not read is refused with the remedy."""
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "open" / "s.db").touch(mode=0o000)
    if os.getuid() == 0:
        os.chown(folder / "open" / "s.db", 12345, 12345)
    words = as_another_user(folder / "open" / "s.db")
    assert "StoreError" in words
    assert "this user can read and write there" in words


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files there")
def test_limit_on_files(folder: Path) -> None:
    """When the system takes no more bytes the save fails; what was saved before is all there."""
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    path = folder / "open" / "s.db"
    words = as_another_user(path, limit=1_000_000)
    assert "StoreError" in words
    assert "check the disk" in words or "disk is full" in words
    batches = words.count("saved")
    assert batches > 0
    if os.getuid() == 0:
        for file in path.parent.iterdir():
            os.chown(file, 0, 0)

    async def look() -> None:
        store = SQLiteStore(path)
        await store.open()
        ids = {info["session_id"] for info in await store.list(now=0.0)}
        assert ids == {f"{batch} {number}" for batch in range(batches) for number in range(20)}
        await store.close()

    asyncio.run(look())


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that doesn't fit is not saved at all, and the store works again once there is room."""
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    monkeypatch.setattr("scrapy_sessions.storage.sqlite.file.sqlite3.connect", small)

    async def use() -> None:
        store = SQLiteStore(tmp_path / "s.db")
        await store.open()
        known = [make_row(f"known {number}", body=bytes(3000)) for number in range(20)]
        await store.save(known)
        batch = [make_row(f"known {number}", 2) for number in range(20)]
        batch += [make_row(f"new {number}", body=bytes(3000)) for number in range(100)]
        with pytest.raises(StoreError, match=r"is full.*free some space") as caught:
            await store.save(batch)
        assert str(tmp_path / "s.db") in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert [await store.load(row.key) for row in known] == known
        assert await store.load(Key("shop", "new 0")) is None
        assert await store.delete([row.key for row in known[10:]]) == [True] * 10
        assert await store.save(batch[:10]) == [Outcome.SAVED] * 10
        await store.close()

    asyncio.run(use())
