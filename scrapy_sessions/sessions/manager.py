"""The only orchestrator: sessions live in memory, lasting in a store, each once in a process."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from scrapy_sessions.exceptions import (
    AmbiguousSession,
    CorruptRecord,
    InvalidSessionId,
    SessionError,
    SessionRetired,
)
from scrapy_sessions.models import (
    ExpiryReason,
    PersistentSession,
    Profile,
    SessionInfo,
    Status,
    check_session_id,
)
from scrapy_sessions.pools.claim import Claim, check_profile, cookiejar_id
from scrapy_sessions.pools.pool import NO_BACKLOG, Pool
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of, view_of
from scrapy_sessions.sessions.cache import SessionCache
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.factory import SessionFactory
from scrapy_sessions.sessions.removal import SessionRemover
from scrapy_sessions.sessions.runtime import Fetch, SessionRuntime, Transition, backlog
from scrapy_sessions.sessions.write_behind import WriteBehind, set_aside
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.signals import (
    session_created,
    session_expired,
    session_login_lost,
    session_restored,
    session_retired,
)
from scrapy_sessions.storage.base import Expired, Key, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode
from scrapy_sessions.storage.resolve import resolve_store

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from scrapy import Request
    from scrapy.http import Response

__all__ = ["SessionManager", "Signaller", "retired"]

Signaller: TypeAlias = Callable[[object, BrowserSession | None, str, str], None]
"""Takes a signal, its session (``None``: not in memory), the session's id and a reason."""


class Downloader(Protocol):
    """Downloads requests in sessions: the router of a crawl."""

    async def fetch(self, session: SessionRuntime, request: Request) -> Response: ...

    def alone(self, session: SessionRuntime) -> AbstractAsyncContextManager[Fetch]: ...


class SessionManager:
    """Keeps the sessions of one namespace.

    .. code-block:: python

        async with SessionManager("sessions.db", namespace="shop") as manager:
            for info in await manager.list_sessions():
                print(info["session_id"], info["pages_visited"])

    With no arguments it opens the store that spiders use from the same folder. Faults of the store, and records that
    can't be read, raise exceptions of :mod:`scrapy_sessions.exceptions`.

    :param storage_path: an SQLite file, or a folder for one (``sessions.db``)
    :param store: instead of it, a store or the URL of one, as in ``SESSIONS_STORE``; a store given is not closed here
    :param namespace: ``None``: list, find and delete in all of them, save in ``"default"``
    :param settings: pools, profiles, policy; by default the default settings
    :param default_profile: the identity of new sessions without a profile
    :param enforce_limits: whether the limits of *settings* hold for stored sessions, too, as in a crawl
    :param on_event: called with an event's name (``"created"``) and how often it came
    :param on_signal: called with a signal of :mod:`scrapy_sessions.signals`, the session and a reason
    :param clock: returns UNIX seconds
    """

    def __init__(
        self,
        storage_path: str | os.PathLike[str] | None = None,
        *,
        store: SessionStore | str | None = None,
        namespace: str | None = None,
        settings: SessionsSettings | None = None,
        default_profile: Profile | None = None,
        enforce_limits: bool = False,
        on_event: Callable[[str, int], None] | None = None,
        on_signal: Signaller | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if storage_path is not None and store is not None:
            raise TypeError("Give either storage_path or store, not both")
        self.settings = settings or SessionsSettings()
        self.namespace = namespace if namespace is None else check_session_id(namespace)
        self.downloader: Downloader | None = None
        self._owns_store = not isinstance(store, SessionStore)
        self.store: SessionStore = store if isinstance(store, SessionStore) else resolve_store(storage_path, store)
        self._count = on_event or (lambda name, n: None)
        self._on_signal = on_signal
        self._clock = clock
        self._live = SessionCache(self.settings.cache_size, clock)
        self._transient: dict[Any, SessionRuntime] = {}
        self._loading: dict[str, asyncio.Future[SessionRuntime]] = {}
        self._factory = SessionFactory(
            self.settings,
            self.namespace or "default",
            default_profile or Profile(),
            self,
            clock,
            enforce_limits=enforce_limits,
        )
        self._enforce_limits = enforce_limits
        self._opened = False
        self.analytics = Collector(
            self.store, save_interval=self.settings.save_interval, clock=clock, count=self._count
        )
        """What sessions do is counted here, and what happens to them noted."""
        self._writer = WriteBehind(
            self.store,
            interval=self.settings.save_interval,
            clock=clock,
            count=self._count,
            lost=self._live.remove,
            analytics=self.analytics,
        )
        self._remover = SessionRemover(
            self.store,
            live=self._live,
            writer=self._writer,
            analytics=self.analytics,
            count=self._count,
            expired=self._expired,
            clock=clock,
        )

    async def __aenter__(self) -> SessionManager:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the store. Idempotent; the other methods call it."""
        if not self._opened:
            await self.store.open()
            self._opened = True
            self._writer.start()
            self.analytics.start()

    async def flush(self) -> None:
        """Save every session that has changed up to now, and what was counted."""
        await self.open()
        await self._writer.flush()
        await self.analytics.flush()

    async def close(self) -> None:
        """Save what has changed, then close the store if it was opened here, also when saving failed."""
        try:
            if self._opened:
                try:
                    await self._writer.close()
                finally:
                    await self.analytics.close()
        finally:
            opened, self._opened = self._opened, False
            if opened and self._owns_store:
                await self.store.close()

    # Records

    async def save_session(self, session_id: str, browser_session: BrowserSession) -> bool:
        """Save *browser_session* now, merged with what others saved of it, and keep it from then on.

        Returns True if it was written, new or not; False if it was deleted meanwhile: it is not brought back.
        """
        if check_session_id(session_id) != browser_session.id:
            raise InvalidSessionId(f"The session {browser_session.id!r} can't be saved as {session_id!r}: fork it")
        return await self.save(runtime_of(browser_session))

    async def save(self, session: SessionRuntime) -> bool:
        """As :meth:`save_session`."""
        await self.open()
        self._adopt(session, self.namespace)
        return await self._writer.save(session)

    async def load_session(self, session_id: str) -> PersistentSession | None:
        """Return the record of *session_id* as it is now, expired or retired ones too; ``None`` if there is none."""
        live = self._live.get(check_session_id(session_id))
        if live is not None and self.namespace is not None:
            return live.snapshot()
        found = await self._read(await self._locate(session_id))
        return None if found is None else found[1]

    async def restore_session(self, session_id: str, browser_session: BrowserSession) -> bool:
        """Fill *browser_session* from the record of *session_id*, and keep it from then on.

        Returns False, changing nothing, if there is none or it has expired. A session that is live already is not
        made a second time: *browser_session* then is a copy of it, which nobody keeps.
        """
        if check_session_id(session_id) != browser_session.id:
            raise InvalidSessionId(f"The session {session_id!r} can't be restored into {browser_session.id!r}")
        record = await self.load_session(session_id)
        if record is None or (record.expiry is not None and record.expiry[0] <= self._clock()):
            return False
        session = runtime_of(browser_session)
        session.restore(record)
        live = self._live.get(session_id)
        if live is None or live is session:
            session.merge_base = encode(record)
            session.dirty = False  # or its next change would be saved by nobody
            self._adopt(session, record.namespace)
            self._count("restored", 1)
        return True

    async def delete_session(self, session_id: str) -> bool:
        """Delete *session_id* for good: no late save brings it back. Returns whether it was there."""
        return await self._remover.delete(await self._locate(session_id))

    async def delete_sessions(self, infos: Sequence[SessionInfo]) -> int:
        """As :meth:`delete_session`, for many at once, of any namespace. Returns how many were there."""
        await self.open()
        return await self._remover.delete_many(infos)

    async def cleanup_expired_sessions(self) -> int:
        """Delete the sessions of this namespace that expired by their own policy, and return how many.

        Sessions with requests in flight are left alone.
        """
        return sum((await self.cleanup()).values())

    async def cleanup(self, *, progress: Callable[[int], None] | None = None) -> Counter[str]:
        """As :meth:`cleanup_expired_sessions`; returns how many by the limit they exceeded.

        *progress* is called with how many were deleted, page by page.
        """
        await self.flush()
        judge = self._reason_in_force if self._enforce_limits else None
        return await self._remover.delete_expired(self.namespace, progress, judge)

    async def get_session_info(self, session_id: str) -> SessionInfo | None:
        """Return what is known of *session_id* without reading its record; ``None`` if there is none."""
        check_session_id(session_id)
        await self.flush()
        found = await self.store.find(session_id, now=self._clock())
        if self.namespace is not None:
            found = [info for info in found if info["namespace"] == self.namespace]
        if len(found) > 1:
            raise _ambiguous(session_id, found)
        return found[0] if found else None

    async def list_sessions(
        self,
        *,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | str | None = None,
    ) -> list[SessionInfo]:
        """Return what is known of the sessions, newest activity first, without reading a record.

        :param after: the last entry of the page before, or its id
        """
        if isinstance(after, str):
            info = await self.get_session_info(after)
            if info is None:
                raise SessionError(f"There is no session {after!r} to list from: it was deleted meanwhile")
            after = info
        await self.flush()
        return await self.store.list(
            now=self._clock(), namespace=self.namespace, pool=pool, status=status, limit=limit, after=after
        )

    # Live sessions

    def pool(self, name: str) -> Pool:
        """Return the pool *name*. Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`."""
        return self._factory.pool(name)

    def pool_of(self, session: SessionRuntime) -> Pool | None:
        """Return the pool that *session* belongs to; ``None``: to none, or to one that isn't declared any more."""
        return self._factory.declared(session.pool)

    def ready(self, session_id: str) -> SessionRuntime | None:
        """Return *session_id* if it is in memory and has not expired."""
        return self._live.ready(session_id)

    def in_memory(self, key: Any) -> SessionRuntime | None:
        """Return the session with the id or ``cookiejar`` key *key* if it is in memory, expired or not."""
        session = self._live.get(key) if isinstance(key, str) else None
        if session is None:
            session_id = cookiejar_id(key)
            session = self._transient.get(key) if session_id is None else self._live.get(session_id)
        return session

    def ids_in_memory(self) -> list[str]:
        """Return the ids of the sessions that are in memory."""
        return list(self._live)

    def settle(self, claim: Claim, request: Request | None = None) -> Claim:
        """Return *claim* with a session id: that of the session whose turn it is, if it names none.

        A session that is paused at the host of *request* is not preferred.
        """
        if claim.profile is not None:
            check_profile(claim.profile, self.settings)
        if claim.pool is None:
            return claim
        pool = self.pool(claim.pool)
        if claim.session_id is not None:
            if not pool.may_hold(claim.session_id):
                raise InvalidSessionId(
                    f"The pool {pool.name!r} has no session {claim.session_id!r}: it has {', '.join(pool.session_ids)}"
                )
            pool.record_use(claim.session_id)
            return claim
        # Half the cost of _replace().
        return Claim(pool.pick(claim.key, claim.avoid, self._backlog_at(request)), *claim[1:-1], True)

    def ready_for(self, claim: Claim) -> SessionRuntime | None:
        """Return the session for the settled *claim* if that takes no waiting, else ``None``."""
        if claim.session_id is None:
            return self._transient_for(claim)
        session = self.ready(claim.session_id)
        return None if session is None or session.status == "retired" else session

    def usable(self, session: SessionRuntime) -> bool:
        """Whether a request may go out in *session* now."""
        return not session.closed and session.status != "retired" and session.expired(self._clock()) is None

    async def obtain(self, claim: Claim) -> SessionRuntime:
        """Return the session for the settled *claim*, from memory or the store, or made anew.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired` and
        :exc:`~scrapy_sessions.exceptions.PoolExhausted`.
        """
        if claim.session_id is None:
            return self._transient_for(claim)
        session_id = claim.session_id
        while True:
            session = await self.live(session_id, pool=claim.pool, profile=claim.profile)
            if session.status != "retired":
                if session.max_uses and session.reserved_uses >= session.max_uses:
                    continue  # those that waited for it beside this one have used it up
                return session
            if claim.pool is None:
                raise retired(session)
            pool = self.pool(claim.pool)
            pool.retire_slot(session_id, session.retired_reason or "retired")
            session_id = pool.pick(claim.key, claim.avoid, self._backlog_at(None))

    def obtain_now(self, claim: Claim) -> SessionRuntime:
        """As :meth:`obtain`, without waiting: a session that isn't in memory is made, and merged with the stored one
        when it is saved."""
        if claim.session_id is None:
            return self._transient_for(claim)
        session = self.ready_for(claim)
        if session is not None:
            return session
        stale = self._live.get(claim.session_id)
        if stale is not None and stale.status == "retired":
            raise retired(stale)
        if stale is not None:
            self._remover.close(stale)
        return self._create(claim.session_id, claim.pool, claim.profile)

    async def get(self, session_id: str, *, pool: str | None = None, profile: str | None = None) -> BrowserSession:
        """Return the live session *session_id*: from memory, else from the store, else a new one.

        *pool* and *profile* are for a new one. An expired session is deleted, and a new one takes its place.
        """
        return view_of(await self.live(session_id, pool=pool, profile=profile))

    async def live(self, session_id: str, *, pool: str | None = None, profile: str | None = None) -> SessionRuntime:
        """As :meth:`get`."""
        session = self.ready(check_session_id(session_id))
        if session is not None:
            return session
        loading = self._loading.get(session_id)
        if loading is None:
            loading = asyncio.ensure_future(self._load_or_create(session_id, pool, profile))
            self._loading[session_id] = loading
            loading.add_done_callback(lambda _: self._loading.pop(session_id, None))
        return await asyncio.shield(loading)  # one waiter given up must not fail the others

    def changed(self, session: SessionRuntime) -> None:
        """Called by a live session: it differs from what was saved."""
        self._writer.add(session)

    def watch(self, session: SessionRuntime) -> None:
        """Called by a live session: its data is in the spider's hands."""
        self._writer.watch(session)

    def refused(self, session: SessionRuntime, reason: str) -> None:
        """Called by a live session: its jar refused a cookie."""
        self._count("cookies/refused", 1)
        self._count(f"cookies/refused/{reason}", 1)

    def status_changed(self, session: SessionRuntime, transition: Transition, reason: str) -> None:
        """Called by a live session: its status changed."""
        if transition == "retired":
            self._count("retired", 1)
            self.signal(session_retired, session, reason)
            self.analytics.record_event("retired", session, reason)
            pool = self.pool_of(session)
            if pool is not None:
                pool.retire_slot(session.id, reason)
        elif transition == "login_lost":
            self.analytics.record_event("expired_login", session, reason)
            self.signal(session_login_lost, session, reason)

    def signal(self, signal: object, session: SessionRuntime, reason: str = "") -> None:
        """Report *signal* for *session*."""
        if self._on_signal is not None:
            self._on_signal(signal, view_of(session), session.id, reason)

    def _expired(self, session_id: str, session: SessionRuntime | None, reason: str) -> None:
        if self._on_signal is not None:
            view = None if session is None else view_of(session)
            self._on_signal(session_expired, view, session_id, reason)

    async def fetch(self, session: SessionRuntime, request: Request) -> Response:
        """Called by a live session: download *request* in it."""
        return await self._running_downloader(session).fetch(session, request)

    def alone(self, session: SessionRuntime) -> AbstractAsyncContextManager[Fetch]:
        """Called by a live session: hold back its other requests."""
        return self._running_downloader(session).alone(session)

    def _running_downloader(self, session: SessionRuntime) -> Downloader:
        if self.downloader is None:
            raise SessionError(f"No spider is running to fetch a request in the session {session.id!r}")
        return self.downloader

    async def refresh_record(self, session: SessionRuntime) -> None:
        """Take into *session* what other processes have saved of it."""
        await self.open()
        await self._writer.pull(session)

    async def fork_session(self, session_id: str, new_id: str, *, replace: bool = False) -> BrowserSession:
        """Make *new_id* a copy of *session_id* with a future of its own, and return it.

        It has the identity, cookies, storages, headers, data, login and history of the other, and begins its age and
        numbers now. With *replace*, a session *new_id* is deleted first.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` if there is no *session_id*, if both are the same, or if
        *new_id* exists and is not to be replaced.
        """
        record = await self.load_session(session_id)
        if record is None:
            raise SessionError(f"There is no session {session_id!r} to fork")
        if session_id == new_id:
            raise SessionError(f"The session {session_id!r} can't be forked to its own id")
        if replace:
            await self.delete_session(new_id)
        elif await self.load_session(new_id) is not None:
            raise SessionError(f"The session {new_id!r} exists: fork to another id, or replace it")
        session = self._factory.fork(record, new_id)
        self._live.add(session)
        self._count("created", 1)
        self.signal(session_created, session, f"forked from {session_id!r}")
        await self._writer.save(session)
        return view_of(session)

    # Inside

    def _backlog_at(self, request: Request | None) -> Callable[[str], tuple[float, int]]:
        def of(session_id: str) -> tuple[float, int]:
            session = self._live.get(session_id)
            if session is None:
                return NO_BACKLOG
            host = urlsplit(request.url).netloc if session.pauses and request is not None else ""
            return backlog(session, time.monotonic(), host)

        return of

    async def _load_or_create(self, session_id: str, pool: str | None, profile: str | None) -> SessionRuntime:
        await self.open()
        key = Key(self.namespace or "default", session_id)
        while True:
            ended: ExpiryReason | None = None  # its record may not say so: it counts no request that is still to leave
            live = self._live.get(session_id)
            if live is not None:
                if live.expired(self._clock()) is None:
                    return live
                # Another process may have kept it alive: look at what comes of merging the two.
                saved = await self._writer.save(live)
                ended = live.expired(self._clock())
                if saved and ended is None:
                    return live
                self._remover.close(live)
            found = await self._read(key, quarantine=True)
            if found is None:
                live = self._live.get(session_id)  # made without waiting, meanwhile
                return live if live is not None else self._create(session_id, pool, profile)
            row, record = found
            expiry = self._factory.in_force(record).expiry
            if ended is None and expiry is not None and expiry[0] <= self._clock():
                ended = expiry[1]
            if ended is None:
                live = self._live.get(session_id)
                return live if live is not None else self._restore(row, record)
            await self._remover.delete_one_expired(key, record, ended)

    async def _reason_in_force(self, expired: Expired) -> ExpiryReason | None:
        """Return by which of the limits in force a session expired that did so by those of its record.

        If by none, they are stored, for tools that know no settings.
        """
        key = expired.key
        found = await self._read(key, quarantine=True)
        if found is None:
            return expired.reason
        row, record = found
        expiry = self._factory.in_force(record).expiry
        if expiry is not None and expiry[0] <= self._clock():
            return expiry[1]
        session = self._live.get(key.session_id)
        if session is None:
            session = self._factory.again(record)
            session.merge_base = row
        session.changed()
        await self._writer.save(session)
        return None

    async def _read(self, key: Key, *, quarantine: bool = False) -> tuple[Row, PersistentSession] | None:
        await self.open()
        row = await self.store.load(key)
        if row is None:
            return None
        try:
            return row, decode(row)
        except CorruptRecord as e:
            await set_aside(self.store, row, e, self._count)
            if not quarantine:
                raise
            return None

    async def _locate(self, session_id: str) -> Key:
        check_session_id(session_id)
        if self.namespace is not None:
            await self.open()
            return Key(self.namespace, session_id)
        info = await self.get_session_info(session_id)
        return Key(info["namespace"] if info is not None else "default", session_id)

    def _create(
        self, session_id: str, pool: str | None, profile: str | None, *, transient: bool = False
    ) -> SessionRuntime:
        session = self._factory.new(session_id, pool, profile, transient=transient)
        self._live.add(session)
        self._count("created", 1)
        self.signal(session_created, session)
        if transient:
            self.analytics.track_transient(session)
        return session

    def _restore(self, row: Row, record: PersistentSession) -> SessionRuntime:
        session = self._factory.again(record)
        session.merge_base = row
        self._live.add(session)
        self._count("restored", 1)
        self.signal(session_restored, session)
        return session

    def _adopt(self, session: SessionRuntime, namespace: str | None) -> None:
        live = self._live.get(session.id)
        if live is None:
            if namespace is not None:
                session.namespace = namespace
            session.adopt(self)
            self._live.add(session)
        elif live is not session and namespace is not None:
            session.namespace = namespace

    def _transient_for(self, claim: Claim) -> SessionRuntime:
        session = self._transient.get(claim.transient)
        if session is None:
            session_id = f"cookiejar:{type(claim.transient).__name__}#{len(self._transient) + 1}"
            session = self._create(session_id, None, None, transient=True)
            self._transient[claim.transient] = session
        return session


def retired(session: SessionRuntime) -> SessionRetired:
    """Return the exception for a request that asks for *session*."""
    return SessionRetired(
        f"The session {session.id!r} was retired ({session.retired_reason}): delete it to begin anew, or name another"
    )


def _ambiguous(session_id: str, found: list[SessionInfo]) -> AmbiguousSession:
    namespaces = " and ".join(repr(info["namespace"]) for info in found)
    return AmbiguousSession(f"The session {session_id!r} stands in the namespaces {namespaces}: say which one is meant")
