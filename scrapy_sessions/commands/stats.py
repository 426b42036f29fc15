"""``scrapy sessions stats``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, HourCounts, summed
from scrapy_sessions.commands.support.analytics import analytics_of, select
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import duration, moment, parse_age

__all__ = [
    "DESCRIPTION",
    "HELP",
    "ONLY_LOOKS",
    "add_arguments",
    "run",
]

HELP = "what sessions did: requests, statuses, logins, blocks"
DESCRIPTION = """
Show what sessions did, by pool and by the hour: requests, pages, responses by status, failures, logins, sessions that
the site blocked. With --watch, follow a running crawl until Ctrl-C; its numbers are up to 6 seconds old, or six times
SESSIONS_SAVE_INTERVAL where that is set. The exit code is 1 if nothing was counted.

  scrapy sessions stats --namespace shop --since 7d
  scrapy sessions stats --by session --pool default
  scrapy sessions stats --watch
"""

ONLY_LOOKS = True

_INTERVAL = 2.0


class _View(NamedTuple):
    """One way to sum up: the names of a row, and what they are called."""

    names: tuple[str, ...]
    headers: tuple[str, ...]
    key: Callable[[HourCounts], tuple[Any, ...]]


_VIEWS = {
    "pool": _View(("namespace", "pool"), ("NAMESPACE", "POOL"), lambda row: (row.namespace, row.pool)),
    "hour": _View(("hour",), ("HOUR",), lambda row: (row.hour,)),
    "session": _View(
        ("namespace", "pool", "session_id"),
        ("NAMESPACE", "POOL", "SESSION"),
        lambda row: (row.namespace, row.pool, row.session_id),
    ),
}
_NUMBERS = (
    "REQUESTS",
    "PAGES",
    "FAILURES",
    "LOGINS",
    "LOGIN TIME",
    "FAILED",
    "BLOCKED",
    "SUSPECT",
    "LATENCY",
    "STATUSES",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what to sum up, and how to show it."""
    parser.add_argument("--pool", metavar="NAME", help="only this pool")
    parser.add_argument(
        "--since", metavar="AGE", type=parse_age, default="24h", help="the last 24h (default), 7d, 30d; in whole hours"
    )
    parser.add_argument("--by", choices=tuple(_VIEWS), help="only sums by this (default: by pool, and by hour)")
    parser.add_argument("--json", action="store_true", help="as JSON, by pool or as --by says; with --watch one a line")
    parser.add_argument("--watch", action="store_true", help="follow a running crawl until Ctrl-C")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_seconds,
        default=_INTERVAL,
        help="between two looks of --watch (default 2)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"at least 0.1 seconds, and at most a day, not {text!r:.40}")
    return seconds


async def run(context: Context) -> int:
    """Show the sums, once or again and again, and return 1 if there are none."""
    store = analytics_of(context)
    options = context.options
    if options.watch:
        if options.by:
            raise CommandError("--watch shows pools: leave --by out")
        from scrapy_sessions.commands.stats_watch import watch  # noqa: PLC0415  # what only --watch needs

        return await watch(context, store)
    rows = await select(context, store)
    if options.json:
        view = _VIEWS[options.by or "pool"]
        context.write_json([_as_dict(view, row) for row in _sums(view, rows)], indent=2)
    else:
        for number, by in enumerate([options.by] if options.by else ["pool", "hour"]):
            if rows and number:
                context.write("")
            _print(context, _VIEWS[by], rows)
    if not rows:
        context.err.print(f"Nothing was counted in the last {duration(options.since)}", soft_wrap=True)
    return 0 if rows else 1


def _sums(view: _View, rows: Iterable[HourCounts]) -> list[HourCounts]:
    sums = summed(rows, view.key)
    return [sums[key] for key in sorted(sums, key=lambda key: tuple("" if part is None else part for part in key))]


def _as_dict(view: _View, row: HourCounts) -> dict[str, Any]:
    names = {name: getattr(row, name) for name in view.names}
    return {**names, **{name: getattr(row, name) for name in COUNTERS}, "responses": row.responses}


def _print(context: Context, view: _View, rows: list[HourCounts]) -> None:
    if rows:
        print_table(
            context,
            (*view.headers, *_NUMBERS),
            [(*(_name(name, getattr(row, name)) for name in view.names), *_cells(row)) for row in _sums(view, rows)],
            right=range(len(view.names), len(view.names) + len(_NUMBERS) - 1),
        )


def _name(name: str, value: Any) -> str:
    if name == "hour":
        return moment(value)
    if name == "session_id" and value == FOLDED:
        return "(others)"
    return "-" if value is None else str(value)


def _cells(row: HourCounts) -> tuple[str, ...]:
    answers = sum(row.responses.values())
    return (
        *(str(number) for number in (row.requests, row.pages, row.failures, row.logins)),
        _mean(row.login_seconds, row.logins),
        *(str(number) for number in (row.login_failures, row.blocked, row.suspects)),
        _mean(row.latency, answers),
        " ".join(f"{status}:{count}" for status, count in sorted(row.responses.items())) or "-",
    )


def _mean(total: float, count: int) -> str:
    return f"{total / count:.2f} s" if count else "-"
