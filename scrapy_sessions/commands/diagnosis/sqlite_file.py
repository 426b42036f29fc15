"""The checks of an SQLite file, read as it stands: before anything opens it, which might change it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from scrapy_sessions.commands.diagnosis.findings import Finding, ok, warning, wrong
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID, explain
from scrapy_sessions.storage.sqlite.migrations import LATEST

__all__ = ["examine_file"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def examine_file(path: Path) -> Iterator[Finding]:
    """Check the file *path*, which is there: permissions, schema, integrity."""
    yield _folder(path.parent)
    yield from _files(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            yield from _content(path, connection)
    except sqlite3.Error as error:
        yield wrong("integrity", *str(explain(error, path, 0)).rsplit(": ", 1))


def _files(path: Path) -> Iterator[Finding]:
    open_to_others = []
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", ".lock"))):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & _OTHERS:
                open_to_others.append(f"{file} ({mode:04o})")
    if open_to_others:
        names = " ".join(entry.rpartition(" ")[0] for entry in open_to_others)
        yield wrong("permissions", f"Others may read or write {', '.join(open_to_others)}", f"chmod 600 {names}")
    else:
        yield ok("permissions", "Only this user may read and write the file")


def _folder(folder: Path) -> Finding:
    mode = stat.S_IMODE(folder.stat().st_mode)
    # One that was made for the store, as its .gitignore tells. Any other is its user's to open to others, for reading.
    ours = folder.name == "sessions" and (folder / ".gitignore").exists()
    if mode & (_OTHERS if ours else _OTHERS_WRITE) and not mode & stat.S_ISVTX:
        what = "use" if ours else "write to"
        remedy = f"chmod 700 {folder}" if ours else f"chmod go-w {folder}"
        return wrong("permissions", f"Others may {what} the folder {folder} ({mode:04o})", remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        return wrong(
            "permissions",
            f"This user may not write to the folder {folder}",
            "Give this user the right, or name another",
        )
    return ok("permissions", f"The folder {folder} is closed to the writes of others")


def _content(path: Path, connection: sqlite3.Connection) -> Iterator[Finding]:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        if application_id or connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            yield wrong("schema", f"{path} is a SQLite file of another program", "Name another file in SESSIONS_STORE")
            return
        yield ok("schema", "The file is empty: the next crawl sets it up")
    elif version > LATEST:
        yield wrong(
            "schema",
            f"The file has schema version {version}, and this version reads up to {LATEST}",
            "Upgrade: python -m pip install -U scrapy-persistent-sessions",
        )
    elif version < LATEST:
        yield warning(
            "schema",
            f"The file has schema version {version}, and {LATEST} is the latest",
            "Nothing to do: opening it brings it up to date. Older versions of the package can't read it after that",
        )
    else:
        yield ok("schema", f"The file has schema version {version}, the latest")
    faults = [text for (text,) in connection.execute("PRAGMA quick_check(5)")]
    yield ok("integrity", "The file is intact") if faults == ["ok"] else _damaged(path, "; ".join(faults))


def _damaged(path: Path, what: str) -> Finding:
    remedy = (
        f"Stop what uses it and move it aside, with its -wal and -shm files; sqlite3 {path} .recover may save a part"
    )
    return wrong("integrity", f"{path} can't be read as a SQLite file ({what})", remedy)
