"""When a store deletes analytics that are beyond its bounds."""

from __future__ import annotations

from scrapy_sessions.analytics.model import hour_of
from scrapy_sessions.storage.abilities import AnalyticsStore

_SHARE = 20  # pruning is due after a twentieth of a bound was added: counting all rows at every write would cost more


class PruneSchedule:
    """Decides when to prune: at the first write of a process, in a new hour, and when a twentieth has been added."""

    def __init__(self) -> None:
        self._hour: int | None = None
        self._rows = 0
        self._events = 0

    def due(self, store: AnalyticsStore, now: float, rows: int, events: int) -> bool:
        """Return whether to prune *store* now that so many *rows* and *events* are being added."""
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
