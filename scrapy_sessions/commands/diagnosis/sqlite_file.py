"""The checks of an SQLite file, before the store opens it, which may change the file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from scrapy_sessions.commands.diagnosis.findings import Finding, error, ok, warning
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.sqlite.file import APPLICATION_ID, explain, harden
from scrapy_sessions.storage.sqlite.migrations import LATEST
from scrapy_sessions.storage.sqlite.place import COMPANIONS, OTHERS, is_our_folder
from scrapy_sessions.storage.sqlite.schema import check_schema

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def examine_file(path: Path) -> Iterator[Finding]:
    """Check the existing file *path*: permissions, schema, integrity."""
    yield _folder(path.parent)
    yield _permissions(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            yield from _content(path, connection)
    except sqlite3.Error as fault:
        yield error("integrity", *str(explain(fault, path, 0)).rsplit(": ", 1))


def _permissions(path: Path) -> Finding:
    exposed: dict[Path, int] = {}
    for file in (path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS)):
        with contextlib.suppress(FileNotFoundError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & OTHERS:
                exposed[file] = mode
    if not exposed:
        return ok("permissions", "Only this user can read and write the file")
    listed = ", ".join(f"{file} ({mode:04o})" for file, mode in exposed.items())
    return error("permissions", f"Other users can read or write {listed}", f"chmod 600 {' '.join(map(str, exposed))}")


def _folder(folder: Path) -> Finding:
    mode = stat.S_IMODE(folder.stat().st_mode)
    ours = is_our_folder(folder)
    if mode & (OTHERS if ours else _OTHERS_WRITE) and not mode & stat.S_ISVTX:
        verb = "use" if ours else "write to"
        remedy = f"chmod 700 {folder}" if ours else f"chmod go-w {folder}"
        return error("permissions", f"Other users can {verb} the folder {folder} ({mode:04o})", remedy)
    if not os.access(folder, os.W_OK | os.X_OK):
        return error(
            "permissions",
            f"This user can't write to the folder {folder}",
            "Give this user the right to write, or name another folder",
        )
    return ok("permissions", f"Other users can't write to the folder {folder}")


def _content(path: Path, connection: sqlite3.Connection) -> Iterator[Finding]:
    harden(connection)
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        if application_id or connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            yield error("schema", f"{path} is an SQLite file of another program", "Name another file in SESSIONS_STORE")
            return
        yield ok("schema", "The file is empty: the next crawl creates its tables")
    elif version > LATEST:
        yield error(
            "schema",
            f"The file has schema version {version}, and this version of the package reads up to {LATEST}",
            "Upgrade: python -m pip install -U scrapy-persistent-sessions",
        )
    elif version < LATEST:
        yield warning(
            "schema",
            f"The file has schema version {version}, and {LATEST} is the latest",
            "Nothing to do: the next opening migrates it. Older versions of the package can't read it afterwards",
        )
    else:
        yield ok("schema", f"The file has schema version {version}, the latest")
    if application_id and version <= LATEST:
        try:
            check_schema(connection, path)
        except StoreError as fault:  # the check below would run what replaces our tables
            text, _, remedy = str(fault).partition(": another program")
            yield error("schema", text, f"Another program{remedy}")
            return
    faults = [text for (text,) in connection.execute("PRAGMA quick_check(5)")]
    if faults == ["ok"]:
        yield ok("integrity", "The file is intact")
    else:
        yield error(
            "integrity",
            f"{path} can't be read as an SQLite file ({'; '.join(faults)})",
            f"Stop the processes that use it, and move it away, with its -wal and -shm files; "
            f"sqlite3 {path} .recover may save a part",
        )
