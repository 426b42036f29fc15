"""``scrapy sessions`` on a store that can't be written: it is read, and refused writes are explained."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID
from scrapy_sessions.storage.sqlite.migrations import LATEST, migrate
from tests.support.command_line import PROGRAM, Done, fill, run

LIKE_OTHERS = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
if os.getuid() == 0:  # whom no mode of a file stops, but for these two capabilities
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            sys.exit("root can't lay down its rights here")
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a store in a folder of its own: alice, in the namespace shop."""
    now = time.time()
    (tmp_path / "kept").mkdir()
    fill(
        tmp_path / "kept" / "s.db",
        PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now),
    )
    (tmp_path / "kept" / "s.db.lock").unlink()
    yield tmp_path
    (tmp_path / "kept").chmod(0o700)


def close_for_writing(folder: Path) -> list[str]:
    """Make the store readable and not writable; return the names of its files."""
    for file in (folder / "kept").iterdir():
        file.chmod(0o444)
    (folder / "kept").chmod(0o555)
    return files_of(folder)


def files_of(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "kept").iterdir())


def without_rights(folder: Path, *arguments: str) -> Done:
    """Run the command on the store as a user who is restricted by file modes, unlike root."""
    store = str(folder / "kept" / "s.db")
    return run(folder, [sys.executable, "-c", LIKE_OTHERS, *PROGRAM, *arguments, "--store", store])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["list", "--ids"], "alice\n"),
        (["show", "alice"], "  id         alice\n"),
        (["stats", "--json"], "[]\n"),
        (["report", "-o", "-"], "</html>"),
        (["export", "--all"], '"session_id": "alice"'),
        (["curl", "alice", "http://shop.example/"], "--url http://shop.example/"),
    ],
)
def test_reading_needs_no_right_to_write(folder: Path, arguments: list[str], shown: str) -> None:
    """A store that this user can only read is read, and no file is created beside it."""
    files = close_for_writing(folder)
    done = without_rights(folder, *arguments)
    assert shown in done.out
    assert files_of(folder) == files


def test_reading_while_another_user_writes(folder: Path) -> None:
    """What the owner of the store has just written is read, though the file itself doesn't contain it yet."""
    with closing(sqlite3.connect(folder / "kept" / "s.db")) as connection:
        connection.execute("UPDATE sessions SET pages_visited = 77")
        connection.commit()
        assert close_for_writing(folder) == ["s.db", "s.db-shm", "s.db-wal"]
        done = without_rights(folder, "list", "--json")
        assert done.code == 0, done.err
        assert [entry["pages_visited"] for entry in json.loads(done.out)] == [77]
        (folder / "kept").chmod(0o700)


def test_changing_needs_the_right_to_write(folder: Path) -> None:
    """A command that changes the store is refused before it does anything, in one line."""
    close_for_writing(folder)
    done = without_rights(folder, "retire", "alice")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "a folder that this user may write to" in done.err


def test_an_older_schema_is_not_read(folder: Path) -> None:
    """A store of an older schema, which only a migration could make readable, is reported with a remedy."""
    (folder / "kept" / "s.db").unlink()
    with closing(sqlite3.connect(folder / "kept" / "s.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(connection, upto=LATEST - 1)
    close_for_writing(folder)
    done = without_rights(folder, "list")
    assert (done.code, done.out) == (1, "")
    assert f"schema version {LATEST - 1}" in done.err
    assert "copy the file" in done.err


def test_doctor_reports_an_inaccessible_folder(folder: Path) -> None:
    """A folder that this user can't enter is a finding of doctor, with the command that opens it."""
    (folder / "kept").chmod(0o000)
    done = without_rights(folder, "doctor", "--json")
    assert done.code == 1
    (finding,) = [each for each in json.loads(done.out) if each["level"] == "error"]
    assert finding["check"] == "permissions"
    assert "Permission denied" in finding["text"]
    assert f"chmod u+rwx {folder / 'kept'}" in finding["remedy"]
