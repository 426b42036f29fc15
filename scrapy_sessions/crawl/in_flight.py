"""A request in flight in a session: applies the session's identity to it, and removes it again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary, ref

from scrapy import Request
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.config import SessionConfig
from scrapy_sessions.crawl.identity import (
    APPLIED,
    CONTEXT,
    PROXY,
    Identity,
    apply_proxy,
    digest,
    identity_of,
    remove_proxy,
    unbound_identity_of,
    without_credentials,
)
from scrapy_sessions.crawl.scrapy_internals import (
    delete_header,
    header_values,
    pop_header,
    set_header,
)
from scrapy_sessions.sessions.runtime import SessionRuntime

SLOT = "_session_slot"
"""The meta key of a request that occupies one of a bounded number of places, only while it is in flight. A copy with
the key, such as a retry, ends the request that it replaces."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_pages: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""The session of each page of scrapy-playwright that was in the meta of a response."""


class InFlight:
    """One request in one session, from its selection to its response, failure, or replacement by another request.

    Its end is counted once, at the latest when the request is freed: no response method runs if a middleware returns
    another request.

    ``was_sent``: the request was sent to the site. ``by_proxy``: by the session's proxy. ``shares_cookies``: in a
    browser context whose cookies are those of the session.
    """

    __slots__ = (
        "__weakref__",
        "_applied",
        "_changes",
        "_context",
        "_cookie",
        "_cookiejar",
        "_ended",
        "_meta",
        "_proxy",
        "anchor",
        "budget",
        "by_proxy",
        "config",
        "deferrable",
        "generation",
        "session",
        "shares_cookies",
        "was_sent",
    )

    def __init__(self, session: SessionRuntime, config: SessionConfig, anchor: _Anchor | None = None) -> None:
        self.session = session
        self.config = config
        self.deferrable = False  # whether it may return to the scheduler
        self.anchor = anchor
        self.generation = session.generation
        self.was_sent = False
        self.by_proxy = False
        self.shares_cookies = False
        self._ended = False
        self._applied: tuple[tuple[bytes, bytes], ...] = ()
        # The headers that the user's code has set, and the request's own that each replaced; None: there was none.
        self._changes: Sequence[tuple[bytes, list[bytes], list[bytes] | None]] = ()
        self._meta: list[str] | None = None
        self._proxy: str | None = None
        self._cookie: list[bytes] | None = None
        self._cookiejar: dict[str, Any] | None = None
        self._context: str | None = None
        session.in_flight += 1
        session.reserved_uses += 1
        self.budget = session.budget  # a session may get one meanwhile, from another process
        if self.budget is not None:
            self.budget.reserve()

    def apply_identity(self, request: Request) -> None:
        """Apply the session's identity to *request*. What the request itself sets has precedence."""
        session, meta = self.session, request.meta
        in_browser = meta.get("playwright", session.meta.get("playwright") if session.meta else None)
        identity: Identity = (
            unbound_identity_of(session) if in_browser else session.identity or identity_of(session, request)
        )
        if identity.meta:
            self._meta = identity.apply_meta(meta)
        self._applied = applied = identity.apply_headers(request.headers)
        note = identity.note
        if applied is not identity.headers or len(self._meta or ()) != len(identity.meta):
            note = identity.note_of((key for key, _ in applied), self._meta or ())
        proxy = session.proxy
        if proxy is not None:
            if session.rotation is not None:
                proxy = session.current_proxy() or proxy
            note = self._apply_proxy(proxy, meta, note)
        if in_browser:
            page = meta.get("playwright_page")
            if page is not None and _pages.get(page, session.id) != session.id:  # of another session's browser context
                del meta["playwright_page"]
            if CONTEXT not in meta:
                meta[CONTEXT] = self._context = session.id
                note = {**note, CONTEXT: digest(session.id.encode())}
        if note:
            meta[APPLIED] = note

    def _apply_proxy(self, proxy: str, meta: dict[str, Any], note: dict[str, str]) -> dict[str, str]:
        """Set *proxy*, unless the request has one of its own, and return *note* with it."""
        if not apply_proxy(meta, proxy):
            return note
        self.by_proxy = True
        self._proxy = without_credentials(proxy)
        return {**note, PROXY: digest(self._proxy.encode())}

    def apply_cookies(self, request: Request) -> None:
        """Rebuild the ``Cookie`` header of *request* from the session's jar; a browser sends its own."""
        in_browser = request.meta.get("playwright")
        value = None if in_browser else self.session.jar.header(urlparse_cached(request))
        if value is None:
            pop_header(request.headers, b"Cookie", None)
        else:
            self._cookie = [value]
            set_header(request.headers, b"Cookie", self._cookie)

    def name_cookiejar(self, request: Request) -> None:
        """Set the meta key ``cookiejar`` of *request* to the session's id, until the identity is removed."""
        self._cookiejar = {key: request.meta[key] for key in ("cookiejar",) if key in request.meta}
        request.meta["cookiejar"] = self.session.id

    def remove_identity(self, request: Request) -> None:
        """Remove from *request* what was applied to it, and nothing else."""
        headers = request.headers
        for key, value in self._applied:
            # By value: scrapy-playwright replaces the lists of all headers by those that the browser sent.
            if header_values(headers, key) == [value]:
                delete_header(headers, key)
        self._applied = ()
        for key, values, replaced in self._changes:
            if header_values(headers, key) == values:
                delete_header(headers, key)
            if replaced is not None:
                headers.setdefault(key, replaced)
        self._changes = ()
        if self._cookie is not None:
            if header_values(headers, b"Cookie") == self._cookie:
                delete_header(headers, b"Cookie")
            self._cookie = None
        if self._proxy is not None:
            remove_proxy(request, self._proxy)
            self._proxy = None
        meta = request.meta
        if self._cookiejar is not None:
            meta.pop("cookiejar", None)
            meta.update(self._cookiejar)
            self._cookiejar = None
        if meta.get("playwright"):
            pop_header(headers, b"Cookie", None)  # set by scrapy-playwright
            if self._context is not None and meta.get(CONTEXT) == self._context:
                del meta[CONTEXT]
            page = meta.get("playwright_page")
            if page is not None:
                _pages[page] = self.session.id
        if self._meta is not None:
            for name in self._meta:  # also one that a middleware has changed: it was made of the session's
                meta.pop(name, None)
            self._meta = None
        meta.pop(APPLIED, None)
        meta.pop(SLOT, None)

    def mark_sent(self, now: float) -> None:
        """Record that the request is sent at *now* (UNIX seconds), in the session's current generation.

        During a login it keeps the generation before, because its response doesn't depend on the login.
        """
        session = self.session
        if self.budget is not None and not self.was_sent and self.budget.send(now):
            session.used_up()
        self.was_sent = True
        if session.status != "new":
            self.generation = session.generation
        session.requests += 1
        session.last_activity = now
        if not session.dirty:
            session.changed()

    @property
    def is_stale(self) -> bool:
        """Whether the session has begun a new generation at the site since the request was sent."""
        session = self.session
        return self.generation != session.generation and self.generation < session.generation_at(self.config.site)

    @contextmanager
    def track_changes(self, request: Request) -> Iterator[None]:
        """Treat headers set in the block as applied to *request*. Those that they replace are restored later."""
        before, proxy = dict(request.headers.items()), self.session.proxy
        by_session = {key for key, _ in self._applied}
        self._changes = changes = []
        try:
            yield
        finally:  # an errback may send the request again, in another session
            note = dict(request.meta.get(APPLIED, ()))
            for key, value in request.headers.items():
                if before.get(key) is not value:
                    own = before.get(key) if key not in by_session else None
                    changes.append((key, value, own))
                    if own is None and value:
                        note[key.decode()] = digest(value[-1])
            if self.session.proxy != proxy:
                note = self._replace_proxy(request, note)
            if note:
                request.meta[APPLIED] = note

    def _replace_proxy(self, request: Request, note: dict[str, str]) -> dict[str, str]:
        """Apply the session's current proxy in place of the one before."""
        if self._proxy is not None:
            remove_proxy(request, self._proxy)
            self._proxy, self.by_proxy = None, False
            note.pop(PROXY, None)
        proxy = self.session.proxy
        return note if proxy is None else self._apply_proxy(proxy, request.meta, note)

    def record_response(
        self, request: Request, response: Response, now: float, *, page: bool, question: bool = False
    ) -> None:
        """Record *response*, received at *now* (UNIX seconds), unless the session has begun a new generation since.

        :param page: whether it is passed on to the spider, and not retried
        :param question: whether it answers a question of ours, which is no action of the session
        """
        session = self.session
        if not self.was_sent or self.is_stale:
            return
        status = response.status
        session.last_activity = now
        session.responses[status] = session.responses.get(status, 0) + 1
        session.bytes += len(response.body)
        session.latency += request.meta.get("download_latency", 0.0)
        url = session.history.url(request.url)
        if (
            page and not question and status not in _REDIRECTS and status != 304
        ):  # a 304 is answered from the HTTP cache
            session.pages_visited += 1
            session.last_url = url
        if not question:
            session.history.add(f"{request.method} {url} {status}")
        if not session.dirty:
            session.changed()

    def record_failure(self) -> None:
        """Record that the download failed."""
        if self.was_sent and not self.is_stale:
            self.session.failures += 1
            self.session.changed()

    def end(self) -> None:
        """Record that the request is no longer in flight. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self.session.in_flight -= 1
        if not self.was_sent:
            self.session.reserved_uses -= 1
            if self.budget is not None:
                self.budget.release()
        self.session.wake_first()


class _Anchor(ref[Request]):
    """A weak reference to a request, with its ``id()``."""

    __slots__ = ("key",)

    key: int


class InFlightRequests:
    """The last :class:`InFlight` of each existing request.

    A :class:`~weakref.WeakKeyDictionary` would be ten times slower, and would compare requests.
    """

    __slots__ = ("_by_id", "_loop", "_thread")

    def __init__(self) -> None:
        self._by_id: dict[int, InFlight] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = get_ident()

    def begin(self, request: Request, session: SessionRuntime, config: SessionConfig) -> InFlight:
        """Record that *request* to the site of *config* is in flight in *session*."""
        if self._loop is None:
            self._thread = get_ident()
            with suppress(RuntimeError):  # no loop is running
                self._loop = asyncio.get_running_loop()
        anchor = _Anchor(request, self._finalized)
        key = anchor.key = id(request)
        replaced = self._by_id.get(key)
        if replaced is not None:
            replaced.end()
        inflight = self._by_id[key] = InFlight(session, config, anchor)
        return inflight

    def get(self, request: Request) -> InFlight | None:
        """Return the last :class:`InFlight` of *request*."""
        return self._by_id.get(id(request))

    def discard(self, request: Request) -> None:
        """End the :class:`InFlight` of *request*, if there is one."""
        inflight = self._by_id.pop(id(request), None)
        if inflight is not None:
            inflight.end()

    def _finalized(self, anchor: ref[Request]) -> None:
        """Called when a request is freed: in any thread, if the garbage collector does it."""
        if get_ident() == self._thread:
            self._forget(anchor)
        elif self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._forget, anchor)

    def _forget(self, anchor: ref[Request]) -> None:
        key = anchor.key  # type: ignore[attr-defined]
        inflight = self._by_id.get(key)
        # If this is called late, another request may have the id.
        if inflight is not None and inflight.anchor is anchor:
            del self._by_id[key]
            inflight.end()
