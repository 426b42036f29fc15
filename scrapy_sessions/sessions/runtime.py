"""The live session: its record, its state in this process, and every change of its status.

A spider sees it through :class:`~scrapy_sessions.BrowserSession`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from scrapy_sessions.models import (
    EVERYWHERE,
    ExpiryReason,
    PersistentSession,
    Profile,
    ProxyRotation,
    SiteLogin,
    Status,
    check_session_id,
)
from scrapy_sessions.sessions.counters import ZERO, CounterSnapshot
from scrapy_sessions.sessions.history import History
from scrapy_sessions.sessions.json_data import WatchedData
from scrapy_sessions.sessions.proxy_token import RotatingProxy, fits
from scrapy_sessions.sessions.record_fields import RECORD
from scrapy_sessions.sessions.request_budget import RequestBudget
from scrapy_sessions.sessions.tracked import TrackedHeaders, TrackedJar

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from weakref import ref

    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.sessions.parts import Parts
    from scrapy_sessions.storage.base import Row

Fetch: TypeAlias = "Callable[[Request], Awaitable[Any]]"
"""Downloads a request in a session."""

Transition: TypeAlias = Literal["ready", "login_lost", "retired"]
"""A change of a session's status."""

_EMPTY: Mapping[Any, Any] = MappingProxyType({})
_NO_FIELDS: dict[str, Any] = {}
_NOWHERE: dict[str, SiteLogin] = {}  # never changed
_NO_SITES: frozenset[str] = frozenset()

_IN_DOUBT = 1e6  # seconds: a session in doubt is picked after those that wait

ANY_SITE = "*"
"""In place of a site: a restored session that may be logged in anywhere."""


class SessionOwner(Protocol):
    """What a live session asks of the manager that keeps it."""

    def changed(self, session: SessionRuntime) -> None:
        """*session* differs from what was saved."""

    def watch(self, session: SessionRuntime) -> None:
        """The spider holds the mutable data of *session*: call ``data_changed()`` before each save."""

    def refused(self, session: SessionRuntime, reason: str) -> None:
        """The jar of *session* refused a cookie; *reason* is a key of ``cookies.REFUSAL_REASONS``."""

    def used_up(self, session: SessionRuntime) -> None:
        """*session* has sent the last request of its budget."""

    def left_out(self, session: SessionRuntime, host: str, names: Sequence[str]) -> None:
        """A ``Cookie`` header for *host* was built without the cookies *names*, because it would be too large."""

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
        "_base",
        "_data",
        "_ended",
        "_idle",
        "alone",
        "awaits_login",
        "blames",
        "bound_headers",
        "budget",
        "bytes",
        "closed",
        "concurrency",
        "counted",
        "delay",
        "dirty",
        "failures",
        "first_request_alone",
        "generation",
        "history",
        "id",
        "in_doubt",
        "identities",
        "identity",
        "idle_timeout",
        "in_flight",
        "jar",
        "language",
        "last_activity",
        "last_url",
        "latency",
        "login_errors",
        "logged_in",
        "logins",
        "keeps_limits",
        "max_age",
        "max_uses",
        "merge_base",
        "meta",
        "namespace",
        "not_before",
        "ok_count",
        "owner",
        "pages_visited",
        "pauses",
        "pool",
        "profile_name",
        "proxy",
        "queue",
        "requests",
        "reserved_uses",
        "responses",
        "retired_reason",
        "revision",
        "rotation",
        "settled",
        "spacing",
        "start_time",
        "status",
        "timezone",
        "transient",
        "unknown_fields",
        "unknown_metrics",
        "user_agent",
        "view",
        "viewport_height",
        "viewport_width",
        "window",
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
        budget: Mapping[str, int] = _EMPTY,
        delay: float | None = None,
        concurrency: int = 0,
        history_limit: int = 100,
        history_query: bool = False,
        transient: bool = False,
        owner: SessionOwner | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        identity = profile or Profile()
        now = clock()
        self.owner = owner  # the manager that keeps it
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
        self.rotation: RotatingProxy | None = None  # only with a proxy_lifetime
        self.meta: dict[str, Any] = identity.meta or _NO_FIELDS  # never changed
        self.bound_headers = TrackedHeaders(self, {EVERYWHERE: identity.headers} if identity.headers else None)
        self.jar = TrackedJar(self, clock)
        self.start_time = now
        self.last_activity = now
        self.last_url: str | None = None
        self.pages_visited = 0
        self.history = History(limit=history_limit, query=history_query)
        self._data: WatchedData | None = None  # None: empty, and nobody has asked for it
        self.settled: tuple[tuple[Any, ...], bytes] | None = None  # cache of RecordFields.encode_settled()
        self.status: Status = "new"  # changed by the three transitions only
        self.retired_reason: str | None = None
        self.keeps_limits = False  # whether those of a record are ignored
        self.logged_in: dict[str, SiteLogin] = _NOWHERE  # by site; replaced at each change
        self.idle_timeout = idle_timeout
        self.max_age = max_age
        self.max_uses = max_uses
        self.budget = RequestBudget(budget) if budget else None
        self.generation = 0
        self._base = 0  # older generations are outdated at every site
        self.revision = 0
        self.requests = 0
        self.responses: dict[int, int] = {}
        self.logins = 0
        self.failures = 0
        self.bytes = 0
        self.latency = 0.0
        self.unknown_fields = _NO_FIELDS  # fields of the record that a newer version added
        self.unknown_metrics = _NO_FIELDS  # likewise of its metrics
        # Its state in this process, which is not saved.
        # The record as last loaded or saved, encoded: the base of a merge. As objects, the bases of 10,000 sessions
        # would cost the garbage collector half a second at once.
        self.merge_base: Row | Parts | None = None
        self.dirty = False
        self.closed = False  # deleted, expired or replaced: it is never saved again
        self.transient = transient  # exists in this crawl only
        self.in_flight = 0
        self.alone: str | None = None  # the token of the alone() block that is open
        # Caches of in_flight.py: the headers of its requests, for all origins, or by scheme and host.
        self.identity: Any = None
        self.identities: Mapping[tuple[str, str], Any] = _EMPTY
        self.counted = ZERO  # what analytics have counted
        self.reserved_uses = 0  # requests sent, and those about to be
        self.ok_count = 0  # responses with the verdict OK
        self.blames: Mapping[str, Any] = _EMPTY  # by site: what is known of its refusals
        self.login_errors: Mapping[str, str] = _EMPTY  # by site, why its login was given up: not tried again here
        self.awaits_login: frozenset[str] = _NO_SITES  # where it waits for somebody else to log it in
        self.delay = delay  # seconds between two requests; None: as the settings say
        self.concurrency = concurrency
        self.first_request_alone = False
        self.not_before = 0.0  # when its next request may go (time.monotonic())
        self._ended: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self.in_doubt = False  # other sessions of its pool are preferred
        self.window = 0  # how many requests may be in flight after a lost login; 0: no limit
        self.pauses: Mapping[str, float] = _EMPTY  # by host: when its next request there may go
        self.spacing = 0.0  # seconds between its latest request and the next one
        self.queue: deque[asyncio.Future[None]] | None = None  # requests that wait for their turn

    def __repr__(self) -> str:
        return f"<SessionRuntime {self.id!r} of {self.namespace!r}: {self.status}, {len(self.jar)} cookies>"

    # Transitions

    def mark_ready(self) -> None:
        """A new session had its first good response."""
        if self.status == "new":
            self._change_status("ready", "ready")

    def log_in(self, site: str, now: float, hosts: Iterable[str], renew_at: float | None = None) -> None:
        """The session has logged in at *site* (UNIX seconds), which begins its generation there.

        :param renew_at: when it has to log in again, in UNIX seconds; ``None``: when the site has forgotten it
        """
        login: SiteLogin = {"time": now, "generation": self.generation, "hosts": sorted(hosts)}
        if renew_at is not None:
            login["renew_at"] = renew_at
        self.logged_in = {**self.logged_in, site: login}
        self.changed()
        self.mark_ready()

    def is_logged_in(self, site: str) -> bool:
        """Whether the session has logged in at *site*, without having lost that login or having to renew it."""
        login = self.logged_in.get(site)
        if login is None:
            return ANY_SITE in self.logged_in
        return "renew_at" not in login or time.time() < login["renew_at"]

    def lose_login(self, reason: str, site: str | None = None) -> None:
        """Record that the login at *site* (``None``: at all sites) is lost. Without another login it is new again."""
        gone = (site, ANY_SITE)
        self.logged_in = {} if site is None else {k: v for k, v in self.logged_in.items() if k not in gone}
        if self.status == "ready":
            self._change_status("ready" if self.logged_in else "new", "login_lost", reason)

    def retire(self, reason: str) -> None:
        """Take the session out of use for good. Its record stays, with *reason*; that of the first call counts."""
        if self.status == "retired":
            return
        self.retired_reason = self.history.text(reason)
        self._change_status("retired", "retired", self.retired_reason)
        self.wake_first()

    def unretire(self) -> None:
        """Put a retired session back into use."""
        self.retired_reason = None
        self.status = "ready" if self.logged_in else "new"
        self.changed()

    def _change_status(self, status: Status, transition: Transition, reason: str = "") -> None:
        self.status = status
        self.changed()
        if self.owner is not None:
            self.owner.status_changed(self, transition, reason)

    def new_generation(self) -> None:
        """Begin a new generation: responses to requests that left before change nothing in the session any more."""
        self.begin_login()
        self._base = self.generation

    def begin_login(self) -> None:
        """Begin the generation of a login: it outdates the requests at the site of that login, once it succeeds."""
        self.generation += 1
        self.changed()

    def generation_at(self, site: str) -> int:
        """Return the generation that the session has at *site*."""
        login = self.logged_in.get(site)
        return self.generation if login is None else max(login["generation"], self._base)

    # Data

    def watched_data(self) -> WatchedData:
        """Return the data and storages. They are compared before each save from now on: changes in place are unseen."""
        if self._data is None:
            self._data = WatchedData(self.id)
        self._data.watch()
        if self.owner is not None:
            self.owner.watch(self)
        return self._data

    def data_changed(self) -> bool:
        """Whether ``data`` or a storage was changed in place since the last call."""
        if self._data is None or not self._data.changed():
            return False
        self.settled = None
        return True

    def data_of(self, name: str) -> dict[str, Any]:
        """Return the dict *name* of :data:`~scrapy_sessions.sessions.json_data.WATCHED`, to be read only."""
        return {} if self._data is None else self._data.current[name]

    def restore_data(self, name: str, content: dict[str, Any]) -> None:
        """Replace the content of the dict *name* by a copy of *content*."""
        if self._data is None:
            if not content:
                return
            self._data = WatchedData(self.id)
        self._data.restore(name, content)

    def set_data(self, name: str, content: dict[str, Any]) -> None:
        """As :meth:`restore_data`, as a change of the session."""
        self.restore_data(name, content)
        self.settled = None
        self.changed()

    def record(self, text: str) -> None:
        """Add *text* to the history."""
        self.history.add(self.history.text(text))
        self.changed()

    # The owner

    def changed(self) -> None:
        """Note that the session differs from what was saved."""
        if not self.dirty:
            self.dirty = True
            if self.owner is not None and not self.closed and not self.transient:
                self.owner.changed(self)

    def adopt(self, owner: SessionOwner) -> None:
        """Let *owner* keep the session from now on."""
        self.owner = owner
        if self._data is not None and self._data.watched:
            owner.watch(self)

    # Limits and turns

    def wake_first(self) -> None:
        """Let the first request that waits for its turn look whether it has come."""
        if self.queue and not self.queue[0].done():
            self.queue[0].set_result(None)
        if self._ended is not None:
            if (self.closed or self.status == "retired") and not self._ended.done():
                self._ended.set_result(None)
            if self._idle is not None and not (self.in_flight or self.alone) and not self._idle.done():
                self._idle.set_result(None)

    def ended(self) -> asyncio.Future[None]:
        """Return a future that is done when the session is retired or closed."""
        if self._ended is None or self._ended.cancelled():
            self._ended = asyncio.get_running_loop().create_future()
            self.wake_first()
        return self._ended

    async def wait_until_idle(self) -> None:
        """Return when no request is in flight in the session, and no ``alone()`` block is open."""
        self.ended()  # only with it is there a look at this one
        while self.in_flight or self.alone is not None:
            if self._idle is None or self._idle.done():
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._idle])

    def expired(self, now: float) -> ExpiryReason | None:
        """Return the limit by which the session has expired at *now* (UNIX seconds), ``None`` if it hasn't."""
        if self.idle_timeout and now >= self.last_activity + self.idle_timeout and not self._is_waited_for(now):
            return "idle_timeout"
        if self.max_age and now >= self.start_time + self.max_age:
            return "max_age"
        if self.max_uses and self.reserved_uses >= self.max_uses:
            return "max_uses"
        return None

    def _is_waited_for(self, at: float) -> bool:
        """Whether it only seems idle *at* that time: a request is in flight or waits, the site has asked for a pause,
        or its budget was used up until less than ``idle_timeout`` ago."""
        return (
            bool(self.in_flight or self.queue)
            or self.not_before > time.monotonic()
            or self.pause_left() > 0
            or at < (self.rests_until or 0.0) + self.idle_timeout  # as the record: see models.expiry()
        )

    def pause_left(self) -> float:
        """Return the seconds until the last of the pauses is over that sites have asked for."""
        return max(max(self.pauses.values(), default=0.0) - time.monotonic(), 0.0)

    def rest(self, now: float) -> float:
        """Return for how many seconds from *now* on (UNIX seconds) the budget lets no request go; 0: one may."""
        return 0.0 if self.budget is None else self.budget.seconds(now)

    @property
    def rests_until(self) -> float | None:
        """Until when its budget is used up (UNIX seconds), which may be past; ``None``: it isn't."""
        return None if self.budget is None else self.budget.rests_until

    @property
    def budget_used(self) -> dict[str, dict[str, int]] | None:
        """What the record contains of its budget; ``None``: it has none."""
        return None if self.budget is None else self.budget.used

    def used_up(self) -> None:
        """The last request of its budget is sent."""
        if self.owner is not None:
            self.owner.used_up(self)

    def restore_budget(self, limits: Mapping[str, int], used: Mapping[str, Mapping[str, int]] | None) -> None:
        """Replace the budget and what it has used of it."""
        if self.budget is None:
            self.budget = RequestBudget(limits)
        self.budget.restore(limits, used)

    def pause(self, host: str, seconds: float) -> None:
        """The site asks the session to stay away from *host* for *seconds*."""
        until = time.monotonic() + seconds
        self.pauses = {**self.pauses, host: max(self.pauses.get(host, 0.0), until)}

    def paused_for(self, host: str, now: float) -> float:
        """Return for how many seconds from *now* on (``time.monotonic()``) no request may go to *host*."""
        return max(self.pauses[host] - now, 0.0) if host in self.pauses else 0.0

    # The proxy

    def current_proxy(self) -> str | None:
        """Return its proxy, which is another one after each ``proxy_lifetime``."""
        if self.rotation is not None:
            self.proxy = self.rotation.current()
        return self.proxy

    def set_proxy(self, proxy: str | None) -> None:
        """Give the session *proxy* for good."""
        self.proxy, self.rotation = proxy, None
        self.settled = None

    def rotate_proxy(self, rotation: ProxyRotation | None) -> None:
        """Let its proxy change as *rotation* says, unless it was replaced by one that isn't made of its template."""
        if rotation is None or not fits(self.proxy, rotation["template"]):
            self.rotation = None
        else:
            self.rotation = RotatingProxy(rotation, self.jar.clock)
            self.current_proxy()
        self.settled = None

    # The record

    def snapshot(self) -> PersistentSession:
        """Return the record of the session as it is now. It shares no mutable part with the session."""
        return RECORD.snapshot(self)

    def restore(self, record: PersistentSession) -> None:
        """Replace the fields of the session by those of *record*. That is no transition of its status."""
        before = CounterSnapshot.of(self)
        limits = (self.idle_timeout, self.max_age, self.max_uses)
        budget = None if self.budget is None else self.budget.limits
        RECORD.restore(self, record)
        if self.keeps_limits:
            self.idle_timeout, self.max_age, self.max_uses = limits
            if self.budget is not None:
                self.budget.restore(budget or {}, self.budget_used)
        self.forget_identity()
        self._base = self.generation
        if self.status == "ready" and not self.logged_in:  # imported, or used where nobody logs in
            self.logged_in = {ANY_SITE: {"time": self.last_activity, "generation": self.generation, "hosts": []}}
        self.reserved_uses += self.requests - before.requests
        self.counted = self.counted.rebased(before, CounterSnapshot.of(self))

    def forget_identity(self) -> None:
        """Drop what is cached of the identity: it has changed."""
        self.identity = None
        self.identities = _EMPTY
        self.settled = None


def backlog(session: SessionRuntime, now: float, host: str = "") -> tuple[float, int]:
    """Return how long a request of *session* would wait at *now* (``time.monotonic()``), to be compared: seconds of
    delays, then the number of requests before it, whose ends are unknown."""
    waiting = len(session.queue or ())
    if session.in_doubt:
        return _IN_DOUBT, waiting
    return expected_wait(session, now, host), waiting + (waiting > 0 or is_full(session))


def expected_wait(session: SessionRuntime, now: float, host: str) -> float:
    """Return the seconds from *now* on that delays, pauses and budget make a request of *session* to *host* wait."""
    pause = session.paused_for(host, now) if session.pauses else 0.0
    rest = 0.0 if session.budget is None else session.budget.seconds(time.time())
    return max(session.not_before - now, pause, rest, 0.0) + len(session.queue or ()) * session.spacing


def must_go_alone(session: SessionRuntime) -> bool:
    """Whether *session* is new and anonymous, in a pool, and has had no good response yet.

    Parallel requests before the site has set its first cookie would open several visits at the site, and a site that
    refuses the session would be sent many requests before its first refusal.
    """
    return session.first_request_alone and not session.ok_count


def is_full(session: SessionRuntime) -> bool:
    """Whether *session* has as many requests in flight as it may have, or an ``alone()`` block is open."""
    if session.alone is not None:
        return True
    if session.in_flight and must_go_alone(session):
        return True
    if session.window and session.in_flight >= session.window:
        return True
    return bool(session.concurrency) and session.in_flight >= session.concurrency
