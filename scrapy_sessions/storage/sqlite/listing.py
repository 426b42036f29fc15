"""Listings in pages, and expired sessions, of the SQLite file. Neither reads a record.

All indexes start with the namespace; the index of the listing continues with the pool. A listing reads each pool in
turn and merges them, which costs one seek per pool. Indexes without these columns would cost time at every save.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from scrapy_sessions.storage.base import Expired, Key
from scrapy_sessions.storage.sqlite.values import (
    COUNT,
    NAME,
    NUMBER,
    REASON,
    STATUS,
    TEXT,
    TIME,
    Column,
    check_rows,
    wrong_column,
)

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status

Found: TypeAlias = tuple[Any, ...]
"""The columns of a session that a listing reads, and its rowid."""

_Place: TypeAlias = tuple[float, str, str]  # the sort key of a listing

_CHECKS = {
    "session_id": NAME,
    "namespace": NAME,
    "pool": TEXT,
    "profile_name": TEXT,
    "status": STATUS,
    "start_time": NUMBER,
    "last_activity": NUMBER,
    "pages_visited": COUNT,
    "actions_count": COUNT,
    "expires_at": TIME,
}
_COLUMNS = f"{', '.join(_CHECKS)}, rowid"
_EXPIRED_CHECKS = {
    "expires_at": NUMBER,
    "namespace": NAME,
    "session_id": NAME,
    "revision": COUNT,
    "start_time": NUMBER,
    "expires_by": REASON,
}
_FIND = f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ? ORDER BY namespace"
_PAGE = f"SELECT {_COLUMNS} FROM sessions WHERE namespace = ? AND pool IS ?"
# One seek in the index per namespace and pool; DISTINCT would read the whole index.
_NAMESPACES = """
    WITH RECURSIVE spaces (name) AS (
        SELECT min(namespace) FROM sessions
        UNION ALL
        SELECT (SELECT min(namespace) FROM sessions WHERE namespace > name) FROM spaces WHERE name IS NOT NULL
    )
    SELECT name FROM spaces WHERE name IS NOT NULL
"""
_POOLS = """
    WITH RECURSIVE pools (name) AS (
        SELECT min(pool) FROM sessions WHERE namespace = :namespace
        UNION ALL
        SELECT (SELECT min(pool) FROM sessions WHERE namespace = :namespace AND pool > name)
        FROM pools WHERE name IS NOT NULL
    )
    SELECT name FROM pools
"""  # the last row is always NULL, the pool of named sessions
_EXPIRED = f"""
    SELECT {", ".join(_EXPIRED_CHECKS)}, rowid FROM sessions
    WHERE namespace = ? AND expires_at <= ? ORDER BY expires_at, session_id LIMIT ?
"""


def infos(found: Iterable[Found], now: float, location: str) -> list[SessionInfo]:
    """Return the entries of *found* at *now* (UNIX seconds), of the store at *location*."""
    # Dict displays, because calling SessionInfo or a function for each takes twice as long: there may be 100,000.
    return [
        {
            "session_id": session_id,
            "namespace": namespace,
            "pool": pool,
            "profile_name": profile,
            "status": status,
            "start_time": started,
            "last_activity": last_activity,
            "pages_visited": pages,
            "actions_count": actions,
            "is_active": status != "retired" and (expires is None or expires > now),
            "storage": location,
        }
        for session_id, namespace, pool, profile, status, started, last_activity, pages, actions, expires, _ in found
    ]


def find(connection: sqlite3.Connection, session_id: str) -> list[Found]:
    """Return the sessions with the id *session_id*, ordered by namespace."""
    found = connection.execute(_FIND, (session_id,)).fetchall()
    check_rows(found, _CHECKS)
    return found


def check_all(connection: sqlite3.Connection) -> None:
    """Raise :exc:`~scrapy_sessions.storage.sqlite.values.Malformed` for the rows that no listing can show."""
    check_rows(connection.execute(f"SELECT {_COLUMNS} FROM sessions").fetchall(), _CHECKS)


def read_page(
    connection: sqlite3.Connection,
    namespace: str | None,
    pool: str | None,
    status: Status | None,
    limit: int | None,
    after: SessionInfo | None,
) -> list[Found]:
    """Return a page as :meth:`~scrapy_sessions.storage.SessionStore.list` does. Call it within a transaction.

    It reads up to three times as many rows as it returns, and one row of each pool.
    """
    if limit == 0:
        return []
    pools = [(name, each) for name in _spaces(connection, namespace) for each in _pools(connection, name, pool)]
    # First the same share of each pool is read; more of a pool is read when its share is used up.
    share = None if limit is None else limit // max(len(pools), 1) + 1
    start = None if after is None else (-after["last_activity"], after["namespace"], after["session_id"])
    if len(pools) == 1:
        return _read(connection, *pools[0], status, limit, start)
    sorted_parts = (_rows_of_pool(connection, name, each, status, share, start) for name, each in pools)
    return list(islice(heapq.merge(*sorted_parts, key=_place), limit))


def read_expired(connection: sqlite3.Connection, namespace: str | None, now: float, limit: int) -> list[Expired]:
    """Return the result of :meth:`~scrapy_sessions.storage.SessionStore.expired`. Call it within a transaction."""
    pages = [connection.execute(_EXPIRED, (name, now, limit)).fetchall() for name in _spaces(connection, namespace)]
    for page in pages:
        check_rows(page, _EXPIRED_CHECKS)
    found = islice(heapq.merge(*pages), limit)
    return [Expired(Key(name, session_id), *columns) for _, name, session_id, *columns, _ in found]


def _spaces(connection: sqlite3.Connection, namespace: str | None) -> Sequence[str]:
    return [namespace] if namespace is not None else _names(connection, connection.execute(_NAMESPACES), NAME)


def _pools(connection: sqlite3.Connection, namespace: str, pool: str | None) -> Sequence[str | None]:
    if pool is not None:
        return [pool]
    return _names(connection, connection.execute(_POOLS, {"namespace": namespace}), TEXT)


def _names(connection: sqlite3.Connection, query: sqlite3.Cursor, kind: Column) -> list[Any]:
    """Return the result of *query*, one column of *kind*."""
    found = query.fetchall()
    if wrong_column(found, {"name": kind}):
        check_all(connection)
    return [name for (name,) in found]


def _rows_of_pool(
    connection: sqlite3.Connection,
    namespace: str,
    pool: str | None,
    status: Status | None,
    share: int | None,
    start: _Place | None,
) -> Iterator[Found]:
    """Yield the entries of one *pool* after *start*. It reads *share* entries first, then twice as many each time.

    Not with a cursor that stays open: hundreds of pools would need as many statements.
    """
    while found := _read(connection, namespace, pool, status, share, start):
        yield from found
        if share is None or len(found) < share:
            return
        share, start = share * 2, _place(found[-1])


def _read(
    connection: sqlite3.Connection,
    namespace: str,
    pool: str | None,
    status: Status | None,
    limit: int | None,
    start: _Place | None,
) -> list[Found]:
    """Return up to *limit* entries of one *pool* (``None``: named sessions) after *start*."""
    select = _PAGE
    values: tuple[str | float | None, ...] = (namespace, pool)
    if status is not None:
        select += " AND status = ?"
        values += (status,)
    wanted = -1 if limit is None else limit
    found = []
    if start is not None:
        moment = -start[0]
        if namespace >= start[1]:
            # First the sessions of the same moment: in one condition with OR, SQLite could not seek in the index.
            beyond = start[2] if namespace == start[1] else ""
            query = f"{select} AND last_activity = ? AND session_id > ? ORDER BY session_id LIMIT ?"
            found = connection.execute(query, (*values, moment, beyond, wanted)).fetchall()
            if limit is not None:
                wanted = limit - len(found)
        select += " AND last_activity < ?"
        values += (moment,)
    query = f"{select} ORDER BY last_activity DESC, session_id LIMIT ?"
    found += connection.execute(query, (*values, wanted)).fetchall()
    check_rows(found, _CHECKS)
    return found


def _place(found: Found) -> _Place:
    return -found[6], found[1], found[0]
