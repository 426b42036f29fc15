"""``scrapy sessions cleanup``."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from scrapy_sessions.commands.support.context import Context

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "clean_up", "run"]

HELP = "delete expired sessions"
DESCRIPTION = """
Delete the sessions that have expired, each by the limits it was born under, and say how many by which. Spiders do the
same for their own namespace while they run. Retired sessions stay until they expire.

  scrapy sessions cleanup
  scrapy sessions cleanup --namespace shop --dry-run
"""

_MANY = 1_000_000  # more than anybody waits for: counted up to here


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--dry-run", action="store_true", help="only say how many there are")


async def run(context: Context) -> int:
    """Clean up."""
    if context.options.dry_run:
        expired = await context.store.expired(context.options.namespace, now=time.time(), limit=_MANY)
        context.write(told(Counter(each.reason for each in expired), "would be deleted"))
    else:
        await clean_up(context)
    return 0


async def clean_up(context: Context) -> None:
    """Delete the expired sessions, and say how many there were."""
    with context.progress("Deleting expired sessions") as advance:
        reasons = await context.manager.cleanup(progress=advance)
    context.write(told(reasons, "deleted"))


def told(reasons: Counter[str], what: str) -> str:
    """Return *reasons* in words: ``"3 expired sessions deleted (2 by idle_timeout, 1 by max_age)"``."""
    n = sum(reasons.values())
    detail = ", ".join(f"{count} by {reason}" for reason, count in sorted(reasons.items()))
    return f"{n or 'No'} expired session{'' if n == 1 else 's'} {what}{f' ({detail})' if n else ''}"
