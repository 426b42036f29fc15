"""Retire a session: no spider sends a request in it any more. In a pool of
anonymous sessions a new session replaces it. The record stays, with the reason,
until it expires. A running crawl notices it when it next saves the session, at
the latest SESSIONS_SAVE_INTERVAL after its next response: until then it goes on
sending. unretire puts the session back into use; to start anew under the same
id, delete it.

  scrapy sessions retire alice --reason "password changed"
"""

from __future__ import annotations

import argparse

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.sessions.browser_session import BrowserSession

HELP = "retire a session: keep its record, but send no more requests in it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session")
    parser.add_argument(
        "--reason",
        metavar="TEXT",
        default="retired by hand",
        help='the reason, which show and the report print (default: "%(default)s")',
    )


async def run(context: Context) -> int:
    options = context.options
    info = await context.info(options.id)
    if info["status"] == "retired":
        raise CommandError(f"The session {options.id!r} is already retired: show prints the reason", 1)
    if not info["is_active"]:
        raise CommandError(f"The session {options.id!r} has expired: no spider uses it. Delete it, or clean up", 1)
    session = BrowserSession(options.id)
    async with context.manager_of(info["namespace"]) as manager:
        # Not get(), which would create a session in place of one that was just deleted.
        kept = await manager.restore_session(options.id, session)
        if kept:
            session.retire(options.reason)
            kept = await manager.save_session(options.id, session)
    if not kept:
        raise CommandError(f"The session {options.id!r} was just deleted", 1)
    context.write(f"{options.id!r} in namespace {info['namespace']!r} is retired: {options.reason}")
    return 0
