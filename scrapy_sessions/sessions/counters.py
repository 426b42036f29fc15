"""How much of what a session did has been counted."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class HasCounters(Protocol):
    """The counters of a live session."""

    requests: int
    pages_visited: int
    failures: int
    logins: int
    bytes: int
    latency: float
    responses: dict[int, int]


class CounterSnapshot(NamedTuple):
    """The counters of a live session at one moment. What they have grown by since is still to be counted."""

    requests: int
    pages: int
    failures: int
    logins: int
    bytes: int
    latency: float
    responses: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, session: HasCounters) -> CounterSnapshot:
        """Return the counters of *session* as they are now."""
        return cls(
            session.requests,
            session.pages_visited,
            session.failures,
            session.logins,
            session.bytes,
            session.latency,
            tuple(session.responses.items()),
        )

    def rebased(self, before: CounterSnapshot, after: CounterSnapshot) -> CounterSnapshot:
        """Return what counts as counted after the counters of the session were changed from *before* to *after*.

        The difference is the work of other processes, which count it themselves.
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
        )


ZERO = CounterSnapshot(0, 0, 0, 0, 0, 0.0, ())
"""The counters of a new session."""
