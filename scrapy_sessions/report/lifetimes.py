"""The lifetimes of sessions, from their events. One id may have had several sessions, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.report.data import Mark
from scrapy_sessions.report.redact import reason
from scrapy_sessions.storage.base import Key


@dataclass(slots=True)
class _Span:
    created: float | None
    last: float
    retired: float | None = None
    removed: float | None = None


@dataclass(slots=True)
class SessionEvents:
    """The events of one session id, oldest first, and the spans from creation to end that they describe.

    :param failures: the logins that failed since the last one that succeeded, the last of them ``failure``
    :param given_up: whether its login was given up since then
    """

    pool: str | None = None
    reason: str = ""
    marks: list[Mark] = field(default_factory=list)
    spans: list[_Span] = field(default_factory=list)
    failures: int = 0
    failure: Mark | None = None
    given_up: bool = False

    def add(self, event: Event) -> None:
        """Add *event*, which is later than the events before it."""
        detail = reason(event.detail)
        self.pool = event.pool or self.pool
        mark = Mark(event.time, event.kind, detail)
        if event.kind != "closed_page":
            self.marks.append(mark)
        self._note_login(mark)
        created = event.kind == "created"
        if created or not self.spans or self.spans[-1].removed is not None:
            self.spans.append(_Span(event.time if created else None, event.time))
        span = self.spans[-1]
        span.last = event.time
        if event.kind in {"blocked", "retired"}:
            span.retired = span.retired or event.time
            self.reason = detail or event.kind
        elif event.kind in {"expired", "deleted"}:
            span.removed = event.time
            if span.retired is None:
                self.reason = f"{event.kind}: {detail}" if detail else event.kind

    def _note_login(self, mark: Mark) -> None:
        if mark.kind == "login_failed":
            self.failures, self.failure = self.failures + 1, mark
        elif mark.kind == "given_up":
            self.given_up, self.failure = True, self.failure or mark
        elif mark.kind in {"login", "deleted"}:
            self.failures, self.failure, self.given_up = 0, None, False

    @property
    def created(self) -> float | None:
        """When the last session was created, if that is known."""
        return self.spans[-1].created if self.spans else None

    @property
    def last(self) -> float | None:
        """The time of the last event."""
        return self.spans[-1].last if self.spans else None

    def retired_since(self, created: float) -> float | None:
        """When the session created at *created* was retired."""
        return next((s.retired for s in reversed(self.spans) if s.retired is not None and s.retired >= created), None)

    def before(self, created: float | None) -> list[tuple[float, float, bool, bool]]:
        """Return the sessions before the one created at *created* (``None``: all) whose creation is known.

        Each is: when it was created, its end or last event, whether it ended, and whether it was retired.
        """
        found = []
        for span in self.spans:
            if span.created is not None and (created is None or span.created < created):
                end = span.removed if span.retired is None else span.retired
                found.append((span.created, end or span.last, end is not None, span.retired is not None))
        return found


def events_by_session(events: Iterable[Event]) -> dict[Key, SessionEvents]:
    """Return *events*, oldest first, by session."""
    found: dict[Key, SessionEvents] = {}
    for event in events:
        found.setdefault(Key(event.namespace, event.session_id), SessionEvents()).add(event)
    return found
