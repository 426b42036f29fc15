"""``scrapy sessions`` on a store that another user made: what can be read is shown, and what can't is explained."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import scrapy_sessions
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage.migrations import LATEST
from tests.command_line import Done, environment, fill

AS_ANOTHER = """
import contextlib, os, sys  # all of it now: the other user may not be able to read Python's own files
from scrapy.cmdline import execute
from scrapy_sessions.commands import SUBCOMMANDS, load
for name in SUBCOMMANDS:
    load(name)
with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None), contextlib.suppress(SystemExit, Exception):
    execute(["scrapy", "sessions", "doctor", "--store", sys.argv[1]])
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
execute(["scrapy", "sessions", *sys.argv[2:]])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can look into, with a store in a folder of its own: alice, in the namespace shop."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    now = time.time()
    (made / "kept").mkdir()
    fill(
        made / "kept" / "s.db",
        PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now),
    )
    (made / "kept" / "s.db.lock").unlink()
    yield made
    (made / "kept").chmod(0o700)
    shutil.rmtree(made)


def close_for_writing(folder: Path) -> list[str]:
    """Let everybody read the store and nobody write it; returns the names of its files."""
    for file in (folder / "kept").iterdir():
        file.chmod(0o444)
    (folder / "kept").chmod(0o555)
    return files_of(folder)


def files_of(folder: Path) -> list[str]:
    return sorted(file.name for file in (folder / "kept").iterdir())


def as_another_user(folder: Path, *arguments: str) -> Done:
    """Run the command on the store, as nobody where the tests run as root, who may write everywhere."""
    fill(folder / "own.db")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            AS_ANOTHER,
            str(folder / "own.db"),
            *arguments,
            "--store",
            str(folder / "kept" / "s.db"),
        ],
        cwd=folder,
        env=environment(PYTHONPATH=str(Path(scrapy_sessions.__file__).parents[1])),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


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
def test_looking_needs_no_right_to_write(folder: Path, arguments: list[str], shown: str) -> None:
    """A store that may be read only is looked at, and no file is made beside it."""
    files = close_for_writing(folder)
    done = as_another_user(folder, *arguments)
    assert shown in done.out
    assert files_of(folder) == files


def test_looking_while_another_user_writes(folder: Path) -> None:
    """What the owner of the store has written meanwhile is seen, though it isn't in the file itself yet."""
    with closing(sqlite3.connect(folder / "kept" / "s.db")) as connection:
        connection.execute("UPDATE sessions SET pages_visited = 77")
        connection.commit()
        assert close_for_writing(folder) == ["s.db", "s.db-shm", "s.db-wal"]
        done = as_another_user(folder, "list", "--json")
        assert done.code == 0, done.err
        assert [entry["pages_visited"] for entry in json.loads(done.out)] == [77]
        (folder / "kept").chmod(0o700)


def test_changing_needs_the_right_to_write(folder: Path) -> None:
    """A command that changes the store is refused before it does anything, in one line."""
    close_for_writing(folder)
    done = as_another_user(folder, "retire", "alice")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "a folder that this user may write to" in done.err


def test_an_older_schema_is_not_read(folder: Path) -> None:
    """A store of an older schema, which only its opening could change, is told, with what to do."""
    with closing(sqlite3.connect(folder / "kept" / "s.db")) as connection:
        connection.execute(f"PRAGMA user_version = {LATEST - 1}")
        connection.commit()
    close_for_writing(folder)
    done = as_another_user(folder, "list")
    assert (done.code, done.out) == (1, "")
    assert f"schema version {LATEST - 1}" in done.err
    assert "copy it" in done.err


def test_the_doctor_at_a_closed_door(folder: Path) -> None:
    """A folder that this user may not enter is a finding of the doctor, with the command that opens it."""
    (folder / "kept").chmod(0o000)
    done = as_another_user(folder, "doctor", "--json")
    assert done.code == 1
    (finding,) = [each for each in json.loads(done.out) if each["level"] == "wrong"]
    assert finding["check"] == "permissions"
    assert "Permission denied" in finding["text"]
    assert f"chmod u+rwx {folder / 'kept'}" in finding["remedy"]
