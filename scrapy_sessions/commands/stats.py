"""Show what sessions did, by pool and by hour: requests, pages, responses by
status, failures, logins, and sessions that the site blocked. With --watch,
follow a running crawl until Ctrl-C: its numbers are up to 6 seconds old, or six
times SESSIONS_SAVE_INTERVAL if that is set. A terminal that is too narrow leaves
columns out, in this order: LATENCY, LOGIN TIME, SUSPECT, FAILURES, STATUSES,
NAMESPACE, FAILED, LOGINS, REQUESTS; a line below names them, and --json has all.
The exit code is 1 if nothing was counted.

  scrapy sessions stats --namespace shop --since 7d
  scrapy sessions stats --by session --pool default
  scrapy sessions stats --watch
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, HourCounts, hour_of, summed
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.tables import note_left_out, print_table
from scrapy_sessions.commands.support.text import duration, moment
from scrapy_sessions.storage import AnalyticsStore

HELP = "show what sessions did: requests, statuses, logins, blocks"
READS_ONLY = True


class _View(NamedTuple):
    """One way to group counts: the fields that name a group, and their headers."""

    fields: tuple[str, ...]
    headers: tuple[str, ...]

    def key(self, row: HourCounts) -> tuple[Any, ...]:
        return tuple(getattr(row, field) for field in self.fields)


_VIEWS = {
    "pool": _View(("namespace", "pool"), ("NAMESPACE", "POOL")),
    "hour": _View(("hour",), ("HOUR",)),
    "session": _View(("namespace", "pool", "session_id"), ("NAMESPACE", "POOL", "SESSION")),
}
_COLUMNS: dict[str, Callable[[HourCounts], object]] = {
    "REQUESTS": lambda row: row.requests,
    "PAGES": lambda row: row.pages,
    "FAILURES": lambda row: row.failures,
    "LOGINS": lambda row: row.logins,
    "LOGIN TIME": lambda row: _mean(row.login_seconds, row.logins),
    "FAILED": lambda row: row.login_failures,
    "BLOCKED": lambda row: row.blocked,
    "SUSPECT": lambda row: row.suspects,
    "LATENCY": lambda row: _mean(row.latency, sum(row.responses.values())),
    "STATUSES": lambda row: " ".join(f"{status}:{count}" for status, count in sorted(row.responses.items())) or "-",
}

_LEAST = ("LATENCY", "LOGIN TIME", "SUSPECT", "FAILURES", "STATUSES", "NAMESPACE", "FAILED", "LOGINS", "REQUESTS")
"""The columns that a narrow terminal leaves out, the first ones first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", help="only this pool")
    parser.add_argument(
        "--since", metavar="AGE", type=types.age, default="24h", help="the last 24h (default), 7d, 30d; in whole hours"
    )
    parser.add_argument("--by", choices=tuple(_VIEWS), help="only sums by this (default: by pool, and by hour)")
    parser.add_argument(
        "--json", action="store_true", help="as JSON, by pool or --by; with --watch, one object per line"
    )
    parser.add_argument("--watch", action="store_true", help="follow a running crawl until Ctrl-C")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=types.seconds,
        default=2.0,
        help="between two updates of --watch (default: 2)",
    )


async def run(context: Context) -> int:
    """Show the sums, once or repeatedly, and return 1 if there are none."""
    options, store = context.options, context.store
    if not isinstance(store, AnalyticsStore):
        raise CommandError(
            f"The store {store.location} stores no analytics, because {type(store).__name__} is no AnalyticsStore", 1
        )

    async def read() -> list[HourCounts]:
        since = hour_of(time.time() - options.since)
        found = await store.hour_counts(options.namespace, since, by_session=options.by == "session")
        return [row for row in found if options.pool in (None, row.pool)]

    if options.watch:
        if options.by:
            raise CommandError("--watch shows pools: leave --by out")
        from scrapy_sessions.commands.stats_watch import watch  # noqa: PLC0415  # it loads rich's live display

        return await watch(context, store, read)
    rows = await read()
    if options.json:
        view = _VIEWS[options.by or "pool"]
        names = (*view.fields, *COUNTERS, "responses")
        context.write_json([{name: getattr(row, name) for name in names} for row in _sums(view, rows)], indent=2)
    elif rows:
        left_out: list[str] = []
        for number, by in enumerate([options.by] if options.by else ["pool", "hour"]):
            if number:
                context.write("")
            left_out += _print(context, _VIEWS[by], rows)
        note_left_out(context, left_out)
    if not rows:
        context.note(f"Nothing was counted in the last {duration(options.since)}{await context.nearest()}")
    return 0 if rows else 1


def _sums(view: _View, rows: Iterable[HourCounts]) -> list[HourCounts]:
    sums = summed(rows, view.key)
    return [sums[key] for key in sorted(sums, key=lambda key: tuple("" if part is None else part for part in key))]


def _print(context: Context, view: _View, rows: list[HourCounts]) -> list[str]:
    return print_table(
        context,
        (*view.headers, *_COLUMNS),
        [
            (
                *(_name(field, getattr(row, field)) for field in view.fields),
                *(str(column(row)) for column in _COLUMNS.values()),
            )
            for row in _sums(view, rows)
        ],
        right=range(len(view.fields), len(view.fields) + len(_COLUMNS) - 1),
        least=_LEAST,
    )


def _name(field: str, value: Any) -> str:
    if field == "hour":
        return moment(value)
    if field == "session_id" and value == FOLDED:
        return "(others)"
    return "-" if value is None else str(value)


def _mean(total: float, count: int) -> str:
    return f"{total / count:.2f} s" if count else "-"
