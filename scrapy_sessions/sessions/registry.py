"""The live sessions of one namespace: each once in a process, in memory and in the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from scrapy_sessions.exceptions import CorruptRecord, InvalidSessionId, SessionError, SessionRetired, StoreError
from scrapy_sessions.models import ExpiryReason, PersistentSession, Profile, check_session_id
from scrapy_sessions.pools.claim import Claim, check_profile, cookiejar_id
from scrapy_sessions.pools.pool import NO_BACKLOG, Pool
from scrapy_sessions.sessions.browser_session import BrowserSession, view_of
from scrapy_sessions.sessions.cache import SessionCache
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.factory import SessionFactory
from scrapy_sessions.sessions.left_out import LeftOutCookies
from scrapy_sessions.sessions.removal import SessionRemover
from scrapy_sessions.sessions.runtime import Fetch, SessionRuntime, Transition, backlog
from scrapy_sessions.sessions.saver import set_aside
from scrapy_sessions.sessions.write_behind import WriteBehind
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.signals import (
    session_created,
    session_expired,
    session_login_lost,
    session_restored,
    session_retired,
)
from scrapy_sessions.storage.base import Expired, Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode, in_plain
from scrapy_sessions.storage.encryption import encrypt

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scrapy import Request
    from scrapy.http import Response

logger = logging.getLogger(__name__)

Signaller: TypeAlias = Callable[[object, BrowserSession | None, str, str], None]
"""Takes a signal, its session (``None``: not in memory), the session's id and a reason."""


class Downloader(Protocol):
    """Downloads requests in sessions: the router of a crawl."""

    async def fetch(self, session: SessionRuntime, request: Request) -> Response: ...

    def alone(self, session: SessionRuntime) -> AbstractAsyncContextManager[Fetch]: ...


class SessionRegistry:
    """Finds, creates, saves and removes the live sessions of one namespace. It is the owner of each.

    Spiders and programs use it through :class:`~scrapy_sessions.SessionManager`, which has its parameters.

    :param owns_store: whether :meth:`close` closes the store, too
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        owns_store: bool,
        namespace: str | None,
        settings: SessionsSettings,
        default_profile: Profile,
        enforce_limits: bool,
        on_event: Callable[[str, int], None],
        on_signal: Signaller | None,
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        self.namespace = namespace
        self.settings = settings
        self.clock = clock
        self.count = on_event
        self.downloader: Downloader | None = None
        self.cache = SessionCache(settings.cache_size, clock)
        self.analytics = Collector(store, save_interval=settings.save_interval, clock=clock, count=on_event)
        self.writer = WriteBehind(
            store,
            interval=settings.save_interval,
            clock=clock,
            count=on_event,
            lost=self.cache.remove,
            live=self.cache.sessions,
            analytics=self.analytics,
        )
        self.remover = SessionRemover(
            store,
            live=self.cache,
            writer=self.writer,
            analytics=self.analytics,
            count=on_event,
            expired=self._signal_expired,
            clock=clock,
        )
        self._owns_store = owns_store
        self._on_signal = on_signal
        self._enforce_limits = enforce_limits
        self._factory = SessionFactory(
            settings, namespace or "default", default_profile, self, clock, enforce_limits=enforce_limits
        )
        self._left_out = LeftOutCookies(on_event)
        self._transient: dict[Any, SessionRuntime] = {}
        self._loading: dict[str, asyncio.Future[SessionRuntime]] = {}
        self._resting: dict[str, float] = {}  # sessions of pools whose budget is used up, and until when
        self._opened = False

    async def open(self) -> None:
        """Open the store, and begin to save. Idempotent."""
        if not self._opened:
            await self.store.open()
            await self.store.check_key()
            await self.writer.look_at_store()
            self._opened = True
            self.writer.start()
            self.analytics.start()

    async def flush(self) -> None:
        """Save every session that has changed up to now, and the analytics."""
        await self.open()
        await self.writer.flush()
        await self.analytics.flush()

    async def close(self) -> None:
        """Save every session that has changed. Then, even if that failed, close a store of its own."""
        try:
            if self._opened:
                try:
                    await self.writer.close()
                finally:
                    await self.analytics.close()
        finally:
            opened, self._opened = self._opened, False
            if opened and self._owns_store:
                await self.store.close()

    # Pools and claims

    def pool(self, name: str) -> Pool:
        """Return the pool *name*. Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`."""
        return self._factory.pool(name)

    def pool_of(self, session: SessionRuntime) -> Pool | None:
        """Return the pool of *session*; ``None`` if it has none, or one that isn't declared any more."""
        return self._factory.declared(session.pool)

    def settle(self, claim: Claim, request: Request | None = None) -> Claim:
        """Return *claim* with a session id. If it names no session, its pool picks one.

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
        """Return the session for the settled *claim* if it is in memory and usable, else ``None``."""
        if claim.session_id is None:
            return self._transient_for(claim)
        session = self.cache.ready(claim.session_id)
        return None if session is None or session.status == "retired" else session

    def usable(self, session: SessionRuntime) -> bool:
        """Whether a request may be sent in *session* now."""
        return not session.closed and session.status != "retired" and session.expired(self.clock()) is None

    async def obtain(self, claim: Claim) -> SessionRuntime:
        """Return the session for the settled *claim*: from memory, else from the store, else a new one.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired` and
        :exc:`~scrapy_sessions.exceptions.PoolExhausted`.
        """
        if claim.session_id is None:
            return self._transient_for(claim)
        session_id = claim.session_id
        while True:
            session = await self.get(session_id, pool=claim.pool, profile=claim.profile)
            if session.status != "retired":
                if session.max_uses and session.reserved_uses >= session.max_uses:
                    continue  # other requests that waited for it have used it up
                return session
            if claim.pool is None:
                raise retired(session)
            pool = self.pool(claim.pool)
            pool.retire_slot(session_id, session.retired_reason or "retired")
            if pool.exclusive:
                return session  # the caller picks another when it holds one
            session_id = pool.pick(claim.key, claim.avoid, self._backlog_at(None))

    def obtain_now(self, claim: Claim) -> SessionRuntime:
        """As :meth:`obtain`, without waiting. A session that isn't in memory is created, and merged with the stored one
        when it is saved."""
        if claim.session_id is None:
            return self._transient_for(claim)
        session = self.ready_for(claim)
        if session is not None:
            return session
        stale = self.cache.get(claim.session_id)
        if stale is not None and stale.status == "retired":
            raise retired(stale)
        if stale is not None:
            self.remover.close(stale)
        return self._create(claim.session_id, claim.pool, claim.profile)

    # Sessions

    def ready(self, session_id: str) -> SessionRuntime | None:
        """Return *session_id* if it is in memory and has not expired."""
        return self.cache.ready(session_id)

    def in_memory(self, key: Any) -> SessionRuntime | None:
        """Return the session with the id or ``cookiejar`` key *key* if it is in memory, expired or not."""
        session = self.cache.get(key) if isinstance(key, str) else None
        if session is None:
            session_id = cookiejar_id(key)
            session = self._transient.get(key) if session_id is None else self.cache.get(session_id)
        return session

    def ids_in_memory(self) -> list[str]:
        """Return the ids of the sessions that are in memory."""
        return list(self.cache)

    async def get(self, session_id: str, *, pool: str | None = None, profile: str | None = None) -> SessionRuntime:
        """Return the session *session_id* from memory, else from the store, else a new one.

        A new session gets *pool* and *profile*. An expired session is deleted and replaced by a new one.
        """
        session = self.ready(check_session_id(session_id))
        if session is not None:
            return session
        loading = self._loading.get(session_id)
        if loading is None:
            loading = asyncio.ensure_future(self._load_or_create(session_id, pool, profile))
            self._loading[session_id] = loading
            loading.add_done_callback(partial(self._loaded, session_id))
        return await asyncio.shield(loading)  # cancelling one caller must not fail the others

    def _loaded(self, session_id: str, loading: asyncio.Future[SessionRuntime]) -> None:
        self._loading.pop(session_id, None)
        if not loading.cancelled():
            loading.exception()  # retrieved: all callers may have been cancelled, and asyncio would log it

    async def load(self, key: Key, *, quarantine: bool = False) -> tuple[Row, PersistentSession] | None:
        """Return the stored row and record of *key*, or ``None``. A record that can't be decoded is quarantined.

        Raises :exc:`~scrapy_sessions.exceptions.CorruptRecord` then; with *quarantine*, returns ``None``.
        """
        await self.open()
        row = await self.store.load(key)
        if row is None:
            return None
        try:
            row = in_plain(row, self.store.cipher)
            return row, decode(row)
        except CorruptRecord as e:
            await set_aside(self.store, row, e, self.count)
            if not quarantine:
                raise
            return None

    def adopt(self, session: SessionRuntime, namespace: str | None) -> None:
        """Keep *session* from now on, in *namespace* if given, unless another object for it is live."""
        live = self.cache.get(session.id)
        if live is None:
            if namespace is not None:
                session.namespace = namespace
            session.adopt(self)
            self.cache.add(session)
        elif live is not session and namespace is not None:
            session.namespace = namespace

    async def save(self, session: SessionRuntime) -> bool:
        """Keep *session*, and save it now, merged with what other processes have saved of it.

        Returns False if it was deleted meanwhile: it is not brought back.
        """
        await self.open()
        self.adopt(session, self.namespace)
        return await self.writer.save(session)

    async def detached(self, session_id: str, namespace: str) -> SessionRuntime:
        """Return *session_id* as it is stored, else a new session: an object that nobody saves before :meth:`save`.

        An expired session is replaced by a new one when that is saved.
        """
        found = await self.load(Key(namespace, session_id))
        expiry = None if found is None else found[1].expiry
        if found is None or (expiry is not None and expiry[0] <= self.clock()):
            session = self._factory.create(session_id, self._factory.pool_with(session_id), None)
        else:
            session = self._factory.restore(found[1])
            session.merge_base = found[0]
        session.owner = None
        return session

    async def refresh_record(self, session: SessionRuntime) -> None:
        """Merge into *session* what other processes have saved of it."""
        await self.open()
        await self.writer.pull(session)

    async def cleanup(self, progress: Callable[[int], None] | None = None) -> Counter[str]:
        """Delete the expired sessions that are not in use, and return their number by limit."""
        await self.flush()
        reason_of = self._reason_in_force if self._enforce_limits else None
        return await self.remover.delete_expired(self.namespace, progress, reason_of)

    async def _reason_in_force(self, expired: Expired) -> ExpiryReason | None:
        """Return the limit in force by which a session has expired that expired by a limit of its record.

        If there is none, the limits in force are stored, for tools that don't have the settings.
        """
        key = expired.key
        found = await self.load(key, quarantine=True)
        if found is None:
            return expired.reason
        row, record = found
        expiry = self._factory.in_force(record).expiry
        if expiry is not None and expiry[0] <= self.clock():
            return expiry[1]
        session = self.cache.get(key.session_id)
        if session is None:
            session = self._factory.restore(record)
            session.merge_base = row
        session.changed()
        await self.writer.save(session)
        return None

    async def fork(self, record: PersistentSession, new_id: str) -> SessionRuntime | None:
        """Create and save the session *new_id* as a copy of *record*. Returns ``None`` if that session exists."""
        session = self._factory.fork(record, new_id)
        if not await self.save_new(session):
            return None
        self.count("created", 1)
        self.signal(session_created, session, f"forked from {record.session_id!r}")
        return session

    async def save_new(self, session: SessionRuntime) -> bool:
        """Keep the new *session*, and save it now, unless a session with its id exists: the two are not merged.

        Returns False then, or if it is deleted meanwhile, and *session* is closed. Raises
        :exc:`~scrapy_sessions.exceptions.StoreError` if it can't be saved, likewise.
        """
        await self.open()
        if self.cache.get(session.id) not in (None, session):
            return False
        self.cache.add(session)  # before it is saved, so that nobody else in this process creates one
        saved = False
        try:
            saved = await self._insert(session)
        finally:
            if not saved:
                self.remover.close(session)
        return saved

    # Called by the live sessions: see SessionOwner

    def changed(self, session: SessionRuntime) -> None:
        self.cache.changed(session)
        self.writer.add(session)

    def watch(self, session: SessionRuntime) -> None:
        self.writer.watch(session)

    def refused(self, session: SessionRuntime, reason: str) -> None:
        self.count("cookies/refused", 1)
        self.count(f"cookies/refused/{reason}", 1)

    def used_up(self, session: SessionRuntime) -> None:
        self.count("budget_rests", 1)
        self.note_rest(session)
        seconds = session.rest(self.clock())
        logger.debug("The session %r has used up its budget, and rests for %.0f s", session.id, seconds)

    def note_rest(self, session: SessionRuntime) -> None:
        """Record that the budget of *session* is used up, for its pool, also while the session isn't in memory."""
        if session.pool is not None:
            now = self.clock()
            self._resting[session.id] = now + session.rest(now)

    def left_out(self, session: SessionRuntime, host: str, names: Sequence[str]) -> None:
        self._left_out.report(session, host, names)

    def status_changed(self, session: SessionRuntime, transition: Transition, reason: str) -> None:
        if transition == "retired":
            self.count("retired", 1)
            self.signal(session_retired, session, reason)
            self.analytics.record_event("retired", session, reason)
            pool = self.pool_of(session)
            if pool is not None and not session.closed:  # else another has its id by now
                pool.retire_slot(session.id, reason)
        elif transition == "login_lost":
            self.analytics.record_event("expired_login", session, reason)
            self.signal(session_login_lost, session, reason)

    def signal(self, signal: object, session: SessionRuntime, reason: str = "") -> None:
        """Report *signal* for *session*."""
        if self._on_signal is not None:
            self._on_signal(signal, view_of(session), session.id, reason)

    def _signal_expired(self, session_id: str, session: SessionRuntime | None, reason: str) -> None:
        if self._on_signal is not None:
            view = None if session is None else view_of(session)
            self._on_signal(session_expired, view, session_id, reason)

    async def fetch(self, session: SessionRuntime, request: Request) -> Response:
        return await self._running_downloader(session).fetch(session, request)

    def alone(self, session: SessionRuntime) -> AbstractAsyncContextManager[Fetch]:
        return self._running_downloader(session).alone(session)

    def _running_downloader(self, session: SessionRuntime) -> Downloader:
        if self.downloader is None:
            raise SessionError(f"No spider is running to fetch a request in the session {session.id!r}")
        return self.downloader

    # Inside

    def _backlog_at(self, request: Request | None) -> Callable[[str], tuple[float, int]]:
        def of(session_id: str) -> tuple[float, int]:
            session = self.cache.get(session_id)
            if session is None:
                until = self._resting.get(session_id, 0.0) if self._resting else 0.0
                return (until - self.clock(), 0) if until > self.clock() else NO_BACKLOG
            host = urlsplit(request.url).netloc if session.pauses and request is not None else ""
            return backlog(session, time.monotonic(), host)

        return of

    async def _load_or_create(self, session_id: str, pool: str | None, profile: str | None) -> SessionRuntime:
        await self.open()
        key = Key(self.namespace or "default", session_id)
        while True:
            ended: ExpiryReason | None = None  # its record may be behind: it counts no request that waits to be sent
            live = self.cache.get(session_id)
            if live is not None:
                if live.expired(self.clock()) is None:
                    return live
                # Another process may have used it: merge the two, and look again.
                saved = await self.writer.save(live)
                ended = live.expired(self.clock())
                if saved and ended is None:
                    return live
                self.remover.close(live)
            deletions = self.remover.deletions
            found = await self.load(key, quarantine=True)
            if deletions != self.remover.deletions:
                continue
            if found is None:
                live = self.cache.get(session_id)  # obtain_now() may have created it meanwhile
                return live if live is not None else self._create(session_id, pool, profile)
            row, record = found
            expiry = self._factory.in_force(record).expiry
            if ended is None and expiry is not None and expiry[0] <= self.clock():
                ended = expiry[1]
            if ended is None:
                live = self.cache.get(session_id)
                return live if live is not None else self._restore(row, record)
            await self.remover.delete_one_expired(key, record, ended)

    async def _insert(self, session: SessionRuntime) -> bool:
        """Save *session* if the store has none with its id, and return whether it was saved."""
        async with self.writer.deletion([Key(session.namespace, session.id)]):  # no other save of it comes first
            await self.writer.look_at_store()
            if session.closed:
                return False
            self.writer.discard(session)
            session.dirty = False
            session.adopt(self)  # its data may be watched
            row = encode(session.snapshot().model_copy(update={"revision": 1}))
            base = row._replace(actions_count=session.history.total)  # as base_of() relies on
            row = row._replace(body=encrypt(row.body, self.store.cipher))
            (outcome,) = await self.store.save([row])  # of revision 1: only if there is none
            if outcome is Outcome.FAULT:
                raise StoreError(f"The session {session.id!r} can't be saved in {self.store.location}")
            if outcome is not Outcome.SAVED:
                return False
            session.revision, session.merge_base = 1, base
        self.count("saved", 1)
        self.analytics.record_event_for("created", session.namespace, session.id, session.pool, time=session.start_time)
        return True

    def _create(
        self, session_id: str, pool: str | None, profile: str | None, *, transient: bool = False
    ) -> SessionRuntime:
        profile = self.cache.first_profile(session_id) or profile
        session = self._factory.create(session_id, pool, profile, transient=transient)
        if self.cache.add_new(session):
            self.count("created", 1)
            self.signal(session_created, session)
        if transient:
            self.analytics.track_transient(session)
        return session

    def _restore(self, row: Row, record: PersistentSession) -> SessionRuntime:
        session = self._factory.restore(record)
        session.merge_base = row
        self.cache.add(session)
        self.count("restored", 1)
        self.signal(session_restored, session)
        return session

    def _transient_for(self, claim: Claim) -> SessionRuntime:
        session = self._transient.get(claim.transient)
        if session is None:
            session_id = f"cookiejar:{type(claim.transient).__name__}#{len(self._transient) + 1}"
            session = self._create(session_id, None, None, transient=True)
            self._transient[claim.transient] = session
        return session


def retired(session: SessionRuntime) -> SessionRetired:
    """Return the exception for a request that needs *session*, which is retired."""
    return SessionRetired(
        f"The session {session.id!r} was retired ({session.retired_reason}): put it back into use with 'scrapy "
        "sessions unretire', delete it to begin anew, or name another"
    )
