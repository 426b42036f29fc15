"""The table at the end of a crawl: what the sessions of each pool did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scrapy_sessions.signals import session_created, session_restored, session_retired

if TYPE_CHECKING:
    from scrapy_sessions.analytics.model import HourCounts
    from scrapy_sessions.sessions.browser_session import BrowserSession

_ROW = "{:<20.20} {:>8} {:>8} {:>8} {:>8} {:>8}  {}"
_HEADER = _ROW.format("pool", "sessions", "pages", "logins", "failures", "retired", "why").rstrip()
_REASONS = 3  # reasons of retirement named per pool, the most frequent first


class CrawlSummary:
    """Counts, per pool, what the closing table shows and analytics do not count."""

    def __init__(self) -> None:
        self._sessions: Counter[str | None] = Counter()
        self._retired: defaultdict[str | None, Counter[str]] = defaultdict(Counter)

    def count(self, signal: object, session: BrowserSession, reason: str) -> None:
        """Count one event of *session*."""
        if signal in (session_created, session_restored):
            self._sessions[session.pool] += 1
        elif signal is session_retired:
            self._retired[session.pool][reason] += 1

    def table(self, sums: Mapping[str | None, HourCounts]) -> str:
        """Return the table, with the *sums* of the crawl by pool; empty if no session was used."""
        rows = [_HEADER]
        for pool in sorted(self._sessions, key=lambda pool: (pool is None, pool or "")):
            counts = sums.get(pool)
            done = (0, 0, 0) if counts is None else (counts.pages, counts.logins, counts.failures)
            retired = self._retired[pool]
            why = "; ".join(f"{n} x {reason}" for reason, n in retired.most_common(_REASONS))
            name = "(no pool)" if pool is None else pool
            row = _ROW.format(name, self._sessions[pool], *done, sum(retired.values()), why)
            rows.append(row.rstrip())
        return "\n".join(rows) if len(rows) > 1 else ""
