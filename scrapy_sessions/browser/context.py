"""A Playwright context that is a session."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Protocol

from playwright.async_api import Browser, BrowserContext, Error, Page, Request, Route

from scrapy_sessions.browser.cookie_sync import CookieSync
from scrapy_sessions.browser.loss import PATIENCE, Lost, within
from scrapy_sessions.browser.options import Identity, context_options, send_languages
from scrapy_sessions.browser.secret_headers import BoundHeaders, SecretHeaders
from scrapy_sessions.browser.state import Databases, Storages, from_origins, to_origins
from scrapy_sessions.browser.storages import (
    PageStorages,
    bounded,
    merge_changes,
    merge_storages,
    read_storages,
    set_storages,
)
from scrapy_sessions.cookies import SessionCookieJar

logger = logging.getLogger(__name__)

_KINDS = ("local_storage", "session_storage", "indexed_db")


class Session(Identity, Protocol):
    """What is asked of a live session."""

    id: str

    @property
    def jar(self) -> SessionCookieJar: ...
    @property
    def bound_headers(self) -> BoundHeaders: ...
    def data_of(self, name: str) -> dict[str, Any]: ...
    def set_data(self, name: str, content: dict[str, Any]) -> None: ...


class SessionContext:
    """Connects *session* with *context*: what changes on one side is copied to the other.

    Storages are compared as cookies are: the browser's with what they were before. So what the session alone has
    stays, and what the site removed is removed.

    :param limit: bytes that the storages of the session may have, as JSON; 0: no limit
    """

    def __init__(self, session: Session, context: BrowserContext, *, limit: int = 0) -> None:
        self.session = session
        self.context = context
        self.secrets: SecretHeaders | None = None
        self._limit = limit
        self._cookies = CookieSync(session.jar, context, allowed=lambda: self.is_current)
        self._pages = PageStorages(lambda: session.data_of("session_storage"))
        self._local: Storages = {}
        self._databases: Databases = {}

    @classmethod
    async def open(cls, session: Session, browser: Browser, *, limit: int = 0, **options: Any) -> SessionContext:
        """Open a new context of *browser* that is *session*; *options* of ``browser.new_context()`` come first."""
        wanted = {**context_options(session, session.bound_headers.sent_to("")), **options}
        context = await browser.new_context(**wanted)
        try:
            opened = cls(session, context, limit=limit)
            await opened.fill(intercept=True)
            await opened.send_secrets()
            if opened.secrets is not None:
                await context.route("**/*", opened.secrets.marking(opened, _fallback))
        except BaseException:
            with suppress(Error, Lost):
                await within(PATIENCE, context.close())
            raise
        return opened

    @property
    def is_current(self) -> bool:
        """Whether what happens in the browser may change the session."""
        return True

    @property
    def headers(self) -> BoundHeaders:
        """Those of the session."""
        return self.session.bound_headers

    async def send_secrets(self) -> None:
        """Let the pages that are opened from now on send the headers that are bound to an origin, if there are any."""
        if self.headers.bound and self.context.browser is not None:
            found = SecretHeaders.of(self.context.browser)
            await found.start()
            self.secrets = found

    async def fill(self, *, intercept: bool) -> None:
        """Put the session into the context, which is new.

        :param intercept: whether requests are to be intercepted for their ``Accept-Language``
        """
        origins = to_origins(*(self.session.data_of(kind) for kind in ("local_storage", "indexed_db")))
        if origins:
            accepted = await set_storages(self.context, origins)
            self._local, self._databases = from_origins(accepted)
            self._warn("the browser can't restore the storages of", [o["origin"] for o in origins if o not in accepted])
        if intercept:
            await send_languages(self.context, self.session.language)
        self.context.on("page", self._pages.seed)
        await self.push_cookies()

    async def push_cookies(self) -> None:
        """Copy the cookies that changed in the session into the browser."""
        self._warn("the browser refuses the cookies", await self._cookies.push())

    async def pull_cookies(self) -> None:
        """Copy the cookies that changed in the browser into the session."""
        await self._cookies.pull()

    @property
    def pages(self) -> list[Page]:
        """The open pages."""
        return list(self.context.pages)

    async def read_page(self, page: Page, *, session_first: bool = False) -> None:
        """Copy what changed in ``localStorage`` and ``sessionStorage`` of the origin of *page* into the session.

        :param session_first: whether what changed in the session, too, stays as it is there
        """
        found = await self._pages.read(page)
        if found is None:
            return
        origin, local, before, now = found
        new = {kind: self.session.data_of(kind) for kind in _KINDS}
        changed = merge_storages({origin: before}, {origin: now}, new["session_storage"], session_first=session_first)
        new["session_storage"] = changed
        known = {origin: self._local.get(origin, {})}
        new["local_storage"] = merge_storages(known, {origin: local}, new["local_storage"], session_first=session_first)
        self._local = {**self._local, origin: local}
        self._store(new)

    async def pull_storages(self, *, session_first: bool = False) -> None:
        """Copy what changed in the storages into the session, those of the open pages included.

        :param session_first: as for :meth:`read_page`
        """
        for page in self.pages:
            await self.read_page(page, session_first=session_first)
        local, databases = await read_storages(self.context)
        new = {kind: self.session.data_of(kind) for kind in _KINDS}
        new["local_storage"] = merge_storages(self._local, local, new["local_storage"], session_first=session_first)
        self._local = local
        if databases is None:
            self._warn("Playwright can't read IndexedDB", ["one of the databases"])
        else:
            new["indexed_db"] = merge_changes(
                self._databases, databases, new["indexed_db"], session_first=session_first
            )
            self._databases = databases
        self._store(new)

    async def save(self) -> None:
        """Copy all that changed in the browser into the session."""
        await self.pull_cookies()
        await self.pull_storages()

    def _store(self, new: dict[str, Any]) -> None:
        old = {kind: self.session.data_of(kind) for kind in _KINDS}
        if new == old:
            return
        kept, left_out = bounded(self._limit, new, old)
        self._warn("too large to be saved", left_out)
        for kind, content in kept.items():
            if content != old[kind]:
                self.session.set_data(kind, content)

    def has_content(self) -> bool:
        """Whether the session has any cookie or storage."""
        return len(self.session.jar) > 0 or any(map(self.session.data_of, _KINDS))

    def _warn(self, what: str, names: list[str]) -> None:
        if names:
            logger.warning("The session %r isn't whole: %s (%s)", self.session.id, what, ", ".join(sorted(names)))


async def _fallback(route: Route, request: Request) -> None:
    with suppress(Error):  # the page is closed
        await route.fallback()
