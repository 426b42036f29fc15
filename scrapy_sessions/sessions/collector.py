"""Counting what sessions do, without a part in any request: by what their own counters grew, from save to save."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, TypeAlias, TypeVar

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, Event, EventKind, HourCounts, hour_of, summed
from scrapy_sessions.analytics.redaction import tidy
from scrapy_sessions.sessions.counters import CounterSnapshot
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage.base import AnalyticsStore, SessionStore

__all__ = ["Collector", "Listener", "flush_interval"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

Listener: TypeAlias = Callable[[Mapping["str | None", HourCounts]], None]
"""Takes the sums since the start, by pool. Called in a thread of its own."""

# Seconds of counts that a kill may cost, and by which `scrapy sessions stats --watch` lags behind. Five saves in one
# write keep its cost well below that of saving; half a minute is what a watcher still waits for.
_SAVES = 5
_SHORTEST, _LONGEST = 1.0, 30.0

_BATCH = 200  # rows made and written at once: a millisecond of the event loop, and of whoever else wants to write
_MAX_EVENTS = 10_000  # that wait to be written: as many as a namespace keeps
_MAX_LATE = 20_000  # rows kept while the store fails: beyond it, the oldest are folded into their pools

_UNWRITTEN = "Analytics could not be written; they stay in memory and are tried again: %s"
_UNHEARD = "The sums of analytics could not be handed on; they are with the next write: %s"


class _Place(NamedTuple):
    namespace: str
    pool: str | None
    session_id: str
    hour: int

    @classmethod
    def of(cls, row: HourCounts) -> _Place:
        return cls(row.namespace, row.pool, row.session_id, row.hour)


class _Tally:
    """The numbers of one row, that can be added to: a row itself can't, and to make one for each save takes longer."""

    __slots__ = (*COUNTERS, "responses")

    def __init__(self) -> None:
        self.requests = self.pages = self.failures = self.logins = self.login_failures = 0
        self.blocked = self.suspects = self.bytes = 0
        self.login_seconds = self.latency = 0.0
        self.responses: dict[int, int] = {}


def _row(place: _Place, tally: _Tally) -> HourCounts:
    return HourCounts(*place, responses=tally.responses, **{name: getattr(tally, name) for name in COUNTERS})


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def flush_interval(save_interval: float) -> float:
    """Return how many seconds lie between two writes of analytics, for sessions saved every *save_interval* seconds."""
    return max(_SHORTEST, min(_SAVES * save_interval, _LONGEST))


class Collector:
    """Collects counters and events of live sessions, and writes them to the store now and then.

    A fault of the store costs no session and no request: it is logged once, counted, and what wasn't written is tried
    again.

    :param save_interval: seconds between two saves of a session
    :param count: counts a fault in the stats
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        save_interval: float,
        clock: Callable[[], float],
        count: Callable[[str, int], None],
    ) -> None:
        self._store = store if isinstance(store, AnalyticsStore) else None
        self._interval = flush_interval(save_interval)
        self._clock = clock
        self._count = count
        self._listener: Listener | None = None
        self._keeps_sums = False
        self._sums: dict[str | None, HourCounts] = {}
        self._tallies: dict[_Place, _Tally] = {}
        self._late: dict[_Place, HourCounts] = {}  # what could not be written
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._passing: list[SessionRuntime] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._running = False
        self._failing: set[str] = set()
        if self._store is None:
            logger.info("%s is no AnalyticsStore: statistics and events are not stored", type(store).__name__)

    def listen(self, listener: Listener) -> None:
        """Tell *listener* the sums at every write."""
        self._listener = listener
        self._keeps_sums = True

    def keep_sums(self) -> None:
        """Add up what is counted since the start, for :attr:`sums`."""
        self._keeps_sums = True

    @property
    def sums(self) -> Mapping[str | None, HourCounts]:
        """What was counted since the start, by pool, up to the last :meth:`flush`."""
        return self._sums

    # What is counted

    def collect(self, session: SessionRuntime) -> None:
        """Take up what *session* did since it was seen last. Called when it is saved, and at its end."""
        if not self._on:
            return
        before, now = session.counted, CounterSnapshot.of(session)
        if now == before:
            return
        session.counted = now
        tally = self._tally(session)
        tally.requests += now.requests - before.requests
        tally.pages += now.pages - before.pages
        tally.failures += now.failures - before.failures
        tally.logins += now.logins - before.logins
        tally.bytes += now.bytes - before.bytes
        tally.latency += now.latency - before.latency
        counted = dict(before.responses)
        for status, count in now.responses:
            grown = count - counted.get(status, 0)
            if grown:
                tally.responses[status] = tally.responses.get(status, 0) + grown

    def track_transient(self, session: SessionRuntime) -> None:
        """*session* is never saved: look at it before each write."""
        if self._on:
            self._passing.append(session)
            self._schedule()

    def suspected(self, session: SessionRuntime) -> None:
        """*session* drew the verdict SUSPECT."""
        if self._on:
            self._tally(session).suspects += 1

    def record_event(self, kind: EventKind, session: SessionRuntime, detail: str = "", *, seconds: float = 0.0) -> None:
        """Note that *kind* happened to *session*, now; a login that worked took *seconds*."""
        if not self._on:
            return
        if kind == "login":
            self._tally(session).login_seconds += seconds
        elif kind == "login_failed":
            self._tally(session).login_failures += 1
        elif kind == "blocked":
            self._tally(session).blocked += 1
        if not session.transient:
            self.record_event_for(kind, session.namespace, session.id, session.pool, detail)

    def record_created(self, session: SessionRuntime) -> None:
        """*session* was saved for the first time."""
        self.record_event_for("created", session.namespace, session.id, session.pool, time=session.start_time)

    def record_event_for(
        self,
        kind: EventKind,
        namespace: str,
        session_id: str,
        pool: str | None,
        detail: str = "",
        *,
        time: float | None = None,
    ) -> None:
        """As :meth:`note`, of a session that may not be live; *time* is now by default."""
        if self._store is not None:
            when = self._clock() if time is None else time
            self._events.append(Event(namespace, session_id, pool, when, kind, tidy(detail)))
            self._schedule()

    # When it is written

    def start(self) -> None:
        """Begin to write, as the store is open now."""
        self._running = True
        if self._tallies or self._events or self._passing:
            self._schedule()

    async def flush(self) -> None:
        """Write what has been counted up to now. Raises nothing but what cancels it, and is done all the same then."""
        task = asyncio.ensure_future(self._flush())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Write what is left, and stop. Raises as :meth:`flush`."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.gather(*self._writing)
        await self.flush()

    @property
    def _on(self) -> bool:
        return self._store is not None or self._keeps_sums

    def _tally(self, session: SessionRuntime) -> _Tally:
        session_id = FOLDED if session.transient else session.id
        place = _Place(session.namespace, session.pool, session_id, hour_of(self._clock()))
        tally = self._tallies.get(place)
        if tally is None:
            tally = self._tallies[place] = _Tally()
            self._schedule()
        return tally

    def _schedule(self) -> None:
        if not self._running or self._timer is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no loop yet: the next count inside one, or the closing write, takes it along
        self._timer = loop.call_later(self._interval, self._begin)

    def _begin(self) -> None:
        self._timer = None
        task = asyncio.ensure_future(self._flush())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _flush(self) -> None:
        for sessions in _batches(self._passing):
            for session in sessions:
                self.collect(session)
            await asyncio.sleep(0)
        tallies, self._tallies = self._tallies, {}
        late, self._late = self._late, {}
        events = list(self._events)
        self._events.clear()
        working = self._store is not None
        new = (self._taken(tallies, places) for places in _batches(list(tallies)))
        for rows in chain(_batches(list(late.values())), new, ([],) if events else ()):
            if working and self._store is not None:
                working = await self._write(self._store, rows, events)
                events = []
            elif self._store is not None:  # it will hardly be there again a moment later
                self._keep(rows)
            await asyncio.sleep(0)  # a store in memory doesn't wait for anything
        if self._listener is not None and (tallies or not self._sums):
            await self._tell(self._listener)
        if self._passing or self._late:
            self._schedule()

    def _taken(self, tallies: Mapping[_Place, _Tally], places: Iterable[_Place]) -> list[HourCounts]:
        rows = [_row(place, tallies[place]) for place in places]
        if self._keeps_sums:
            self._sums = summed([*self._sums.values(), *rows], lambda row: row.pool)
        return rows

    async def _write(self, store: AnalyticsStore, rows: Sequence[HourCounts], events: Sequence[Event]) -> bool:
        if not (rows or events):
            return True
        try:
            await store.add_analytics(rows, events)
        except Exception as e:  # noqa: BLE001  # whatever a store of others raises: only analytics are at stake
            self._keep(rows)
            self._events = deque([*events, *self._events], maxlen=_MAX_EVENTS)
            self._report(_UNWRITTEN, e)
            return False
        self._failing.discard(_UNWRITTEN)
        return True

    def _keep(self, rows: Iterable[HourCounts]) -> None:
        late = self._late
        for row in rows:
            place = _Place.of(row)
            while place not in late and len(late) >= _MAX_LATE:
                oldest = next((each for each in late if each.session_id != FOLDED), None)
                if oldest is None:
                    break
                old = late.pop(oldest)
                folded = oldest._replace(session_id=FOLDED)
                late[folded] = late[folded] + old if folded in late else replace(old, session_id=FOLDED)
            late[place] = late[place] + row if place in late else row

    async def _tell(self, listener: Listener) -> None:
        try:
            await asyncio.to_thread(listener, self._sums)
            self._failing.discard(_UNHEARD)
        except Exception as e:  # noqa: BLE001  # likewise
            self._report(_UNHEARD, e)

    def _report(self, message: str, error: Exception) -> None:
        self._count("analytics_errors", 1)
        if message not in self._failing:  # said once, until it works again
            self._failing.add(message)
            logger.error(message, error)
