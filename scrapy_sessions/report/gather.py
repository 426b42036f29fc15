"""Reads a store for a report in pages, so that 100,000 sessions need little more memory than 1,000."""

from __future__ import annotations

import time as clock
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import PurePath
from urllib.parse import urlsplit

from scrapy_sessions.analytics.model import FOLDED, HOUR, Event, HourCounts, hour_of
from scrapy_sessions.analytics.runs import runs_of
from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, NewerSchema
from scrapy_sessions.models import PersistentSession, SessionInfo
from scrapy_sessions.report.aggregates import (
    Bounded,
    ClosedPages,
    CookieAggregate,
    SessionSelection,
    UrlAggregate,
    slowest_logins,
)
from scrapy_sessions.report.data import Bucket, Lifetime, Pool, Problem, Rate, Report, Session
from scrapy_sessions.report.lifetimes import SessionEvents, events_by_session
from scrapy_sessions.report.redact import reason
from scrapy_sessions.storage.abilities import AnalyticsStore
from scrapy_sessions.storage.base import Key, SessionStore
from scrapy_sessions.storage.codec import decode

MOST_SESSIONS = 500
"""The number of sessions that are shown individually. All sessions are in the totals."""
MOST_POOLS = 200
MOST_URLS = 100
MOST_COOKIES = 100
MOST_LOGINS = 300
MOST_RUNS = 100
MOST_PROBLEMS = 100

_PAGE = 500  # records read at once
_LISTED = 5000  # sessions listed at once: each page costs a store one seek per pool
_MARKS = 60  # the newest events of one session
_BARS = 168  # the hours of a week: if there are more, a bar is several hours
_DAY = 24 * HOUR
_WIDTHS = (1, 2, 3, 6, 12, 24, 48, 168, 720)  # hours


async def gather(
    store: SessionStore,
    *,
    namespace: str | None = None,
    pool: str | None = None,
    since: float | None = None,
    now: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Report:
    """Return the data for a report on *store*, which must be open. It changes nothing and takes no lease.

    :param namespace: ``None``: all
    :param pool: only sessions of this pool
    :param since: only sessions active since then, hours and events since then (UNIX seconds)
    :param now: the time of the report, by default the present (UNIX seconds)
    :param on_progress: called after each page of sessions with the number of sessions in it
    """
    report = Report(
        generated=clock.time() if now is None else now,
        location=_public_location(store.location),
        namespace=namespace,
        pool=pool,
        since=since,
        analytics=isinstance(store, AnalyticsStore),
    )
    await _Gathering(store, report, on_progress).run()
    return report


class _Gathering:
    """Collects the sessions of *store* into *report*."""

    def __init__(self, store: SessionStore, report: Report, on_progress: Callable[[int], None] | None) -> None:
        self._store = store
        self._report = report
        self._on_progress = on_progress
        self._pools: dict[tuple[str, str | None], Pool] = {}
        self._pool_hours: dict[tuple[str, str | None], Pool] = {}  # the counters by hour of each pool
        self._hours: dict[Key, Session] = {}  # the sums of each session's hours
        self._events: dict[Key, SessionEvents] = {}
        self._selection = SessionSelection(MOST_SESSIONS)
        self._urls = UrlAggregate()
        self._cookies = CookieAggregate()
        self._listed: set[Key] = set()
        self._closed = ClosedPages()
        self._failing: Bounded[Key, Problem] = Bounded(lambda problem: problem.time, MOST_PROBLEMS)
        self._retired: Bounded[Key, Problem] = Bounded(lambda problem: problem.time, MOST_PROBLEMS)

    async def run(self) -> None:
        report, totals = self._report, self._report.totals
        if isinstance(self._store, AnalyticsStore):
            await self._read_analytics(self._store)
        async for page in self._pages():
            rows = await self._store.load_many([_key(info) for info in page])
            for info, row in zip(page, rows, strict=True):
                if row is None:
                    continue  # deleted since it was listed
                try:
                    self._add(decode(row, self._store.cipher), info["is_active"])
                except (CorruptRecord, EncryptionKeyError, NewerSchema):
                    totals.unreadable += 1
            if self._on_progress is not None:
                self._on_progress(len(page))
        await self._add_removed()
        quarantined = [key for key, _ in await self._store.quarantined()]
        totals.quarantined = sum(report.namespace in (None, key.namespace) for key in quarantined)
        report.failing, report.failing_left_out = self._failing.heaviest(MOST_PROBLEMS)
        report.retired, report.retired_left_out = self._retired.heaviest(MOST_PROBLEMS)
        report.closed, report.closed_left_out = self._closed.worst(MOST_PROBLEMS)
        pools = sorted(self._pools.values(), key=lambda pool: (-pool.pages, pool.namespace, pool.name or ""))
        totals.pools = sum(pool.name is not None for pool in pools)
        report.pools, report.pools_left_out = pools[:MOST_POOLS], len(pools[MOST_POOLS:])
        report.sessions = self._selection.selected()
        report.urls, report.urls_left_out = self._urls.worst(MOST_URLS)
        report.cookies, report.cookies_left_out = self._cookies.most_frequent(MOST_COOKIES)
        report.cookie_lifetimes, report.cookie_ages = self._cookies.lifetimes, self._cookies.ages

    async def _pages(self) -> AsyncIterator[list[SessionInfo]]:
        """The sessions of the report, each once.

        A running crawl moves sessions to the front of the list, which is read already. Therefore the front is read
        again at the end.
        """
        report, listed, started = self._report, self._listed, clock.time()
        since = report.since or 0.0
        for oldest in (since, max(since, min(started, report.generated) - 1)):
            pages = self._store.pages(now=report.generated, namespace=report.namespace, pool=report.pool, size=_LISTED)
            async for page in pages:
                new = [info for info, _ in page if info["last_activity"] >= oldest and _key(info) not in listed]
                listed.update(map(_key, new))
                for start in range(0, len(new), _PAGE):
                    yield new[start : start + _PAGE]
                if page[-1][0]["last_activity"] < oldest:
                    break

    async def _read_analytics(self, store: AnalyticsStore) -> None:
        report = self._report
        since = None if report.since is None else float(hour_of(report.since))
        hours = await store.hour_counts(report.namespace, since, None)
        events = await store.events(report.namespace, report.since, None)
        runs = runs_of(events)
        report.runs, report.runs_left_out = runs[:MOST_RUNS], len(runs[MOST_RUNS:])
        events = [event for event in events if event.session_id != FOLDED]  # those of runs are of no session
        if report.pool is not None:
            hours = [row for row in hours if row.pool == report.pool]
            members = {(row.namespace, row.session_id) for row in hours}
            events = [e for e in events if e.pool == report.pool or (e.namespace, e.session_id) in members]
        self._add_hours(hours)
        report.logins, report.logins_left_out = slowest_logins(filter(self._in_buckets, events), MOST_LOGINS)
        for event in events:
            self._urls.add_event(event)
            self._closed.add(event)
        self._events = events_by_session(reversed(events))  # oldest first

    def _add_hours(self, hours: list[HourCounts]) -> None:
        report = self._report
        if not hours:
            return
        first, last = min(row.hour for row in hours), max(row.hour for row in hours)
        count = (last - first) // HOUR + 1
        width = HOUR * next((width for width in _WIDTHS if count <= width * _BARS), count)
        first -= first % width
        report.bucket_seconds = float(width)
        report.buckets = [Bucket(start=float(start)) for start in range(first, last + 1, width)]
        for row in hours:
            session = self._hours.setdefault(Key(row.namespace, row.session_id), Session(pool=row.pool))
            session.add(row)
            session.last = max(session.last, float(row.hour))
            bucket = report.buckets[(row.hour - first) // width]
            bucket.add(row)
            pool = self._pool_hours.setdefault((row.namespace, row.pool), Pool())
            pages, bans = pool.hours.get(bucket.start, (0, 0))
            pool.hours[bucket.start] = pages + row.pages, bans + row.blocked
            rate, age = Rate(row.blocked, sum(row.responses.values())), report.generated - row.hour
            if age <= _DAY:
                pool.recent += rate
            elif age <= 8 * _DAY:
                pool.earlier += rate

    def _in_buckets(self, event: Event) -> bool:
        """Whether *event* is in the time of the counters, if there are any: a store keeps events for longer."""
        buckets = self._report.buckets
        # A login is counted when its session is saved, which may be in the next hour.
        return not buckets or buckets[0].start - HOUR <= event.time < buckets[-1].start + self._report.bucket_seconds

    def _add(self, record: PersistentSession, active: bool) -> None:
        """Add a session of the store."""
        key, now = Key(record.namespace, record.session_id), self._report.generated
        events, hours = self._events.get(key), self._hours.get(key)
        retired = record.status == "retired"
        expired = not retired and not active
        session = Session(
            key=key,
            pool=record.pool,
            state="expired" if expired else record.status,
            reason=reason(record.retired_reason or ""),
            created=record.start_time,
            last=record.last_activity,
            cookies=len(record.cookies),
            pages=record.pages_visited,
            requests=record.metrics.requests,
            failures=record.metrics.failures,
            logins=record.metrics.logins,
        )
        session.responses.update({int(status): n for status, n in record.metrics.responses.items()})
        if hours is not None:
            session.add_unrecorded(hours)
        if retired:
            retired_at = events.retired_since(record.start_time) if events is not None else None
            session.ended = retired_at or record.last_activity
        elif expired and record.expiry is not None:
            session.ended, session.reason = min(record.expiry[0], now), record.expiry[1]
        if events is not None:
            session.marks = events.marks[-_MARKS:]
            self._add_lifetimes(*events.before(record.start_time))
        end = session.ended if session.ended is not None else min(record.last_activity, now)
        self._add_lifetimes((record.start_time, end, session.ended is not None, retired))
        self._report.totals.cookies += session.cookies
        self._cookies.add(record.cookies, now)
        self._urls.add_history(record.actions_performed)
        self._count(session)

    async def _add_removed(self) -> None:
        """Add the sessions without a record, of which only counters and events are left."""
        keys = [key for key in {**self._events, **self._hours} if key not in self._listed]
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            # A session that has a record was not active since report.since, or was created while we read.
            for key, row in zip(page, await self._store.load_many(page), strict=True):
                session = self._hours.get(key) or Session()
                session.key = key
                if key.session_id == FOLDED:  # the other numbers are in the records of the pool's sessions
                    for counts in (self._report.totals, self._pool(session)):
                        counts.add_unrecorded(session)
                elif row is None:
                    self._count_removed(session, self._events.get(key) or SessionEvents())

    def _count_removed(self, session: Session, events: SessionEvents) -> None:
        self._add_lifetimes(*events.before(None))
        session.pool = session.pool or events.pool
        session.state, session.reason = "removed", events.reason
        session.created, session.ended = events.created, events.last
        session.last = max(session.last, events.last or 0.0)
        session.marks = events.marks[-_MARKS:]
        self._count(session)

    def _pool(self, session: Session) -> Pool:
        place = (session.key.namespace, session.pool)
        if place not in self._pools:
            known = self._pool_hours.get(place, Pool())
            self._pools[place] = replace(known, namespace=place[0], name=place[1])
        return self._pools[place]

    def _count(self, session: Session) -> None:
        pool = self._pool(session)
        for counts in (self._report.totals, pool):
            counts.add(session)
            counts.states[session.state] += 1
        pool.last = max(pool.last, session.last)
        activity = self._report.activity
        activity[pool.namespace] = max(activity.get(pool.namespace, 0.0), session.last)
        self._look_for_problems(session)
        self._selection.add(session)

    def _look_for_problems(self, session: Session) -> None:
        key, pool = session.key, session.pool
        # An anonymous session that was retired, or is gone, is replaced by the next one: that is no problem of its own.
        is_account = pool is None or not key.session_id.startswith(f"{pool}#")
        if session.state == "retired" and is_account:
            retired = Problem(key, pool, session.ended or session.last, session.reason)
            self._retired.get(key, lambda _: retired)
        events = self._events.get(key)
        if events is None or events.failure is None or session.state == "retired":
            return
        if is_account or session.state != "removed":
            time, _, words = events.failure
            failing = Problem(key, pool, time, words, events.given_up, events.failures)
            self._failing.get(key, lambda _: failing)

    def _add_lifetimes(self, *spans: tuple[float, float, bool, bool]) -> None:
        since = self._report.since
        for created, end, ended, retired in spans:
            entry = -1.0 if since is None or since <= created else since - created
            self._report.lifetimes.append(Lifetime(entry, max(end - created, 0.0), ended, retired))


def _key(info: SessionInfo) -> Key:
    return Key(info["namespace"], info["session_id"])


def _public_location(location: str) -> str:
    """Return *location* as others may read it: a file without its folders, a server without credentials."""
    if "://" not in location:
        return PurePath(location).name
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
