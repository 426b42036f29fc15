"""What the events of a session tell of its lives: under one id there may have been several, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.report.data import Mark
from scrapy_sessions.report.redact import reason
from scrapy_sessions.storage.base import Key

__all__ = ["Past", "pasts_of"]

_RETIRING = frozenset({"blocked", "retired"})
_REMOVING = frozenset({"expired", "deleted"})


@dataclass(slots=True)
class _Span:
    born: float | None
    last: float
    retired: float | None = None
    removed: float | None = None

    @property
    def end(self) -> float | None:
        return self.removed if self.retired is None else self.retired


@dataclass(slots=True)
class Past:
    """The events of one session id, oldest first, and the lives they tell of."""

    pool: str | None = None
    reason: str = ""
    marks: list[Mark] = field(default_factory=list)
    spans: list[_Span] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Add *event*, which comes after those before it."""
        self.pool = event.pool or self.pool
        self.marks.append(Mark(event.time, event.kind, reason(event.detail)))
        if event.kind == "born" or not self.spans or self.spans[-1].removed is not None:
            self.spans.append(_Span(event.time if event.kind == "born" else None, event.time))
        span = self.spans[-1]
        span.last = event.time
        if event.kind in _RETIRING:
            span.retired = span.retired or event.time
            self.reason = reason(event.detail) or event.kind
        elif event.kind in _REMOVING:
            span.removed = event.time
            if span.retired is None:
                self.reason = f"{event.kind}: {reason(event.detail)}" if event.detail else event.kind

    @property
    def born(self) -> float | None:
        """When its last life began, if that is known."""
        return self.spans[-1].born if self.spans else None

    @property
    def last(self) -> float | None:
        """The time of its last event."""
        return self.spans[-1].last if self.spans else None

    def retired_since(self, born: float) -> float | None:
        """When it was retired in the life that began at *born*."""
        return next((s.retired for s in reversed(self.spans) if s.retired is not None and s.retired >= born), None)

    def before(self, born: float | None) -> list[tuple[float, float, bool, bool]]:
        """Return its lives before the one that began at *born* (``None``: all), if their birth is known.

        Each is birth, end, whether it ended, and whether it was retired.
        """
        return [
            (span.born, span.end or span.last, span.end is not None, span.retired is not None)
            for span in self.spans
            if span.born is not None and (born is None or span.born < born)
        ]


def pasts_of(events: Iterable[Event]) -> dict[Key, Past]:
    """Return what *events*, oldest first, tell of each session."""
    pasts: dict[Key, Past] = {}
    for event in events:
        pasts.setdefault(Key(event.namespace, event.session_id), Past()).add(event)
    return pasts
