"""The store in memory: the reference for the other stores, and the store of tests."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from scrapy_sessions.analytics.model import FOLDED, Event, HourCounts, PoolCounts, summed
from scrapy_sessions.json_limits import fault_of
from scrapy_sessions.storage.abilities import (
    AnalyticsStore,
    Batch,
    Claim,
    Claims,
    ClaimStore,
    Lease,
    LeaseStore,
    SharedStore,
)
from scrapy_sessions.storage.base import Expired, Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.claiming import REMEMBERED, poll
from scrapy_sessions.storage.listed import info_of, pools_of, sort_key, sort_key_of
from scrapy_sessions.storage.memory_claims import MemoryLeases
from scrapy_sessions.storage.retention import PruneSchedule

if TYPE_CHECKING:  # it loads pydantic, which a store does without
    from scrapy_sessions.models import SessionInfo, Status


class MemoryStore(SessionStore, LeaseStore, SharedStore, AnalyticsStore, ClaimStore):
    """Stores rows in memory, as long as the instance exists. :meth:`close` keeps them.

    Every method is atomic because none awaits anything. Use an instance from one event loop.

    :param clock: returns UNIX seconds; leases and claims expire by it
    """

    lasting = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.location = "memory://"
        self._clock = clock
        self._epoch = os.urandom(8).hex()
        self._rows: dict[Key, Row] = {}
        self._quarantine: list[tuple[Key, str]] = []
        self._leases = MemoryLeases(clock)
        self._shared: dict[str, tuple[bytes, int]] = {}
        self._analytics = _Analytics(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def epoch(self) -> str:
        return self._epoch

    async def load(self, key: Key) -> Row | None:
        return self._rows.get(key)

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        return [self._save(row, token) for row, token in zip(rows, tokens or [None] * len(rows), strict=True)]

    def _save(self, row: Row, token: int | None) -> Outcome:
        if self._leases.is_fenced(row.key, token):
            return Outcome.FENCED
        if fault_of(row[:4]):  # the texts that stores encode
            return Outcome.FAULT
        stored = self._rows.get(row.key)
        if stored is not None and (stored.revision, stored.stamp) == (row.revision, row.stamp):
            return Outcome.SAVED
        if row.revision == 1:
            if stored is not None:
                return Outcome.CONFLICT
        elif stored is None or stored.start_time != row.start_time:
            return Outcome.DELETED
        elif stored.revision != row.revision - 1 or (stored.stamp and row.replaces not in ("", stored.stamp)):
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

    async def delete(
        self,
        keys: Sequence[Key],
        revisions: Sequence[int] | None = None,
        start_times: Sequence[float] | None = None,
    ) -> list[bool]:
        if revisions is None:
            self._quarantine = [entry for entry in self._quarantine if entry[0] not in keys]
            return [self._rows.pop(key, None) is not None for key in keys]
        starts: Sequence[float | None] = start_times or [None] * len(keys)
        return [self._take(*each) is not None for each in zip(keys, revisions, starts, strict=True)]

    def _take(self, key: Key, revision: int | None, start_time: float | None = None) -> Row | None:
        stored = self._rows.get(key)
        if stored is None or stored.revision != revision or start_time not in (None, stored.start_time):
            return None
        return self._rows.pop(key)

    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        return [
            info_of(self._rows[key], now, self.location) for key in sorted(self._rows) if key.session_id == session_id
        ]

    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        found = [
            (row.expires_at, Expired(row.key, row.revision, row.start_time, row.expires_by))
            for row in self._rows.values()
            if namespace in (None, row.namespace)
            and row.expires_at is not None
            and row.expires_by is not None
            and row.expires_at <= now
        ]
        return [expired for _, expired in sorted(found)[:limit]]

    async def quarantine(self, key: Key, revision: int | None, reason: str) -> bool:
        if self._take(key, revision) is None:
            return False
        self._quarantine.append((key, reason))
        return True

    async def quarantined(self) -> list[tuple[Key, str]]:
        return self._quarantine.copy()

    async def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        return self._leases.lease(namespace, name, ttl)

    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        return self._leases.renew(lease, ttl)

    async def release(self, lease: Lease) -> bool:
        return self._leases.release(lease)

    async def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        return self._leases.enrol(namespace, pool, holder, session_ids, ttl)

    async def claim(
        self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float
    ) -> Claims:
        return self._leases.claim(namespace, pool, holder, held, want, ttl)

    async def wait(self, namespace: str, pool: str, holder: str, timeout: float) -> None:
        async def look() -> bool:
            return self._leases.may_claim(namespace, pool, holder)

        await poll(look, timeout)

    async def give_back(self, namespace: str, pool: str, held: Sequence[Claim], *, retire: bool = False) -> list[bool]:
        return self._leases.give_back(namespace, held, retire)

    async def add_analytics(
        self, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None = None
    ) -> None:
        self._analytics.add(hours, events, self._clock(), batch)

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
        return pools_of((row for row in self._rows.values() if namespace in (None, row.namespace)), now)

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
            (sort_key(row), row)
            for row in self._rows.values()
            if namespace in (None, row.namespace) and pool in (None, row.pool) and status in (None, row.status)
        )
        if (start := sort_key_of(after)) is not None:
            found = [(each, row) for each, row in found if each > start]
        return [(info_of(row, now, self.location), row.expires_at) for _, row in found[:limit]]

    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        return self._shared.get(namespace, (None, 0))

    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        if self._shared.get(namespace, (None, 0))[1] != version:
            return False
        self._shared[namespace] = body, version + 1
        return True


_Place: TypeAlias = tuple[int, str, str, str]


class _Analytics:
    """Counters and events in memory, within the bounds of *store*."""

    def __init__(self, store: AnalyticsStore) -> None:
        self._store = store
        self._prune_schedule = PruneSchedule()
        self._hours: dict[_Place, HourCounts] = {}
        self._events: list[Event] = []  # in the order of their arrival
        self._batches: dict[str, tuple[int, float]] = {}  # the last number of each writer, and when it came

    def add(self, hours: Sequence[HourCounts], events: Sequence[Event], now: float, batch: Batch | None) -> None:
        if batch is not None:
            self._batches = {writer: last for writer, last in self._batches.items() if last[1] > now - REMEMBERED}
            if batch.number <= self._batches.get(batch.writer, (-1, now))[0]:
                return
            self._batches[batch.writer] = batch.number, now
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
