"""Reading and writing rows of the SQLite file: the store's methods of the same names, each in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import attrgetter

from scrapy_sessions.storage.base import Key, Outcome, Row
from scrapy_sessions.storage.sqlite.claims import any_fenced
from scrapy_sessions.storage.sqlite.file import note_deletion, transaction

_COLUMNS = (
    "namespace, session_id, pool, profile_name, status, start_time, last_activity, expires_at, expires_by, "
    "pages_visited, actions_count, revision, stamps, body"
)
_FIELDS = tuple(_COLUMNS.split(", "))
_CHANGING = tuple(field for field in _FIELDS if field not in ("namespace", "session_id", "start_time"))
# Of any type, a body is handed on, so that its record is found to be unreadable, and the number can be counted with.
_LOADED_COLUMNS = (
    _COLUMNS.replace("actions_count", "coalesce(CAST(actions_count AS INTEGER), 0)")
    .replace("stamps", "coalesce(CAST(stamps AS TEXT), '')")
    .replace("body", "coalesce(CAST(body AS BLOB), x'')")
)
_LOAD = f"SELECT {_LOADED_COLUMNS} FROM sessions WHERE session_id = ? AND namespace = ?"
# CROSS makes SQLite seek each key in the index; with IN it reads the whole table.
_LOAD_MANY = f"""
    WITH wanted (id, space) AS (VALUES {{}})
    SELECT {_LOADED_COLUMNS} FROM wanted CROSS JOIN sessions ON session_id = id AND namespace = space
"""
_LOADED = 400  # keys per statement: SQLite before 3.32 takes up to 999 values
_INSERT = f"INSERT INTO sessions ({_COLUMNS}) VALUES ({', '.join('?' * len(_FIELDS))}) ON CONFLICT DO NOTHING"
_SET = f"UPDATE sessions SET {', '.join(f'{field} = ?' for field in _CHANGING)}"
_UPDATE = f"""
    {_SET} WHERE session_id = ? AND namespace = ? AND revision = ? - 1 AND start_time = ?
    AND (? IN ('', substr(stamps, 1, 8)) OR stamps = '')
"""
_REPLACE = f"{_SET}, start_time = ? WHERE session_id = ? AND namespace = ? AND revision = ? AND start_time = ?"
_STORED = "SELECT start_time, revision, stamps FROM sessions WHERE session_id = ? AND namespace = ?"
_DELETE = "DELETE FROM sessions WHERE session_id = ? AND namespace = ?"
_DELETE_REVISION = f"{_DELETE} AND revision IS ?"
_DELETE_STORED = f"{_DELETE_REVISION} AND start_time IS coalesce(?, start_time)"
_QUARANTINE = """
    INSERT INTO quarantine (namespace, session_id, revision, reason, set_aside, body)
    SELECT coalesce(CAST(namespace AS TEXT), ''), coalesce(CAST(session_id AS TEXT), ''), coalesce(revision, 0), ?, ?,
        coalesce(body, x'')
    FROM sessions WHERE
"""
_QUARANTINE_REVISION = f"{_QUARANTINE} session_id = ? AND namespace = ? AND revision IS ?"
_REVISION_TYPE = "SELECT typeof(revision), rowid FROM sessions WHERE session_id = ? AND namespace = ?"
_QUARANTINE_ROW = f"{_QUARANTINE} rowid = ?"
_DELETE_ROW = "DELETE FROM sessions WHERE rowid = ?"
_DELETE_QUARANTINED = "DELETE FROM quarantine WHERE session_id = ? AND namespace = ?"
_QUARANTINED = """
    SELECT CAST(namespace AS TEXT), CAST(session_id AS TEXT), CAST(reason AS TEXT) FROM quarantine ORDER BY id
"""

_insert_values = attrgetter(*_FIELDS)
_update_values = attrgetter(*_CHANGING, "session_id", "namespace", "revision", "start_time", "replaces")
_replace_values = attrgetter(*_CHANGING, "start_time", "session_id", "namespace")


def load(connection: sqlite3.Connection, key: Key) -> Row | None:
    found = connection.execute(_LOAD, (key.session_id, key.namespace)).fetchone()
    return None if found is None else Row(*found)


def load_many(connection: sqlite3.Connection, keys: Sequence[Key]) -> list[Row | None]:
    found: dict[Key, Row] = {}
    for start in range(0, len(keys), _LOADED):
        part = keys[start : start + _LOADED]
        places = [value for key in part for value in (key.session_id, key.namespace)]
        query = _LOAD_MANY.format(", ".join(["(?, ?)"] * len(part)))
        for values in connection.execute(query, places):
            row = Row(*values)
            found[row.key] = row
    return [found.get(key) for key in keys]


def save(connection: sqlite3.Connection, rows: Sequence[Row], tokens: Sequence[int | None] | None) -> list[Outcome]:
    tokens = tokens or [None] * len(rows)
    if len({row[:2] for row in rows}) == len(rows):  # otherwise the order of the rows matters
        with suppress(_NotAll, *_FAULTS), transaction(connection):
            if any_fenced(connection, rows, tokens) or _save_all(connection, rows) < len(rows):
                raise _NotAll  # rolls back; a savepoint would copy every page before its change
            return [Outcome.SAVED] * len(rows)
    with transaction(connection):
        return [_save_one(connection, row, token) for row, token in zip(rows, tokens, strict=True)]


def replace(connection: sqlite3.Connection, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
    with transaction(connection):
        if any(old is not None for old in stored):
            note_deletion(connection)
        return [_replace_one(connection, row, old) for row, old in zip(rows, stored, strict=True)]


def delete(
    connection: sqlite3.Connection,
    keys: Sequence[Key],
    revisions: Sequence[int] | None,
    start_times: Sequence[float] | None,
) -> list[bool]:
    others = 0
    with transaction(connection):
        if revisions is None:
            places = [(key.session_id, key.namespace) for key in keys]
            others = connection.executemany(_DELETE_QUARANTINED, places).rowcount
            cursors = [connection.execute(_DELETE, (key.session_id, key.namespace)) for key in keys]
        else:
            starts: Sequence[float | None] = start_times or [None] * len(keys)
            cursors = [
                connection.execute(_DELETE_STORED, (key.session_id, key.namespace, revision, start))
                for key, revision, start in zip(keys, revisions, starts, strict=True)
            ]
        gone = [cursor.rowcount == 1 for cursor in cursors]
        if others > 0 or any(gone):
            note_deletion(connection)
    return gone


def set_aside(connection: sqlite3.Connection, key: Key, revision: int | None, reason: str, now: float) -> bool:
    place = (key.session_id, key.namespace)
    with transaction(connection):
        if revision is None:
            kind, rowid = connection.execute(_REVISION_TYPE, place).fetchone() or ("integer", 0)
            if kind == "integer":
                return False
            connection.execute(_QUARANTINE_ROW, (reason, now, rowid))
            connection.execute(_DELETE_ROW, (rowid,))
            return True
        copied = connection.execute(_QUARANTINE_REVISION, (reason, now, *place, revision)).rowcount
        connection.execute(_DELETE_REVISION, (*place, revision))
    return copied == 1


def set_aside_rows(connection: sqlite3.Connection, rowids: Sequence[int], reason: str, now: float) -> None:
    """Move the rows to the quarantine. Call it in the transaction that has read them: rowids are used again."""
    connection.executemany(_QUARANTINE_ROW, [(reason, now, rowid) for rowid in rowids])
    connection.executemany(_DELETE_ROW, [(rowid,) for rowid in rowids])


def encrypt_rest(connection: sqlite3.Connection, encrypt: Callable[[bytes], bytes]) -> None:
    with transaction(connection):
        note_deletion(connection)
        for table in ("quarantine", "shared"):
            rowids = [rowid for (rowid,) in connection.execute(f"SELECT rowid FROM {table}")]
            for rowid in rowids:
                query = f"SELECT coalesce(CAST(body AS BLOB), x'') FROM {table} WHERE rowid = ?"
                (body,) = connection.execute(query, (rowid,)).fetchone()
                changed = encrypt(body)
                if changed != body:
                    connection.execute(f"UPDATE {table} SET body = ? WHERE rowid = ?", (changed, rowid))


def quarantined(connection: sqlite3.Connection) -> list[tuple[Key, str]]:
    return [(Key(name, session_id), reason) for name, session_id, reason in connection.execute(_QUARANTINED)]


class _NotAll(Exception):
    """Not every row could be saved."""


# What SQLite and its driver raise for a value, and for nothing else: half a character, too large a number or body.
_FAULTS = (UnicodeEncodeError, OverflowError, sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError)


def _save_all(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Save the rows that can be saved, and return their number: the fast path, for rows without a conflict."""
    new = [row for row in rows if row.revision == 1]
    changed = [row for row in rows if row.revision != 1] if new else rows
    # map(), so that the values of a row are made between two steps of SQLite, which release the GIL for the event loop.
    saved = connection.executemany(_INSERT, map(_insert_values, new)).rowcount if new else 0
    if changed:
        saved += connection.executemany(_UPDATE, map(_update_values, changed)).rowcount
    return saved


def _save_one(connection: sqlite3.Connection, row: Row, token: int | None) -> Outcome:
    try:
        if any_fenced(connection, [row], [token]):
            return Outcome.FENCED
        return Outcome.SAVED if _save_all(connection, [row]) == 1 else _why_not(connection, row)
    except _FAULTS:
        return Outcome.FAULT


def _replace_one(connection: sqlite3.Connection, row: Row, old: Row | None) -> Outcome:
    if old is None:
        inserted = connection.execute(_INSERT, _insert_values(row)).rowcount == 1
        return Outcome.SAVED if inserted else Outcome.CONFLICT
    values = (*_replace_values(row), old.revision, old.start_time)
    if connection.execute(_REPLACE, values).rowcount == 1:
        return Outcome.SAVED
    start_time, *_ = _stored(connection, row)
    return Outcome.CONFLICT if start_time == old.start_time else Outcome.DELETED


def _why_not(connection: sqlite3.Connection, row: Row) -> Outcome:
    """Return the outcome for *row*, whose session is stored in another revision or not at all, or is stored already."""
    start_time, revision, stamps = _stored(connection, row)
    if revision == row.revision and str(stamps)[: len(row.stamp)] == row.stamp:
        return Outcome.SAVED
    return Outcome.CONFLICT if row.revision == 1 or start_time == row.start_time else Outcome.DELETED


def _stored(connection: sqlite3.Connection, row: Row) -> tuple[object, object, object]:
    """Return what is stored of the session of *row*: start time, revision, stamps; ``None`` for each if it isn't."""
    found = connection.execute(_STORED, (row.session_id, row.namespace)).fetchone()
    return (None, None, None) if found is None else found
