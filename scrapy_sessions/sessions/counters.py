"""How much of what a session did has been counted."""

from __future__ import annotations

from operator import attrgetter
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


_numbers = attrgetter("requests", "pages_visited", "failures", "logins", "bytes", "latency")


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
        return cls._make((*_numbers(session), tuple(session.responses.items())))

    def rebased(self, before: CounterSnapshot, after: CounterSnapshot) -> CounterSnapshot:
        """Return what counts as counted after the counters of the session were changed from *before* to *after*.

        The difference is the work of other processes, which count it themselves.
        """
        counted, previous = dict(self.responses), dict(before.responses)
        responses = tuple(
            (status, counted.get(status, 0) + count - previous.get(status, 0)) for status, count in after.responses
        )
        numbers = [mine + now - old for mine, now, old in zip(self[:-1], after[:-1], before[:-1], strict=True)]
        return CounterSnapshot._make((*numbers, responses))


ZERO = CounterSnapshot(0, 0, 0, 0, 0, 0.0, ())
"""The counters of a new session."""
