"""``scrapy sessions stats --watch``: a running crawl, from what reaches its store."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scrapy_sessions.analytics.model import HourCounts, PoolCounts, summed
from scrapy_sessions.commands.support.analytics import select
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import age, moment, printable
from scrapy_sessions.storage import AnalyticsStore

__all__ = ["watch"]

# Seconds over which rates are taken. Counts reach the store in steps of some seconds: from one look to the next, a rate
# would be nothing most of the time, and too much once.
_SPAN = 15.0

_HEADERS = (
    "NAMESPACE",
    "POOL",
    "LIVE",
    "NEW",
    "READY",
    "RETIRED",
    "REQUESTS",
    "PAGES",
    "FAILURES",
    "LOGINS",
    "BLOCKED",
)
_RATES = ("REQUESTS/S", "PAGES/S", "LAST ACTIVITY")
# What is left out where the terminal is too narrow for all, and in which order.
_LEAST_NEEDED = ("PAGES/S", "NEW", "READY", "LOGINS", "RETIRED", "PAGES", "LAST ACTIVITY", "REQUESTS", "LIVE")


class _Place(NamedTuple):
    namespace: str
    pool: str | None


@dataclass(frozen=True)
class _Look:
    """What the store said at *time* (``time.monotonic()``)."""

    time: float
    counts: Mapping[_Place, HourCounts]


@dataclass(frozen=True)
class _Line:
    """One pool, as shown."""

    namespace: str
    pool: str | None
    live: int
    new: int
    ready: int
    retired: int
    requests: int
    pages: int
    failures: int
    logins: int
    blocked: int
    requests_per_second: float
    pages_per_second: float
    last_activity: float | None


async def watch(context: Context, store: AnalyticsStore) -> int:
    """Show what there is every ``--interval`` seconds until Ctrl-C, and return 0."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # As a signal of the loop: it ends a wait, and not a query in the middle.
    loop.add_signal_handler(signal.SIGINT, stop.set)
    looks: deque[_Look] = deque()
    try:
        if context.out.is_terminal and not context.options.json:
            with Live(console=context.out, auto_refresh=False) as live:
                while not stop.is_set():
                    live.update(_table(await _look(context, store, looks), context.out), refresh=True)
                    await _pause(stop, context.options.interval)
        else:
            while not stop.is_set():
                lines = await _look(context, store, looks)
                if context.options.json:
                    context.write_json({"time": time.time(), "pools": lines})
                else:
                    context.write(_line(lines))
                context.out.file.flush()
                await _pause(stop, context.options.interval)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return 0


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except asyncio.TimeoutError:
        return


async def _look(context: Context, store: AnalyticsStore, looks: deque[_Look]) -> list[_Line]:
    """Look at the store, add that to *looks*, and return the pools."""
    rows = await select(context, store)
    pools = {
        _Place(pool.namespace, pool.pool): pool
        for pool in await store.pool_counts(context.options.namespace, now=time.time())
        if context.options.pool in (None, pool.pool)
    }
    look = _Look(time.monotonic(), summed(rows, lambda row: _Place(row.namespace, row.pool)))
    looks.append(look)
    while len(looks) > 2 and looks[1].time <= look.time - _SPAN:
        looks.popleft()
    places = sorted({*pools, *look.counts}, key=lambda place: (place.namespace, place.pool or ""))
    return [_line_of(place, pools.get(place), look, looks[0]) for place in places]


def _line_of(place: _Place, pool: PoolCounts | None, look: _Look, before: _Look) -> _Line:
    counts = look.counts.get(place, HourCounts(*place, "", 0))
    past = before.counts.get(place, HourCounts(*place, "", 0))
    seconds = look.time - before.time
    by_status = {} if pool is None else pool.by_status

    def rate(grown: int) -> float:
        # Less than nothing, when an hour has left what is looked at.
        return max(grown, 0) / seconds if seconds else 0.0

    return _Line(
        *place,
        live=0 if pool is None else pool.active,
        new=by_status.get("new", 0),
        ready=by_status.get("ready", 0),
        retired=by_status.get("retired", 0),
        requests=counts.requests,
        pages=counts.pages,
        failures=counts.failures,
        logins=counts.logins,
        blocked=counts.blocked,
        requests_per_second=round(rate(counts.requests - past.requests), 2),
        pages_per_second=round(rate(counts.pages - past.pages), 2),
        last_activity=None if pool is None else pool.last_activity,
    )


def _table(lines: list[_Line], console: Console) -> Table:
    """Return the table of *lines*, with as many of its columns as the *console* is wide enough for."""
    columns = _columns(lines, time.time())
    for name in ("", *_LEAST_NEEDED):
        columns.pop(name, None)
        # Each as wide as its widest cell, with two blanks between them.
        if sum(max(map(len, (head, *cells))) + 2 for head, cells in columns.items()) - 2 <= console.width:
            break
    table = Table(box=None, pad_edge=False, header_style="bold", caption=f"{moment(time.time())}  Ctrl-C ends it")
    for header in columns:
        table.add_column(header, justify="left" if header in _HEADERS[:2] else "right", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))
    return table


def _columns(lines: list[_Line], now: float) -> dict[str, list[str]]:
    rows = []
    for line in lines:
        numbers = (line.live, line.new, line.ready, line.retired)
        counts = (line.requests, line.pages, line.failures, line.logins, line.blocked)
        rows.append(
            (
                printable(line.namespace),
                "-" if line.pool is None else printable(line.pool),
                *map(str, numbers + counts),
                f"{line.requests_per_second:.1f}",
                f"{line.pages_per_second:.1f}",
                "-" if line.last_activity is None else age(line.last_activity, now),
            )
        )
    return {header: [row[number] for row in rows] for number, header in enumerate((*_HEADERS, *_RATES))}


def _line(lines: list[_Line]) -> str:
    now = time.time()
    sums = {
        name: sum(getattr(line, name) for line in lines)
        for name in (*("live", "new", "ready", "retired", "requests", "pages", "failures", "logins", "blocked"),)
    }
    rate = sum(line.requests_per_second for line in lines)
    return f"{moment(now)}  {'  '.join(f'{name} {number}' for name, number in sums.items())}  requests/s {rate:.1f}"
