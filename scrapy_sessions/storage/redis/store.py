"""The store on a Redis or Valkey server, for many processes of many machines."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

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
from scrapy_sessions.storage.listed import info_of, pools_of, sort_key_of
from scrapy_sessions.storage.redis import analytics, listing, quarantine
from scrapy_sessions.storage.redis.claims import RedisClaims
from scrapy_sessions.storage.redis.connection import check_url, connect, import_redis, location_of
from scrapy_sessions.storage.redis.inspection import Inspection, inspect
from scrapy_sessions.storage.redis.layout import (
    MAX_BODY,
    Malformed,
    packed,
    prefix,
    unpacked,
)
from scrapy_sessions.storage.redis.rows import RedisRows
from scrapy_sessions.storage.redis.server import Server
from scrapy_sessions.storage.retention import PruneSchedule

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _operation(
    method: Callable[Concatenate[RedisStore, _P], Awaitable[_T]],
) -> Callable[Concatenate[RedisStore, _P], Coroutine[Any, Any, _T]]:
    """Let :meth:`RedisStore.close` wait for *method*, which may call the server more than once."""

    @wraps(method)
    async def run(store: RedisStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        store._running.add(running)  # noqa: SLF001  # its own
        try:
            return await method(store, *args, **kwargs)
        finally:
            store._running.discard(running)  # noqa: SLF001
            running.set_result(None)

    return run


class RedisStore(SessionStore, LeaseStore, ClaimStore, SharedStore, AnalyticsStore):
    """Stores rows on a Redis or Valkey server.

    :param server: its URL, or a ``redis.asyncio`` client, such as one of Sentinel or of a cluster. :meth:`close` leaves
        a client open
    :param clock: returns UNIX seconds; leases and claims expire by it. By default it is the clock of the server, which
        all processes share

    ::

        store = RedisStore("redis://localhost:6379/0")
        await store.open()
        row = await store.load(Key("shop", "alice"))
        await store.close()
    """

    def __init__(self, server: Any = "redis://localhost:6379/0", *, clock: Callable[[], float] | None = None) -> None:
        self._url: str | None = None
        if isinstance(server, str):
            check_url(server)
            connect(server)  # creates no connection, but checks the options
            self._url = server
            self.location = location_of(server)
        else:
            import_redis()
            self.location = _location_of_client(server)
        self._client = server
        self._clock = clock
        self._server: Server | None = None
        self._rows = RedisRows(self._opened, self._set_aside)
        self._claims = RedisClaims(self._opened, clock)
        self._prune_schedule = PruneSchedule()
        self._running: set[asyncio.Future[None]] = set()  # done when an operation is

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def prepare(self) -> None:
        """Check the server, with a connection of its own. Blocks the caller.

        A class of your own with another client is created once more for it, as by ``SESSIONS_STORE``. A client that was
        passed to this class can't be created again, and isn't checked. Raises the exceptions of :meth:`open`.
        """
        if self._url is None and type(self) is RedisStore:
            return
        faults: list[Exception] = []

        async def check() -> None:
            # The client of this store belongs to an event loop that doesn't run yet.
            store = RedisStore(self._url) if self._url else type(self)()
            try:
                await store.open()
            finally:
                await store.close()
                if store._url is None:  # noqa: SLF001  # its own
                    await _close_client(store._client)  # noqa: SLF001

        def run() -> None:
            try:
                asyncio.run(check())
            except Exception as fault:  # noqa: BLE001  # raised below
                faults.append(fault)

        # In a thread, because the caller's may have an event loop, which would be replaced.
        thread = threading.Thread(target=run, name="sessions-redis")
        thread.start()
        thread.join()
        if faults:
            raise faults[0]

    async def open(self) -> None:
        """Connect to the server. Idempotent. A closed store can be opened again.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError` for a server that can't be reached, refuses the user, is
        older than Redis 6.2, or deletes keys that have no expiry when its memory is full.
        """
        if self._server is not None:
            return
        server = Server(connect(self._url) if self._url else self._client, self.location)
        try:
            await server.check()
        except BaseException:
            await self._end(server)
            raise
        self._server = server
        self._claims.begin()

    async def close(self) -> None:
        self._claims.end_waits()
        while self._running:
            await asyncio.wait(self._running)
        server, self._server = self._server, None
        if server is not None:
            await self._end(server)

    async def _end(self, server: Server) -> None:
        if self._url:
            await server.client.aclose()

    @_operation
    async def epoch(self) -> str:
        return await self._rows.epoch()

    @_operation
    async def incarnation(self) -> str:
        return " ".join(sorted(info["run_id"] for info in await self._opened().infos("server")))

    @_operation
    async def load(self, key: Key) -> Row | None:
        return (await self._rows.load_many([key]))[0]

    @_operation
    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        return await self._rows.load_many(keys)

    @_operation
    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        return await self._rows.save(rows, tokens)

    @_operation
    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        return await self._rows.replace(rows, stored)

    @_operation
    async def delete(
        self,
        keys: Sequence[Key],
        revisions: Sequence[int] | None = None,
        start_times: Sequence[float] | None = None,
    ) -> list[bool]:
        return await self._rows.delete(keys, revisions, start_times)

    @_operation
    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        rows = await listing.find(self._opened(), session_id, self._set_aside)
        return [info_of(row, now, self.location) for row in rows]

    @_operation
    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        return await listing.expired(self._opened(), namespace, self._set_aside, now, limit)

    @_operation
    async def quarantine(self, key: Key, revision: int | None, reason: str) -> bool:
        # What has no revision is quarantined as soon as it is read: see _loaded().
        return revision is not None and await quarantine.set_aside(
            self._opened(), key, revision, reason, self._client_now()
        )

    @_operation
    async def quarantined(self) -> list[tuple[Key, str]]:
        return [(entry.key, entry.reason) for entry in await quarantine.entries(self._opened())]

    @_operation
    async def encrypt_rest(self, encrypt: Callable[[bytes], bytes]) -> None:
        server = self._opened()
        await quarantine.encrypt_all(server, encrypt)
        for namespace in await listing.namespaces(server):
            while True:  # until no other process writes between
                body, version = await self.read_shared(namespace)
                new = body and encrypt(body)
                if not new or new == body or await self.write_shared(namespace, version, new):
                    break

    @_operation
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
        start = sort_key_of(after)
        rows = await listing.read_page(self._opened(), self._set_aside, namespace, pool, status, limit, start)
        return [(info_of(row, now, self.location), row.expires_at) for row in rows]

    @_operation
    async def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        return await self._claims.lease(namespace, name, ttl)

    @_operation
    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        return await self._claims.renew(lease, ttl)

    @_operation
    async def release(self, lease: Lease) -> bool:
        return await self._claims.release(lease)

    @_operation
    async def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        return await self._claims.enrol(namespace, pool, holder, session_ids, ttl)

    @_operation
    async def claim(
        self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float
    ) -> Claims:
        return await self._claims.claim(namespace, pool, holder, held, want, ttl)

    @_operation
    async def wait(self, namespace: str, pool: str, holder: str, timeout: float) -> None:
        await self._claims.wait(namespace, pool, holder, timeout)

    @_operation
    async def give_back(self, namespace: str, pool: str, held: Sequence[Claim], *, retire: bool = False) -> list[bool]:
        return await self._claims.give_back(namespace, pool, held, retire=retire)

    @_operation
    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        found = await self._run("read_shared", namespace, MAX_BODY)
        if found is None:
            return None, 0
        try:
            if isinstance(found, bytes):
                raise Malformed(found.decode())
            body, version = unpacked(found[0]), int(found[1])
        except (Malformed, ValueError) as fault:
            raise StoreError(
                f"The shared data of namespace {namespace!r} in {self.location} can't be read ({fault}): another "
                f"program has changed them. Delete the key '{prefix(namespace)}shared'"
            ) from None
        return body, version

    @_operation
    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        await self._rows.use(namespace)
        return bool(await self._opened().run_once("write_shared", namespace, version, packed(body)) == b"1")

    @_operation
    async def add_analytics(
        self, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None = None
    ) -> None:
        server = self._opened()
        for namespace in {row.namespace for row in hours} | {event.namespace for event in events}:
            await self._rows.use(namespace)
        now = self._client_now()
        await analytics.add(server, hours, events, batch, now)
        if self._prune_schedule.due(self, now, len(hours), len(events)):
            await analytics.prune(server, self, now)

    @_operation
    async def hour_counts(
        self,
        namespace: str | None,
        since: float | None = None,
        until: float | None = None,
        *,
        by_session: bool = True,
    ) -> list[HourCounts]:
        return await analytics.read_hours(self._opened(), namespace, since, until, by_session)

    @_operation
    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        return await analytics.read_events(self._opened(), namespace, since, limit)

    @_operation
    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        rows = await listing.read_page(self._opened(), self._set_aside, namespace, None, None, None, None)
        return pools_of(rows, now)

    @_operation
    async def inspect(self, clock: Callable[[], float]) -> Inspection:
        """Return the state of the server, and who holds what. *clock* is that of this machine."""
        return await inspect(self._opened(), clock)

    def _opened(self) -> Server:
        if self._server is None:
            raise StoreError(f"The session store {self.location} is not open: call open() first")
        return self._server

    async def _run(self, script: str, namespace: str, *arguments: str | bytes | float) -> Any:
        return await self._opened().run(script, namespace, *arguments)

    async def _set_aside(self, key: Key, reason: str) -> None:
        """Move to the quarantine what isn't a session of this package, so that the others can be read."""
        if await quarantine.set_aside(self._opened(), key, None, reason, self._client_now()):
            logger.error(
                "Another program has changed what is stored of session %r in namespace %r, and it can't be read: %s. "
                "It was moved to the quarantine of %s; other sessions are not affected",
                key.session_id,
                key.namespace,
                reason,
                self.location,
            )

    def _client_now(self) -> float:
        return (self._clock or time.time)()


async def _close_client(client: Any) -> None:
    """Close *client*, and its connections to Sentinels."""
    await client.aclose()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for sentinel in getattr(manager, "sentinels", ()):
        await sentinel.aclose()


def _location_of_client(client: Any) -> str:
    """Return the address of a client that was passed in, without a password."""
    options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    service = getattr(getattr(client, "connection_pool", None), "service_name", None)
    if service is not None:
        return f"redis+sentinel://{service}/{options.get('db') or 0}"
    if path := options.get("path"):
        return f"unix://{path}?db={options.get('db') or 0}"
    if host := options.get("host"):
        return f"redis://{host}:{options.get('port', 6379)}/{options.get('db') or 0}"
    nodes: list[Any] = getattr(client, "get_nodes", list)()  # of a cluster
    return "redis+cluster://" + ",".join(sorted(f"{node.host}:{node.port}" for node in nodes))
