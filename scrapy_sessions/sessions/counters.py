"""How much of what a session did has been counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["ZERO", "CounterSnapshot"]


class CounterSnapshot(NamedTuple):
    """The counters of a live session as they stood at one moment. What they have grown by since is still to count."""

    requests: int
    pages: int
    failures: int
    logins: int
    bytes: int
    latency: float
    responses: tuple[tuple[int, int], ...]
    retired: bool

    @classmethod
    def of(cls, session: BrowserSession) -> CounterSnapshot:
        """Return the counters of *session* as they are now."""
        return cls(
            session.requests,
            session.pages_visited,
            session.failures,
            session.logins,
            session.bytes,
            session.latency,
            tuple(session.responses.items()),
            session.status == "retired",
        )

    def rebased(self, before: CounterSnapshot, after: CounterSnapshot) -> CounterSnapshot:
        """Return what counts as counted when the session, which stood at *before*, was given the counters *after*.

        What came on top is the work of others, who count it themselves; what was still to count is so afterwards.
        """
        counted, stood = dict(self.responses), dict(before.responses)
        responses = tuple(
            (status, counted.get(status, 0) + count - stood.get(status, 0)) for status, count in after.responses
        )
        return CounterSnapshot(
            self.requests + after.requests - before.requests,
            self.pages + after.pages - before.pages,
            self.failures + after.failures - before.failures,
            self.logins + after.logins - before.logins,
            self.bytes + after.bytes - before.bytes,
            self.latency + after.latency - before.latency,
            responses,
            self.retired or (after.retired and not before.retired),
        )


ZERO = CounterSnapshot(0, 0, 0, 0, 0, 0.0, (), False)
"""That of a new session."""
