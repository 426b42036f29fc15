"""Reads a store for a report: page by page, so that 100,000 sessions need little more memory than 1,000."""

from __future__ import annotations

import time as clock
from collections.abc import AsyncIterator, Callable
from pathlib import PurePath
from urllib.parse import urlsplit

from scrapy_sessions.analytics.model import FOLDED, HOUR, Event, HourCounts, hour_of
from scrapy_sessions.exceptions import CorruptRecord, NewerSchema
from scrapy_sessions.models import PersistentSession, SessionInfo
from scrapy_sessions.report.aggregates import CookieLives, Most, Urls, slowest_logins
from scrapy_sessions.report.data import Bucket, Life, Pool, Report, Session, Totals
from scrapy_sessions.report.lifetimes import Past, pasts_of
from scrapy_sessions.report.redact import reason
from scrapy_sessions.storage.base import AnalyticsStore, Key, SessionStore
from scrapy_sessions.storage.codec import decode

__all__ = ["MOST_COOKIES", "MOST_LOGINS", "MOST_POOLS", "MOST_SESSIONS", "MOST_URLS", "gather"]

MOST_SESSIONS = 500
"""How many sessions a report tells of one by one. All of them are in its totals."""
MOST_POOLS = 200
MOST_URLS = 100
MOST_COOKIES = 100
MOST_LOGINS = 300

_PAGE = 500  # records read at once
_LISTED = 5000  # sessions listed at once: a page costs a store a seek for each pool
_MARKS = 60  # events shown of one session, the newest
_BARS = 168  # hours of a week: with more, a bar is several hours
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
    """Return what *store*, which is open, tells of its sessions. Changes nothing in it, and holds no lock.

    :param namespace: ``None``: all
    :param pool: only sessions of this pool
    :param since: only sessions active since then, hours and events since then (UNIX seconds)
    :param on_progress: called with how many more sessions were read, after each page of them
    """
    report = Report(
        made=clock.time() if now is None else now,
        location=_place(store.location),
        namespace=namespace,
        pool=pool,
        since=since,
        analytics=isinstance(store, AnalyticsStore),
    )
    await _Gathering(store, report, on_progress or (lambda n: None)).run()
    return report


class _Gathering:
    """Collects the sessions of *store* into *report*."""

    def __init__(self, store: SessionStore, report: Report, on_progress: Callable[[int], None]) -> None:
        self._store = store
        self._report = report
        self._on_progress = on_progress
        self._totals: Totals = report.totals
        self._pools: dict[tuple[str, str | None], Pool] = {}
        self._by_session: dict[Key, Session] = {}  # what the hours know of each, added to its record
        self._most = Most(MOST_SESSIONS)
        self._urls = Urls()
        self._cookies = CookieLives()
        self._pasts: dict[Key, Past] = {}
        self._seen: set[Key] = set()

    async def run(self) -> None:
        report = self._report
        if isinstance(self._store, AnalyticsStore):
            await self._read_analytics(self._store)
        async for page in self._pages():
            rows = await self._store.load_many([_key(info) for info in page])
            for info, row in zip(page, rows, strict=True):
                if row is None:
                    continue  # deleted since it was listed
                try:
                    self._add(decode(row), info["is_active"])
                except (CorruptRecord, NewerSchema):
                    self._totals.unreadable += 1
            self._on_progress(len(page))
        await self._add_removed()
        quarantined = [key for key, _ in await self._store.quarantined()]
        self._totals.quarantined = sum(report.namespace in (None, key.namespace) for key in quarantined)
        pools = sorted(self._pools.values(), key=lambda pool: (-pool.pages, pool.namespace, pool.name or ""))
        self._totals.pools = sum(pool.name is not None for pool in pools)
        report.pools, report.pools_left_out = pools[:MOST_POOLS], len(pools[MOST_POOLS:])
        report.sessions = self._most.chosen()
        report.urls, report.urls_left_out = self._urls.worst(MOST_URLS)
        report.cookies, report.cookies_left_out = self._cookies.most(MOST_COOKIES)
        report.lifetimes, report.ages = self._cookies.lifetimes, self._cookies.ages

    async def _pages(self) -> AsyncIterator[list[SessionInfo]]:
        """The sessions to tell of, each once.

        A running crawl moves sessions to the front of the list while it is read, past the place we are at: those are
        read when the list is at its end, from the front again.
        """
        report, seen, started = self._report, self._seen, clock.time()
        for oldest in (report.since or 0.0, max(report.since or 0.0, min(started, report.made) - 1)):
            pages = self._store.pages(now=report.made, namespace=report.namespace, pool=report.pool, size=_LISTED)
            async for page in pages:
                fresh = [info for info, _ in page if info["last_activity"] >= oldest and _key(info) not in seen]
                seen.update(map(_key, fresh))
                for start in range(0, len(fresh), _PAGE):
                    yield fresh[start : start + _PAGE]
                if page[-1][0]["last_activity"] < oldest:
                    break

    async def _read_analytics(self, store: AnalyticsStore) -> None:
        report = self._report
        since = None if report.since is None else float(hour_of(report.since))
        hours = await store.hour_counts(report.namespace, since, None)
        events = await store.events(report.namespace, report.since, None)
        if report.pool is not None:
            hours = [row for row in hours if row.pool == report.pool]
            members = {(row.namespace, row.session_id) for row in hours}
            events = [e for e in events if e.pool == report.pool or (e.namespace, e.session_id) in members]
        report.events = len(events)
        self._add_hours(hours)
        report.logins, report.logins_left_out = slowest_logins(filter(self._in_hours, events), MOST_LOGINS)
        for event in events:
            self._urls.add_event(event)
        self._pasts = pasts_of(reversed(events))  # oldest first

    def _add_hours(self, hours: list[HourCounts]) -> None:
        report = self._report
        if not hours:
            return
        first, last = min(row.hour for row in hours), max(row.hour for row in hours)
        count = (last - first) // 3600 + 1
        width = 3600 * next((width for width in _WIDTHS if count <= width * _BARS), count)
        first -= first % width
        report.bucket_seconds = float(width)
        report.buckets = [Bucket(start=float(start)) for start in range(first, last + 1, width)]
        for row in hours:
            of_session = self._by_session.setdefault(Key(row.namespace, row.session_id), Session(pool=row.pool))
            for counts in (report.buckets[(row.hour - first) // width], of_session):
                counts.pages += row.pages
                counts.requests += row.requests
                counts.responses.update(row.responses)
                counts.failures += row.failures
                counts.logins += row.logins
                counts.login_failures += row.login_failures
                counts.timed_logins += row.logins
                counts.login_seconds += row.login_seconds
                counts.blocked += row.blocked
            of_session.last = max(of_session.last, float(row.hour))

    def _in_hours(self, event: Event) -> bool:
        """Whether *event* is of the hours that the counters are of, if there are any: events are kept for longer."""
        buckets = self._report.buckets
        # A login is counted when its session is saved, and that may be in the next hour.
        return not buckets or buckets[0].start - HOUR <= event.time < buckets[-1].start + self._report.bucket_seconds

    def _add(self, record: PersistentSession, active: bool) -> None:
        """Add a session of the store."""
        key, made = Key(record.namespace, record.session_id), self._report.made
        past, hours = self._pasts.get(key), self._by_session.get(key)
        expired = record.status != "retired" and not active
        session = Session(
            key=key,
            pool=record.pool,
            state="expired" if expired else record.status,
            reason=reason(record.retired_reason or ""),
            born=record.start_time,
            last=record.last_activity,
            cookies=len(record.cookies),
            pages=record.pages_visited,
            requests=record.metrics.requests,
            failures=record.metrics.failures,
            logins=record.metrics.logins,
        )
        session.responses.update({int(status): n for status, n in record.metrics.responses.items()})
        if hours is not None:
            session.login_failures, session.blocked = hours.login_failures, hours.blocked
            session.timed_logins, session.login_seconds = hours.timed_logins, hours.login_seconds
        if record.status == "retired":
            session.ended = past.retired_since(record.start_time) if past is not None else None
            session.ended = session.ended or record.last_activity
        elif expired and record.expiry is not None:
            session.ended, session.reason = min(record.expiry[0], made), record.expiry[1]
        if past is not None:
            session.marks = past.marks[-_MARKS:]
            self._report.lives += [self._life(*life) for life in past.before(record.start_time)]
        end = session.ended if session.ended is not None else min(record.last_activity, made)
        self._report.lives.append(
            self._life(record.start_time, end, session.ended is not None, record.status == "retired")
        )
        self._totals.cookies += session.cookies
        self._cookies.add(record.cookies, made)
        self._urls.add_history(record.actions_performed)
        self._count(session)

    async def _add_removed(self) -> None:
        """Add the sessions that the store has no record of any more: hours and events tell that there were some."""
        keys = [key for key in {**self._pasts, **self._by_session} if key not in self._seen]
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            # Those that are there were not active since what was asked for, or were born while we read.
            for key, row in zip(page, await self._store.load_many(page), strict=True):
                session = self._by_session.get(key) or Session()
                if key.session_id == FOLDED:
                    self._add_folded(key, session)
                elif row is None:
                    self._removed(key, session, self._pasts.get(key) or Past())

    def _removed(self, key: Key, session: Session, past: Past) -> None:
        self._report.lives += [self._life(*life) for life in past.before(None)]
        session.key, session.pool = key, session.pool or past.pool
        session.state, session.reason = "removed", past.reason
        session.born, session.ended = past.born, past.last
        session.last = max(session.last, past.last or 0.0)
        session.marks = past.marks[-_MARKS:]
        self._count(session)

    def _add_folded(self, key: Key, folded: Session) -> None:
        """Add what a pool's folded hours alone know: the other numbers stand in the records of its sessions."""
        rest = Session(key=key, pool=folded.pool, login_failures=folded.login_failures, blocked=folded.blocked)
        rest.timed_logins, rest.login_seconds = folded.timed_logins, folded.login_seconds
        self._totals.add(rest)
        self._pool(rest).add(rest)

    def _pool(self, session: Session) -> Pool:
        place = (session.key.namespace, session.pool)
        return self._pools.setdefault(place, Pool(namespace=place[0], name=place[1]))

    def _count(self, session: Session) -> None:
        pool = self._pool(session)
        self._totals.add(session)
        pool.add(session)
        self._totals.states[session.state] += 1
        pool.states[session.state] += 1
        pool.last = max(pool.last, session.last)
        self._most.add(session)

    def _life(self, born: float, end: float, ended: bool, retired: bool) -> Life:
        since = self._report.since
        return Life(-1.0 if since is None or since <= born else since - born, max(end - born, 0.0), ended, retired)


def _key(info: SessionInfo) -> Key:
    return Key(info["namespace"], info["session_id"])


def _place(location: str) -> str:
    """Return *location* as it may be shown to others: a file without its folders, a server without credentials."""
    if "://" not in location:
        return PurePath(location).name
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
