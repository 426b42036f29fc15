"""Collects counters and events of sessions. Each save adds what the counters of a session have grown by."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple, TypeAlias, TypeVar

from scrapy_sessions.analytics.model import FOLDED, Event, EventKind, HourCounts, hour_of, summed
from scrapy_sessions.analytics.redaction import tidy
from scrapy_sessions.sessions.counters import CounterSnapshot
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage.abilities import AnalyticsStore, Batch
from scrapy_sessions.storage.base import SessionStore

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

Listener: TypeAlias = Callable[[Mapping["str | None", HourCounts]], None]
"""Receives the sums since the start, by pool. It is called in a thread of its own."""

# Seconds of counts that a killed process loses, and by which `scrapy sessions stats --watch` lags behind. One write for
# five saves costs much less than the saves; a lag above half a minute would make --watch useless.
_SAVES = 5
_SHORTEST, _LONGEST = 1.0, 30.0

_BATCH = 200  # rows created and written at once: blocks the event loop, and other writers, for a millisecond
_MAX_EVENTS = 10_000  # events in memory: as many as a store keeps of a namespace
_MAX_UNWRITTEN = 20_000  # rows in memory while the store fails: beyond this, the oldest are folded into their pools

_WRITE_FAILED = "Analytics could not be written; they stay in memory and are tried again: %s"
_LISTENER_FAILED = "The sums of analytics could not be handed on; they are with the next write: %s"


class _RowKey(NamedTuple):
    namespace: str
    pool: str | None
    session_id: str
    hour: int


class _Sent(NamedTuple):
    """What was written without an answer: it is written again as it is, so that the store recognises it."""

    batch: Batch
    rows: Sequence[HourCounts]
    events: Sequence[Event]


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def flush_interval(save_interval: float) -> float:
    """Return the seconds between two writes of analytics if sessions are saved every *save_interval* seconds."""
    return max(_SHORTEST, min(_SAVES * save_interval, _LONGEST))


class Collector:
    """Collects counters and events of live sessions, and writes them to the store at intervals.

    An error of the store affects no session and no request. It is logged once and counted, and the write is repeated.

    :param save_interval: seconds between two saves of a session
    :param count: counts an error in the stats
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
        self._enabled = self._store is not None
        self._listener: Listener | None = None
        self._keeps_sums = False
        self._sums: dict[str | None, HourCounts] = {}
        self._counting: dict[_RowKey, HourCounts] = {}
        self._writer = os.urandom(8).hex()
        self._number = 0  # of the last batch
        self._sent: _Sent | None = None
        self._unwritten: dict[_RowKey, HourCounts] = {}  # further rows, while writing fails
        self._events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self._transient: list[SessionRuntime] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()  # batches are written in the order of their numbers
        self._running = False
        self._failing: set[str] = set()
        if self._store is None:
            logger.info("%s is no AnalyticsStore: statistics and events are not stored", type(store).__name__)

    def listen(self, listener: Listener) -> None:
        """Call *listener* with the sums at every write."""
        self._listener = listener
        self.keep_sums()

    def keep_sums(self) -> None:
        """Keep :attr:`sums`."""
        self._keeps_sums = self._enabled = True

    @property
    def sums(self) -> Mapping[str | None, HourCounts]:
        """The counts since the start, by pool, up to the last :meth:`flush`."""
        return self._sums

    # What is counted

    def collect(self, session: SessionRuntime) -> None:
        """Count what *session* did since the last call. Called when it is saved, and at its end."""
        if not self._enabled:
            return
        before, now = session.counted, CounterSnapshot.of(session)
        if now == before:
            return
        session.counted = now
        row = self._row_of(session)
        row.requests += now.requests - before.requests
        row.pages += now.pages - before.pages
        row.failures += now.failures - before.failures
        row.logins += now.logins - before.logins
        row.bytes += now.bytes - before.bytes
        row.latency += now.latency - before.latency
        counted = dict(before.responses)
        for status, count in now.responses:
            if count > counted.get(status, 0):
                row.responses[status] = row.responses.get(status, 0) + count - counted.get(status, 0)

    def track_transient(self, session: SessionRuntime) -> None:
        """Count *session*, which is never saved, before each write."""
        if self._enabled:
            self._transient.append(session)
            self._schedule()

    def suspected(self, session: SessionRuntime) -> None:
        """Count a verdict SUSPECT on *session*."""
        if self._enabled:
            self._row_of(session).suspects += 1

    def record_event(self, kind: EventKind, session: SessionRuntime, detail: str = "", *, seconds: float = 0.0) -> None:
        """Record an event of *session* that happens now; a successful login took *seconds*."""
        if not self._enabled:
            return
        if kind == "login":
            self._row_of(session).login_seconds += seconds
        elif kind == "login_failed":
            self._row_of(session).login_failures += 1
        elif kind == "blocked":
            self._row_of(session).blocked += 1
        if not session.transient:
            self.record_event_for(kind, session.namespace, session.id, session.pool, detail)

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
        """Record an event of a session that may not be live. *time* is UNIX seconds; ``None``: now."""
        if self._store is not None:
            when = self._clock() if time is None else time
            self._events.append(Event(namespace, session_id, pool, when, kind, tidy(detail)))
            self._schedule()

    # When it is written

    def start(self) -> None:
        """Begin to write. The store must be open."""
        self._running = True
        if self._counting or self._events or self._transient:
            self._schedule()

    async def flush(self) -> None:
        """Write all counts and events. If the caller is cancelled, the write continues."""
        await asyncio.shield(self._begin_flush())

    async def close(self) -> None:
        """Write the rest, and stop."""
        self._running = False
        self._cancel_timer()
        await asyncio.gather(*self._flushes)
        await self.flush()

    def _row_of(self, session: SessionRuntime) -> HourCounts:
        session_id = FOLDED if session.transient else session.id
        key = _RowKey(session.namespace, session.pool, session_id, hour_of(self._clock()))
        row = self._counting.get(key)
        if row is None:
            row = self._counting[key] = HourCounts(*key)
            self._schedule()
        return row

    def _schedule(self) -> None:
        if not self._running or self._timer is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the next count inside a loop schedules a write, or close() writes
        self._timer = loop.call_later(self._interval, self._begin_flush)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin_flush(self) -> asyncio.Task[None]:
        self._cancel_timer()
        task = asyncio.ensure_future(self._flush())
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)
        return task

    async def _flush(self) -> None:
        async with self._writing:
            await self._write_all()

    async def _write_all(self) -> None:
        for sessions in _batches(self._transient):
            for session in sessions:
                self.collect(session)
            await asyncio.sleep(0)
        working = self._store is not None and await self._write_again(self._store)
        counted, self._counting = list(self._counting.values()), {}
        unwritten, self._unwritten = self._unwritten, {}
        events = list(self._events) if working else []
        if working:
            self._events.clear()
        new = (self._summed(rows) for rows in _batches(counted))
        for rows in chain(_batches(list(unwritten.values())), new, ([],) if events else ()):
            if working and self._store is not None:
                working = await self._write(self._store, rows, events)
                events = []
            elif self._store is not None:  # a second attempt a moment later would hardly succeed
                self._keep(rows)
            await asyncio.sleep(0)  # a store in memory never suspends
        if self._listener is not None and (counted or not self._sums):
            await self._call_listener(self._listener)
        if self._transient or self._unwritten or self._sent:
            self._schedule()

    def _summed(self, rows: Sequence[HourCounts]) -> Sequence[HourCounts]:
        """Add *rows* to the sums, and return them."""
        if self._keeps_sums:
            self._sums = summed([*self._sums.values(), *rows], lambda row: row.pool)
        return rows

    async def _write(self, store: AnalyticsStore, rows: Sequence[HourCounts], events: Sequence[Event]) -> bool:
        """Write *rows* and *events* as the next batch. Returns whether it worked."""
        if not (rows or events):
            return True
        self._number += 1
        # With the process, because a forked one has its own numbers.
        self._sent = _Sent(Batch(f"{self._writer} {os.getpid()}", self._number), rows, events)
        return await self._write_again(store)

    async def _write_again(self, store: AnalyticsStore) -> bool:
        """Write what has no answer yet. Returns whether it worked."""
        if self._sent is None:
            return True
        batch, rows, events = self._sent
        try:
            # Without the oldest events that are beyond the bound.
            await store.add_analytics(rows, events[max(len(events) + len(self._events) - _MAX_EVENTS, 0) :], batch)
        except Exception as e:  # noqa: BLE001  # a store may raise anything, and only analytics are affected
            self._report(_WRITE_FAILED, e)
            return False
        self._sent = None
        self._failing.discard(_WRITE_FAILED)
        return True

    def _keep(self, rows: Iterable[HourCounts]) -> None:
        kept, sent = self._unwritten, len(self._sent.rows) if self._sent else 0
        for row in rows:
            key = _RowKey(row.namespace, row.pool, row.session_id, row.hour)
            while key not in kept and len(kept) >= _MAX_UNWRITTEN - sent:
                oldest = next((each for each in kept if each.session_id != FOLDED), None)
                if oldest is None:
                    break
                old = kept.pop(oldest)
                folded = oldest._replace(session_id=FOLDED)
                kept[folded] = kept[folded] + old if folded in kept else replace(old, session_id=FOLDED)
            kept[key] = kept[key] + row if key in kept else row

    async def _call_listener(self, listener: Listener) -> None:
        try:
            await asyncio.to_thread(listener, self._sums)
            self._failing.discard(_LISTENER_FAILED)
        except Exception as e:  # noqa: BLE001  # as above
            self._report(_LISTENER_FAILED, e)

    def _report(self, message: str, error: Exception) -> None:
        self._count("analytics_errors", 1)
        if message not in self._failing:  # logged once, until it works again
            self._failing.add(message)
            logger.error(message, error)
