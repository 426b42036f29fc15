"""Analytics in the SQLite file. The functions run in the store's thread, within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, Event, HourCounts, PoolCounts, numbers_of, summed
from scrapy_sessions.storage.abilities import AnalyticsStore, Batch
from scrapy_sessions.storage.claiming import REMEMBERED
from scrapy_sessions.storage.sqlite.listing import check_all
from scrapy_sessions.storage.sqlite.values import (
    COUNT,
    NAME,
    NUMBER,
    STATUS,
    TEXT,
    Column,
    Malformed,
    wrong_column,
)

# "" is for no pool: in a key, SQLite treats two NULLs as different.
_PLACE = "hour, namespace, pool, session_id"
_NUMBERS = ", ".join(COUNTERS)
_SUMS = ", ".join(f"sum({name})" for name in COUNTERS)
_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)

_ADD_HOUR = f"""
    INSERT INTO hours ({_PLACE}, {_NUMBERS}) VALUES ({", ".join("?" * (4 + len(COUNTERS)))})
    ON CONFLICT DO UPDATE SET {_ADDED}
"""
_ADD_STATUS = f"""
    INSERT INTO hour_statuses ({_PLACE}, status, responses) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET responses = responses + excluded.responses
"""
_ADD_EVENT = "INSERT INTO events (namespace, session_id, pool, time, kind, detail) VALUES (?, ?, ?, ?, ?, ?)"

_ADD_BATCH = """
    INSERT INTO batches (writer, number, added) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET number = excluded.number, added = excluded.added WHERE number < excluded.number
"""
_FORGET_BATCHES = "DELETE FROM batches WHERE added <= ?"

_FOLD_HOURS = f"""
    INSERT INTO hours ({_PLACE}, {_NUMBERS})
    SELECT hour, namespace, pool, '{FOLDED}', {_SUMS} FROM hours WHERE hour <= ? AND session_id != '{FOLDED}'
    GROUP BY hour, namespace, pool
    ON CONFLICT DO UPDATE SET {_ADDED}
"""
_FOLD_STATUSES = f"""
    INSERT INTO hour_statuses ({_PLACE}, status, responses)
    SELECT hour, namespace, pool, '{FOLDED}', status, sum(responses) FROM hour_statuses
    WHERE hour <= ? AND session_id != '{FOLDED}' GROUP BY hour, namespace, pool, status
    ON CONFLICT DO UPDATE SET responses = responses + excluded.responses
"""
_TO_FOLD = f"SELECT hour, count(*) FROM hours WHERE session_id != '{FOLDED}' GROUP BY hour ORDER BY hour"
_EVENTS_BEYOND = """
    DELETE FROM events WHERE id IN (
        SELECT id FROM events WHERE namespace = ? ORDER BY time DESC, id DESC LIMIT -1 OFFSET ?
    )
"""

# A session id is FOLDED, which is empty, where no single session is meant.
_PLACE_CHECKS = {"hour": COUNT, "namespace": NAME, "pool": TEXT, "session_id": NAME}
_HOUR_CHECKS = {
    **_PLACE_CHECKS,
    **{name: NUMBER if name in ("login_seconds", "latency") else COUNT for name in COUNTERS},
}
_STATUS_CHECKS = {**_PLACE_CHECKS, "status": COUNT, "responses": COUNT}
_EVENT_CHECKS = {"namespace": NAME, "session_id": NAME, "pool": TEXT, "time": NUMBER, "kind": TEXT, "detail": TEXT}
_POOL_CHECKS = {
    "namespace": NAME,
    "pool": TEXT,
    "status": STATUS,
    "count": COUNT,
    "active": COUNT,
    "pages_visited": COUNT,
    "last_activity": NUMBER,
}


def add(connection: sqlite3.Connection, hours: Sequence[HourCounts], events: Sequence[Event]) -> None:
    """Add *hours* and *events*."""
    connection.executemany(_ADD_HOUR, [(*_place(row), *numbers_of(row)) for row in hours])
    connection.executemany(
        _ADD_STATUS, [(*_place(row), status, count) for row in hours for status, count in row.responses.items()]
    )
    connection.executemany(_ADD_EVENT, [(e.namespace, e.session_id, e.pool, e.time, e.kind, e.detail) for e in events])


def is_new(connection: sqlite3.Connection, batch: Batch, now: float) -> bool:
    """Enter *batch*, and return whether it wasn't added before."""
    connection.execute(_FORGET_BATCHES, (now - REMEMBERED,))
    return connection.execute(_ADD_BATCH, (*batch, now)).rowcount == 1


def drop(connection: sqlite3.Connection, store: AnalyticsStore, now: float) -> None:
    """Delete what is beyond the bounds of *store* at *now*."""
    _drop_hours(connection, "hour < ?", now - store.hours_retention)
    while (excess := _count(connection) - store.max_hour_rows) > 0:
        upto = _first_hours(connection, excess)
        if upto is None:  # every row is folded already
            _drop_hours(connection, "hour = (SELECT min(hour) FROM hours)")
            continue
        connection.execute(_FOLD_HOURS, (upto,))
        connection.execute(_FOLD_STATUSES, (upto,))
        _drop_hours(connection, f"hour <= ? AND session_id != '{FOLDED}'", upto)
    connection.execute("DELETE FROM events WHERE time < ?", (now - store.events_retention,))
    for (namespace,) in connection.execute("SELECT DISTINCT namespace FROM events").fetchall():
        connection.execute(_EVENTS_BEYOND, (namespace, store.max_events))


def read_hours(
    connection: sqlite3.Connection, namespace: str | None, since: float | None, until: float | None, by_session: bool
) -> list[HourCounts]:
    """Return the counters of the hours from *since* on, before *until*."""
    where, values = _where(("namespace = ?", namespace), ("hour >= ?", since), ("hour < ?", until))
    if by_session:
        of_hours = f"SELECT {_PLACE}, {_NUMBERS} FROM hours{where} ORDER BY {_PLACE}"
        of_statuses = f"SELECT {_PLACE}, status, responses FROM hour_statuses{where}"
    else:
        pool = "hour, namespace, pool"
        of_hours = f"SELECT {pool}, '{FOLDED}', {_SUMS} FROM hours{where} GROUP BY {pool} ORDER BY {pool}"
        of_statuses = (
            f"SELECT {pool}, '{FOLDED}', status, sum(responses) FROM hour_statuses{where} GROUP BY {pool}, status"
        )
    statuses: dict[tuple[Any, ...], dict[int, int]] = {}
    for *place, status, count in _checked(connection, of_statuses, values, _STATUS_CHECKS):
        statuses.setdefault(tuple(place), {})[status] = count
    return [
        HourCounts(name, pool or None, session_id, hour, *[*numbers, statuses.get((hour, name, pool, session_id), {})])
        for hour, name, pool, session_id, *numbers in _checked(connection, of_hours, values, _HOUR_CHECKS)
    ]


def read_events(
    connection: sqlite3.Connection, namespace: str | None, since: float | None, limit: int | None
) -> list[Event]:
    """Return the newest events from *since* on."""
    where, values = _where(("namespace = ?", namespace), ("time >= ?", since))
    query = f"""
        SELECT namespace, session_id, pool, time, kind, detail FROM events{where}
        ORDER BY time DESC, id DESC LIMIT ?
    """
    return [
        Event(*found) for found in _checked(connection, query, (*values, -1 if limit is None else limit), _EVENT_CHECKS)
    ]


def read_pools(connection: sqlite3.Connection, namespace: str | None, now: float) -> list[PoolCounts]:
    """Return the stored sessions counted by pool."""
    where, values = _where(("namespace = ?", namespace))
    query = f"""
        SELECT namespace, pool, status, count(*), sum(status != 'retired' AND (expires_at IS NULL OR expires_at > ?)),
            sum(pages_visited), max(last_activity)
        FROM sessions{where} GROUP BY namespace, pool, status ORDER BY namespace, pool
    """
    found = connection.execute(query, (now, *values)).fetchall()
    if wrong_column(found, _POOL_CHECKS):
        check_all(connection)
    counts = (PoolCounts(name, pool, {status: count}, *rest) for name, pool, status, count, *rest in found)
    return list(summed(counts, lambda pool: (pool.namespace, pool.pool)).values())


def _checked(
    connection: sqlite3.Connection, query: str, values: tuple[Any, ...], checks: dict[str, Column]
) -> list[tuple[Any, ...]]:
    """Return the result of *query* if its columns pass the *checks*."""
    found = connection.execute(query, values).fetchall()
    wrong = wrong_column(found, checks)
    if wrong:
        raise Malformed([], wrong)
    return found


def _place(row: HourCounts) -> tuple[int, str, str, str]:
    return (row.hour, row.namespace, row.pool or "", row.session_id)


def _where(*conditions: tuple[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the WHERE clause of the *conditions* whose value isn't ``None``, and these values."""
    given = [(condition, value) for condition, value in conditions if value is not None]
    clause = " AND ".join(condition for condition, _ in given)
    return (f" WHERE {clause}" if given else "", tuple(value for _, value in given))


def _count(connection: sqlite3.Connection) -> int:
    (rows,) = connection.execute("SELECT count(*) FROM hours").fetchone()
    return int(rows)


def _first_hours(connection: sqlite3.Connection, rows: int) -> int | None:
    """Return the hour up to which there are *rows* rows of single sessions, else the last hour; ``None``: no rows."""
    hour = None
    for hour, count in connection.execute(_TO_FOLD):  # noqa: B007  # used after the loop
        rows -= count
        if rows <= 0:
            break
    return hour


def _drop_hours(connection: sqlite3.Connection, which: str, *values: float) -> None:
    connection.execute(f"DELETE FROM hour_statuses WHERE {which}", values)
    connection.execute(f"DELETE FROM hours WHERE {which}", values)
