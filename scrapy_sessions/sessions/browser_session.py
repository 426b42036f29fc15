"""The live session: what a spider touches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.models import (
    EVERYWHERE,
    SCHEMA_VERSION,
    ExpiryReason,
    Metrics,
    PersistentSession,
    Profile,
    Status,
    check_session_id,
)
from scrapy_sessions.sessions.counters import ZERO, CounterSnapshot
from scrapy_sessions.sessions.history import History, storable
from scrapy_sessions.sessions.json_data import WatchedData, copy_json
from scrapy_sessions.sessions.tracked import TrackedHeaders, TrackedJar

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.cookies import SessionCookieJar
    from scrapy_sessions.sessions.headers import SessionHeaders
    from scrapy_sessions.sessions.parts import Parts
    from scrapy_sessions.storage.base import Row

__all__ = ["BrowserSession", "SessionOwner"]

_SETTLED = (
    *("namespace", "pool", "profile_name", "user_agent", "language", "timezone", "viewport_width", "viewport_height"),
    *("proxy", "start_time", "idle_timeout", "max_age", "max_uses"),
)  # what is given at birth, beside headers and storages
_settled_values = attrgetter(*_SETTLED)
_EMPTY: Mapping[Any, Any] = MappingProxyType({})
_NO_EXTRA: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


class SessionOwner(Protocol):
    """What a live session asks of whoever keeps it."""

    def changed(self, session: BrowserSession) -> None:
        """*session* differs from what was saved."""

    def watch(self, session: BrowserSession) -> None:
        """Somebody holds the mutable data of *session*: ask ``trees_changed()`` before taking it for saved."""

    def refused(self, session: BrowserSession, reason: str) -> None:
        """The jar of *session* refused a cookie; *reason* is a key of ``cookies.REFUSAL_REASONS``."""

    async def fetch(self, session: BrowserSession, request: Request) -> Response:
        """Download *request* in *session*."""


class BrowserSession:
    """A session in use: its record, and a live cookie jar.

    Made by the manager; ``BrowserSession("alice")`` makes one that nobody keeps yet, for
    :meth:`~scrapy_sessions.SessionManager.restore_session` and :meth:`~scrapy_sessions.SessionManager.save_session`.

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId`.
    """

    __slots__ = (
        "__weakref__",
        "_extra",
        "_owner",
        "_settled",
        "_trees",
        "first_request_alone",
        "merge_base",
        "bound_headers",
        "bytes",
        "closed",
        "concurrency",
        "counted",
        "delay",
        "dirty",
        "failures",
        "logins_without_success",
        "spacing",
        "generation",
        "history",
        "id",
        "identities",
        "identity",
        "idle_timeout",
        "in_flight",
        "jar",
        "language",
        "last_activity",
        "last_url",
        "latency",
        "login_error",
        "logins",
        "max_age",
        "max_uses",
        "namespace",
        "not_before",
        "pages_visited",
        "pool",
        "profile_name",
        "proxy",
        "queue",
        "requests",
        "responses",
        "retired_reason",
        "revision",
        "start_time",
        "status",
        "ok_count",
        "failed_urls",
        "timezone",
        "transient",
        "user_agent",
        "reserved_uses",
        "viewport_height",
        "viewport_width",
    )

    def __init__(
        self,
        session_id: str,
        *,
        namespace: str = "default",
        pool: str | None = None,
        profile_name: str | None = None,
        profile: Profile | None = None,
        idle_timeout: float = 1800.0,
        max_age: float = 0.0,
        max_uses: int = 0,
        delay: float | None = None,
        concurrency: int = 0,
        history_limit: int = 100,
        transient: bool = False,
        owner: SessionOwner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        identity = profile or Profile()
        now = clock()
        self._owner = owner
        self.id = check_session_id(session_id)
        self.namespace = namespace
        self.pool = pool
        self.profile_name = profile_name
        self.user_agent = identity.user_agent
        self.language = identity.language
        self.timezone = identity.timezone
        self.viewport_width = identity.viewport_width
        self.viewport_height = identity.viewport_height
        self.proxy = identity.proxy
        self.bound_headers = TrackedHeaders(self, {EVERYWHERE: identity.headers} if identity.headers else None)
        self.jar = TrackedJar(self, clock)
        self.start_time = now
        self.last_activity = now
        self.last_url: str | None = None
        self.pages_visited = 0
        self.history = History(limit=history_limit)
        self._trees: WatchedData | None = None  # None: they are empty, and nobody has asked for them
        self._settled: tuple[tuple[Any, ...], bytes] | None = None  # see settled()
        self.status: Status = "new"
        self.retired_reason: str | None = None
        self.idle_timeout = idle_timeout
        self.max_age = max_age
        self.max_uses = max_uses
        self.generation = 0
        self.revision = 0
        self.requests = 0
        self.responses: dict[int, int] = {}
        self.logins = 0
        self.failures = 0
        self.bytes = 0
        self.latency = 0.0
        self._extra: tuple[dict[str, Any], dict[str, Any]] = _NO_EXTRA  # unknown fields of the record, of its metrics
        # What only this process knows.
        # The record as last loaded or saved, encoded: the base of a merge. As objects, the bases of 10,000 sessions
        # would be half a million more for the garbage collector to walk, half a second at once.
        self.merge_base: Row | Parts | None = None
        self.dirty = False
        self.closed = False  # deleted, expired or replaced: nothing of it is saved any more
        self.transient = transient  # lives for this crawl only
        self.in_flight = 0
        # Caches of visits.py: what is laid under a request, wherever it goes, or by scheme and host.
        self.identity: Any = None
        self.identities: Mapping[tuple[str, str], Any] = _EMPTY
        self.counted = ZERO  # what analytics know of
        self.reserved_uses = 0  # requests sent, and those on their way to be
        self.ok_count = 0  # responses that drew the verdict OK
        self.failed_urls: set[str] | None = None  # URLs that have failed since the last success
        self.logins_without_success = 0  # logins since the last success
        self.login_error: str | None = None  # why it is given up: not tried again in this process
        self.delay = delay  # seconds between two requests; None: as the settings say
        self.concurrency = concurrency
        self.first_request_alone = False  # its first request goes alone
        self.not_before = 0.0  # when its next request may go (time.monotonic())
        self.spacing = 0.0  # seconds that its latest request had to be ahead of the next one
        self.queue: deque[asyncio.Future[None]] | None = None  # requests that wait for their turn

    # What a spider uses

    @property
    def cookies(self) -> SessionCookieJar:
        """The cookie jar."""
        # Whoever holds the jar holds the session. We ourselves take `jar`: in a cycle, sessions that have left memory
        # would stay there until the garbage collector comes.
        self.jar.keeps_alive = self
        return self.jar

    @property
    def headers(self) -> SessionHeaders:
        """The secret headers."""
        self.bound_headers.keeps_alive = self
        return self.bound_headers

    @property
    def data(self) -> dict[str, Any]:
        """The spider's own JSON data, saved with the session. Change it as you like, in place too."""
        return self._watched_trees().current[0]

    @property
    def local_storage(self) -> dict[str, dict[str, str]]:
        """The browser's ``localStorage`` by origin."""
        return self._watched_trees().current[1]

    @property
    def session_storage(self) -> dict[str, dict[str, str]]:
        """The browser's ``sessionStorage`` by origin."""
        return self._watched_trees().current[2]

    @property
    def actions(self) -> list[str]:
        """What it did, oldest first: ``"GET https://shop.example/p/1 200"``, and what :meth:`record` added."""
        return self.history.texts()

    def record(self, text: str) -> None:
        """Add *text* to the session's history."""
        self.history.add(storable(text))
        self.changed()

    def retire(self, reason: str) -> None:
        """Take the session out of use for good: no further request goes out in it. Its record stays, with *reason*."""
        self.status = "retired"
        self.retired_reason = storable(reason)
        self.changed()
        self.wake_first()

    def refresh(self) -> None:
        """Begin a new generation, after a login for example.

        Responses to requests that left before change nothing in it any more, neither its cookies nor its counters.
        """
        self.generation += 1
        self.changed()

    async def fetch(self, request: Request) -> Response:
        """Download *request* in this session, through the downloader middlewares, and return the response.

        The way for errbacks and pipelines, whose output passes no spider middleware. Redirects are followed; raises
        what the download raises.
        """
        if self._owner is None:
            raise SessionError(f"The session {self.id!r} belongs to no crawl: fetch() needs a running spider")
        return await self._owner.fetch(self, request)

    def __repr__(self) -> str:
        return f"<BrowserSession {self.id!r} of {self.namespace!r}: {self.status}, {len(self.jar)} cookies>"

    # What the manager and the middlewares use

    def changed(self) -> None:
        """Note that the session differs from what was saved."""
        if not self.dirty:
            self.dirty = True
            if self._owner is not None and not self.closed and not self.transient:
                self._owner.changed(self)

    def adopt(self, owner: SessionOwner) -> None:
        """Let *owner* keep the session from now on."""
        self._owner = owner
        if self._trees is not None and self._trees.watched:
            owner.watch(self)

    def trees_changed(self) -> bool:
        """Whether ``data`` or a storage was changed in place since the last look."""
        if self._trees is None or not self._trees.changed():
            return False
        self._settled = None
        return True

    def wake_first(self) -> None:
        """Let the first of the requests that wait for their turn look whether it has come."""
        if self.queue and not self.queue[0].done():
            self.queue[0].set_result(None)

    def expired(self, now: float) -> ExpiryReason | None:
        """By which limit of its policy it has expired at *now* (UNIX seconds); ``None``: it hasn't."""
        if self.idle_timeout and now >= self.last_activity + self.idle_timeout and not self._is_waited_for():
            return "idle_timeout"
        if self.max_age and now >= self.start_time + self.max_age:
            return "max_age"
        if self.max_uses and self.reserved_uses >= self.max_uses:
            return "max_uses"
        return None

    def _is_waited_for(self) -> bool:
        """Whether it only seems idle: a request is on its way or waits, or the site has asked to be left alone."""
        return bool(self.in_flight or self.queue) or self.not_before > time.monotonic()

    def snapshot(self) -> PersistentSession:
        """Return the record of the session as it is now; it shares no mutable part with the session."""
        metrics = self.metrics()
        metrics["responses"] = {str(status): count for status, count in self.responses.items()}
        fields = self._settled_fields()
        fields.update({name: copy_json(fields[name]) for name in ("local_storage", "session_storage", "data")})
        return PersistentSession.model_construct(
            **fields,
            last_activity=self.last_activity,
            pages_visited=self.pages_visited,
            actions_performed=self.history.texts(),
            last_url=self.last_url,
            cookies=self.jar.dump(),
            status=self.status,
            retired_reason=self.retired_reason,
            generation=self.generation,
            revision=self.revision,
            metrics=Metrics.model_construct(**self.unknown_metrics, **metrics),
        )

    @property
    def unknown_metrics(self) -> dict[str, Any]:
        """The fields of the record's metrics that a newer version put there."""
        return self._extra[1]

    def metrics(self) -> dict[str, Any]:
        """Return the fields of the record's metrics; the counts of responses are by number."""
        return {
            "requests": self.requests,
            "responses": self.responses,
            "logins": self.logins,
            "failures": self.failures,
            "bytes": self.bytes,
            "latency": self.latency,
        }

    def settled(self, encode: Callable[[PersistentSession], bytes]) -> bytes:
        """Return what hardly ever changes of the record, as *encode* makes it of one that has nothing else.

        The object is the same until one of these fields is another. Asked after :meth:`trees_changed`.
        """
        values = _settled_values(self)
        if self._settled is None or self._settled[0] != values:
            self._settled = values, encode(PersistentSession.model_construct(**self._settled_fields()))
        return self._settled[1]

    def _settled_fields(self) -> dict[str, Any]:
        data, local_storage, session_storage = (self._trees or WatchedData()).current
        return {
            **self._extra[0],
            **dict(zip(_SETTLED, _settled_values(self), strict=True)),
            "session_id": self.id,
            "headers": self.bound_headers.dump(),
            "local_storage": local_storage,
            "session_storage": session_storage,
            "data": data,
            "schema_version": SCHEMA_VERSION,
        }

    def restore(self, record: PersistentSession) -> None:
        """Take *record* in place of what the session holds."""
        metrics = record.metrics
        before = CounterSnapshot.of(self)
        self.namespace = record.namespace
        self.pool = record.pool
        self.profile_name = record.profile_name
        self.user_agent = record.user_agent
        self.language = record.language
        self.timezone = record.timezone
        self.viewport_width = record.viewport_width
        self.viewport_height = record.viewport_height
        self.bound_headers.restore(record.headers)
        self.forget_identity()
        self.proxy = record.proxy
        self.start_time = record.start_time
        self.last_activity = record.last_activity
        self.pages_visited = record.pages_visited
        self.history.restore(record.actions_performed)
        self.last_url = record.last_url
        self.jar.restore(record.cookies)
        stored = (record.data, record.local_storage, record.session_storage)
        if self._trees is None and any(stored):
            self._trees = WatchedData()
        if self._trees is not None:
            self._trees.restore(*stored)
        self.status = record.status
        self.retired_reason = record.retired_reason
        self.idle_timeout = record.idle_timeout
        self.max_age = record.max_age
        self.max_uses = record.max_uses
        self.generation = record.generation
        self.revision = record.revision
        self.reserved_uses += metrics.requests - self.requests
        self.requests = metrics.requests
        self.responses = {int(status): count for status, count in metrics.responses.items()}
        self.logins = metrics.logins
        self.failures = metrics.failures
        self.bytes = metrics.bytes
        self.latency = metrics.latency
        self.counted = self.counted.rebased(before, CounterSnapshot.of(self))
        if record.model_extra or metrics.model_extra:
            self._extra = (record.model_extra or {}, metrics.model_extra or {})
        else:
            self._extra = _NO_EXTRA

    def forget_identity(self) -> None:
        """Work out anew what is laid under requests and saved of the identity: it has changed."""
        self.identity = None
        self.identities = _EMPTY
        self._settled = None

    def refused(self, reason: str) -> None:
        """Note that the jar refused a cookie; *reason* is a key of ``cookies.REFUSAL_REASONS``."""
        if self._owner is not None:
            self._owner.refused(self, reason)

    def _watched_trees(self) -> WatchedData:
        if self._trees is None:
            self._trees = WatchedData()
        # Whoever reads them may change them in place, at any later time: the manager compares before it saves.
        self._trees.watch()
        if self._owner is not None:
            self._owner.watch(self)
        return self._trees
