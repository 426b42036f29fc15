"""Whether the tables of a SQLite file are those that this package has made, and using them runs nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import cache
from pathlib import Path

from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.sqlite.migrations import migrate

# Views and triggers run whatever their author wrote, in place of a table or beside it; virtual tables run modules.
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
_RUNS = frozenset({"view", "trigger"})


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.StoreError` if the file *path* has other tables than its version says.

    Only the definitions are read: a query on a view could take for ever. Other tables, of the user, are accepted.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    expected = _expected(version)
    ours = {table for kind, _, table, _ in expected if kind == "table"}
    found = connection.execute(_SCHEMA).fetchall()
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


@cache
def _expected(version: int) -> frozenset[tuple[str, str, str, str]]:
    """The definitions in a new file of schema *version*."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, upto=version)
        return frozenset(connection.execute(_SCHEMA))
