"""Several processes on one file: nothing is lost, nothing is held twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import scrapy_sessions
from scrapy_sessions.storage import Key, SQLiteStore
from tests.support.waiting import HANG

ROOT = Path(scrapy_sessions.__file__).parents[1]

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="many processes at once need fork to be quick"),
]

# One process imports everything and forks the others: a start of Python for each would take most of the time. All of
# them wait at a pipe for the same moment.
RACE = """
import asyncio, os, sys
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.testing import make_row

path, count = sys.argv[1], int(sys.argv[2])

{scenario}

async def run(number):
    store = SQLiteStore(path, busy_timeout=60)
    await store.open()
    result = await scenario(store, number)
    await store.close()
    return result

start, go = os.pipe()
answers, answer = os.pipe()
children = []
for number in range(count):
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(go)
            os.read(start, 1)
            os.write(answer, f"{{asyncio.run(run(number))}}\\n".encode())
            code = 0
        finally:
            os._exit(code)
    children.append(child)
os.close(go)
os.close(answer)
with open(answers) as lines:
    print(lines.read(), end="", flush=True)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


def race(path: Path, count: int, scenario: str) -> list[str]:
    """Run *scenario* in *count* processes at once, from opening the store on, and return what each answered."""
    done = subprocess.run(
        [sys.executable, "-c", RACE.format(scenario=scenario), str(path), str(count)],
        capture_output=True,
        text=True,
        timeout=HANG,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def rows_of(path: Path) -> dict[str, tuple[int, bytes]]:
    async def look() -> dict[str, tuple[int, bytes]]:
        store = SQLiteStore(path)
        await store.open()
        rows = [await store.load(Key(info["namespace"], info["session_id"])) for info in await store.list(now=0.0)]
        await store.close()
        return {row.session_id: (row.revision, row.body) for row in rows if row}

    return asyncio.run(look())


def test_lease_has_one_holder_among_processes(tmp_path: Path) -> None:
    """Of a hundred processes that make the file and want one lease at once, exactly one holds it."""
    answers = race(
        tmp_path / "new" / "s.db",
        100,
        """
async def scenario(store, number):
    return await store.lease("shop", "login", 600) is not None
""",
    )
    assert (answers.count("True"), answers.count("False")) == (1, 99)


def test_lease_excludes(tmp_path: Path) -> None:
    """What a lease guards is never done by two processes at once, and its tokens grow from holder to holder."""
    (tmp_path / "counter").write_text("0")
    answers = race(
        tmp_path / "s.db",
        6,
        """
async def scenario(store, number):
    tokens = []
    while len(tokens) < 5:
        lease = await store.lease("shop", "counter", 60)
        if lease is None:
            await asyncio.sleep(0.001)  # a lease has nothing to wait on
            continue
        name = os.path.join(os.path.dirname(path), "counter")
        with open(name) as file:
            value = int(file.read())
        await asyncio.sleep(0.002)  # room for another to come between, if it could
        with open(name, "w") as file:
            file.write(str(value + 1))
        tokens.append(f"{value}:{lease.token}")
        assert await store.release(lease)
    return " ".join(tokens)
""",
    )
    assert (tmp_path / "counter").read_text() == "30"
    holders = sorted(tuple(map(int, answer.split(":"))) for answer in answers)
    assert [number for number, _ in holders] == list(range(30))
    tokens = [token for _, token in holders]
    assert tokens == sorted(set(tokens))


def test_processes_save_different_sessions(tmp_path: Path) -> None:
    """Processes that save their own sessions at once lose none."""
    race(
        tmp_path / "s.db",
        4,
        """
async def scenario(store, number):
    for revision in range(1, 6):
        for batch in range(5):
            rows = [make_row(f"{number} {batch} {each}", revision) for each in range(20)]
            assert await store.save(rows) == [Outcome.SAVED] * 20
""",
    )
    rows = rows_of(tmp_path / "s.db")
    assert set(rows) == {f"{number} {batch} {each}" for number in range(4) for batch in range(5) for each in range(20)}
    assert {revision for revision, _ in rows.values()} == {5}


def test_processes_save_one_session(tmp_path: Path) -> None:
    """Processes that change one session by turns, loading again at a conflict, lose no change."""
    race(
        tmp_path / "s.db",
        6,
        """
async def scenario(store, number):
    for _ in range(20):
        outcome = None
        while outcome is not Outcome.SAVED:
            row = await store.load(Key("shop", "shared"))
            revision, value = (row.revision, int(row.body)) if row else (0, 0)
            (outcome,) = await store.save([make_row("shared", revision + 1, body=str(value + 1).encode())])
            assert outcome is not Outcome.DELETED
""",
    )
    assert rows_of(tmp_path / "s.db") == {"shared": (120, b"120")}


def test_processes_open_and_close(tmp_path: Path) -> None:
    """Opening and closing beside each other, the last one checkpointing each time, disturbs nobody."""
    race(
        tmp_path / "s.db",
        6,
        """
async def scenario(store, number):
    for revision in range(1, 16):
        other = SQLiteStore(path, busy_timeout=60)
        await store.close()
        await other.open()
        assert await other.save([make_row(str(number), revision)]) == [Outcome.SAVED]
        await store.open()
        await other.close()
""",
    )
    assert rows_of(tmp_path / "s.db") == {str(number): (15, f"{number} 15".encode()) for number in range(6)}
