"""Delete expired sessions, each by the limits that it was created with, and print
the number by limit. Spiders do the same for their own namespace while they run.
Retired sessions stay until they expire.

  scrapy sessions cleanup
  scrapy sessions cleanup --namespace shop --dry-run
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import count

HELP = "delete expired sessions"

_MANY = 1_000_000  # the largest number that is counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only print how many sessions would be deleted")


async def run(context: Context) -> int:
    if context.options.dry_run:
        expired = await context.store.expired(context.options.namespace, now=time.time(), limit=_MANY)
        context.write(_summary(Counter(each.reason for each in expired), "would be deleted"))
    else:
        await clean_up(context)
    return 0


async def clean_up(context: Context) -> None:
    """Delete the expired sessions, and print how many there were."""
    with context.progress("Deleting expired sessions") as advance:
        reasons = await context.manager.cleanup(progress=advance)
    context.write(_summary(reasons, "deleted"))


def _summary(reasons: Counter[str], done: str) -> str:
    """``"3 expired sessions deleted (2 by idle_timeout, 1 by max_age)"``."""
    detail = ", ".join(f"{number} by {reason}" for reason, number in sorted(reasons.items()))
    if not detail:
        return f"No expired sessions {done}"
    return f"{count(reasons.total(), 'expired session')} {done} ({detail})"
