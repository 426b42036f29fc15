"""The analytics of the store in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from scrapy_sessions.analytics import FOLDED, Event, HourCounts, summed
from scrapy_sessions.storage.base import AnalyticsStore
from scrapy_sessions.storage.upkeep import Upkeep

__all__ = ["MemoryAnalytics"]

_Place: TypeAlias = tuple[int, str, str, str]


class MemoryAnalytics:
    """Keeps counters and events in memory, within the bounds of the store that has them."""

    def __init__(self, store: AnalyticsStore) -> None:
        self._store = store
        self._upkeep = Upkeep()
        self._hours: dict[_Place, HourCounts] = {}
        self._events: list[Event] = []  # in the order they came

    def add(self, hours: Sequence[HourCounts], events: Sequence[Event], now: float) -> None:
        for row in hours:
            self._add(row)
        self._events += events
        if self._upkeep.due(self._store, now, len(hours), len(events)):
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
        # Copied, as the caller may go on with its dict of statuses.
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
