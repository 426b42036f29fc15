"""What sessions did over time: counters by the hour, and the events of their lives. Plain data, kept by a store."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from scrapy_sessions.analytics.redaction import URL

if TYPE_CHECKING:  # it loads pydantic, which the counters do without
    from scrapy_sessions.models import Status

__all__ = [
    "COUNTERS",
    "FOLDED",
    "HOUR",
    "Event",
    "EventKind",
    "HourCounts",
    "PoolCounts",
    "hour_of",
    "summed",
]

HOUR = 3600
"""Seconds."""

FOLDED = ""
"""The ``session_id`` of counts that belong to no single session any more: of those folded into their pool's row, and
of sessions that live for one crawl only."""

EventKind = Literal["created", "login", "login_failed", "expired_login", "blocked", "retired", "expired", "deleted"]

_K = TypeVar("_K", bound=Hashable)
_Counts = TypeVar("_Counts", "HourCounts", "PoolCounts")


@dataclass(frozen=True, slots=True)
class HourCounts:
    """What one session did in one hour; under :data:`FOLDED`, what those of a pool did that have no row of their own.

    :param pool: ``None`` for a named session in no pool
    :param hour: UNIX seconds of the hour's start
    :param requests: sent, every redirect hop and retry included
    :param pages: responses that are pages
    :param responses: how many came back, by status
    :param failures: failed downloads and logins, and the verdicts SUSPECT and BLOCKED
    :param logins: that worked
    :param login_failures: attempts that failed
    :param login_seconds: what the logins that worked took, in all
    :param blocked: how often a session was retired because the site turned it away
    :param suspects: verdicts SUSPECT
    :param bytes: received
    :param latency: seconds, in all
    """

    namespace: str
    pool: str | None
    session_id: str
    hour: int
    requests: int = 0
    pages: int = 0
    responses: dict[int, int] = field(default_factory=dict)
    failures: int = 0
    logins: int = 0
    login_failures: int = 0
    login_seconds: float = 0.0
    blocked: int = 0
    suspects: int = 0
    bytes: int = 0
    latency: float = 0.0

    def __add__(self, other: HourCounts) -> HourCounts:
        """Add the numbers of *other*; what names the row stays that of this one."""
        responses = dict(self.responses)
        for status, count in other.responses.items():
            responses[status] = responses.get(status, 0) + count
        numbers = {name: getattr(self, name) + getattr(other, name) for name in COUNTERS}
        return replace(self, responses=responses, **numbers)


COUNTERS = tuple(f.name for f in fields(HourCounts) if f.type in ("int", "float") and f.name != "hour")
"""The fields of :class:`HourCounts` that are single numbers, in order."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a session, at *time* (UNIX seconds).

    - ``born``: it was first saved; *time* is its ``start_time``
    - ``login``, ``login_failed``: an attempt to log in worked or failed
    - ``expired_login``: the site doesn't know its login any more
    - ``blocked``: the site turned it away, for which it was retired
    - ``retired``, ``expired``, ``deleted``: its end; an expired session is deleted, a retired one keeps its record

    :param pool: ``None`` for a named session, and where the pool isn't known, as after the end of its spider
    :param detail: a reason, a limit, where it happened, or how long a login took (``"1.3 s"``);
        URLs in it are without credentials and values of the query
    """

    namespace: str
    session_id: str
    pool: str | None
    time: float
    kind: EventKind
    detail: str = ""

    @property
    def url(self) -> str | None:
        """The URL in the detail, if there is one."""
        found = URL.search(self.detail)
        return None if found is None else found[0]


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What sessions of a pool (``None``: of none) are in the store at the moment.

    :param active: neither expired nor retired
    :param pages: of all of them, over their lives
    :param last_activity: of any of them, UNIX seconds
    """

    namespace: str
    pool: str | None
    by_status: dict[Status, int]
    active: int
    pages: int
    last_activity: float

    def __add__(self, other: PoolCounts) -> PoolCounts:
        """Add the sessions of *other*; the names stay those of this one."""
        return replace(
            self,
            by_status={
                status: self.by_status.get(status, 0) + other.by_status.get(status, 0)
                for status in {**self.by_status, **other.by_status}
            },
            active=self.active + other.active,
            pages=self.pages + other.pages,
            last_activity=max(self.last_activity, other.last_activity),
        )

    @property
    def sessions(self) -> int:
        """How many there are."""
        return sum(self.by_status.values())


def hour_of(time: float) -> int:
    """Return the start of the hour that *time* is in. Both are UNIX seconds."""
    return int(time // HOUR * HOUR)


def summed(rows: Iterable[_Counts], key: Callable[[_Counts], _K]) -> dict[_K, _Counts]:
    """Return the sum of *rows* for each *key*, in the order of their first appearance.

    >>> by_pool = summed(rows, lambda row: row.pool)
    """
    sums: dict[_K, _Counts] = {}
    for row in rows:
        name = key(row)
        sums[name] = sums[name] + row if name in sums else row
    return sums
