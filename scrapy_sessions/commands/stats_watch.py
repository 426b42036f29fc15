"""``scrapy sessions stats --watch``: a running crawl, as its store shows it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Any, TypeAlias

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scrapy_sessions.analytics.model import HourCounts, PoolCounts, summed
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.terminal import console
from scrapy_sessions.commands.support.text import age, moment, printable
from scrapy_sessions.models import Status
from scrapy_sessions.storage import AnalyticsStore

# Seconds over which rates are computed. Counts reach the store every few seconds: from one update to the next, a rate
# would be zero most of the time, and sometimes much too high.
_SPAN = 15.0


_Group: TypeAlias = tuple[str, str | None]
"""Namespace and pool."""

_Read: TypeAlias = Callable[[], Awaitable[list[HourCounts]]]
"""Returns the selected counts."""

_Snapshot: TypeAlias = tuple[float, dict[_Group, HourCounts]]
"""``time.monotonic()``, and the counts in the store at that time."""

_Row: TypeAlias = dict[str, Any]
"""One pool, as shown."""

_STATUSES: tuple[Status, ...] = ("new", "ready", "retired")
_COUNTS = ("requests", "pages", "failures", "logins", "blocked")
_RATES = ("requests", "pages")
# The order in which columns are left out if the terminal is too narrow for all.
_OPTIONAL = ("PAGES/S", "NEW", "READY", "LOGINS", "RETIRED", "PAGES", "LAST ACTIVITY", "REQUESTS", "LIVE")


async def watch(context: Context, store: AnalyticsStore, read: _Read) -> int:
    """Show the pools every ``--interval`` seconds until Ctrl-C, and return 0."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A handler of the loop: the signal ends a wait, and doesn't interrupt a query.
    loop.add_signal_handler(signal.SIGINT, stop.set)
    snapshots: deque[_Snapshot] = deque()
    screen = console(context.stdout)
    is_live = context.on_terminal and not context.options.json
    try:
        with Live(console=screen, auto_refresh=False) if is_live else nullcontext() as live:
            while not stop.is_set():
                rows = await _rows(context, store, read, snapshots)
                if live is not None:
                    live.update(_table(rows, screen), refresh=True)
                elif context.options.json:
                    context.write_json({"time": time.time(), "pools": rows})
                else:
                    totals = ((name, sum(row[name] for row in rows)) for name in ("live", *_STATUSES, *_COUNTS))
                    rate = sum(row["requests_per_second"] for row in rows)
                    counts = "  ".join(f"{name} {total}" for name, total in totals)
                    context.write(f"{moment(time.time())}  {counts}  requests/s {rate:.1f}")
                context.stdout.flush()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), context.options.interval)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return 0


async def _rows(context: Context, store: AnalyticsStore, read: _Read, snapshots: deque[_Snapshot]) -> list[_Row]:
    """Read the store, add what it contains to *snapshots*, and return the pools."""
    hours = await read()
    pools: dict[_Group, PoolCounts] = {
        (pool.namespace, pool.pool): pool
        for pool in await store.pool_counts(context.options.namespace, now=time.time())
        if context.options.pool in (None, pool.pool)
    }
    now, counts = time.monotonic(), summed(hours, lambda row: (row.namespace, row.pool))
    snapshots.append((now, counts))
    while len(snapshots) > 2 and snapshots[1][0] <= now - _SPAN:
        snapshots.popleft()
    before, earlier = snapshots[0]
    return [
        _row(group, pools.get(group), counts.get(group), earlier.get(group), now - before)
        for group in sorted({*pools, *counts}, key=lambda group: (group[0], group[1] or ""))
    ]


def _row(
    group: _Group, pool: PoolCounts | None, counts: HourCounts | None, earlier: HourCounts | None, seconds: float
) -> _Row:
    sums = {name: getattr(counts, name, 0) for name in _COUNTS}
    # Negative when an hour has left the selected period.
    growth = {name: max(sums[name] - getattr(earlier, name, 0), 0) for name in _RATES}
    return {
        "namespace": group[0],
        "pool": group[1],
        "live": pool.active if pool else 0,
        **{status: pool.by_status.get(status, 0) if pool else 0 for status in _STATUSES},
        **sums,
        **{f"{name}_per_second": round(n / seconds, 2) if seconds else 0.0 for name, n in growth.items()},
        "last_activity": pool.last_activity if pool else None,
    }


def _table(rows: list[_Row], screen: Console) -> Table:
    """Return the table of *rows*, with as many columns as fit the *screen*."""
    names = rows[0] if rows else _row(("", None), None, None, None, 0.0)
    columns = {
        name.replace("_per_second", "/s").replace("_", " ").upper(): [_cell(name, row[name]) for row in rows]
        for name in names
    }
    for header in ("", *_OPTIONAL):
        columns.pop(header, None)
        # Each column is as wide as its widest cell, with two spaces between columns.
        if sum(max(map(len, (header, *cells))) + 2 for header, cells in columns.items()) - 2 <= screen.width:
            break
    table = Table(box=None, pad_edge=False, header_style="bold", caption=f"{moment(time.time())}  Ctrl-C ends it")
    for header in columns:
        table.add_column(header, justify="left" if header in {"NAMESPACE", "POOL"} else "right", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "last_activity":
        return age(value, time.time())
    return f"{value:.1f}" if isinstance(value, float) else printable(str(value))
