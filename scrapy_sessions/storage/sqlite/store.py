"""The default store: one SQLite file for many processes of one machine."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from scrapy_sessions.analytics.model import Event, HourCounts, PoolCounts
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.storage.abilities import (
    AnalyticsStore,
    Batch,
    Claim,
    Claims,
    ClaimStore,
    Lease,
    LeaseStore,
    SharedStore,
)
from scrapy_sessions.storage.base import Expired, Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.claiming import poll
from scrapy_sessions.storage.encryption import check_key
from scrapy_sessions.storage.retention import PruneSchedule
from scrapy_sessions.storage.sqlite import analytics, claims, leases, listing
from scrapy_sessions.storage.sqlite import rows as row_statements
from scrapy_sessions.storage.sqlite.file import (
    Places,
    erase,
    explain,
    is_to_erase,
    note_deletion,
    open_file,
    places_of,
    transaction,
)
from scrapy_sessions.storage.sqlite.values import Malformed, decoded, is_undecodable

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_ERASE_SOON = 0.1  # seconds that erasing waits for other processes while the store is in use; it is tried again
_ERASE_AT_CLOSE = 5.0
_READ_SHARED = "SELECT CAST(body AS BLOB), version FROM shared WHERE namespace = ?"
_SHARE = "INSERT INTO shared (namespace, version, body) VALUES (?, 1, ?) ON CONFLICT DO NOTHING"
_SHARE_ANEW = "UPDATE shared SET body = ?, version = version + 1 WHERE namespace = ? AND version = ?"


class SQLiteStore(SessionStore, LeaseStore, SharedStore, AnalyticsStore, ClaimStore):
    """Stores rows in the SQLite file *path*, which any number of processes of one machine may share.

    All SQLite calls run in one thread of the store. A method that is cancelled while it waits takes place as a whole or
    not at all. Leases and claims use the wall clock.

    :param path: the file, created with its folder if missing; relative to the current folder at construction
    :param clock: returns UNIX seconds; leases and claims expire by it
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
        self._path = Path(self.location)  # the file that was opened there: the location may be a link
        self._places: Places = ()
        self._reopened = 0
        self._to_erase = False  # whether the WAL may contain what this process has deleted

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

    async def check_key(self) -> None:
        """Nothing: :meth:`open` has checked it, before it changed the file."""

    async def encrypt_rest(self, encrypt: Callable[[bytes], bytes]) -> None:
        await self._call(self._erasing, row_statements.encrypt_rest, encrypt)

    async def epoch(self) -> str:
        return await self._call(self._epoch)

    async def load(self, key: Key) -> Row | None:
        return await self._call(row_statements.load, key)

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        return await self._call(row_statements.load_many, keys)

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        return await self._call(row_statements.save, rows, tokens)

    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        return await self._call(self._erasing, row_statements.replace, rows, stored)

    async def delete(
        self,
        keys: Sequence[Key],
        revisions: Sequence[int] | None = None,
        start_times: Sequence[float] | None = None,
    ) -> list[bool]:
        return await self._call(self._erasing, row_statements.delete, keys, revisions, start_times)

    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        return listing.infos(await self._read(listing.find, session_id), now, self.location)

    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        return await self._read(listing.read_expired, namespace, now, limit)

    async def quarantine(self, key: Key, revision: int | None, reason: str) -> bool:
        return await self._call(row_statements.set_aside, key, revision, reason, self._clock())

    async def quarantined(self) -> list[tuple[Key, str]]:
        return await self._call(row_statements.quarantined)

    async def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        return await self._call(leases.take, self._clock, namespace, name, ttl)

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        return await self._call(leases.renew, self._clock, lease, ttl)

    async def release(self, lease: Lease) -> bool:
        return await self._call(leases.release, lease)

    async def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        return await self._call(claims.enrol, self._clock, namespace, pool, holder, session_ids, ttl)

    async def claim(
        self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float
    ) -> Claims:
        return await self._call(claims.claim, self._clock, namespace, pool, holder, held, want, ttl)

    async def wait(self, namespace: str, pool: str, holder: str, timeout: float) -> None:
        await poll(partial(self._read, claims.may_claim, self._clock, namespace, pool, holder), timeout)

    async def give_back(self, namespace: str, pool: str, held: Sequence[Claim], *, retire: bool = False) -> list[bool]:
        return await self._call(claims.give_back, self._clock, namespace, held, retire)

    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        return await self._call(self._read_shared, namespace)

    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        return await self._call(self._write_shared, namespace, version, body)

    async def add_analytics(
        self, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None = None
    ) -> None:
        await self._call(self._add_analytics, hours, events, batch)

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
            connection = self._opened()
            try:
                try:
                    return operation(connection, *args, **kwargs)
                except sqlite3.OperationalError as error:
                    if not is_undecodable(error) or connection.text_factory is not str:
                        raise
                    # Twice as slow, so only from now on. It was a read: nothing has been changed.
                    connection.text_factory = decoded
                    return operation(connection, *args, **kwargs)
            except sqlite3.Error as error:
                raise explain(error, self.location, self._busy_timeout) from error
            except (OverflowError, TypeError, ValueError) as error:  # a value that another program has put there
                raise StoreError(
                    f"The session store {self.location} contains a value that can't be used ({type(error).__name__}): "
                    f"scrapy sessions doctor names the session"
                ) from error

        if self._executor is None:
            raise self._not_open()
        return await asyncio.get_running_loop().run_in_executor(self._executor, run)

    async def _read(
        self, query: Callable[Concatenate[sqlite3.Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        return await self._call(self._at_one_moment, query, *args, **kwargs)

    def _not_open(self) -> StoreError:
        return StoreError(f"The session store {self.location} is not open: call open() first")

    # The methods below run in the store's thread.

    def _open(self) -> None:
        if self._connection is None:
            # The resolved path, so that the target of a dangling link is created with the right mode, too.
            self._path = Path(self.location).resolve()
            self._connection = self._connect(self._path, None)
            self._places = places_of(self.location, self._path)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None and self._places:  # it was open, and could not be opened again: see _open_again()
            self._open()
        if self._connection is None:
            raise self._not_open()
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._places = ()
        if connection is not None:
            try:
                if self._to_erase:  # now, because this may not be the last process, whose close() removes the WAL
                    self._erase(connection, _ERASE_AT_CLOSE)
                else:
                    self._erase_for_others(connection, _ERASE_SOON)
                connection.close()
            except sqlite3.Error as error:
                raise explain(error, self.location, self._busy_timeout) from error

    def _connect(self, path: Path, replaced: Places | None) -> sqlite3.Connection:
        return open_file(path, busy_timeout=self._busy_timeout, check=self._check_body, replaced=replaced)

    def _check_body(self, body: bytes) -> None:
        check_key(body, self.cipher, f"The session store {self.location}")

    def _epoch(self, connection: sqlite3.Connection) -> str:
        there = places_of(self.location, self._path)
        if there != self._places:
            self._reopened += 1
            self._open_again(connection, moved=there[0] != self._places[0])
        elif self._to_erase:
            self._erase(connection, _ERASE_SOON)
        else:
            self._erase_for_others(connection, 0.0)
        return f"{leases.epoch(self._opened())} {self._reopened}"

    def _open_again(self, connection: sqlite3.Connection, *, moved: bool) -> None:
        """Open what is at the location now. SQLite itself would go on with files that have no name any more."""
        if moved:
            # If this fails, the old connection stays, and the next call tries again. When it is closed, SQLite writes
            # nothing, because its file has moved.
            path = Path(os.path.realpath(self.location))
            self._connection = self._connect(path, self._places)
            self._path = path
            connection.close()
        else:  # only the WAL or its index is gone: closing writes the content of the WAL into the file
            self._connection = None
            connection.close()
            self._open()
        self._places = places_of(self.location, self._path)

    def _erase(self, connection: sqlite3.Connection, patience: float) -> None:
        self._to_erase = not erase(connection, patience=patience, busy_timeout=self._busy_timeout)

    def _erase_for_others(self, connection: sqlite3.Connection, patience: float) -> None:
        """Erase what another process has deleted. That does it itself, unless it was killed or had no patience left."""
        with suppress(sqlite3.Error):  # this process may not write, say, and its own calls raise for other faults
            if is_to_erase(connection):
                erase(connection, patience=patience, busy_timeout=self._busy_timeout)

    def _erasing(
        self,
        connection: sqlite3.Connection,
        operation: Callable[Concatenate[sqlite3.Connection, _P], _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Run *operation*, which deletes content. The WAL is emptied soon, and not each time, because it waits for the
        disk."""
        result = operation(connection, *args, **kwargs)
        self._to_erase = True
        return result

    def _at_one_moment(
        self,
        connection: sqlite3.Connection,
        query: Callable[Concatenate[sqlite3.Connection, _P], _T],
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        while True:
            try:
                with transaction(connection, "BEGIN"):
                    return query(connection, *args, **kwargs)
            except Malformed:  # noqa: PERF203  # it ends with the first result
                self._set_aside(connection, partial(query, connection, *args, **kwargs))

    def _set_aside(self, connection: sqlite3.Connection, read: Callable[[], object]) -> None:
        """Move the rows that *read* finds malformed to the quarantine, so that the others can be read."""
        with transaction(connection):
            # Read again: another process may have moved them meanwhile, and healthy rows may have their rowids.
            try:
                read()
            except Malformed as fault:
                moved = self._set_aside_rows(connection, fault)
            else:
                return
        logger.error(
            "Another program has changed the stored records of %s, and they can't be read. They were moved to the "
            "quarantine of %s; other sessions are not affected",
            ", ".join(f"session {key.session_id!r:.300} in namespace {key.namespace!r:.300}" for key, _ in moved[:5]),
            self.location,
        )

    def _set_aside_rows(self, connection: sqlite3.Connection, fault: Malformed) -> list[tuple[Key, str]]:
        if not fault.rowids:
            raise StoreError(
                f"The session store {self.location} has analytics that this package doesn't write, in the column "
                f"{fault.column}: another program has changed them. Delete the rows of the tables hours, hour_statuses "
                f"and events. Sessions are not affected"
            )
        reason = f"its column {fault.column} has a value that this package doesn't write"
        row_statements.set_aside_rows(connection, fault.rowids, reason, self._clock())
        return row_statements.quarantined(connection)[-len(fault.rowids) :]

    def _read_shared(self, connection: sqlite3.Connection, namespace: str) -> tuple[bytes | None, int]:
        found = connection.execute(_READ_SHARED, (namespace,)).fetchone()
        return (None, 0) if found is None else found

    def _write_shared(self, connection: sqlite3.Connection, namespace: str, version: int, body: bytes) -> bool:
        with transaction(connection):
            if version:
                cursor = connection.execute(_SHARE_ANEW, (body, namespace, version))
            else:
                cursor = connection.execute(_SHARE, (namespace, body))
        return cursor.rowcount == 1

    def _add_analytics(
        self, connection: sqlite3.Connection, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None
    ) -> None:
        with transaction(connection):
            now = self._clock()
            if batch is not None and not analytics.is_new(connection, batch, now):
                return
            analytics.add(connection, hours, events)
            if self._prune_schedule.due(self, now, len(hours), len(events)):
                analytics.drop(connection, self, now)
                note_deletion(connection)
                self._to_erase = True

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
            found = self._at_one_moment(connection, listing.read_page, namespace, pool, status, limit, after)
            # Outside of the transaction, which keeps a checkpoint from resetting the WAL.
            return list(zip(listing.infos(found, now, self.location), [each[-2] for each in found], strict=True))

        return await self._call(read)
