"""``scrapy sessions retire``."""

from __future__ import annotations

import argparse

from scrapy_sessions.commands.support.arguments import given_id
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "take a session out of use, and keep its record"
DESCRIPTION = """
Retire a session: no spider sends a request in it any more; in a pool of anonymous sessions another takes its place. Its
record stays, with the reason, until it expires. A running crawl learns of it when it next saves the session, at the
latest SESSIONS_SAVE_INTERVAL after its next response: up to then it sends on. To let the id begin anew instead, delete
the session.

  scrapy sessions retire alice --reason "password changed"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the session and the reason."""
    parser.add_argument("id", metavar="ID", type=given_id, help="the session")
    parser.add_argument(
        "--reason",
        metavar="TEXT",
        default="retired by hand",
        help='why, for whoever looks at it later (default: "%(default)s")',
    )


async def run(context: Context) -> int:
    """Retire, and return 1 if there was nothing to retire."""
    options = context.options
    info = await context.info(options.id)
    if info["status"] == "retired":
        raise CommandError(f"The session {options.id!r} is retired already: show it to see why", 1)
    if not info["is_active"]:
        raise CommandError(f"The session {options.id!r} has expired: no spider uses it. Delete it, or clean up", 1)
    session = BrowserSession(options.id)
    async with context.manager_of(info["namespace"]) as manager:
        # Not get(): of a session that was deleted just now it would make a new one.
        kept = await manager.restore_session(options.id, session)
        if kept:
            session.retire(options.reason)
            kept = await manager.save_session(options.id, session)
    if not kept:
        raise CommandError(f"The session {options.id!r} was deleted just now", 1)
    context.write(f"{options.id!r} in namespace {info['namespace']!r} is retired: {options.reason}")
    return 0
