"""Collections that stay small, however many sessions, URLs and cookies pass by."""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import count
from typing import Generic, TypeVar

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.models import Cookie
from scrapy_sessions.report.data import CookieLife, Login, Session, UrlTrouble
from scrapy_sessions.report.redact import action, place, shortened
from scrapy_sessions.storage.base import Key

__all__ = ["SPANS", "Bounded", "CookieLives", "Most", "Urls", "slowest_logins"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_KEPT = 5000  # distinct URLs, and cookies by name and domain: beyond twice that, those that count least are let go

_TOOK = re.compile(r"(\d{1,6}\.\d) s", re.ASCII)  # the detail of a login's event; an older store has none
_LIMITS = (3600.0, 86400.0, 7 * 86400.0, 30 * 86400.0, 365 * 86400.0)
SPANS = ("up to 1 hour", "up to 1 day", "up to 1 week", "up to 30 days", "up to 1 year", "longer")
"""The stretches that lifetimes and ages are counted by."""


class Bounded(Generic[_K, _V]):
    """A dict that lets go of what weighs least when it grows large."""

    def __init__(self, make: Callable[[_K], _V], weight: Callable[[_V], int]) -> None:
        self._make = make
        self._weight = weight
        self._found: dict[_K, _V] = {}
        self._let_go = 0

    def of(self, key: _K) -> _V:
        """Return the value of *key*, made if it isn't there."""
        value = self._found.get(key)
        if value is None:
            if len(self._found) >= 2 * _KEPT:
                heaviest = heapq.nlargest(_KEPT, self._found.items(), key=lambda item: self._weight(item[1]))
                self._let_go += len(self._found) - len(heaviest)
                self._found = dict(heaviest)
            value = self._found[key] = self._make(key)
        return value

    def heaviest(self, most: int) -> tuple[list[_V], int]:
        """Return the *most* that weigh most, and how many others there were."""
        found = heapq.nlargest(most, self._found.values(), key=self._weight)
        return found, self._let_go + len(self._found) - len(found)


class Most:
    """The sessions to tell of one by one: up to half are the most troubled ones, the others the most active."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._troubled: list[tuple[tuple[float, ...], int, Session]] = []
        self._active: list[tuple[tuple[float, ...], int, Session]] = []
        self._number = count()  # settles ties, as sessions don't compare

    def add(self, session: Session) -> None:
        """Offer *session*."""
        number = -next(self._number)
        if any(session.trouble):
            self._offer(self._troubled, ((*session.trouble, session.last), number, session))
        self._offer(self._active, ((session.pages, session.requests, session.last), number, session))

    def chosen(self) -> list[Session]:
        """Return those chosen, the most troubled first."""
        troubled = [session for *_, session in sorted(self._troubled, reverse=True)]
        active = [session for *_, session in sorted(self._active, reverse=True)]
        first = troubled[: self._most // 2]
        # What the active ones don't fill is left to the other troubled ones.
        keys = dict.fromkeys(session.key for session in (*first, *active, *troubled))
        by_key = {session.key: session for session in (*troubled, *active)}
        chosen = [by_key[key] for key in list(keys)[: self._most]]
        return sorted(chosen, key=lambda session: (session.trouble, session.pages, session.last), reverse=True)

    def _offer(
        self, heap: list[tuple[tuple[float, ...], int, Session]], entry: tuple[tuple[float, ...], int, Session]
    ) -> None:
        if len(heap) < self._most:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)


class Urls:
    """Where things went wrong."""

    def __init__(self) -> None:
        self._found: Bounded[str, UrlTrouble] = Bounded(UrlTrouble, lambda trouble: trouble.weight)

    def add_history(self, actions: Iterable[str]) -> None:
        """Add the history of one session."""
        wrong: Counter[tuple[str, int]] = Counter()
        for text in actions:
            found = action(text)
            if found is not None and found[1] >= 400:
                wrong[found] += 1
        for where in {where for where, _ in wrong}:
            self._found.of(where).sessions += 1
        for (where, status), n in wrong.items():
            self._found.of(where).statuses[status] += n

    def add_event(self, event: Event) -> None:
        """Add a ban, if *event* is one and says where."""
        if event.kind == "blocked" and event.url is not None:
            self._found.of(place(event.url)).bans += 1

    def worst(self, most: int) -> tuple[list[UrlTrouble], int]:
        """Return the *most* worst ones, and how many others there were."""
        return self._found.heaviest(most)


class CookieLives:
    """How long cookies are to live, and how old they are."""

    def __init__(self) -> None:
        self._found: Bounded[tuple[str, str], CookieLife] = Bounded(
            lambda key: CookieLife(shortened(key[0]), shortened(key[1], 80)), lambda life: life.count
        )
        self.lifetimes: Counter[str] = Counter()
        self.ages: Counter[str] = Counter()

    def add(self, cookies: Iterable[Cookie], now: float) -> None:
        """Add the cookies of one session, as they are at *now*. Their values aren't looked at."""
        for cookie in cookies:
            life = self._found.of((cookie.domain, cookie.name))
            set_at = cookie.updated or cookie.created
            age = max(now - set_at, 0.0)
            life.count += 1
            life.age += age
            life.oldest = max(life.oldest, age)
            self.ages[_span(age)] += 1
            if cookie.expires is None:
                self.lifetimes["no date"] += 1
                continue
            lifetime = max(cookie.expires - set_at, 0.0)
            life.dated += 1
            life.lifetime += lifetime
            life.expired += cookie.expires <= now
            self.lifetimes[_span(lifetime)] += 1

    def most(self, most: int) -> tuple[list[CookieLife], int]:
        """Return the *most* frequent ones, and how many others there are."""
        return self._found.heaviest(most)


def slowest_logins(events: Iterable[Event], most: int) -> tuple[list[Login], int]:
    """Return the *most* slowest logins of known time, slowest first, and how many others of known time there were."""
    found = [
        Login(event.time, float(took[1]), Key(event.namespace, event.session_id), event.pool)
        for event in events
        if event.kind == "login" and (took := _TOOK.fullmatch(event.detail))
    ]
    slowest = heapq.nlargest(most, found, key=lambda login: (login.seconds, login.time))
    return slowest, len(found) - len(slowest)


def _span(seconds: float) -> str:
    return SPANS[bisect_left(_LIMITS, seconds)]
