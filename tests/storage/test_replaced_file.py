"""The SQLite file, its folder, or a file beside it is deleted or replaced while a store has it open."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.testing import make_row

ALICE, BOB = make_row("alice"), make_row("bob")


def ids(path: Path) -> set[str]:
    """The sessions in the file *path*, as another process sees them; the file is sound."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {session_id for (session_id,) in connection.execute("SELECT session_id FROM sessions")}


def with_alice(path: Path, scenario: Callable[[SQLiteStore], Awaitable[None]]) -> None:
    """Run *scenario* with an open store at *path* that contains alice, and close it."""

    async def run() -> None:
        store = SQLiteStore(path, busy_timeout=5.0)
        await store.open()
        await store.save([ALICE])
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_nothing_happened(tmp_path: Path) -> None:
    """While the files are the same the epoch is, too: whatever is saved, deleted and checkpointed."""

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        await store.delete([ALICE.key])
        assert await store.epoch() == before
        other = SQLiteStore(tmp_path / "s.db")
        await other.open()
        await other.save([BOB])
        await other.close()
        assert await store.epoch() == before
        assert await store.load(BOB.key) == BOB

    with_alice(tmp_path / "s.db", use)


@pytest.mark.parametrize("of_folder", [False, True])
def test_a_link_to_another_file(tmp_path: Path, *, of_folder: bool) -> None:
    """The path is a link, of the file or its folder, as a deployment makes it: another target is noticed once."""
    old, new, link = tmp_path / "old", tmp_path / "new", tmp_path / "link"
    for folder in (old, new):
        folder.mkdir()
    place = link / "s.db" if of_folder else link
    link.symlink_to(old if of_folder else old / "s.db")

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        assert await store.epoch() == before
        link.unlink()
        link.symlink_to(new if of_folder else new / "s.db")
        after = await store.epoch()
        assert (after != before, await store.epoch()) == (True, after)
        assert await store.save([BOB]) == [Outcome.SAVED]
        assert (ids(old / "s.db"), ids(new / "s.db")) == ({"alice"}, {"bob"})

    with_alice(place, use)


@pytest.mark.parametrize("lost", [("",), ("", "-wal", "-shm"), ("", "-wal", "-shm", ".lock")])
def test_deleted_file(tmp_path: Path, lost: tuple[str, ...]) -> None:
    """A deleted file is noticed once, and created again, as private as before."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        for suffix in lost:
            Path(f"{path}{suffix}").unlink()
        after = await store.epoch()
        assert (after != before, await store.epoch()) == (True, after)
        assert await store.load(ALICE.key) is None
        assert await store.save([BOB]) == [Outcome.SAVED]
        assert ids(path) == {"bob"}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with_alice(path, use)
    assert ids(path) == {"bob"}


def test_deleted_folder(tmp_path: Path) -> None:
    """A deleted folder is created again, with its mode."""
    folder = tmp_path / "sessions"

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        shutil.rmtree(folder)
        assert await store.epoch() != before
        await store.save([BOB])

    with_alice(folder / "s.db", use)
    assert ids(folder / "s.db") == {"bob"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_file_replaced_by_another(tmp_path: Path) -> None:
    """Another store in its place is used, and nothing of the old one gets into it."""
    path = tmp_path / "s.db"

    async def make_other(store: SQLiteStore) -> None:
        await store.save([BOB])

    async def use(store: SQLiteStore) -> None:
        await store.save([make_row(f"s{number}", body=bytes(3000)) for number in range(50)])  # in the WAL
        before = await store.epoch()
        (tmp_path / "other.db").rename(path)
        assert await store.epoch() != before
        assert await store.load(BOB.key) == BOB
        assert await store.save([make_row("carol")]) == [Outcome.SAVED]

    with_alice(tmp_path / "other.db", make_other)
    with_alice(path, use)
    assert ids(path) == {"alice", "bob", "carol"}


@pytest.mark.parametrize("lost", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_deleted_wal(tmp_path: Path, lost: tuple[str, ...]) -> None:
    """Without its WAL or the index of it, the file has what was saved before and what is saved from then on."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        for suffix in lost:
            Path(f"{path}{suffix}").unlink()
        assert await store.epoch() != before
        assert await store.save([BOB]) == [Outcome.SAVED]
        assert ids(path) == {"alice", "bob"}

    with_alice(path, use)
    assert ids(path) == {"alice", "bob"}


def test_replaced_by_what_is_no_store(tmp_path: Path) -> None:
    """A file of something else in its place is an error until it is gone, and left as it is."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        path.unlink()
        path.write_text("notes")
        for _ in range(2):
            with pytest.raises(StoreError, match="isn't a SQLite file"):
                await store.epoch()
        assert path.read_text() == "notes"
        path.unlink()
        assert await store.epoch() != before
        assert await store.save([BOB]) == [Outcome.SAVED]

    with_alice(path, use)
    assert ids(path) == {"bob"}


def test_deleted_wal_and_no_way_to_open_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that can't be opened again at once is tried at each call, and nothing saved is lost."""
    path = tmp_path / "s.db"

    def fail(*args: object, **options: object) -> sqlite3.Connection:
        raise StoreError("The test lets it fail")

    async def use(store: SQLiteStore) -> None:
        before = await store.epoch()
        Path(f"{path}-wal").unlink()
        with monkeypatch.context() as patch:
            patch.setattr("scrapy_sessions.storage.sqlite.store.open_file", fail)
            for call in (store.epoch(), store.load(ALICE.key)):
                with pytest.raises(StoreError, match="The test lets it fail"):
                    await call
        assert await store.load(ALICE.key) == ALICE
        assert await store.epoch() != before

    with_alice(path, use)


def test_two_processes_meet_in_the_new_file(tmp_path: Path) -> None:
    """Two stores whose file was deleted write into the same new one."""
    path = tmp_path / "s.db"

    async def use(store: SQLiteStore) -> None:
        other = SQLiteStore(path)
        await other.open()
        path.unlink()
        for each, row in ((store, ALICE), (other, BOB)):
            await each.epoch()
            assert await each.save([row]) == [Outcome.SAVED]
        assert await store.load(Key("shop", "bob")) == BOB
        assert await store.epoch() == await store.epoch()
        await other.close()

    with_alice(path, use)
    assert ids(path) == {"alice", "bob"}
