"""A writer that is killed at any moment leaves a sound file, with all that was acknowledged in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import scrapy_sessions
from scrapy_sessions.storage import Key, SQLiteStore
from scrapy_sessions.storage.codec import decode

ROOT = Path(scrapy_sessions.__file__).parents[1]

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here, and no SIGKILL")]

# Forks a writer whenever it is told a path, and says its number. A start of Python for each of the writers would take
# most of the time.
WRITERS = """
import asyncio, os, sys
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage import Key, SQLiteStore
from scrapy_sessions.storage.codec import decode, encode

def tell(word, number):
    os.write(1, f"{word} {number}\\n".encode())  # in one piece, unlike print()

async def write(path):
    store = SQLiteStore(path)
    await store.open()
    revision = 0
    row = await store.load(Key("shop", "s0"))
    if row is not None:
        revision = decode(row).revision
    while True:
        revision += 1
        records = [
            PersistentSession(
                session_id=f"s{number}", namespace="shop", start_time=1.0, last_activity=float(revision),
                revision=revision, cookies=[Cookie(name="sid", value="x" * 2000, domain="shop.example")],
            )
            for number in range(40)
        ]
        outcomes = await store.save([encode(record) for record in records])
        assert {outcome.value for outcome in outcomes} == {"saved"}
        tell("saved", revision)

for line in sys.stdin:
    child = os.fork()
    if child:
        tell("writer", child)
        os.waitpid(child, 0)
        tell("gone", 0)
    else:
        try:
            asyncio.run(write(line.strip()))
        finally:
            os._exit(1)
"""


class Writers:
    """A process that forks writers, to be killed one after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITERS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            bufsize=0,
        )
        self._rest = b""

    def _next(self) -> tuple[str, int]:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            read = self._process.stdout.read(65536)
            assert read, "the process that forks the writers ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\n")
        word, number = line.decode().split()
        return word, int(number)

    def kill_one(self, path: Path, *, after_saves: int, within: float) -> int:
        """Start a writer, kill it up to *within* seconds after it did some saves, return the last that it told of."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n".encode())
        word, writer = self._next()
        assert word == "writer"
        acknowledged = 0
        for _ in range(after_saves):
            word, acknowledged = self._next()
            assert word == "saved"
        until = time.monotonic() + random.uniform(0.0, within)
        while (left := until - time.monotonic()) > 0:
            if select.select([self._process.stdout], [], [], left)[0]:
                self._rest += self._process.stdout.read(65536)
        os.kill(writer, signal.SIGKILL)
        while (told := self._next())[0] == "saved":
            acknowledged = told[1]
        return acknowledged

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    process = Writers()
    yield process
    process.close()


def revisions(path: Path) -> set[int]:
    """Check the file, read each record of it, and return their revisions."""

    async def read() -> set[int]:
        store = SQLiteStore(path)
        await store.open()
        found = await store.list(now=0.0)
        rows = [await store.load(Key(info["namespace"], info["session_id"])) for info in found]
        await store.close()
        assert len(rows) in (0, 40)
        return {decode(row).revision for row in rows if row is not None}

    found = asyncio.run(read())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


def test_killed_writers(tmp_path: Path, writers: Writers) -> None:
    """Fifty times: the file is sound, each record reads, no batch is torn, and no acknowledged save is lost."""
    for _ in range(50):
        acknowledged = writers.kill_one(tmp_path / "s.db", after_saves=1, within=0.05)
        (revision,) = revisions(tmp_path / "s.db")
        assert revision >= acknowledged


def test_writers_killed_while_they_open(tmp_path: Path, writers: Writers) -> None:
    """Fifty times, on a new file each: a kill while it is made leaves a file that the next one opens."""
    for number in range(50):
        path = tmp_path / str(number) / "s.db"
        acknowledged = writers.kill_one(path, after_saves=0, within=0.03)
        assert max(revisions(path), default=0) >= acknowledged
