"""Counters of sessions by hour, and their events: plain data that a store keeps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from scrapy_sessions.analytics.redaction import URL

if TYPE_CHECKING:  # loads pydantic, which counters do not need
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
    "numbers_of",
    "summed",
]

HOUR = 3600
"""Seconds."""

FOLDED = ""
"""The ``session_id`` of counts without a session: those folded into their pool's row, and those of sessions that are
never saved."""

EventKind = Literal[
    "created",
    "login",
    "login_failed",
    "given_up",
    "expired_login",
    "closed_page",
    "blocked",
    "retired",
    "expired",
    "deleted",
    "run_started",
    "run_finished",
]

_K = TypeVar("_K", bound=Hashable)
_Counts = TypeVar("_Counts", "HourCounts", "PoolCounts")


@dataclass(slots=True)
class HourCounts:
    """The counts of one session in one hour. Under :data:`FOLDED`: of all sessions of a pool without their own row.

    The collector counts in place; what it has handed on isn't changed any more.

    :param pool: ``None`` for a named session in no pool
    :param hour: the start of the hour (UNIX seconds)
    :param requests: sent requests, including redirects and retries
    :param pages: responses that are pages
    :param failures: failed downloads and logins, and the verdicts SUSPECT and BLOCKED
    :param logins: successful logins
    :param login_failures: failed attempts to log in
    :param login_seconds: the total duration of successful logins
    :param blocked: how often a session was retired because the site blocked it
    :param suspects: verdicts SUSPECT
    :param bytes: received bytes
    :param latency: total latency in seconds
    :param responses: the number of responses by status
    """

    namespace: str
    pool: str | None
    session_id: str
    hour: int
    requests: int = 0
    pages: int = 0
    failures: int = 0
    logins: int = 0
    login_failures: int = 0
    login_seconds: float = 0.0
    blocked: int = 0
    suspects: int = 0
    bytes: int = 0
    latency: float = 0.0
    responses: dict[int, int] = field(default_factory=dict)

    def __add__(self, other: HourCounts) -> HourCounts:
        """Return the sums with *other*, under the names of this row."""
        return self.plus([other])

    def plus(self, others: Sequence[HourCounts]) -> HourCounts:
        """Return the sums with all *others*, under the names of this row."""
        rows = (self, *others)
        responses: dict[int, int] = {}
        for row in rows:
            for status, count in row.responses.items():
                responses[status] = responses.get(status, 0) + count
        counts: list[Any] = [*map(sum, zip(*map(numbers_of, rows), strict=True)), responses]
        return HourCounts(self.namespace, self.pool, self.session_id, self.hour, *counts)


COUNTERS = tuple(f.name for f in fields(HourCounts) if f.type in ("int", "float") and f.name != "hour")
"""The fields of :class:`HourCounts` that are single numbers, in order."""

numbers_of: Callable[[HourCounts], tuple[Any, ...]] = attrgetter(*COUNTERS)
"""Return the :data:`COUNTERS` of a row."""


class Event(NamedTuple):
    """An event of a session, or of a run under :data:`FOLDED`, at *time* (UNIX seconds).

    - ``created``: it was first saved; *time* is its ``start_time``
    - ``login``, ``login_failed``: an attempt to log in succeeded or failed
    - ``given_up``: its login was given up, after the attempts that a crawl makes
    - ``expired_login``: the site ended its login
    - ``closed_page``: a page was refused that is closed to it, as other pages are not
    - ``blocked``: the site blocked it, and it was retired
    - ``retired``, ``expired``, ``deleted``: its end; an expired session is deleted, a retired one keeps its record
    - ``run_started``, ``run_finished``: a run of a spider that used sessions, see :mod:`scrapy_sessions.analytics.runs`

    :param pool: ``None`` for a named session, and if the pool isn't known, as after the end of its spider
    :param detail: a reason, a limit, a URL, or the duration of a login (``"1.3 s"``); its URLs contain no credentials
        and no query values
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
        found = re.search(URL, self.detail)
        return None if found is None else found[0]


class PoolCounts(NamedTuple):
    """The sessions of a pool in the store; *pool* ``None``: those in no pool.

    :param active: the number of sessions that are neither expired nor retired
    :param pages: the total number of pages
    :param last_activity: the latest of all (UNIX seconds)
    """

    namespace: str
    pool: str | None
    by_status: dict[Status, int]
    active: int
    pages: int
    last_activity: float

    def plus(self, others: Sequence[PoolCounts]) -> PoolCounts:
        """Return the sums with all *others*, under the names of these."""
        by_status = Counter(self.by_status)
        for each in others:
            by_status.update(each.by_status)
        return self._replace(
            by_status=dict(+by_status),
            active=self.active + sum(each.active for each in others),
            pages=self.pages + sum(each.pages for each in others),
            last_activity=max(each.last_activity for each in (self, *others)),
        )

    @property
    def sessions(self) -> int:
        """The number of sessions."""
        return sum(self.by_status.values())


def hour_of(time: float) -> int:
    """Return the start of the hour that *time* is in. Both are UNIX seconds."""
    return int(time // HOUR * HOUR)


def summed(rows: Iterable[_Counts], key: Callable[[_Counts], _K]) -> dict[_K, _Counts]:
    """Return the sum of *rows* for each *key*, in the order of their first appearance.

    >>> by_pool = summed(rows, lambda row: row.pool)
    """
    groups: dict[_K, list[_Counts]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return {name: group[0].plus(group[1:]) if len(group) > 1 else group[0] for name, group in groups.items()}
