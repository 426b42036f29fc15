"""The SQLite file: its birth, the check that it is ours, its transactions, and what its faults mean to people."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from scrapy_sessions.exceptions import NewerSchema, StoreError
from scrapy_sessions.storage.sqlite.migrations import LATEST, migrate

__all__ = ["APPLICATION_ID", "explain", "open_file", "open_to_read", "transaction"]

APPLICATION_ID = 0x53435353
"""``PRAGMA application_id`` of our files: "SCSS"."""

# By SQLite's own words, as `sqlite3.Error.sqlite_errorcode` came with Python 3.11 only.
_REMEDIES = (
    ("is full", "the disk is full: free some space"),
    ("readonly", "it can't be written: give this user the right to write to the file and its folder"),
    ("locked", "another process held it for longer than {busy_timeout:g} s: look for one that hangs in a transaction"),
    ("malformed", "it is damaged: stop what uses it and move it aside, with its -wal and -shm files"),
    ("not a database", "it is no SQLite file, or a damaged one: move it aside, or name another file"),
    ("unable to open", "it can't be opened: look whether its folder exists and this user may read and write there"),
    ("disk I/O error", "reading or writing failed: look at the disk, its quota and the limits of this process"),
)


def explain(error: sqlite3.Error, path: str | Path, busy_timeout: float) -> StoreError:
    """Return the exception to raise from *error*: what happened to the file *path*, and what to do next."""
    text = str(error)
    remedy = next((remedy for words, remedy in _REMEDIES if words in text), "unexpected: please report it")
    return StoreError(f"The session store {path} failed ({text}): {remedy.format(busy_timeout=busy_timeout)}")


def open_file(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the session file *path*, made or migrated as needed, and return a connection in autocommit mode.

    A new file has mode 0600; a folder that has to be made for it, mode 0700 and its own ``.gitignore``. Several
    processes may call it at once. *busy_timeout* is in seconds. Raises
    :exc:`~scrapy_sessions.exceptions.StoreError`; a file that isn't ours, or of a newer schema, stays as it is.
    """
    try:
        _check_place(path)
        _make_folder(path.parent)
        # Only now that the place is known to be right: next to a foreign file we leave nothing.
        # The lock is not SQLite's own because the change to WAL fails at once, whatever the busy timeout, when another
        # connection is open. One for all openings, not only the first: whether it is needed, only its holder can tell.
        with FileLock(f"{path}.lock", timeout=busy_timeout, mode=0o600):
            _make_file(path)
            return _connect(path, busy_timeout)
    except sqlite3.Error as error:
        raise explain(error, path, busy_timeout) from error
    except Timeout as error:
        raise StoreError(
            f"The session store {path} could not be opened within {busy_timeout:g} s, because another process is still "
            f"opening it: look for one that hangs with the file {path}.lock open"
        ) from error
    except OSError as error:
        raise StoreError(
            f"The session store {path} can't be opened ({error.strerror or type(error).__name__}): name a file in a "
            f"folder that this user may write to"
        ) from error


def open_to_read(path: Path, *, busy_timeout: float) -> sqlite3.Connection:
    """Open the session file *path*, which this user can't write, for reading. Nothing is changed, and no file is made.

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`, also for a file of an older schema: to read it would take a
    migration.
    """
    wal = path.with_name(f"{path.name}-wal")
    try:
        # With nothing in a WAL, all there is stands in the file, and "immutable" reads it without the -shm file, which
        # this user may not make. Otherwise only the -shm file of who is writing tells what the WAL holds.
        options = "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
        connection = sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, timeout=busy_timeout, isolation_level=None)
        try:
            _check_header(path, connection)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < LATEST:
                raise StoreError(
                    f"The session store {path} has schema version {version}: to open it brings it up to {LATEST}, "
                    f"and this user may not write to it. Give this user the right, or copy it to where that is so"
                )
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path, busy_timeout) from error
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what is done in the block, or, if it raises, undo it."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back after some faults, a full disk for one
            connection.execute("ROLLBACK")
        raise


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"The session store {path} is a folder: name a file, for example {path / 'sessions.db'}")
    if not path.exists():
        return
    if not path.is_file():
        raise StoreError(f"The session store {path} is no regular file: name another one")
    # A file that turns out to be foreign must not change by our looking at it. A plain connection could roll back its
    # journal, or write its WAL into it; an immutable one reads the file as it stands. It may also meet one of our own
    # files in the middle of a checkpoint, and call it malformed: then a read-only one, which takes locks, decides.
    # (To read the header with open() is no way: close() drops the locks of all connections of this process.)
    try:
        _check_ours(path, "mode=ro&immutable=1")
    except sqlite3.Error:
        _check_ours(path, "mode=ro")


def _check_ours(path: Path, options: str) -> None:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?{options}", uri=True)) as connection:
        _check_header(path, connection)


def _check_header(path: Path, connection: sqlite3.Connection) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        # An empty file has neither id nor tables: it is new.
        if application_id or connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StoreError(
                f"{path} is a SQLite file of another program, and not a session store: name another file. "
                f"It is left as it is"
            )
        return
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > LATEST:
        raise NewerSchema(
            f"The session store {path} has schema version {version}, and this version of scrapy_sessions reads up to "
            f"{LATEST}: upgrade the package, or name another file. It is left as it is"
        )


def _make_folder(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return  # the user's folder, or another process made it just now
    # A folder inside a repository must not put its cookies into the next commit.
    (folder / ".gitignore").write_text("*\n", encoding="ascii")


def _make_file(path: Path) -> None:
    # Before SQLite touches it, because SQLite would take the mode from the umask: there would be a moment in which
    # others can open it. Its -wal and -shm files take over the mode of the file.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    # isolation_level=None: transactions are ours to begin, as BEGIN IMMEDIATE. One that begins as a reader and writes
    # later fails at once, without waiting, if another process wrote in between.
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        _check_header(path, connection)
        if connection.execute("PRAGMA application_id").fetchone() == (0,):
            # The first write, and alone: it is one page, so a kill leaves either an empty file or one that is ours.
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # Readers don't wait for the writer nor the writer for them, and a commit appends to one file. Where the file
        # system can't do it SQLite stays with its rollback journal, and all else holds.
        connection.execute("PRAGMA journal_mode = WAL")
        # No fsync at a commit, only at a checkpoint: a kill loses nothing, a power cut may lose the last commits but
        # damages nothing. FULL would make each flush wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        # What was deleted is overwritten where that costs no additional I/O: it was cookies.
        connection.execute("PRAGMA secure_delete = FAST")
        # A batch of 1000 records is about 1000 pages, the default: a checkpoint, and its fsync, after every flush. With
        # four times that, pages that several flushes change are written back once. It costs a WAL of 16 MB, which
        # after a larger transaction is cut back to that.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        # In kB when negative: 8 MB keep the indexes of 50,000 sessions in memory; the default is 2 MB.
        connection.execute("PRAGMA cache_size = -8000")
        if migrate(connection):
            # Into the file itself, where _check_place finds the version before it opens anything for writing.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        # A file that can't be written is to be known now, not at the first save. BEGIN IMMEDIATE alone doesn't tell:
        # on a read-only file SQLite begins a reading transaction instead.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {LATEST}")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection
