"""The sessions of a namespace for programs: saved, loaded, listed, deleted, and live."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from scrapy_sessions.exceptions import AmbiguousSession, InvalidSessionId, SessionConfigurationError, SessionError
from scrapy_sessions.models import PersistentSession, Profile, SessionInfo, Status, check_session_id
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of, view_of
from scrapy_sessions.sessions.registry import SessionRegistry, Signaller
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage.base import Key, SessionStore
from scrapy_sessions.storage.codec import encode
from scrapy_sessions.storage.resolve import resolve_store, use_key

if TYPE_CHECKING:
    from types import TracebackType

    from playwright.async_api import Browser, BrowserContext

    from scrapy_sessions.browser.context import SessionContext
    from scrapy_sessions.sessions.runtime import SessionRuntime


class SessionManager:
    """Keeps the sessions of one namespace.

    .. code-block:: python

        async with SessionManager("sessions.db", namespace="shop") as manager:
            for info in await manager.list_sessions():
                print(info["session_id"], info["pages_visited"])

    With no arguments it opens the store that spiders use from the same folder. Faults of the store, and records that
    can't be read, raise exceptions of :mod:`scrapy_sessions.exceptions`.

    :param storage_path: an SQLite file, or a folder for one (``sessions.db``); not a URL
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
        owns_store = not isinstance(store, SessionStore)
        key = None if settings is None else settings.encryption_key
        if isinstance(store, SessionStore):
            use_key(store, key)
        else:
            store = resolve_store(storage_path, store, key=key)
        self._registry = SessionRegistry(
            store,
            owns_store=owns_store,
            namespace=namespace if namespace is None else check_session_id(namespace),
            settings=settings or SessionsSettings(),
            default_profile=default_profile or Profile(),
            enforce_limits=enforce_limits,
            on_event=on_event or (lambda name, n: None),
            on_signal=on_signal,
            clock=clock,
        )
        self._contexts: dict[BrowserContext, tuple[SessionRuntime, SessionContext]] = {}  # those of open_browser()

    @property
    def store(self) -> SessionStore:
        """The store."""
        return self._registry.store

    @property
    def namespace(self) -> str | None:
        """The namespace; ``None``: all of them."""
        return self._registry.namespace

    async def __aenter__(self) -> SessionManager:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the store. Idempotent; the other methods call it."""
        await self._registry.open()

    async def flush(self) -> None:
        """Save every session that has changed up to now, and the analytics."""
        await self._registry.flush()

    async def close(self) -> None:
        """Save every session that has changed. Then, even if that failed, close the store if it was opened here."""
        await self._registry.close()

    # Records

    async def save_session(self, session_id: str, browser_session: BrowserSession) -> bool:
        """Save *browser_session* now, merged with what others have saved of it, and keep it from then on.

        Returns True if it was written, new or not; False if it was deleted meanwhile: it is not brought back.
        """
        if check_session_id(session_id) != browser_session.id:
            raise InvalidSessionId(f"The session {browser_session.id!r} can't be saved as {session_id!r}: fork it")
        return await self._registry.save(runtime_of(browser_session))

    async def load_session(self, session_id: str) -> PersistentSession | None:
        """Return the present record of *session_id*, also of an expired or retired one; ``None`` if there is none."""
        live = self._registry.cache.get(check_session_id(session_id))
        if live is not None and self._registry.namespace is not None:
            return live.snapshot()
        found = await self._registry.load(await self._locate(session_id))
        return None if found is None else found[1]

    async def restore_session(self, session_id: str, browser_session: BrowserSession) -> bool:
        """Fill *browser_session* from the record of *session_id*, and keep it from then on.

        Returns False, and changes nothing, if there is no record or it has expired. If the session is live already,
        *browser_session* becomes a copy of it that nobody saves.
        """
        if check_session_id(session_id) != browser_session.id:
            raise InvalidSessionId(f"The session {session_id!r} can't be restored into {browser_session.id!r}")
        registry = self._registry
        record = await self.load_session(session_id)
        if record is None or (record.expiry is not None and record.expiry[0] <= registry.clock()):
            return False
        session = runtime_of(browser_session)
        session.restore(record)
        if registry.cache.get(session_id) in (None, session):
            session.merge_base = encode(record)
            session.dirty = False  # or its next change would be saved by nobody
            registry.adopt(session, record.namespace)
            registry.count("restored", 1)
        return True

    async def delete_session(self, session_id: str) -> bool:
        """Delete *session_id* for good: no late save brings it back. Returns whether it was there."""
        return await self._registry.remover.delete(await self._locate(session_id))

    async def cleanup_expired_sessions(self) -> int:
        """Delete the sessions of this namespace that have expired by their own limits, and return their number.

        Sessions with requests in flight are kept.
        """
        return sum((await self.cleanup()).values())

    async def cleanup(self, *, progress: Callable[[int], None] | None = None) -> Counter[str]:
        """As :meth:`cleanup_expired_sessions`, but return the number by the limit that was exceeded.

        *progress* is called with the number of deleted sessions after each batch.
        """
        return await self._registry.cleanup(progress)

    async def get_session_info(self, session_id: str) -> SessionInfo | None:
        """Return the entry of *session_id* in a list, without reading the record; ``None`` if there is none."""
        check_session_id(session_id)
        await self.flush()
        namespace = self._registry.namespace
        found = await self._registry.store.find(session_id, now=self._registry.clock())
        if namespace is not None:
            found = [info for info in found if info["namespace"] == namespace]
        if len(found) > 1:
            namespaces = [info["namespace"] for info in found]
            raise AmbiguousSession(
                f"The session {session_id!r} exists in the namespaces {' and '.join(map(repr, namespaces))}: say which "
                "one is meant",
                namespaces,
            )
        return found[0] if found else None

    async def list_sessions(
        self,
        *,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | str | None = None,
    ) -> list[SessionInfo]:
        """Return the sessions, the newest activity first, as they are at one moment. It reads no record.

        :param after: the last entry of the previous page, or its id
        """
        after = await self._after(after)
        await self.flush()
        registry = self._registry
        return await registry.store.list(
            now=registry.clock(), namespace=registry.namespace, pool=pool, status=status, limit=limit, after=after
        )

    async def iter_sessions(
        self,
        *,
        pool: str | None = None,
        status: Status | None = None,
        after: SessionInfo | str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """Yield the sessions of :meth:`list_sessions`, read in pages: for more sessions than memory should contain.

        A session that is used while this runs moves to the front of the list, and may be left out.
        """
        after = await self._after(after)
        await self.flush()
        registry = self._registry
        pages = registry.store.pages(
            now=registry.clock(), namespace=registry.namespace, pool=pool, status=status, after=after
        )
        async for page in pages:
            for info, _ in page:
                yield info

    # Live sessions

    async def get(self, session_id: str, *, pool: str | None = None, profile: str | None = None) -> BrowserSession:
        """Return the live session *session_id*: from memory, else from the store, else a new one.

        A new session gets *pool* and *profile*. An expired session is deleted and replaced by a new one.
        """
        return view_of(await self._registry.get(session_id, pool=pool, profile=profile))

    async def fork_session(self, session_id: str, new_id: str, *, replace: bool = False) -> BrowserSession:
        """Create the session *new_id* as a copy of *session_id*, and return it.

        The copy has the identity, cookies, storages, headers, data, login and history of the other. Its age and
        counters begin now. With *replace*, a session *new_id* is deleted first.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` if there is no *session_id*, if both are the same, or if
        *new_id* exists and is not to be replaced.
        """
        record = await self.load_session(session_id)
        if record is None:
            raise SessionError(f"There is no session {session_id!r} to fork")
        if session_id == new_id:
            raise SessionError(f"The session {session_id!r} can't be forked to its own id")
        while True:
            if replace:
                await self.delete_session(new_id)
            elif await self.load_session(new_id) is not None:
                raise SessionError(f"The session {new_id!r} exists: fork to another id, or replace it")
            fork = await self._registry.fork(record, new_id)
            if fork is not None:  # else another one was created, or this one deleted, meanwhile
                return view_of(fork)

    # In a browser

    async def open_browser(self, session_id: str, browser: Browser, **options: Any) -> BrowserContext:
        """Open a context of *browser* that is the session *session_id*, an existing or a new one, and return it.

        It has the session's cookies, ``localStorage`` and IndexedDB, in each new page its ``sessionStorage``, and its
        user agent, languages, time zone, viewport and proxy. What the browser refuses is logged and left out. A
        Chromium sends the headers that are bound to an origin, too. Close the context yourself, after
        :meth:`save_browser`.

        .. code-block:: python

            context = await manager.open_browser("alice", browser)
            page = await context.new_page()
            await page.goto("https://shop.example/account")
            await manager.save_browser("alice", context)
            await context.close()

        :param browser: a browser of ``playwright.async_api``
        :param options: more arguments of ``browser.new_context()``, which have precedence

        Raises what Playwright raises, and without Playwright
        :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`.
        """
        session = await self._live(session_id)
        limit = self._registry.settings.browser_max_storage
        opened = await _session_context().open(session, browser, limit=limit, **options)
        self._contexts[opened.context] = session, opened
        opened.context.on("close", self._forget_context)
        return opened.context

    async def save_browser(self, session_id: str, context: BrowserContext) -> bool:
        """Copy what changed in *context* into the session *session_id*, an existing or new one, and save it.

        These are its cookies, ``localStorage``, IndexedDB, and the ``sessionStorage`` of open pages. What the site has
        deleted in a context of :meth:`open_browser` is deleted in the session, too. The content of another context is
        added to what the session has. A new session with any content counts as logged in. May be called repeatedly.

        Returns True if it was written, False if the session was deleted meanwhile: it is not brought back. Raises what
        Playwright raises, and without Playwright :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`.
        """
        registry = self._registry
        session, opened = self._contexts.get(context, (None, None))
        if session is None or opened is None or session.id != session_id:
            session = await self._live(session_id)
            opened = _session_context()(session, context, limit=registry.settings.browser_max_storage)
        await opened.save()
        session.last_activity = registry.clock()
        if opened.has_content():
            session.mark_ready()  # else a crawl would log in again
        return await registry.save(session)

    def _forget_context(self, context: BrowserContext) -> None:
        self._contexts.pop(context, None)

    async def _live(self, session_id: str) -> SessionRuntime:
        """Return the live session *session_id*, of whichever namespace has it, else a new one."""
        if self._registry.namespace is None and self._registry.ready(check_session_id(session_id)) is None:
            await self.restore_session(session_id, BrowserSession(session_id))
        return await self._registry.get(session_id)

    async def _after(self, after: SessionInfo | str | None) -> SessionInfo | None:
        if not isinstance(after, str):
            return after
        info = await self.get_session_info(after)
        if info is None:
            raise SessionError(f"There is no session {after!r} to list from: it was deleted meanwhile")
        return info

    async def _locate(self, session_id: str) -> Key:
        check_session_id(session_id)
        if self._registry.namespace is not None:
            await self.open()
            return Key(self._registry.namespace, session_id)
        info = await self.get_session_info(session_id)
        return Key(info["namespace"] if info is not None else "default", session_id)


def _session_context() -> type[SessionContext]:
    try:
        from scrapy_sessions.browser.context import SessionContext  # noqa: PLC0415  # an extra
    except ImportError:
        from scrapy_sessions.browser import NEEDS_PLAYWRIGHT  # noqa: PLC0415  # no crawl needs it

        raise SessionConfigurationError(NEEDS_PLAYWRIGHT) from None
    return SessionContext


registry_of: Callable[[SessionManager], SessionRegistry] = attrgetter("_registry")
"""Return the live sessions behind a :class:`SessionManager`."""
