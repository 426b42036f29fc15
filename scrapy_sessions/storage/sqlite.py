"""The default store: one SQLite file, for many processes of one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from scrapy_sessions.analytics import Event, HourCounts, PoolCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.models import SessionInfo, Status
from scrapy_sessions.storage import sqlite_analytics, sqlite_listing
from scrapy_sessions.storage.base import (
    AnalyticsStore,
    Expired,
    ExpiryStore,
    Key,
    Lease,
    LeaseStore,
    Outcome,
    Row,
    SessionStore,
    SharedStore,
)
from scrapy_sessions.storage.sqlite_file import explain, open_file
from scrapy_sessions.storage.upkeep import Upkeep

__all__ = ["SQLiteStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_COLUMNS = (
    "namespace, session_id, pool, profile_name, status, start_time, last_activity, expires_at, expires_by, "
    "pages_visited, actions_count, revision, body"
)
_FIELDS = tuple(_COLUMNS.split(", "))
_CHANGING = tuple(field for field in _FIELDS if field not in ("namespace", "session_id", "start_time"))
_LOAD = f"SELECT {_COLUMNS} FROM sessions WHERE session_id = ? AND namespace = ?"
# CROSS, so that each key is sought in the index: with IN, SQLite reads the whole table.
_LOAD_MANY = f"""
    WITH wanted (id, space) AS (VALUES {{}})
    SELECT {_COLUMNS} FROM wanted CROSS JOIN sessions ON session_id = id AND namespace = space
"""
_LOADED = 400  # keys to a statement: SQLite before 3.32 takes 999 values
_INSERT = f"INSERT INTO sessions ({_COLUMNS}) VALUES ({', '.join('?' * len(_FIELDS))}) ON CONFLICT DO NOTHING"
_UPDATE = (
    f"UPDATE sessions SET {', '.join(f'{field} = ?' for field in _CHANGING)} "
    f"WHERE session_id = ? AND namespace = ? AND revision = ? - 1 AND start_time = ?"
)
_START_TIME = "SELECT start_time FROM sessions WHERE session_id = ? AND namespace = ?"
_DELETE = "DELETE FROM sessions WHERE session_id = ? AND namespace = ?"
_DELETE_REVISION = f"{_DELETE} AND revision = ?"
_QUARANTINE = """
    INSERT INTO quarantine (namespace, session_id, revision, reason, set_aside, body)
    SELECT namespace, session_id, revision, ?, ?, body FROM sessions
    WHERE session_id = ? AND namespace = ? AND revision = ?
"""
_QUARANTINED = "SELECT namespace, session_id, reason FROM quarantine ORDER BY id"
# The row stays when a lease ends: its token is where the next one counts on.
_LEASE = """
    INSERT INTO leases (name, token, expires_at) VALUES (?, 1, ?)
    ON CONFLICT (name) DO UPDATE SET token = token + 1, expires_at = excluded.expires_at WHERE expires_at <= ?
"""
_LEASE_UNTIL = "UPDATE leases SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?"
_SHARE = "INSERT INTO shared (namespace, version, body) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
_SHARE_ANEW = "UPDATE shared SET body = ?, version = version + 1 WHERE namespace = ? AND version = ?"

_insert_values = attrgetter(*_FIELDS)
_update_values = attrgetter(*_CHANGING, "session_id", "namespace", "revision", "start_time")


class SQLiteStore(SessionStore, LeaseStore, SharedStore, AnalyticsStore, ExpiryStore):
    """Keeps rows in the SQLite file *path*, which any number of processes of one machine may share.

    All of SQLite's work is done in one thread of its own. A method that is cancelled while it waits either takes place
    as a whole or not at all. Leases go by the wall clock.

    :param path: made if it isn't there, with its folder; relative to the current folder at construction
    :param clock: returns UNIX seconds; leases expire by it
    :param busy_timeout: how long an operation waits for other processes, in seconds, before it raises
        :exc:`~scrapy_sessions.exceptions.StoreError`

    ::

        store = SQLiteStore("sessions.db")
        await store.open()
        row = await store.load(Key("shop", "alice"))
        await store.close()
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time, busy_timeout: float = 30.0
    ) -> None:
        self.location = str(Path(path).absolute())
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._upkeep = Upkeep()
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None  # of the executor's thread, as sqlite3 demands

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def prepare(self) -> None:
        """Open the file, in the store's thread. Blocks the caller; raises what :meth:`open` would."""
        self._thread().submit(self._open).result()

    async def open(self) -> None:
        """Open the file. Idempotent. A closed store can be opened again.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError` for a file that can't be opened, read or written, or that
        isn't a session store; :exc:`~scrapy_sessions.exceptions.NewerSchema` for one of a newer version.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread(), self._open)

    async def close(self) -> None:
        if self._executor is None:
            return
        executor, self._executor = self._executor, None
        closed = executor.submit(self._close)
        executor.shutdown(wait=False)  # takes nothing new; what it has, it still does, in order
        # Shielded, as a cancelled close() would otherwise leave the connection to a thread that is gone.
        await asyncio.shield(asyncio.wrap_future(closed))

    async def load(self, key: Key) -> Row | None:
        return await self._call(self._load, key)

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        return await self._call(self._load_many, keys)

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        return await self._call(self._save, rows)

    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        return await self._call(self._delete, keys, revisions)

    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        return await self._call(self._find, session_id, now)

    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        return await self._read(sqlite_listing.read_expired, namespace, now, limit)

    async def quarantine(self, key: Key, revision: int, reason: str) -> bool:
        return await self._call(self._set_aside, key, revision, reason)

    async def quarantined(self) -> list[tuple[Key, str]]:
        return await self._call(self._quarantined)

    async def lease(self, name: str, ttl: float) -> Lease | None:
        return await self._call(self._take_lease, name, ttl)

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        return await self._call(self._renew, lease, ttl)

    async def release(self, lease: Lease) -> bool:
        return await self._call(self._release, lease)

    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        return await self._call(self._read_shared, namespace)

    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        return await self._call(self._write_shared, namespace, version, body)

    async def add_analytics(self, hours: Sequence[HourCounts], events: Sequence[Event]) -> None:
        await self._call(self._add_analytics, hours, events)

    async def hour_counts(
        self,
        namespace: str | None,
        since: float | None = None,
        until: float | None = None,
        *,
        by_session: bool = True,
    ) -> list[HourCounts]:
        return await self._read(sqlite_analytics.read_hours, namespace, since, until, by_session)

    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        return await self._read(sqlite_analytics.read_events, namespace, since, limit)

    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        return await self._read(sqlite_analytics.read_pools, namespace, now)

    def _thread(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions-sqlite")
        return self._executor

    async def _call(
        self, operation: Callable[Concatenate[sqlite3.Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        def run() -> _T:
            if self._connection is None:
                raise self._not_open()
            try:
                return operation(self._connection, *args, **kwargs)
            except sqlite3.Error as error:
                raise explain(error, self.location, self._busy_timeout) from error

        if self._executor is None:
            raise self._not_open()
        return await asyncio.get_running_loop().run_in_executor(self._executor, run)

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        def at_one_moment(connection: sqlite3.Connection) -> _T:
            with _transaction(connection, "BEGIN"):
                return query(connection, *args, **kwargs)

        return await self._call(at_one_moment)

    def _not_open(self) -> StoreError:
        return StoreError(f"The session store {self.location} is not open: call open() first")

    # What follows runs in the store's thread.

    def _open(self) -> None:
        if self._connection is None:
            # The real path, so that a link to a file that isn't there yet leads to one of the right mode.
            self._connection = open_file(Path(self.location).resolve(), busy_timeout=self._busy_timeout)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                raise explain(error, self.location, self._busy_timeout) from error

    def _load(self, connection: sqlite3.Connection, key: Key) -> Row | None:
        found = connection.execute(_LOAD, (key.session_id, key.namespace)).fetchone()
        return None if found is None else Row(*found)

    def _load_many(self, connection: sqlite3.Connection, keys: Sequence[Key]) -> list[Row | None]:
        found: dict[Key, Row] = {}
        for start in range(0, len(keys), _LOADED):
            part = keys[start : start + _LOADED]
            places = [value for key in part for value in (key.session_id, key.namespace)]
            query = _LOAD_MANY.format(", ".join(["(?, ?)"] * len(part)))
            for values in connection.execute(query, places):
                row = Row(*values)
                found[row.key] = row
        return [found.get(key) for key in keys]

    def _save(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Outcome]:
        if len({row[:2] for row in rows}) == len(rows):  # else the order of the rows counts
            with suppress(_NotAll), _transaction(connection):
                if _save_all(connection, rows) < len(rows):
                    raise _NotAll  # rolls back: a savepoint inside would copy every page before it is changed
                return [Outcome.SAVED] * len(rows)
        with _transaction(connection):
            return [_save_one(connection, row) for row in rows]

    def _delete(
        self, connection: sqlite3.Connection, keys: Sequence[Key], revisions: Sequence[int] | None
    ) -> list[bool]:
        with _transaction(connection):
            if revisions is None:
                cursors = [connection.execute(_DELETE, (key.session_id, key.namespace)) for key in keys]
            else:
                cursors = [
                    connection.execute(_DELETE_REVISION, (key.session_id, key.namespace, revision))
                    for key, revision in zip(keys, revisions, strict=True)
                ]
        return [cursor.rowcount == 1 for cursor in cursors]

    def _find(self, connection: sqlite3.Connection, session_id: str, now: float) -> list[SessionInfo]:
        return sqlite_listing.infos(sqlite_listing.find(connection, session_id), now, self.location)

    def _set_aside(self, connection: sqlite3.Connection, key: Key, revision: int, reason: str) -> bool:
        place = (key.session_id, key.namespace, revision)
        with _transaction(connection):
            copied = connection.execute(_QUARANTINE, (reason, self._clock(), *place)).rowcount
            connection.execute(_DELETE_REVISION, place)
        return copied == 1

    def _quarantined(self, connection: sqlite3.Connection) -> list[tuple[Key, str]]:
        return [(Key(name, session_id), reason) for name, session_id, reason in connection.execute(_QUARANTINED)]

    def _take_lease(self, connection: sqlite3.Connection, name: str, ttl: float) -> Lease | None:
        # Not RETURNING, as SQLite knows it from 3.35 on and RHEL 9 has 3.34; inside of one transaction it is the same.
        with _transaction(connection):
            now = self._clock()  # only now: to begin may have taken as long as the busy timeout
            if connection.execute(_LEASE, (name, now + ttl, now)).rowcount != 1:
                return None
            (token,) = connection.execute("SELECT token FROM leases WHERE name = ?", (name,)).fetchone()
        return Lease(name, token, now + ttl)

    def _renew(self, connection: sqlite3.Connection, lease: Lease, ttl: float) -> Lease | None:
        with _transaction(connection):
            now = self._clock()
            held = connection.execute(_LEASE_UNTIL, (now + ttl, lease.name, lease.token, now)).rowcount == 1
        return lease._replace(expires_at=now + ttl) if held else None

    def _release(self, connection: sqlite3.Connection, lease: Lease) -> bool:
        with _transaction(connection):
            return connection.execute(_LEASE_UNTIL, (0.0, lease.name, lease.token, self._clock())).rowcount == 1

    def _read_shared(self, connection: sqlite3.Connection, namespace: str) -> tuple[bytes | None, int]:
        found = connection.execute("SELECT body, version FROM shared WHERE namespace = ?", (namespace,)).fetchone()
        return (None, 0) if found is None else found

    def _write_shared(self, connection: sqlite3.Connection, namespace: str, version: int, body: bytes) -> bool:
        with _transaction(connection):
            if version:
                cursor = connection.execute(_SHARE_ANEW, (body, namespace, version))
            else:
                cursor = connection.execute(_SHARE, (namespace, body))
        return cursor.rowcount == 1

    def _add_analytics(
        self, connection: sqlite3.Connection, hours: Sequence[HourCounts], events: Sequence[Event]
    ) -> None:
        with _transaction(connection):
            sqlite_analytics.add(connection, hours, events)
            now = self._clock()
            if self._upkeep.due(self, now, len(hours), len(events)):
                sqlite_analytics.drop(connection, self, now)

    def _list(
        self,
        connection: sqlite3.Connection,
        now: float,
        namespace: str | None,
        pool: str | None,
        status: Status | None,
        limit: int | None,
        after: SessionInfo | None,
    ) -> tuple[list[SessionInfo], list[float | None]]:
        """Return a page, and when each of it expires."""
        with _transaction(connection, "BEGIN"):
            found = sqlite_listing.read_page(connection, namespace, pool, status, limit, after)
        return sqlite_listing.infos(found, now, self.location), [each[-1] for each in found]

    async def list_with_expiry(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | None = None,
    ) -> list[tuple[SessionInfo, float | None]]:
        infos, expiries = await self._call(self._list, now, namespace, pool, status, limit, after)
        return list(zip(infos, expiries, strict=True))

    async def list(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | None = None,
    ) -> list[SessionInfo]:
        infos, _ = await self._call(self._list, now, namespace, pool, status, limit, after)
        return infos


class _NotAll(Exception):
    """Not every row could be saved."""


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back after some faults, a full disk for one
            connection.execute("ROLLBACK")
        raise


def _save_all(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Save what can be saved and return how many that were: the fast way, for when nothing is in conflict."""
    new = [row for row in rows if row.revision == 1]
    changed = [row for row in rows if row.revision != 1] if new else rows
    # Row by row, the values are made between two steps of SQLite, which let go of the GIL: the event loop waits for it.
    saved = connection.executemany(_INSERT, map(_insert_values, new)).rowcount if new else 0
    if changed:
        saved += connection.executemany(_UPDATE, map(_update_values, changed)).rowcount
    return saved


def _save_one(connection: sqlite3.Connection, row: Row) -> Outcome:
    if _save_all(connection, [row]) == 1:
        return Outcome.SAVED
    if row.revision == 1:
        return Outcome.CONFLICT
    stored = connection.execute(_START_TIME, (row.session_id, row.namespace)).fetchone()
    return Outcome.CONFLICT if stored == (row.start_time,) else Outcome.DELETED
