"""Aggregates of bounded size, whatever the number of sessions, URLs and cookies."""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.models import Cookie
from scrapy_sessions.report.data import ClosedPage, CookieStats, Login, Session, UrlErrors
from scrapy_sessions.report.redact import action, shortened, url_without_query
from scrapy_sessions.storage.base import Key

_K = TypeVar("_K")
_V = TypeVar("_V")
_KEPT = 5000  # distinct URLs, and distinct names and domains of cookies

_DURATION = re.compile(r"(\d{1,6}\.\d) s", re.ASCII)  # the detail of a login event; an older store has none
_STATUS = re.compile(r"\(status (\d{3})\)$", re.ASCII)
_LIMITS = (3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0, 365 * 86400.0)
AGES = ("up to 1 hour", "up to 1 day", "up to 1 week", "up to 30 days", "up to 1 year", "longer")
"""The ranges by which lifetimes and ages are counted."""


class Bounded(Generic[_K, _V]):
    """A dict that contains at most ``2 * kept`` values. When it is full, it drops those of the lowest *weight*."""

    def __init__(self, weight: Callable[[_V], Any], kept: int = _KEPT) -> None:
        self._weight = weight
        self._kept = kept
        self._values: dict[_K, _V] = {}
        self._dropped = 0

    def get(self, key: _K, make: Callable[[_K], _V]) -> _V:
        """Return the value of *key*. If there is none yet, it is what *make* returns for *key*."""
        if key not in self._values:
            if len(self._values) >= 2 * self._kept:
                heaviest = heapq.nlargest(self._kept, self._values.items(), key=lambda item: self._weight(item[1]))
                self._dropped += len(self._values) - len(heaviest)
                self._values = dict(heaviest)
            self._values[key] = make(key)
        return self._values[key]

    def heaviest(self, number: int) -> tuple[list[_V], int]:
        """Return the *number* values of the highest weight, and how many others there were."""
        found = heapq.nlargest(number, self._values.values(), key=self._weight)
        return found, self._dropped + len(self._values) - len(found)


def balanced(problematic: list[Session], active: list[Session], number: int) -> list[Session]:
    """Return *number* different sessions: up to half from *problematic*, then from *active*, then from the rest."""
    ordered = (*problematic[: number // 2], *active, *problematic)
    return list({session.key: session for session in ordered}.values())[:number]


class SessionSelection:
    """Selects the sessions that are shown individually: up to half for their problems, the others for activity."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._problematic: Bounded[Key, Session] = Bounded(lambda s: (s.problems, s.last), number)
        self._active: Bounded[Key, Session] = Bounded(lambda s: (s.pages, s.requests, s.last), number)

    def add(self, session: Session) -> None:
        if any(session.problems):
            self._problematic.get(session.key, lambda _: session)
        self._active.get(session.key, lambda _: session)

    def selected(self) -> list[Session]:
        """Return the selected sessions, those with most problems first."""
        problematic, active = (each.heaviest(self._number)[0] for each in (self._problematic, self._active))
        selected = balanced(problematic, active, self._number)
        return sorted(selected, key=lambda session: (session.problems, session.pages, session.last), reverse=True)


class UrlAggregate:
    """The errors by URL."""

    def __init__(self) -> None:
        self._urls: Bounded[str, UrlErrors] = Bounded(lambda errors: errors.statuses.total() + errors.bans)

    def add_history(self, actions: Iterable[str]) -> None:
        """Add the history of one session."""
        errors = Counter(found for found in map(action, actions) if found is not None and found[1] >= 400)
        for url in {url for url, _ in errors}:
            self._urls.get(url, UrlErrors).sessions += 1
        for (url, status), n in errors.items():
            self._urls.get(url, UrlErrors).statuses[status] += n

    def add_event(self, event: Event) -> None:
        """Add a ban, if *event* is one and contains a URL."""
        if event.kind == "blocked" and event.url is not None:
            self._urls.get(url_without_query(event.url), UrlErrors).bans += 1

    def worst(self, number: int) -> tuple[list[UrlErrors], int]:
        """Return the *number* URLs with most errors, and how many others there were."""
        return self._urls.heaviest(number)


class ClosedPages:
    """The pages that are closed to some sessions."""

    def __init__(self) -> None:
        self._pages: Bounded[str, ClosedPage] = Bounded(lambda page: (len(page.sessions), page.last))

    def add(self, event: Event) -> None:
        """Add *event* if it is about a closed page."""
        if event.kind == "closed_page" and event.url is not None:
            page = self._pages.get(url_without_query(event.url), ClosedPage)
            page.sessions.add(Key(event.namespace, event.session_id))
            page.last = max(page.last, event.time)
            status = _STATUS.search(event.detail)
            page.statuses[status[1] if status else "no response"] += 1

    def worst(self, number: int) -> tuple[list[ClosedPage], int]:
        """Return the *number* pages that are closed to most sessions, and how many others there are."""
        return self._pages.heaviest(number)


class CookieAggregate:
    """The lifetimes and ages of cookies."""

    def __init__(self) -> None:
        self._cookies: Bounded[tuple[str, str], CookieStats] = Bounded(lambda stats: stats.count)
        self.lifetimes: Counter[str] = Counter()
        self.ages: Counter[str] = Counter()

    def add(self, cookies: Iterable[Cookie], now: float) -> None:
        """Add the cookies of one session at the time *now*. Their values are not read."""
        for cookie in cookies:
            key = (cookie.domain, cookie.name)
            stats = self._cookies.get(key, lambda key: CookieStats(shortened(key[0]), shortened(key[1], 80)))
            set_at = cookie.updated or cookie.created
            age = max(now - set_at, 0.0)
            stats.count += 1
            stats.age += age
            stats.oldest = max(stats.oldest, age)
            self.ages[_age_range(age)] += 1
            if cookie.expires is None:
                self.lifetimes["no date"] += 1
                continue
            lifetime = max(cookie.expires - set_at, 0.0)
            stats.dated += 1
            stats.lifetime += lifetime
            stats.expired += cookie.expires <= now
            self.lifetimes[_age_range(lifetime)] += 1

    def most_frequent(self, number: int) -> tuple[list[CookieStats], int]:
        """Return the *number* most frequent cookies, and how many others there are."""
        return self._cookies.heaviest(number)


def slowest_logins(events: Iterable[Event], number: int) -> tuple[list[Login], int]:
    """Return the *number* slowest logins of known duration, slowest first, and how many others there were."""
    found = [
        Login(event.time, float(duration[1]), Key(event.namespace, event.session_id), event.pool)
        for event in events
        if event.kind == "login" and (duration := _DURATION.fullmatch(event.detail))
    ]
    slowest = heapq.nlargest(number, found, key=lambda login: (login.seconds, login.time))
    return slowest, len(found) - len(slowest)


def _age_range(seconds: float) -> str:
    return AGES[bisect_left(_LIMITS, seconds)]
