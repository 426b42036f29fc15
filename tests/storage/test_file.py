"""The SQLite file: its creation, and files that aren't ours or can't be used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from scrapy_sessions.exceptions import NewerSchema, StoreError
from scrapy_sessions.storage import Key, Outcome, SQLiteStore
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID
from scrapy_sessions.storage.sqlite.migrations import LATEST
from scrapy_sessions.testing import make_row

posix_modes = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def with_store(path: Path, scenario: Callable[[SQLiteStore], Awaitable[None]] | None = None) -> None:
    async def run() -> None:
        store = SQLiteStore(path, busy_timeout=5.0)
        await store.open()
        try:
            if scenario:
                await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def make_sqlite(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@posix_modes
@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_of_new_files(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, only the user can read the file, its companions and its new folder."""
    folder = tmp_path / "a" / "sessions"

    async def save(store: SQLiteStore) -> None:
        await store.save([make_row("alice")])
        files = {path.name: mode(path) for path in folder.iterdir() if path.name != ".gitignore"}
        assert files == dict.fromkeys(("s.db", "s.db-shm", "s.db-wal", "s.db.lock"), 0o600)
        assert mode(folder) == 0o700

    before = os.umask(umask)
    try:
        with_store(folder / "s.db", save)
    finally:
        os.umask(before)


@posix_modes
def test_mode_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When SQLite first opens the file for writing it is there, empty, with its mode."""
    path = tmp_path / "s.db"
    seen = []
    connect = sqlite3.connect

    def spy(name: object, *args: object, **options: object) -> sqlite3.Connection:
        seen.append((path.stat().st_size, mode(path)))
        return connect(name, *args, **options)  # type: ignore[call-overload, no-any-return]  # passed on as it came

    monkeypatch.setattr("scrapy_sessions.storage.sqlite.file.sqlite3.connect", spy)
    with_store(path)
    assert seen == [(0, 0o600)]


@posix_modes
def test_mode_through_a_link(tmp_path: Path) -> None:
    """A link to a file that isn't there yet leads to one of the right mode."""
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    with_store(tmp_path / "link.db")
    assert mode(tmp_path / "real.db") == 0o600


def test_new_folder_ignores_itself(tmp_path: Path) -> None:
    """A folder that the store makes keeps out of the repository it stands in."""
    with_store(tmp_path / "sessions" / "s.db")
    assert (tmp_path / "sessions" / ".gitignore").read_text() == "*\n"


@posix_modes
def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    """A folder that was there gets no .gitignore, and keeps its mode."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    before = mode(folder)
    with_store(folder / "s.db")
    assert not (folder / ".gitignore").exists()
    assert mode(folder) == before


def test_file_is_marked_as_ours(tmp_path: Path) -> None:
    """The file carries our application id in its header, and is in WAL mode."""
    with_store(tmp_path / "s.db")
    header = (tmp_path / "s.db").read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert header[18:20] == b"\x02\x02"


def test_rows_outlive_the_store(tmp_path: Path) -> None:
    """What one store saved, the next one on the file loads."""
    row = make_row("alice")

    async def save(store: SQLiteStore) -> None:
        assert await store.save([row]) == [Outcome.SAVED]

    async def load(store: SQLiteStore) -> None:
        assert await store.load(row.key) == row

    with_store(tmp_path / "s.db", save)
    with_store(tmp_path / "s.db", load)


def test_empty_file_is_new(tmp_path: Path) -> None:
    """A file of zero bytes becomes a store."""
    (tmp_path / "s.db").touch()

    async def save(store: SQLiteStore) -> None:
        assert await store.save([make_row("alice")]) == [Outcome.SAVED]

    with_store(tmp_path / "s.db", save)


def refused(path: Path, error: type[StoreError], words: str) -> None:
    """Opening *path* fails with words that name it, twice the same, and changes neither the file nor its folder."""
    before = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    for _ in range(2):
        with pytest.raises(error, match=words) as caught:
            with_store(path)
        assert str(path) in str(caught.value)
    after = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}
    assert after == before


@pytest.mark.parametrize("content", [b"not a database", b"\0" * 5000, os.urandom(9000)])
def test_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    """A file that isn't SQLite's is refused and stays as it is."""
    (tmp_path / "s.db").write_bytes(content)
    refused(tmp_path / "s.db", StoreError, "isn't a SQLite file.*move it aside")


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE items (id)"],
        ["PRAGMA application_id = 77"],
        ["PRAGMA journal_mode = WAL", "CREATE TABLE items (id)"],
        ["PRAGMA application_id = 77", "CREATE TABLE sessions (id)", "PRAGMA user_version = 9"],
    ],
)
def test_file_of_another_program(tmp_path: Path, statements: list[str]) -> None:
    """A SQLite file of another program is refused and stays as it is."""
    make_sqlite(tmp_path / "s.db", *statements)
    refused(tmp_path / "s.db", StoreError, "another program.*name another file")


def test_file_of_another_program_in_use(tmp_path: Path) -> None:
    """So is one whose tables stand in its WAL only, as its program still runs: nothing is checkpointed for it."""
    path = tmp_path / "s.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id = 77")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE items (id)")
        before = path.read_bytes()
        with pytest.raises(StoreError, match="another program"):
            with_store(path)
        assert path.read_bytes() == before


def test_file_of_a_newer_version(tmp_path: Path) -> None:
    """A store of a newer version is refused, with both versions, and stays as it is."""
    with_store(tmp_path / "s.db")
    make_sqlite(tmp_path / "s.db", "PRAGMA user_version = 99", "DROP TABLE sessions")
    refused(tmp_path / "s.db", NewerSchema, f"version 99.*up to {LATEST}.*upgrade")


def test_file_with_damaged_pages(tmp_path: Path) -> None:
    """A damaged store is refused and stays as it is."""
    with_store(tmp_path / "s.db")
    content = bytearray((tmp_path / "s.db").read_bytes())
    content[100:4096] = b"\xff" * 3996
    (tmp_path / "s.db").write_bytes(content)
    refused(tmp_path / "s.db", StoreError, "damaged.*move it aside")


def test_damaged_record_pages(tmp_path: Path) -> None:
    """Damage that shows only at a read is an error of that read, with the driver's error chained."""
    path = tmp_path / "s.db"

    async def save(store: SQLiteStore) -> None:
        await store.save([make_row(f"s{number}", body=os.urandom(3000)) for number in range(50)])

    async def load(store: SQLiteStore) -> None:
        with pytest.raises(StoreError, match=r"malformed.*damaged") as caught:
            await asyncio.gather(*(store.load(Key("shop", f"s{number}")) for number in range(50)))
        assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)

    with_store(path, save)
    content = bytearray(path.read_bytes())
    content[40 * 4096 :] = b"\xff" * (len(content) - 40 * 4096)
    path.write_bytes(content)
    with_store(path, load)


def test_checkpoint_cut_short(tmp_path: Path) -> None:
    """A file whose checkpoint was killed after its first page, so that it is shorter than its header says, opens."""
    path, cut = tmp_path / "s.db", tmp_path / "cut" / "s.db"
    cut.parent.mkdir()
    rows = [make_row(f"s{number}", body=bytes(3000)) for number in range(100)]

    async def save(store: SQLiteStore) -> None:
        await store.save(rows)
        for suffix in ("", "-wal"):
            Path(f"{cut}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())

    async def load(store: SQLiteStore) -> None:
        assert [await store.load(row.key) for row in rows] == rows

    with_store(path, save)
    cut.write_bytes(path.read_bytes()[:4096] + cut.read_bytes()[4096:])
    assert cut.stat().st_size < path.stat().st_size
    with_store(cut, load)


def test_path_is_a_folder(tmp_path: Path) -> None:
    """A folder as the path is refused, with an example."""
    refused(tmp_path, StoreError, "is a folder: name a file.*sessions.db")


def test_parent_is_a_file(tmp_path: Path) -> None:
    """A path below a file is refused."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="name a file in a folder"):
        with_store(tmp_path / "file" / "s.db")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_path_is_no_regular_file(tmp_path: Path) -> None:
    """A pipe is refused at once, and not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="isn't a regular file"):
        with_store(tmp_path / "pipe")


def test_characters_of_urls_in_a_path(tmp_path: Path) -> None:
    """A path is a path: what means something in a URL means nothing in it."""
    path = tmp_path / "a?mode=memory#b %41.db"

    async def save(store: SQLiteStore) -> None:
        await store.save([make_row("alice")])

    with_store(path, save)
    with_store(path)
    assert path.stat().st_size > 0
