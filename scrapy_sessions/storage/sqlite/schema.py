"""Whether the tables of a SQLite file are those that this package has made, and using them runs nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TypeAlias

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.sqlite.migrations import LATEST, migrate

Definition: TypeAlias = tuple[str, str, str, str]

# Views and triggers run whatever their author wrote, in place of a table or beside it; virtual tables run modules.
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
_RUNS = frozenset({"view", "trigger"})

DIGEST = "c97fb7580dc48fe3f2df79aae58d45cdfc1b68bc1d2f72a9c4ea9d03e958bf0b"
"""The digest of a new file's definitions. A file that has it needs no comparison with tables that are made for it:
making them takes as long as the rest of its opening."""


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.StoreError` if the file *path* has other tables than its version says.

    Only the definitions are read: a query on a view could take for ever. Other tables, of the user, are accepted.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = definitions(connection)
    if version == LATEST and digest_of(found) == DIGEST:
        return
    expected = _expected(version)
    ours = {table for kind, _, table, _ in expected if kind == "table"}
    wrong = {
        name
        for kind, name, table, sql in found
        if kind in _RUNS
        or str(sql).lstrip().upper().startswith("CREATE VIRTUAL")
        or (table in ours and (kind, name, table, sql) not in expected)
    }
    wrong.update(name for kind, name, table, sql in expected.difference(found))
    if wrong:
        named = ", ".join(repr(name) for name in sorted(map(str, wrong))[:5])
        raise StoreError(
            f"The session store {path} has another structure than this package gives it, at {named:.200}: another "
            f"program has changed it, or made it. Move it aside, and its -wal and -shm files, or name another file. It "
            f"is left unchanged"
        )


def definitions(connection: sqlite3.Connection) -> list[Definition]:
    """Return the definitions of the file: of each its type, name, table and SQL."""
    return connection.execute(_SCHEMA).fetchall()


def digest_of(found: Iterable[Definition]) -> str:
    """Return the digest of definitions, in any order."""
    return hashlib.sha256(repr(sorted(map(repr, found))).encode()).hexdigest()


@cache
def _expected(version: int) -> frozenset[Definition]:
    """The definitions in a new file of schema *version*."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, upto=version)
        return frozenset(definitions(connection))
