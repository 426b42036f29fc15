"""The default store: one SQLite file for many processes of one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from scrapy_sessions.analytics.model import Event, HourCounts, PoolCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.base import (
    AnalyticsStore,
    Expired,
    Key,
    Lease,
    LeaseStore,
    Outcome,
    Row,
    SessionStore,
    SharedStore,
)
from scrapy_sessions.storage.retention import PruneSchedule
from scrapy_sessions.storage.sqlite import analytics, listing
from scrapy_sessions.storage.sqlite import rows as row_statements
from scrapy_sessions.storage.sqlite.file import explain, open_file, transaction

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status

__all__ = ["SQLiteStore"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

# The row stays when a lease ends, because the token of the next lease must be higher.
_LEASE = """
    INSERT INTO leases (name, token, expires_at) VALUES (?, 1, ?)
    ON CONFLICT (name) DO UPDATE SET token = token + 1, expires_at = excluded.expires_at WHERE expires_at <= ?
"""
_LEASE_UNTIL = "UPDATE leases SET expires_at = ? WHERE name = ? AND token = ? AND expires_at > ?"
_SHARE = "INSERT INTO shared (namespace, version, body) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
_SHARE_ANEW = "UPDATE shared SET body = ?, version = version + 1 WHERE namespace = ? AND version = ?"


class SQLiteStore(SessionStore, LeaseStore, SharedStore, AnalyticsStore):
    """Stores rows in the SQLite file *path*, which any number of processes of one machine may share.

    All SQLite calls run in one thread of the store. A method that is cancelled while it waits takes place as a whole or
    not at all. Leases use the wall clock.

    :param path: the file, created with its folder if missing; relative to the current folder at construction
    :param clock: returns UNIX seconds; leases expire by it
    :param busy_timeout: the seconds that an operation waits for other processes before it raises
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
        self._prune_schedule = PruneSchedule()
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None  # used in the executor's thread only, as sqlite3 requires

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def prepare(self) -> None:
        """Open the file in the store's thread. Blocks the caller. Raises the exceptions of :meth:`open`."""
        self._thread().submit(self._open).result()

    async def open(self) -> None:
        """Open the file. Idempotent. A closed store can be opened again.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError` for a file that can't be opened, read or written, or that
        isn't a session store, and :exc:`~scrapy_sessions.exceptions.NewerSchema` for a file of a newer version.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread(), self._open)

    async def close(self) -> None:
        if self._executor is None:
            return
        executor, self._executor = self._executor, None
        closed = executor.submit(self._close)
        executor.shutdown(wait=False)  # it takes no new calls, and completes the pending ones in order
        # Shielded, because a cancelled close() would otherwise leave the connection open, to a thread that has ended.
        await asyncio.shield(asyncio.wrap_future(closed))

    async def load(self, key: Key) -> Row | None:
        return await self._call(row_statements.load, key)

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        return await self._call(row_statements.load_many, keys)

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        return await self._call(row_statements.save, rows)

    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        return await self._call(row_statements.replace, rows, stored)

    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        return await self._call(row_statements.delete, keys, revisions)

    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        return await self._call(self._find, session_id, now)

    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        return await self._read(listing.read_expired, namespace, now, limit)

    async def quarantine(self, key: Key, revision: int, reason: str) -> bool:
        return await self._call(row_statements.set_aside, key, revision, reason, self._clock())

    async def quarantined(self) -> list[tuple[Key, str]]:
        return await self._call(row_statements.quarantined)

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
        return await self._read(analytics.read_hours, namespace, since, until, by_session)

    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        return await self._read(analytics.read_events, namespace, since, limit)

    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        return await self._read(analytics.read_pools, namespace, now)

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
            with transaction(connection, "BEGIN"):
                return query(connection, *args, **kwargs)

        return await self._call(at_one_moment)

    def _not_open(self) -> StoreError:
        return StoreError(f"The session store {self.location} is not open: call open() first")

    # The methods below run in the store's thread.

    def _open(self) -> None:
        if self._connection is None:
            # The resolved path, so that the target of a dangling link is created with the right mode, too.
            self._connection = open_file(Path(self.location).resolve(), busy_timeout=self._busy_timeout)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                raise explain(error, self.location, self._busy_timeout) from error

    def _find(self, connection: sqlite3.Connection, session_id: str, now: float) -> list[SessionInfo]:
        return listing.infos(listing.find(connection, session_id), now, self.location)

    def _take_lease(self, connection: sqlite3.Connection, name: str, ttl: float) -> Lease | None:
        # Not with RETURNING, which requires SQLite 3.35, and RHEL 9 has 3.34. Within a transaction it is the same.
        with transaction(connection):
            now = self._clock()  # after BEGIN, which may have waited as long as the busy timeout
            if connection.execute(_LEASE, (name, now + ttl, now)).rowcount != 1:
                return None
            (token,) = connection.execute("SELECT token FROM leases WHERE name = ?", (name,)).fetchone()
        return Lease(name, token, now + ttl)

    def _renew(self, connection: sqlite3.Connection, lease: Lease, ttl: float) -> Lease | None:
        with transaction(connection):
            now = self._clock()
            held = connection.execute(_LEASE_UNTIL, (now + ttl, lease.name, lease.token, now)).rowcount == 1
        return lease._replace(expires_at=now + ttl) if held else None

    def _release(self, connection: sqlite3.Connection, lease: Lease) -> bool:
        with transaction(connection):
            return connection.execute(_LEASE_UNTIL, (0.0, lease.name, lease.token, self._clock())).rowcount == 1

    def _read_shared(self, connection: sqlite3.Connection, namespace: str) -> tuple[bytes | None, int]:
        found = connection.execute("SELECT body, version FROM shared WHERE namespace = ?", (namespace,)).fetchone()
        return (None, 0) if found is None else found

    def _write_shared(self, connection: sqlite3.Connection, namespace: str, version: int, body: bytes) -> bool:
        with transaction(connection):
            if version:
                cursor = connection.execute(_SHARE_ANEW, (body, namespace, version))
            else:
                cursor = connection.execute(_SHARE, (namespace, body))
        return cursor.rowcount == 1

    def _add_analytics(
        self, connection: sqlite3.Connection, hours: Sequence[HourCounts], events: Sequence[Event]
    ) -> None:
        with transaction(connection):
            analytics.add(connection, hours, events)
            now = self._clock()
            if self._prune_schedule.due(self, now, len(hours), len(events)):
                analytics.drop(connection, self, now)

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
        def read(connection: sqlite3.Connection) -> list[tuple[SessionInfo, float | None]]:
            with transaction(connection, "BEGIN"):
                found = listing.read_page(connection, namespace, pool, status, limit, after)
            # Outside of the transaction, which keeps a checkpoint from resetting the WAL.
            return list(zip(listing.infos(found, now, self.location), [each[-1] for each in found], strict=True))

        return await self._call(read)
