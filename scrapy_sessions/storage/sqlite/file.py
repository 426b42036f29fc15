"""The SQLite file: creating, checking and opening it, its transactions, and the messages for its faults."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock, Timeout

from scrapy_sessions.exceptions import NewerSchema, StoreError
from scrapy_sessions.storage.sqlite.migrations import LATEST, migrate
from scrapy_sessions.storage.sqlite.place import COMPANIONS, make_file, make_folder, make_private, refuse_foreign
from scrapy_sessions.storage.sqlite.schema import check_schema
from scrapy_sessions.storage.sqlite.values import is_undecodable

APPLICATION_ID = 0x53435353
"""``PRAGMA application_id`` of our files: "SCSS"."""

# By the text of SQLite's message, because `sqlite3.Error.sqlite_errorcode` requires Python 3.11.
_REMEDIES = (
    ("UTF-8", "another program has changed it: move it aside, with its -wal and -shm files"),
    ("is full", "the disk is full: free some space"),
    ("readonly", "it can't be written: give this user write permission for the file and its folder"),
    ("locked", "another process held it for longer than {busy_timeout:g} s: look for one that hangs in a transaction"),
    ("malformed", "it is damaged: stop what uses it and move it aside, with its -wal and -shm files"),
    ("not a database", "it isn't a SQLite file, or a damaged one: move it aside, or name another file"),
    ("unable to open", "it can't be opened: check that its folder exists and that this user can read and write there"),
    ("disk I/O error", "reading or writing failed: check the disk, its quota and the limits of this process"),
)


def explain(error: sqlite3.Error, path: str | Path, busy_timeout: float) -> StoreError:
    """Return the exception for *error*: what happened to the file *path*, and what to do next."""
    text = "it contains text that isn't UTF-8" if is_undecodable(error) else str(error)
    remedy = next((remedy for words, remedy in _REMEDIES if words in text), "unexpected: please report it")
    return StoreError(f"The session store {path} failed ({text}): {remedy.format(busy_timeout=busy_timeout)}")


def open_file(
    path: Path, *, busy_timeout: float, check: CheckBody = lambda body: None, replaced: Places | None = None
) -> sqlite3.Connection:
    """Open the session file *path*, created or migrated as needed, and return a connection in autocommit mode.

    A new file has mode 0600; a new folder has mode 0700 and its own ``.gitignore``. An existing file that others may
    use is made private, which a WARNING says. Several processes may call it at once. *busy_timeout* is in seconds.
    *check* is called with bodies of stored sessions, before the file is changed: it raises if they can't be decrypted.
    *replaced* is what a connection of this process has open, if there is another file in its place now.

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`. The file of another program, of another user, of a newer
    schema or with tables that aren't ours is left unchanged.
    """
    try:
        refuse_foreign(path)
        _check_place(path)
        make_folder(path.parent)
        make_private(path)
        # Locked only after the check, so that no lock file is left next to a foreign file.
        # SQLite's own locks don't do: while another connection is open, the change to WAL fails at once, whatever the
        # busy timeout. Every opening takes the lock, because only its holder can see whether the file is ready.
        with FileLock(f"{path}.lock", timeout=busy_timeout, mode=0o600):
            if replaced is not None:
                _remove_companions(path, replaced)
            make_file(path)
            return _connect(path, busy_timeout, check)
    except sqlite3.Error as error:
        raise explain(error, path, busy_timeout) from error
    except Timeout as error:
        raise StoreError(
            f"The session store {path} could not be opened within {busy_timeout:g} s, because another process is still "
            f"opening it: look for a process that hangs with the file {path}.lock open"
        ) from error
    except OSError as error:
        raise StoreError(
            f"The session store {path} can't be opened ({error.strerror or type(error).__name__}): name a file in a "
            f"folder that this user may write to"
        ) from error


def open_to_read(path: Path, *, busy_timeout: float, check: CheckBody = lambda body: None) -> sqlite3.Connection:
    """Open the session file *path*, which this user can't write, for reading. It changes and creates no file.

    Raises :exc:`~scrapy_sessions.exceptions.StoreError`, also for a file of an older schema, which needs a migration.
    """
    wal = path.with_name(f"{path.name}-wal")
    try:
        # Without content in the WAL, "immutable" reads the file without the -shm file, which this user may not create.
        # With content, the -shm file of the writing process is needed to find it.
        options = "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"
        connection = sqlite3.connect(f"{path.as_uri()}?{options}", uri=True, timeout=busy_timeout, isolation_level=None)
        try:
            harden(connection)
            _check_header(path, connection)
            check_schema(connection, path)
            _check_bodies(connection, check)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version < LATEST:
                raise StoreError(
                    f"The session store {path} has schema version {version}. Opening it migrates it to {LATEST}, and "
                    f"this user can't write to it: give this user write permission, or copy the file"
                )
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path, busy_timeout) from error
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Run the block in a transaction: committed at its end, rolled back if it raises."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back after some faults, such as a full disk
            connection.execute("ROLLBACK")
        raise


# In the file, so that any process erases what one has deleted that was killed before it did so itself.
_NOTE_DELETION = "UPDATE store SET deletions = deletions + 1"
_TO_ERASE = "SELECT deletions FROM store WHERE deletions != erased"
_NOTE_ERASED = "UPDATE store SET erased = ?"


def note_deletion(connection: sqlite3.Connection) -> None:
    """Note that :func:`erase` is to be called. Call it in the transaction that deletes content."""
    connection.execute(_NOTE_DELETION)


def is_to_erase(connection: sqlite3.Connection) -> bool:
    """Whether the WAL may contain what this process or another one has deleted."""
    return connection.execute(_TO_ERASE).fetchone() is not None


def erase(connection: sqlite3.Connection, *, patience: float, busy_timeout: float) -> bool:
    """Take deleted content out of the WAL, too. Returns False if other processes use it for all of *patience* (s)."""
    connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
    try:
        noted = connection.execute(_TO_ERASE).fetchone()
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if noted and not busy:
            # The number from before: what is deleted meanwhile is still to be erased.
            connection.execute(_NOTE_ERASED, noted)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False  # it is done once more
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(busy_timeout * 1000)}")
    return not busy


CheckBody: TypeAlias = Callable[[bytes], None]
_OPENED = COMPANIONS[:2]  # the suffixes of those that SQLite has open
Places: TypeAlias = "tuple[tuple[int, int] | None, ...]"
"""The devices and inodes of a file and those beside it that SQLite has open; ``None`` where there is none."""


def places_of(location: str, path: Path) -> Places:
    """Return what is at *location*, a link or not, and beside *path*, the file that was opened there.

    It differs if the file has been deleted or replaced, or if *location* is a link to another one now.
    """
    return (_place_of(location), *[_place_of(f"{path}{suffix}") for suffix in _OPENED])


def _check_bodies(connection: sqlite3.Connection, check: CheckBody) -> None:
    """Call *check* with the body that was saved first and the one that was created last, if there are any."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sessions'").fetchone()
    for order in ("ASC", "DESC") if tables else ():
        with contextlib.suppress(sqlite3.DatabaseError):  # a damaged page: the query that needs it raises
            query = f"SELECT CAST(body AS BLOB) FROM sessions ORDER BY rowid {order} LIMIT 1"
            for (body,) in connection.execute(query):
                check(body or b"")


def _remove_companions(path: Path, replaced: Places) -> None:
    """Remove the -wal and -shm files of the file that was at *path*: SQLite would write them into the new one."""
    for suffix, before in zip(_OPENED, replaced[1:], strict=True):
        if before is not None and _place_of(f"{path}{suffix}") == before:
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def _place_of(path: str) -> tuple[int, int] | None:
    # Before each save: a Path would double its cost.
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def harden(connection: sqlite3.Connection) -> None:
    """Take the rights from a file that somebody else may have made: it isn't trusted until its tables are checked."""
    # No function in a definition of the file, and a page is checked as a whole when it is read.
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"The session store {path} is a folder: name a file, for example {path / 'sessions.db'}")
    if not path.exists():
        return
    if not path.is_file():
        raise StoreError(f"The session store {path} isn't a regular file: name another file")
    # The check must not change a foreign file. A plain connection could roll back its journal, or write its WAL into
    # it; an immutable connection only reads. In the middle of a checkpoint it may report our own file as malformed:
    # then a read-only connection, which takes locks, decides. (Reading the header with open() doesn't do: close()
    # drops the locks of all connections of this process.)
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
                f"{path} is a SQLite file of another program, not a session store: name another file. It is left "
                f"unchanged"
            )
        return
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > LATEST:
        raise NewerSchema(
            f"The session store {path} has schema version {version}, and this version of scrapy_sessions reads up to "
            f"{LATEST}: upgrade the package, or name another file. It is left unchanged"
        )


def _connect(path: Path, busy_timeout: float, check: CheckBody) -> sqlite3.Connection:
    # isolation_level=None, so that we begin transactions ourselves, with BEGIN IMMEDIATE. A transaction that first
    # reads and then writes fails at once, without waiting, if another process wrote in between.
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)
    try:
        harden(connection)
        _check_header(path, connection)
        check_schema(connection, path)
        _check_bodies(connection, check)
        if connection.execute("PRAGMA application_id").fetchone() == (0,):
            # The first write is this page alone, so that a kill leaves either an empty file or one with our id.
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        # Readers and the writer don't wait for each other, and a commit appends to one file. On a file system that
        # doesn't support it, SQLite keeps its rollback journal, which works as well.
        connection.execute("PRAGMA journal_mode = WAL")
        # fsync at a checkpoint, not at a commit: a kill loses nothing; a power failure may lose the last commits but
        # damages nothing. With FULL, each flush would wait for the disk.
        connection.execute("PRAGMA synchronous = NORMAL")
        # Deleted content, which includes cookies, is overwritten with zeros, also in pages that become free: with FAST,
        # these would keep it. It takes 5 % of the time of a save. Before the migrations, which delete, too.
        connection.execute("PRAGMA secure_delete = ON")
        # A batch of 1000 records has about 1000 pages, the default limit: each flush would end with a checkpoint and
        # its fsync. With 4000, a page that several flushes change is written back once. The WAL has up to 16 MB then,
        # and is truncated to that after a larger transaction.
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        # A negative value is in kB: 8 MB, instead of 2, hold the indexes of 50,000 sessions in memory.
        connection.execute("PRAGMA cache_size = -8000")
        if migrate(connection):
            # Written into the file itself, because _check_place reads the version without the WAL.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        # Fails now, not at the first save, if the file can't be written. BEGIN IMMEDIATE alone doesn't fail: on a
        # read-only file SQLite begins a read transaction instead.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {LATEST}")
        connection.execute("ROLLBACK")
    except BaseException:
        connection.close()
        raise
    return connection
