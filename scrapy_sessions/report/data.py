"""What a report tells, as plain data: no cookie value, header, proxy or data of a spider ever gets here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from scrapy_sessions.storage.base import Key

__all__ = [
    "Bucket",
    "CookieLife",
    "Life",
    "Login",
    "Mark",
    "Pool",
    "Report",
    "Session",
    "State",
    "Totals",
    "UrlTrouble",
]

State = Literal["new", "ready", "retired", "expired", "removed"]
"""As the record's status, but for sessions past their expiry, and those that only their events still tell of."""


class Mark(NamedTuple):
    """Something that happened to a session, at *time* (UNIX seconds). ``detail`` is cleaned."""

    time: float
    kind: str
    detail: str


class Life(NamedTuple):
    """How long a session lived, in seconds since its birth, for the survival curves.

    :param entry: its age when the report begins to look at it; below 0: looked at from birth on
    :param exit: its age at its end, or when it was last seen
    """

    entry: float
    exit: float
    ended: bool
    retired: bool


class Login(NamedTuple):
    """A login that worked, at *time* (UNIX seconds), and the seconds that it took."""

    time: float
    seconds: float
    key: Key
    pool: str | None


@dataclass(slots=True)
class _Counts:
    pages: int = 0
    requests: int = 0
    responses: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    logins: int = 0
    login_failures: int = 0
    timed_logins: int = 0  # those whose time is known: of the hours that the store still keeps
    login_seconds: float = 0.0
    blocked: int = 0

    @property
    def answered(self) -> int:
        return self.responses.total()

    @property
    def errors(self) -> int:
        """Responses with a status from 400 on."""
        return sum(n for status, n in self.responses.items() if status >= 400)

    @property
    def login_time(self) -> float | None:
        """Seconds that a login took, on average; ``None``: not known."""
        return self.login_seconds / self.timed_logins if self.timed_logins else None

    def add(self, other: _Counts) -> None:
        self.pages += other.pages
        self.requests += other.requests
        self.responses.update(other.responses)
        self.failures += other.failures
        self.logins += other.logins
        self.login_failures += other.login_failures
        self.timed_logins += other.timed_logins
        self.login_seconds += other.login_seconds
        self.blocked += other.blocked


@dataclass(slots=True)
class Session(_Counts):
    """One session, in detail. ``ended`` is when it was retired, expired or was removed, ``None`` while it lives."""

    key: Key = field(default_factory=lambda: Key("", ""))
    pool: str | None = None
    state: State = "new"
    reason: str = ""
    born: float | None = None
    last: float = 0.0
    ended: float | None = None
    cookies: int = 0
    marks: list[Mark] = field(default_factory=list)

    @property
    def trouble(self) -> tuple[int, int, int]:
        """What sorts the most troubled first; all 0: nothing went wrong."""
        return (self.blocked + (self.state == "retired"), self.failures + self.login_failures, self.errors)


@dataclass(slots=True)
class Pool(_Counts):
    """All sessions of a pool; of ``None``: those that belong to none."""

    namespace: str = ""
    name: str | None = None
    states: Counter[State] = field(default_factory=Counter)
    last: float = 0.0

    @property
    def sessions(self) -> int:
        return self.states.total()


@dataclass(slots=True)
class Totals(_Counts):
    """All sessions that the report is about. ``unreadable`` records are left out of every number."""

    states: Counter[State] = field(default_factory=Counter)
    cookies: int = 0
    pools: int = 0
    unreadable: int = 0
    quarantined: int = 0

    @property
    def sessions(self) -> int:
        """Those in the store."""
        return self.states.total() - self.states["removed"]


@dataclass(slots=True)
class Bucket(_Counts):
    """What happened in one stretch of time, from ``start`` on (UNIX seconds)."""

    start: float = 0.0


@dataclass(slots=True)
class UrlTrouble:
    """What went wrong at a URL: statuses from 400 on in the sessions' histories, and bans."""

    url: str
    statuses: Counter[int] = field(default_factory=Counter)
    sessions: int = 0
    bans: int = 0

    @property
    def weight(self) -> int:
        return self.statuses.total() + self.bans


@dataclass(slots=True)
class CookieLife:
    """The cookies of one name and domain, in all sessions. Seconds; ``dated`` counts those with an expiry date."""

    domain: str
    name: str
    count: int = 0
    dated: int = 0
    lifetime: float = 0.0  # summed over the dated ones
    expired: int = 0
    age: float = 0.0  # summed over all
    oldest: float = 0.0


@dataclass(slots=True)
class Report:
    """Everything that the page shows. Times are UNIX seconds, durations are seconds.

    :param location: the store, without the folders above it
    :param since: only sessions active since then are in the report, and only hours and events since then
    :param analytics: whether the store keeps counters by hour and events
    :param sessions: those shown in detail, most troubled first
    :param buckets: without gaps, each ``bucket_seconds`` long
    :param logins: the slowest ones in the time of the buckets, slowest first
    """

    made: float
    location: str
    namespace: str | None = None
    pool: str | None = None
    since: float | None = None
    analytics: bool = False
    events: int = 0
    totals: Totals = field(default_factory=Totals)
    sessions: list[Session] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    pools_left_out: int = 0
    buckets: list[Bucket] = field(default_factory=list)
    bucket_seconds: float = 3600.0
    logins: list[Login] = field(default_factory=list)
    logins_left_out: int = 0
    lives: list[Life] = field(default_factory=list)
    urls: list[UrlTrouble] = field(default_factory=list)
    urls_left_out: int = 0
    cookies: list[CookieLife] = field(default_factory=list)
    cookies_left_out: int = 0
    lifetimes: Counter[str] = field(default_factory=Counter)
    ages: Counter[str] = field(default_factory=Counter)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.totals.states and not self.totals.unreadable and not self.buckets
