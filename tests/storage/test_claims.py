"""Leases and claims in the SQLite file: what is left of them, what a call reads, and what isn't ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.storage import Claim, Key, SQLiteStore
from scrapy_sessions.testing import Clock, make_row
from tests.support.query_plans import Recorder, record

PLACE = ("shop", "staff")
DAY = 86_400.0


def query(path: Path, sql: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


async def used(path: Path, clock: Clock, use: Callable[[SQLiteStore], Awaitable[None]]) -> None:
    store = SQLiteStore(path, clock=clock)
    await store.open()
    await use(store)
    await store.close()


async def test_leases_leave_nothing_behind(tmp_path: Path) -> None:
    """A lease that was released is gone from the file at once, an expired one after a day, when another is taken."""
    clock, path = Clock(), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        for number in range(50):
            lease = await store.lease("shop", f"login:{number}", 30.0)
            assert lease is not None
            if number:
                assert await store.release(lease)
        assert query(path, "SELECT name FROM leases") == [("login:0",)]
        clock.now += DAY + 31
        assert await store.lease("shop", "other", 30.0) is not None
        assert query(path, "SELECT name FROM leases") == [("other",)]

    await used(path, clock, use)


async def test_sessions_that_left_their_pool_are_forgotten(tmp_path: Path) -> None:
    """They are remembered for a day, for the sake of late saves, and not at all if they were never claimed."""
    clock, path = Clock(), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await store.enrol(*PLACE, "p", ["a", "b", "c"], 30.0)
        held = (await store.claim(*PLACE, "p", [], 1, 30.0)).held
        await store.give_back(*PLACE, held)
        clock.now += 31
        assert await store.enrol(*PLACE, "q", ["c"], 30.0) == ["c"]
        assert query(path, "SELECT session_id, pool FROM claims ORDER BY 1") == [("a", None), ("c", "staff")]
        clock.now += DAY + 1
        assert await store.enrol(*PLACE, "q", ["c", "d"], 30.0) == ["c", "d"]
        assert await store.enrol(*PLACE, "q", ["d"], 30.0) == ["c", "d"]
        clock.now += 31
        await store.enrol(*PLACE, "q", ["d"], 30.0)
        assert query(path, "SELECT session_id, pool FROM claims") == [("d", "staff")]
        assert query(path, "SELECT holder FROM processes") == [("q",)]

    await used(path, clock, use)


async def test_tokens_survive_a_clock_that_is_put_back(tmp_path: Path) -> None:
    """Tokens grow though the time doesn't, and go on growing in a file that another process has opened."""
    clock, tokens = Clock(), []
    for _ in range(3):
        store = SQLiteStore(tmp_path / "s.db", clock=clock)
        await store.open()
        lease = await store.lease("shop", "login", 30.0)
        assert lease is not None
        tokens.append(lease.token)
        assert await store.release(lease)
        await store.close()
        clock.now -= 500.0
    assert tokens == sorted(set(tokens))


async def test_a_clock_that_was_years_ahead_blocks_nothing(tmp_path: Path) -> None:
    """Claims, and places in the line, that were given under a wrong clock end when it is put right."""
    clock, path = Clock(2_000_000_000.0), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await store.enrol(*PLACE, "p", ["a"], 30.0)
        old = (await store.claim(*PLACE, "p", [], 1, 30.0)).held
        assert (await store.claim(*PLACE, "q", [], 1, 30.0)).place == 1
        clock.now = 1_800_000_000.0
        (new,) = (await store.claim(*PLACE, "r", [], 1, 30.0)).held
        assert new.token > old[0].token
        assert (await store.claim(*PLACE, "s", [], 1, 30.0)).place == 1

    await used(path, clock, use)


async def test_each_file_has_its_own_epoch(tmp_path: Path) -> None:
    """The epoch is random, the same for all processes, and survives closing."""
    epochs = []
    for name in ("a.db", "a.db", "b.db"):
        store = SQLiteStore(tmp_path / name)
        await store.open()
        epochs.append(await store.epoch())
        await store.close()
    assert epochs[0] == epochs[1] != epochs[2]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM store",
        "UPDATE store SET token = 'x', epoch = 5",
        "UPDATE store SET token = 9223372036854775807",
        "UPDATE store SET token = -5",
    ],
)
async def test_a_crafted_last_token(tmp_path: Path, change: str) -> None:
    """Whatever another program has put in place of the last token, leases and claims work, and tokens grow."""
    clock, path = Clock(), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await store.enrol(*PLACE, "p", ["a", "b"], 30.0)
        query(path, change)
        held = (await store.claim(*PLACE, "p", [], 2, 30.0)).held
        assert held[0].token < held[1].token < 2**53
        assert await store.lease("shop", "login", 30.0) is not None
        assert isinstance(await store.epoch(), str)

    await used(path, clock, use)


@pytest.mark.parametrize("revision", ["'x'", "5.5", "x'00'"])
async def test_a_row_without_a_revision_is_quarantined(tmp_path: Path, revision: str) -> None:
    """A row whose revision isn't an integer is moved as one without; one that has been put right isn't."""
    clock, path = Clock(), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await store.save([make_row("alice"), make_row("bob")])
        query(path, f"UPDATE sessions SET revision = {revision} WHERE session_id = 'alice'")
        assert await store.quarantine(Key("shop", "alice"), None, "not a row")
        assert not await store.quarantine(Key("shop", "bob"), None, "not a row")
        assert await store.quarantined() == [(Key("shop", "alice"), "not a row")]
        assert await store.load(Key("shop", "alice")) is None

    await used(path, clock, use)


async def test_a_claim_seeks_in_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pool of thousands, renewing and waiting read no table from end to end, and few rows."""
    record(monkeypatch)
    clock, path = Clock(), tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        await store.enrol(*PLACE, "p", [f"s{number:04}" for number in range(3000)], 30.0)
        everything: list[Claim] = (await store.claim(*PLACE, "p", [], 2990, 30.0)).held
        mine = (await store.claim(*PLACE, "q", [], 10, 30.0)).held
        assert (len(everything), len(mine)) == (2990, 10)
        Recorder.asked.clear()
        Recorder.rows = 0
        assert (await store.claim(*PLACE, "q", mine, 20, 30.0)).place == 1
        await store.wait(*PLACE, "q", 0.0)
        assert Recorder.rows < 60
        asked = [each for each in Recorder.asked if each[0].lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
        with contextlib.closing(sqlite3.connect(path)) as connection:
            steps = [
                step
                for sql, parameters in asked
                for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
            ]
        assert any("claims_by_expiry" in step for step in steps)
        assert any("claims_by_holder" in step for step in steps)
        assert [step for step in steps if step.startswith("SCAN") and "store" not in step] == []

    await used(path, clock, use)
