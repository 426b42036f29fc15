"""The headers that a session has bound to an origin, in a browser: they are sent to that origin only."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from playwright.async_api import Browser, CDPSession, Error, Page, Request, Route

from scrapy_sessions.browser.storages import origin_of_page

logger = logging.getLogger(__name__)

_PATIENCE = 30.0
"""Seconds that the browser may take to begin to report its requests."""

_MAX_STRAYED = 10_000
"""Requests that are remembered because a redirect took them to another origin: the newest ones."""

_ANY = "*"
_NAVIGATION = "to:"
_READS = ("GET", "HEAD")


class BoundHeaders(Protocol):
    """The headers of a session."""

    @property
    def bound(self) -> bool: ...
    def bound_to(self, origin: str) -> Mapping[str, str]: ...
    def sent_to(self, origin: str) -> Iterable[tuple[str, str]]: ...


class Owner(Protocol):
    """A context, whose requests get the headers of its session."""

    __weakref__: Any

    @property
    def is_current(self) -> bool: ...
    @property
    def headers(self) -> BoundHeaders: ...


class SecretHeaders:
    """Adds to the requests of a Chromium the headers that their session has bound to the origin of each.

    A route of Playwright can't do that: it is called for the first URL of a request only, and the headers that it sets
    are sent again with each redirect, whatever the origin. So a route sets a *mark*, a random header that names the
    context. The domain ``Fetch`` of the DevTools protocol, enabled for the whole browser, is nearer to the network than
    all routes and sees each hop of each request, those of frames included. There the mark is replaced by the headers,
    which Chromium doesn't take along to the next hop.

    The mark also says which origins the request may take the headers to. A page of another site must not be able to
    act as the session where the headers are bound:

    - Navigations of a page by GET get them, as they get cookies that are ``SameSite=Lax``. Those of a frame get them if
      all frames around it are of the same origin.
    - All else gets them only if the origin itself asked for it, and no redirect left it meanwhile. The evidence is the
      ``Referer`` and, for navigations, ``Origin``, which no script can forge. The URL of the frame alone is none: a
      request of the document before, sent while it is unloaded, is reported when the frame has the next URL.

    What has no mark gets no headers: requests of pages opened before :meth:`start`, and of service workers.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._mark = ""
        self._owners: WeakValueDictionary[str, Owner] = WeakValueDictionary()
        self._tokens: WeakKeyDictionary[Owner, str] = WeakKeyDictionary()
        self._older: WeakSet[Page] = WeakSet()
        self._starting: asyncio.Task[None] | None = None
        self._devtools: CDPSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._strayed: dict[str, None] = {}
        self._refused: set[frozenset[str]] = set()

    @classmethod
    def of(cls, browser: Browser) -> SecretHeaders:
        """Return the one of *browser*."""
        found = _known.get(browser)
        if found is None:
            found = _known[browser] = cls(browser)
            browser.on("disconnected", _forget)
        return found

    async def start(self) -> None:
        """Let pages that are opened from now on send the headers, if the browser is a Chromium. Idempotent.

        A browser that doesn't answer in time, or whose connection for this was closed, is asked again by the next call.
        """
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            await asyncio.wait_for(self._enable(), _PATIENCE)
        except Error as e:
            self._warn(e)
        except asyncio.TimeoutError as e:
            self._starting = None
            self._warn(e)

    @staticmethod
    def _warn(error: Exception) -> None:
        logger.warning(
            "This browser doesn't send the headers that sessions have bound to an origin, as only Chromium can: %s",
            type(error).__name__,
        )

    async def _enable(self) -> None:
        devtools = await self._browser.new_browser_cdp_session()
        devtools.on("close", self._closed)
        devtools.on("Fetch.requestPaused", lambda event: self._paused(devtools, event))
        await devtools.send("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})
        # A new one each time: what was marked before, and left unseen, names no context any more.
        self._mark = f"x-{secrets.token_hex(8)}"
        self._tokens.clear()
        self._owners.clear()
        self._skip_open_pages()
        self._devtools = devtools

    def _closed(self, devtools: CDPSession) -> None:
        if devtools is self._devtools:  # nothing would take the marks away
            self._devtools = self._starting = None
            self._skip_open_pages()

    def _skip_open_pages(self) -> None:
        # The document that one of them shows may load more without passing here.
        self._older.update(page for context in self._browser.contexts for page in context.pages)

    def mark_of(self, owner: Owner, request: Request) -> dict[str, str]:
        """Return the mark for *request* of the context of *owner*; empty if it has no headers to get."""
        if self._devtools is None or not owner.headers.bound or request.service_worker is not None:
            return {}
        with suppress(Error):  # a page that is being opened by another one isn't there yet
            if request.frame.page in self._older:
                return {}
        limit = _limit_of(owner, request)
        if limit is None:
            return {}
        token = self._tokens.get(owner)
        if token is None:
            token = self._tokens[owner] = secrets.token_hex(8)
            self._owners[token] = owner
        return {self._mark: f"{token} {limit} {origin_of_page(request.url)}"}

    def marking(self, owner: Owner, handle: Callable[[Any, Request], Awaitable[None]]) -> Callable[..., Any]:
        """Return *handle*, a handler of a route, with a mark for what it sends on."""

        async def handle_and_mark(route: Route, request: Request) -> None:
            mark = self.mark_of(owner, request)
            await handle(_MarkedRoute(route, mark) if mark else route, request)

        return handle_and_mark

    def _paused(self, devtools: CDPSession, event: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._go_on(devtools, event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_on(self, devtools: CDPSession, event: dict[str, Any]) -> None:
        command, arguments = "Fetch.continueRequest", {"requestId": event["requestId"]}
        bound: frozenset[str] = frozenset()
        try:
            changes, bound = self._changes(event)
            arguments.update(changes)
        except Exception as e:  # noqa: BLE001  # its message may contain a header
            logger.error("A request of the browser is not sent: its headers can't be read (%s)", type(e).__name__)
            command, arguments["errorReason"] = "Fetch.failRequest", "Failed"
        try:
            await devtools.send(command, arguments)
        except Error:  # the request or the browser is gone, or Chromium refuses a header
            with suppress(Error):
                await devtools.send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": "Failed"})
                if bound not in self._refused:
                    self._refused.add(bound)
                    logger.warning(
                        "The browser refuses requests with the headers that the session has bound to %s: %s",
                        origin_of_page(event["request"]["url"]),
                        ", ".join(sorted(bound)),
                    )

    def _changes(self, event: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
        """Return the arguments with which the request of *event* is sent on, and the names of bound headers in it.

        There are no arguments if nothing is to be changed.
        """
        headers: dict[str, str] = dict(event["request"]["headers"])
        names = {name.lower(): name for name in headers}
        if self._mark not in names:
            return {}, frozenset()
        token, limit, first = headers.pop(names.pop(self._mark)).split(" ", 2)
        target = origin_of_page(event["request"]["url"])
        strayed = self._has_strayed(event, target != first)
        if strayed and "authorization" in names:  # as Chromium does with what a script has set
            del headers[names.pop("authorization")]
        if strayed and target == first and "origin" in names:
            headers[names["origin"]] = "null"
        if strayed and "referer" in names:
            headers[names["referer"]] = f"{origin_of_page(headers[names['referer']])}/"
        owner = self._owners.get(token)
        bound: Mapping[str, str] = {}
        # A redirect by another origin is that one's request: it may only read.
        reads = limit.startswith(_NAVIGATION) and event["request"]["method"] in _READS
        if owner is not None and owner.is_current and (reads or not strayed):
            if limit.removeprefix(_NAVIGATION) in (_ANY, target):
                bound = owner.headers.bound_to(target)
            profile = {name.lower(): value for name, value in owner.headers.sent_to("")}
            for name, value in bound.items():
                present = names.get(name.lower())
                # As without the browser, what the request itself has comes first: a script may have a newer token.
                if present is None or headers[present] == profile.get(name.lower()):
                    headers[present or name] = value
        sent = [{"name": name, "value": value} for name, value in headers.items() if name.lower() != "cookie"]
        return {"headers": sent}, frozenset(bound)

    def _has_strayed(self, event: dict[str, Any], away: bool) -> bool:
        """Return whether the request of *event*, or one that was redirected to it, is *away* from its first origin."""
        # Redirects of CORS requests have the first's `networkId` only, others are chained as well.
        ids = {event["requestId"], event.get("networkId"), event.get("redirectedRequestId")} - {None}
        strayed = away or not ids.isdisjoint(self._strayed)
        if strayed:
            self._strayed.update(dict.fromkeys(ids))
            while len(self._strayed) > _MAX_STRAYED:
                del self._strayed[next(iter(self._strayed))]
        return strayed


def _limit_of(owner: Owner, request: Request) -> str | None:
    """Return the origin that *request* may take headers to, or any; ``None`` if there is none. See the class."""
    target = origin_of_page(request.url)
    if not target.startswith(("http://", "https://")):
        return None
    sent = request.headers  # before a route changes them
    sent = {name: sent[name] for name in ("referer", "origin") if name in sent}
    if any(name.lower() in sent for name, _ in owner.headers.sent_to("")):
        sent = {}  # it may be the profile's
    asked_by = {origin_of_page(value) for value in sent.values()}
    if not request.is_navigation_request():
        return target if asked_by == {target} and "referer" in sent else None
    if request.method not in _READS:
        return target if asked_by == {target} else None
    try:
        parent = request.frame.parent_frame
    except Error:  # a page that is being opened
        return target if asked_by == {target} else None
    if parent is None:
        return f"{_NAVIGATION}{_ANY}"
    around = set()
    while parent is not None:
        around.add(origin_of_page(parent.url))
        parent = parent.parent_frame
    return f"{_NAVIGATION}{around.pop()}" if len(around) == 1 else None


class _MarkedRoute:
    """*route*, whose request goes on with the headers *mark*."""

    def __init__(self, route: Route, mark: dict[str, str]) -> None:
        self._route = route
        self._added = mark

    def __getattr__(self, name: str) -> Any:
        return getattr(self._route, name)

    async def continue_(self, *, headers: dict[str, str] | None = None, **overrides: Any) -> None:
        await self._route.continue_(headers=await self._with_mark(headers), **overrides)

    async def fallback(self, *, headers: dict[str, str] | None = None, **overrides: Any) -> None:
        await self._route.fallback(headers=await self._with_mark(headers), **overrides)

    async def _with_mark(self, headers: dict[str, str] | None) -> dict[str, str]:
        return {**(await self._route.request.all_headers() if headers is None else headers), **self._added}


def _forget(browser: Browser) -> None:
    _known.pop(browser, None)


_known: dict[Browser, SecretHeaders] = {}  # until the browser is closed
