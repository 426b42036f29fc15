"""When a store drops what its analytics keep beyond their bounds."""

from __future__ import annotations

from scrapy_sessions.analytics.model import hour_of
from scrapy_sessions.storage.base import AnalyticsStore

__all__ = ["PruneSchedule"]

_SHARE = 20  # of a bound may be added before somebody looks again: to count all rows at every write would cost more


class PruneSchedule:
    """Says when to look: at the first write of a process, when the hour turns, and when a twentieth has been added."""

    def __init__(self) -> None:
        self._hour: int | None = None
        self._rows = 0
        self._events = 0

    def due(self, store: AnalyticsStore, now: float, rows: int, events: int) -> bool:
        """Whether *store*, to which *rows* and *events* are being added now, is to be looked at."""
        self._rows += rows
        self._events += events
        hour = hour_of(now)
        if (
            hour == self._hour
            and self._rows * _SHARE < store.max_hour_rows
            and self._events * _SHARE < store.max_events
        ):
            return False
        self._hour, self._rows, self._events = hour, 0, 0
        return True
