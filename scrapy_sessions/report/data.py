"""The data of a report. It contains no cookie value, header, proxy or data of a spider."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from scrapy_sessions.analytics.model import HourCounts
from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.storage.base import Key

State = Literal["new", "ready", "retired", "expired", "removed"]
"""The status of the record; ``"expired"`` after its expiry, and ``"removed"`` if only events and counters are left."""


class Mark(NamedTuple):
    """An event of a session, at *time* (UNIX seconds). ``detail`` contains no secrets."""

    time: float
    kind: str
    detail: str


class Lifetime(NamedTuple):
    """The lifetime of a session for the survival curves, as ages in seconds.

    :param entry: the age at the report's ``since``; below 0: the session was created later
    :param exit: the age at its end, or at its last activity
    """

    entry: float
    exit: float
    ended: bool
    retired: bool


class Login(NamedTuple):
    """A successful login at *time* (UNIX seconds), and its duration in seconds."""

    time: float
    seconds: float
    key: Key
    pool: str | None


class Problem(NamedTuple):
    """A session of the store that needs attention since *time* (UNIX seconds). ``words`` contain no secrets.

    :param given_up: whether its login was given up
    :param failures: the logins that failed since the last one that succeeded
    """

    key: Key
    pool: str | None
    time: float
    words: str
    given_up: bool = False
    failures: int = 0


@dataclass(slots=True)
class ClosedPage:
    """A page that is closed to some sessions. ``last`` is when that was last found (UNIX seconds)."""

    url: str
    statuses: Counter[str] = field(default_factory=Counter)
    sessions: set[Key] = field(default_factory=set)
    last: float = 0.0


class Rate(NamedTuple):
    """The bans of a time, and the responses of that time."""

    bans: int = 0
    responses: int = 0

    def __add__(self, other: Rate) -> Rate:  # type: ignore[override]
        return Rate(self.bans + other.bans, self.responses + other.responses)


_NUMBERS = ("pages", "requests", "failures", "logins", "login_failures", "login_seconds", "blocked")


@dataclass(slots=True)
class _Counts:
    pages: int = 0
    requests: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    logins: int = 0
    login_failures: int = 0
    timed_logins: int = 0  # in the hours that the store still keeps: the duration of other logins isn't known
    login_seconds: float = 0.0
    blocked: int = 0

    @property
    def answered(self) -> int:
        return self.responses.total()

    @property
    def errors(self) -> int:
        """The number of responses with status 400 or above."""
        return sum(n for status, n in self.responses.items() if status >= 400)

    @property
    def login_time(self) -> float | None:
        """The average duration of a login in seconds; ``None``: not known."""
        return self.login_seconds / self.timed_logins if self.timed_logins else None

    def add(self, other: _Counts | HourCounts) -> None:
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.responses.update(other.responses)
        self.timed_logins += other.logins if isinstance(other, HourCounts) else other.timed_logins

    def add_unrecorded(self, hours: _Counts) -> None:
        """Add the counters of *hours* that a session's record doesn't contain."""
        self.login_failures += hours.login_failures
        self.timed_logins += hours.timed_logins
        self.login_seconds += hours.login_seconds
        self.blocked += hours.blocked


@dataclass(slots=True)
class Session(_Counts):
    """One session. ``ended`` is when it was retired, expired or was removed; ``None``: it is in use."""

    key: Key = field(default_factory=lambda: Key("", ""))
    pool: str | None = None
    state: State = "new"
    reason: str = ""
    created: float | None = None
    last: float = 0.0
    ended: float | None = None
    cookies: int = 0
    marks: list[Mark] = field(default_factory=list)

    @property
    def problems(self) -> tuple[int, int, int]:
        """Bans, failures and errors, which sort the sessions with most problems first."""
        return (self.blocked + (self.state == "retired"), self.failures + self.login_failures, self.errors)


@dataclass(slots=True)
class Pool(_Counts):
    """The sessions of a pool; *name* ``None``: the sessions in no pool.

    :param recent: of the last day
    :param earlier: of the week before
    :param hours: pages and bans by the start of their :class:`Bucket`
    """

    namespace: str = ""
    name: str | None = None
    states: Counter[State] = field(default_factory=Counter)
    last: float = 0.0
    recent: Rate = field(default_factory=Rate)
    earlier: Rate = field(default_factory=Rate)
    hours: dict[float, tuple[int, int]] = field(default_factory=dict)

    @property
    def sessions(self) -> int:
        return self.states.total()


@dataclass(slots=True)
class Totals(_Counts):
    """All sessions of the report. No number includes ``unreadable`` records."""

    states: Counter[State] = field(default_factory=Counter)
    cookies: int = 0
    pools: int = 0
    unreadable: int = 0
    quarantined: int = 0

    @property
    def sessions(self) -> int:
        """The number of sessions in the store."""
        return self.states.total() - self.states["removed"]


@dataclass(slots=True)
class Bucket(_Counts):
    """The counters of one interval, which begins at ``start`` (UNIX seconds)."""

    start: float = 0.0


@dataclass(slots=True)
class UrlErrors:
    """The errors at a URL: bans, and statuses from 400 on in the sessions' histories."""

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    sessions: int = 0
    bans: int = 0


@dataclass(slots=True)
class CookieStats:
    """The cookies of one name and domain in all sessions. Times are seconds; ``dated`` cookies have an expiry date."""

    domain: str
    name: str
    count: int = 0
    dated: int = 0
    lifetime: float = 0.0  # the sum over the dated ones
    expired: int = 0
    age: float = 0.0  # the sum over all
    oldest: float = 0.0


@dataclass(slots=True)
class Report:
    """The content of the page. Times are UNIX seconds, durations are seconds.

    :param location: the store, without the folders above it
    :param since: only sessions active since then, and only hours and events since then
    :param analytics: whether the store keeps counters by hour and events
    :param sessions: those shown individually, those with most problems first
    :param buckets: without gaps, each ``bucket_seconds`` long
    :param logins: the slowest logins within the buckets, slowest first
    :param runs: the latest runs, latest first
    :param failing: the sessions that fail to log in, latest first
    :param retired: the accounts that are retired, latest first: sessions that bear a name of their own
    :param closed: the pages that are closed to some sessions, to most sessions first
    :param activity: the last activity in each namespace
    """

    generated: float
    location: str
    namespace: str | None = None
    pool: str | None = None
    since: float | None = None
    analytics: bool = False
    totals: Totals = field(default_factory=Totals)
    sessions: list[Session] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    pools_left_out: int = 0
    buckets: list[Bucket] = field(default_factory=list)
    bucket_seconds: float = 3600.0
    logins: list[Login] = field(default_factory=list)
    logins_left_out: int = 0
    runs: list[Run] = field(default_factory=list)
    runs_left_out: int = 0
    failing: list[Problem] = field(default_factory=list)
    failing_left_out: int = 0
    retired: list[Problem] = field(default_factory=list)
    retired_left_out: int = 0
    closed: list[ClosedPage] = field(default_factory=list)
    closed_left_out: int = 0
    activity: dict[str, float] = field(default_factory=dict)
    lifetimes: list[Lifetime] = field(default_factory=list)
    urls: list[UrlErrors] = field(default_factory=list)
    urls_left_out: int = 0
    cookies: list[CookieStats] = field(default_factory=list)
    cookies_left_out: int = 0
    cookie_lifetimes: Counter[str] = field(default_factory=Counter)
    cookie_ages: Counter[str] = field(default_factory=Counter)

    @property
    def empty(self) -> bool:
        return not (self.totals.states or self.totals.unreadable or self.buckets or self.runs)
