"""The store in memory: the reference for the other stores, and the store of tests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from scrapy_sessions.analytics.model import FOLDED, Event, HourCounts, PoolCounts, summed
from scrapy_sessions.storage.base import (
    AnalyticsStore,
    Expired,
    Key,
    Lease,
    LeaseStore,
    Outcome,
    Row,
    SessionStore,
    SharedStore,
)
from scrapy_sessions.storage.retention import PruneSchedule

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status


class MemoryStore(SessionStore, LeaseStore, SharedStore, AnalyticsStore):
    """Stores rows in memory, as long as the instance exists. :meth:`close` keeps them.

    Every method is atomic because none awaits anything. Use an instance from one event loop.

    :param clock: returns UNIX seconds; leases expire by it
    """

    lasting = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.location = "memory://"
        self._clock = clock
        self._rows: dict[Key, Row] = {}
        self._quarantine: list[tuple[Key, str]] = []
        self._leases: dict[str, Lease] = {}
        self._shared: dict[str, tuple[bytes, int]] = {}
        self._analytics = _Analytics(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def load(self, key: Key) -> Row | None:
        return self._rows.get(key)

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        return [self._save(row) for row in rows]

    def _save(self, row: Row) -> Outcome:
        stored = self._rows.get(row.key)
        if row.revision == 1:
            if stored is not None:
                return Outcome.CONFLICT
        elif stored is None or stored.start_time != row.start_time:
            return Outcome.DELETED
        elif stored.revision != row.revision - 1:
            return Outcome.CONFLICT
        self._rows[row.key] = row
        return Outcome.SAVED

    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        return [self._replace(row, old) for row, old in zip(rows, stored, strict=True)]

    def _replace(self, row: Row, old: Row | None) -> Outcome:
        there = self._rows.get(row.key)
        if old is None:
            if there is not None:
                return Outcome.CONFLICT
        elif there is None or there.start_time != old.start_time:
            return Outcome.DELETED
        elif there.revision != old.revision:
            return Outcome.CONFLICT
        self._rows[row.key] = row
        return Outcome.SAVED

    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        if revisions is None:
            self._quarantine = [entry for entry in self._quarantine if entry[0] not in keys]
            return [self._rows.pop(key, None) is not None for key in keys]
        return [self._take(key, revision) is not None for key, revision in zip(keys, revisions, strict=True)]

    def _take(self, key: Key, revision: int) -> Row | None:
        stored = self._rows.get(key)
        return self._rows.pop(key) if stored is not None and stored.revision == revision else None

    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        return [self._info(self._rows[key], now) for key in sorted(self._rows) if key.session_id == session_id]

    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        found = [
            (row.expires_at, Expired(row.key, row.revision, row.expires_by))
            for row in self._rows.values()
            if namespace in (None, row.namespace)
            and row.expires_at is not None
            and row.expires_by is not None
            and row.expires_at <= now
        ]
        return [expired for _, expired in sorted(found)[:limit]]

    async def quarantine(self, key: Key, revision: int, reason: str) -> bool:
        if self._take(key, revision) is None:
            return False
        self._quarantine.append((key, reason))
        return True

    async def quarantined(self) -> list[tuple[Key, str]]:
        return self._quarantine.copy()

    async def lease(self, name: str, ttl: float) -> Lease | None:
        now = self._clock()
        last = self._leases.get(name)
        if last is not None and last.expires_at > now:
            return None
        # A lease that was released or has expired is kept for its token: the next token must be higher.
        lease = self._leases[name] = Lease(name, last.token + 1 if last else 1, now + ttl)
        return lease

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        if not self._holds(lease):
            return None
        renewed = self._leases[lease.name] = lease._replace(expires_at=self._clock() + ttl)
        return renewed

    async def release(self, lease: Lease) -> bool:
        if not self._holds(lease):
            return False
        self._leases[lease.name] = lease._replace(expires_at=0.0)
        return True

    def _holds(self, lease: Lease) -> bool:
        held = self._leases.get(lease.name)
        return held is not None and held.token == lease.token and held.expires_at > self._clock()

    async def add_analytics(self, hours: Sequence[HourCounts], events: Sequence[Event]) -> None:
        self._analytics.add(hours, events, self._clock())

    async def hour_counts(
        self,
        namespace: str | None,
        since: float | None = None,
        until: float | None = None,
        *,
        by_session: bool = True,
    ) -> list[HourCounts]:
        return self._analytics.hour_counts(namespace, since, until, by_session)

    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        return self._analytics.events(namespace, since, limit)

    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        counts = (
            PoolCounts(
                row.namespace,
                row.pool,
                {row.status: 1},
                int(_is_active(row, now)),
                row.pages_visited,
                row.last_activity,
            )
            for row in self._rows.values()
            if namespace in (None, row.namespace)
        )
        pools = summed(counts, lambda pool: (pool.namespace, pool.pool or ""))
        return [pools[key] for key in sorted(pools)]

    def _info(self, row: Row, now: float) -> SessionInfo:
        return {
            "session_id": row.session_id,
            "namespace": row.namespace,
            "pool": row.pool,
            "profile_name": row.profile_name,
            "status": row.status,
            "start_time": row.start_time,
            "last_activity": row.last_activity,
            "pages_visited": row.pages_visited,
            "actions_count": row.actions_count,
            "is_active": _is_active(row, now),
            "storage": self.location,
        }

    async def list_with_expiry(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | None = None,
    ) -> list[tuple[SessionInfo, float | None]]:
        found = sorted(
            (_place(row), row)
            for row in self._rows.values()
            if namespace in (None, row.namespace) and pool in (None, row.pool) and status in (None, row.status)
        )
        if after is not None:
            start = (-after["last_activity"], after["namespace"], after["session_id"])
            found = [(place, row) for place, row in found if place > start]
        return [(self._info(row, now), row.expires_at) for _, row in found[:limit]]

    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        return self._shared.get(namespace, (None, 0))

    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        if self._shared.get(namespace, (None, 0))[1] != version:
            return False
        self._shared[namespace] = body, version + 1
        return True


def _is_active(row: Row, now: float) -> bool:
    return row.status != "retired" and (row.expires_at is None or row.expires_at > now)


def _place(row: Row) -> tuple[float, str, str]:
    return (-row.last_activity, row.namespace, row.session_id)


_Place: TypeAlias = tuple[int, str, str, str]


class _Analytics:
    """Counters and events in memory, within the bounds of *store*."""

    def __init__(self, store: AnalyticsStore) -> None:
        self._store = store
        self._prune_schedule = PruneSchedule()
        self._hours: dict[_Place, HourCounts] = {}
        self._events: list[Event] = []  # in the order of their arrival

    def add(self, hours: Sequence[HourCounts], events: Sequence[Event], now: float) -> None:
        for row in hours:
            self._add(row)
        self._events += events
        if self._prune_schedule.due(self._store, now, len(hours), len(events)):
            self._drop(now)

    def hour_counts(
        self, namespace: str | None, since: float | None, until: float | None, by_session: bool
    ) -> list[HourCounts]:
        rows = [
            self._hours[place]
            for place in sorted(self._hours)
            if namespace in (None, place[1])
            and (since is None or place[0] >= since)
            and (until is None or place[0] < until)
        ]
        if by_session:
            return rows
        pools = summed(rows, lambda row: (row.hour, row.namespace, row.pool))
        return [replace(row, session_id=FOLDED) for row in pools.values()]

    def events(self, namespace: str | None, since: float | None, limit: int | None) -> list[Event]:
        found = [
            event
            for event in reversed(self._events)
            if namespace in (None, event.namespace) and (since is None or event.time >= since)
        ]
        return sorted(found, key=lambda event: -event.time)[:limit]

    def _add(self, row: HourCounts) -> None:
        place = (row.hour, row.namespace, row.pool or "", row.session_id)
        # A copy, because the caller may change its dict of statuses later.
        self._hours[place] = self._hours[place] + row if place in self._hours else replace(row) + _NOTHING

    def _drop(self, now: float) -> None:
        oldest = now - self._store.hours_retention
        self._hours = {place: row for place, row in self._hours.items() if place[0] >= oldest}
        for step in (self._fold, self._forget):
            for hour in sorted({place[0] for place in self._hours}):
                if len(self._hours) <= self._store.max_hour_rows:
                    break
                step(hour)
        kept: Counter[str] = Counter()
        events = []
        for event in self.events(None, now - self._store.events_retention, None):
            kept[event.namespace] += 1
            if kept[event.namespace] <= self._store.max_events:
                events.append(event)
        self._events = events[::-1]

    def _fold(self, hour: int) -> None:
        for place in [place for place in self._hours if place[0] == hour and place[3] != FOLDED]:
            self._add(replace(self._hours.pop(place), session_id=FOLDED))

    def _forget(self, hour: int) -> None:
        self._hours = {place: row for place, row in self._hours.items() if place[0] != hour}


_NOTHING = HourCounts("", None, FOLDED, 0)
