"""Stores for reports: the same at every run."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from scrapy_sessions.analytics.model import FOLDED, HOUR, Event, EventKind, HourCounts, hour_of
from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.models import Cookie, Metrics, PersistentSession
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.base import SessionStore
from scrapy_sessions.storage.codec import encode
from scrapy_sessions.testing import Clock

__all__ = ["NOW", "empty", "example", "record", "save", "shop_store"]

NOW = 1_772_366_400.0 + 12 * HOUR  # 2026-03-01 24:00 UTC
_DAY = 24 * HOUR
_WORST = ("https://shop.example/search", "https://shop.example/api/prices", "https://shop.example/p/4711")


def record(session_id: str, **fields: Any) -> PersistentSession:
    """A record as a store contains it."""
    defaults: dict[str, Any] = {
        "namespace": "shop",
        "start_time": NOW - _DAY,
        "last_activity": NOW - 60,
        "idle_timeout": 0.0,
        "status": "ready",
        "revision": 1,
    }
    return PersistentSession(session_id=session_id, **{**defaults, **fields})


def empty() -> MemoryStore:
    """A store at the time :data:`NOW`."""
    return MemoryStore(clock=Clock(NOW))


async def save(store: SessionStore, *records: PersistentSession) -> None:
    """Put *records* into *store*."""
    await store.save([encode(each) for each in records])


@asynccontextmanager
async def example() -> AsyncIterator[MemoryStore]:
    """A store with three days of a shop's spider: what the pictures in the documentation show."""
    store = empty()
    store.location = "sessions.db"
    await store.open()
    await shop_store(store)
    yield store
    await store.close()


async def shop_store(store: MemoryStore) -> None:
    """Fill *store* with three days of a shop's spider: a pool of shoppers, some of them banned, and a few accounts."""
    chance = random.Random(5)  # the same pictures at every run
    start = NOW - 3 * _DAY
    shoppers = _Simulation("catalog", store, chance)
    created = start
    for number in count(1):
        if created > NOW - HOUR:
            break
        await shoppers.run(f"catalog#{number}", created, created + chance.uniform(3, 30) * HOUR, chance.random() < 0.55)
        created += chance.uniform(1.2, 4) * HOUR
    accounts = _Simulation("staff", store, chance)
    for name in ("alice", "bob", "carol"):
        await accounts.run(name, start + chance.uniform(0, 3) * HOUR, NOW + HOUR, False)
    buyers = _Simulation("checkout", store, chance)
    for number in range(1, 5):
        await buyers.run(f"checkout#{number}", start + number * 9 * HOUR, start + (number * 9 + 20) * HOUR, number == 2)
    await store.add_analytics([], [*_runs(start), *_account_events()])
    await save(
        store, record("dave", pool="staff", status="new", start_time=NOW - 5 * HOUR, last_activity=NOW - 2 * HOUR)
    )


def _runs(start: float) -> list[Event]:
    """The events of a run every twelve hours: one was stopped, one found no account, and the last one continues."""
    reasons = ["finished", "shutdown", "finished", "session_login_failed", "finished", None]
    events = []
    for number, reason in enumerate(reasons):
        began = start + number * 12 * HOUR
        run = Run(f"{number:08x}", "shop", "shop", began)
        events.append(Event("shop", FOLDED, None, began, "run_started", run.detail))
        if reason is not None:
            ended = began + (11 - number) * HOUR
            run = run._replace(finished=ended, reason=reason, pages=3000 - 80 * number, requests=3600 - 90 * number)
            events.append(Event("shop", FOLDED, None, ended, "run_finished", run.detail))
    return events


def _account_events() -> list[Event]:
    """The events of an account whose login was given up, of one whose login fails, and of pages that are closed."""
    failed = "the form with the password field was sent, and is still there"
    events = [Event("shop", "dave", "staff", NOW - 2 * HOUR + n, "login_failed", failed) for n in range(3)]
    events.append(Event("shop", "dave", "staff", NOW - 2 * HOUR + 3, "given_up", "could not be logged in"))
    events += [Event("shop", "carol", "staff", NOW - 900 + n, "login_failed", "status 503") for n in range(2)]
    for name in ("alice", "bob"):
        page = "https://shop.example/admin/prices (status 403)"
        events.append(Event("shop", name, "staff", NOW - 3 * HOUR, "closed_page", page))
    return events


class _Simulation:
    """Simulates the sessions of one *pool*."""

    def __init__(self, pool: str, store: MemoryStore, chance: random.Random) -> None:
        self._pool = pool
        self._store = store
        self._chance = chance

    async def run(self, session_id: str, created: float, end: float, banned: bool) -> None:
        """Run *session_id* from *created* to *end*: then it is *banned*, or expires, or is still in use."""
        chance, over = self._chance, end < NOW
        hours: list[HourCounts] = []
        events = [self._event(session_id, created, "created")]
        login_at = created + 30
        for hour in range(hour_of(created), hour_of(min(end, NOW - 1)) + 1, HOUR):
            logs_in = hour <= login_at < hour + HOUR
            turned_away = banned and hour + 3 * HOUR > end
            hours.append(self._hour(session_id, hour, int(logs_in), turned_away, banned and hour == hour_of(end)))
            if logs_in:
                if chance.random() < 0.15:
                    events.append(self._event(session_id, login_at - 5, "login_failed", "LoginFailed: no form found"))
                took = f"{hours[-1].login_seconds:.1f} s"
                events.append(self._event(session_id, login_at, "login", took))
                login_at += chance.uniform(8, 22) * HOUR
                if login_at < min(end, NOW):
                    events.append(
                        self._event(session_id, login_at - 40, "expired_login", "https://shop.example/account")
                    )
        if over and banned:
            events.append(
                self._event(session_id, end, "blocked", f"blocked at {chance.choice(_WORST)}?q=… (status 403)")
            )
        elif over:
            events.append(self._event(session_id, end, "expired", "idle_timeout"))
        await self._store.add_analytics(hours, events)
        if not over or banned:
            await save(self._store, self._record(session_id, created, min(end, NOW - 20), banned and over, hours))

    def _event(self, session_id: str, time: float, kind: EventKind, detail: str = "") -> Event:
        return Event("shop", session_id, self._pool, time, kind, detail)

    def _hour(self, session_id: str, hour: int, logins: int, turned_away: bool, last: bool) -> HourCounts:
        chance = self._chance
        day = 1 + 0.8 * (1 - abs((hour % _DAY) / HOUR - 14) / 12)  # busier around two in the afternoon
        pages = int(chance.uniform(12, 30) * day)
        wrong = chance.randint(4, 12) if turned_away else chance.choice((0, 0, 0, 1))
        responses = {200: pages, 302: int(pages * 0.15), 403: wrong, 429: wrong // 3, 503: chance.choice((0, 0, 1))}
        return HourCounts(
            "shop",
            self._pool,
            session_id,
            hour,
            requests=sum(responses.values()),
            pages=pages,
            responses={status: n for status, n in responses.items() if n},
            failures=wrong // 2,
            logins=logins,
            login_seconds=logins * chance.uniform(0.6, 2.8),
            login_failures=int(chance.random() < 0.1) * logins,
            blocked=int(last),
            bytes=pages * 40_000,
            latency=pages * 0.3,
        )

    def _record(
        self, session_id: str, created: float, last: float, banned: bool, hours: list[HourCounts]
    ) -> PersistentSession:
        chance = self._chance
        metrics = Metrics(
            requests=sum(row.requests for row in hours),
            responses={"200": sum(row.pages for row in hours)},
            logins=sum(row.logins for row in hours),
            failures=sum(row.failures for row in hours),
        )
        for row in hours:
            for status, n in row.responses.items():
                if status != 200:
                    metrics.responses[str(status)] = metrics.responses.get(str(status), 0) + n
        places = [chance.choice(_WORST) for _ in range(8)]
        actions = [f"GET {place} {403 if banned and n > 3 else 200}" for n, place in enumerate(places)]
        day = float(_DAY)
        cookies = [
            _cookie("sid", None, last),
            _cookie("csrf", last + HOUR, last),
            _cookie("consent", created + 180 * day, created),
            _cookie("_visitor", created + 400 * day, created),
            _cookie("ab_test", created + 2 * day, created),
        ]
        return record(
            session_id,
            pool=self._pool,
            start_time=created,
            last_activity=last,
            pages_visited=sum(row.pages for row in hours),
            metrics=metrics,
            actions_performed=actions,
            cookies=cookies[: chance.randint(2, 5)],
            status="retired" if banned else "ready",
            retired_reason=f"blocked at {places[-1]} (status 403)" if banned else None,
            generation=metrics.logins,
        )


def _cookie(name: str, expires: float | None, updated: float) -> Cookie:
    return Cookie(name=name, value="x", domain="shop.example", expires=expires, created=updated, updated=updated)
