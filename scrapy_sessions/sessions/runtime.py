"""The live session: its record, what only this process knows of it, and every change of its status.

A spider sees it through :class:`~scrapy_sessions.BrowserSession`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

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
    from contextlib import AbstractAsyncContextManager
    from weakref import ref

    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.sessions.parts import Parts
    from scrapy_sessions.storage.base import Row

__all__ = ["Fetch", "SessionOwner", "SessionRuntime", "Transition", "backlog", "is_full", "must_go_alone"]

Fetch: TypeAlias = "Callable[[Request], Awaitable[Any]]"
"""Downloads a request in a session."""

Transition: TypeAlias = Literal["ready", "login_lost", "retired"]
"""A change of a session's status."""

_SETTLED = (
    *("namespace", "pool", "profile_name", "user_agent", "language", "timezone", "viewport_width", "viewport_height"),
    *("proxy", "start_time", "idle_timeout", "max_age", "max_uses"),
)  # set when the session is created, besides headers and storages
_settled_values = attrgetter(*_SETTLED)
_EMPTY: Mapping[Any, Any] = MappingProxyType({})
_NO_EXTRA: tuple[dict[str, Any], dict[str, Any]] = ({}, {})


class SessionOwner(Protocol):
    """What a live session asks of the manager that keeps it."""

    def changed(self, session: SessionRuntime) -> None:
        """*session* differs from what was saved."""

    def watch(self, session: SessionRuntime) -> None:
        """The spider holds the mutable data of *session*: call ``data_changed()`` before each save."""

    def refused(self, session: SessionRuntime, reason: str) -> None:
        """The jar of *session* refused a cookie; *reason* is a key of ``cookies.REFUSAL_REASONS``."""

    def status_changed(self, session: SessionRuntime, transition: Transition, reason: str) -> None:
        """The status of *session* changed. Called once per transition."""

    async def fetch(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* in *session*."""

    def alone(self, session: SessionRuntime) -> AbstractAsyncContextManager[Fetch]:
        """Return a context in which only its own requests are sent in *session*."""


class SessionRuntime:
    """A session in memory: the fields of its record, its live cookie jar, and the state of this process.

    Its status is changed by :meth:`mark_ready`, :meth:`lose_login` and :meth:`retire` only.

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId`.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_extra",
        "_owner",
        "_settled",
        "alone",
        "bound_headers",
        "bytes",
        "closed",
        "concurrency",
        "counted",
        "delay",
        "dirty",
        "failed_urls",
        "failures",
        "first_request_alone",
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
        "logins_without_success",
        "max_age",
        "max_uses",
        "merge_base",
        "namespace",
        "not_before",
        "ok_count",
        "pages_visited",
        "pool",
        "profile_name",
        "proxy",
        "queue",
        "requests",
        "reserved_uses",
        "responses",
        "retired_reason",
        "revision",
        "spacing",
        "start_time",
        "status",
        "timezone",
        "transient",
        "user_agent",
        "view",
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
        self.view: ref[Any] | None = None  # the BrowserSession that a spider holds
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
        self._data: WatchedData | None = None  # None: empty, and nobody has asked for it
        self._settled: tuple[tuple[Any, ...], bytes] | None = None  # see settled()
        self.status: Status = "new"  # changed by the three transitions only
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
        # would cost the garbage collector half a second at once.
        self.merge_base: Row | Parts | None = None
        self.dirty = False
        self.closed = False  # deleted, expired or replaced: it is never saved again
        self.transient = transient  # lives for this crawl only
        self.in_flight = 0
        self.alone: str | None = None  # the token of the alone() block that is open
        # Caches of in_flight.py: the headers of its requests, for all origins, or by scheme and host.
        self.identity: Any = None
        self.identities: Mapping[tuple[str, str], Any] = _EMPTY
        self.counted = ZERO  # what analytics have counted
        self.reserved_uses = 0  # requests sent, and those about to be
        self.ok_count = 0  # responses with the verdict OK
        self.failed_urls: set[str] | None = None  # URLs that have failed since the last good response
        self.logins_without_success = 0  # logins since the last good response
        self.login_error: str | None = None  # why its login was given up: not tried again in this process
        self.delay = delay  # seconds between two requests; None: as the settings say
        self.concurrency = concurrency
        self.first_request_alone = False
        self.not_before = 0.0  # when its next request may go (time.monotonic())
        self.spacing = 0.0  # seconds between its latest request and the next one
        self.queue: deque[asyncio.Future[None]] | None = None  # requests that wait for their turn

    def __repr__(self) -> str:
        return f"<SessionRuntime {self.id!r} of {self.namespace!r}: {self.status}, {len(self.jar)} cookies>"

    # Transitions

    def mark_ready(self) -> None:
        """A new session has logged in, or had its first good response."""
        if self.status == "new":
            self._change_status("ready", "ready")

    def lose_login(self, reason: str) -> None:
        """The site does not know a ready session any more: it is new again."""
        if self.status == "ready":
            self._change_status("new", "login_lost", reason)

    def retire(self, reason: str) -> None:
        """Take the session out of use for good. Its record stays, with *reason*; that of the first call counts."""
        if self.status == "retired":
            return
        self.retired_reason = storable(reason)
        self._change_status("retired", "retired", self.retired_reason)
        self.wake_first()

    def _change_status(self, status: Status, transition: Transition, reason: str = "") -> None:
        self.status = status
        self.changed()
        if self._owner is not None:
            self._owner.status_changed(self, transition, reason)

    def new_generation(self) -> None:
        """Begin a new generation: responses to requests that left before change nothing in the session any more."""
        self.generation += 1
        self.changed()

    # Data

    def watched_data(self) -> WatchedData:
        """Return the data and storages. They are compared before each save from now on: changes in place are unseen."""
        if self._data is None:
            self._data = WatchedData()
        self._data.watch()
        if self._owner is not None:
            self._owner.watch(self)
        return self._data

    def data_changed(self) -> bool:
        """Whether ``data`` or a storage was changed in place since the last call."""
        if self._data is None or not self._data.changed():
            return False
        self._settled = None
        return True

    def record(self, text: str) -> None:
        """Add *text* to the history."""
        self.history.add(storable(text))
        self.changed()

    # The owner

    def changed(self) -> None:
        """Note that the session differs from what was saved."""
        if not self.dirty:
            self.dirty = True
            if self._owner is not None and not self.closed and not self.transient:
                self._owner.changed(self)

    @property
    def owner(self) -> SessionOwner | None:
        """The manager that keeps the session."""
        return self._owner

    def adopt(self, owner: SessionOwner) -> None:
        """Let *owner* keep the session from now on."""
        self._owner = owner
        if self._data is not None and self._data.watched:
            owner.watch(self)

    def refused(self, reason: str) -> None:
        """Report that the jar refused a cookie; *reason* is a key of ``cookies.REFUSAL_REASONS``."""
        if self._owner is not None:
            self._owner.refused(self, reason)

    # Limits and turns

    def wake_first(self) -> None:
        """Let the first request that waits for its turn look whether it has come."""
        if self.queue and not self.queue[0].done():
            self.queue[0].set_result(None)

    def expired(self, now: float) -> ExpiryReason | None:
        """Return the limit by which the session has expired at *now* (UNIX seconds), ``None`` if it hasn't."""
        if self.idle_timeout and now >= self.last_activity + self.idle_timeout and not self._is_waited_for():
            return "idle_timeout"
        if self.max_age and now >= self.start_time + self.max_age:
            return "max_age"
        if self.max_uses and self.reserved_uses >= self.max_uses:
            return "max_uses"
        return None

    def _is_waited_for(self) -> bool:
        """Whether it only seems idle: a request is in flight or waits, or the site has asked for a pause."""
        return bool(self.in_flight or self.queue) or self.not_before > time.monotonic()

    # The record

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
        """Return the fields that hardly ever change, as *encode* writes them.

        The object is the same until one of these fields changes. Call :meth:`data_changed` first.
        """
        values = _settled_values(self)
        if self._settled is None or self._settled[0] != values:
            self._settled = values, encode(PersistentSession.model_construct(**self._settled_fields()))
        return self._settled[1]

    def _settled_fields(self) -> dict[str, Any]:
        data, local_storage, session_storage = (self._data or WatchedData()).current
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
        """Take *record* in place of what the session holds. That is no transition: it is counted where it happened."""
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
        if self._data is None and any(stored):
            self._data = WatchedData()
        if self._data is not None:
            self._data.restore(*stored)
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
        """Drop what is cached of the identity: it has changed."""
        self.identity = None
        self.identities = _EMPTY
        self._settled = None


def backlog(session: SessionRuntime, now: float) -> tuple[float, int]:
    """Return how long a request of *session* would wait at *now* (``time.monotonic()``), to be compared: seconds of
    delays, then the number of requests before it, whose ends are unknown."""
    waiting = len(session.queue or ())
    return max(session.not_before - now, 0.0) + waiting * session.spacing, waiting + (waiting > 0 or is_full(session))


def must_go_alone(session: SessionRuntime) -> bool:
    """Whether *session* is anonymous, in a pool of several, and has had no response yet.

    Parallel requests before the site has set its first cookie would open several visits at the site.
    """
    return session.first_request_alone and not session.responses


def is_full(session: SessionRuntime) -> bool:
    """Whether *session* has as many requests in flight as it may have, or an ``alone()`` block is open."""
    if session.alone is not None:
        return True
    if session.in_flight and must_go_alone(session):
        return True
    return bool(session.concurrency) and session.in_flight >= session.concurrency
