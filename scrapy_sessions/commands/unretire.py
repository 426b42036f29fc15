"""Put a retired session back into use: one that was retired by mistake, or whose
account was unlocked. It keeps its cookies, its login and its history. If the
site still refuses it, it is retired again: check asks the site.

  scrapy sessions unretire alice
  scrapy sessions check alice --spider shop --login
"""

from __future__ import annotations

import argparse

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of

HELP = "put a retired session back into use"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session")


async def run(context: Context) -> int:
    session_id = context.options.id
    info = await context.info(session_id)
    if info["status"] != "retired":
        raise CommandError(f"The session {session_id!r} is not retired: its status is {info['status']!r}", 1)
    session = BrowserSession(session_id)
    async with context.manager_of(info["namespace"]) as manager:
        kept = await manager.restore_session(session_id, session)
        if not kept:
            raise CommandError(f"The session {session_id!r} has expired, or was just deleted: no spider uses it", 1)
        runtime_of(session).unretire()
        kept = await manager.save_session(session_id, session)
    if not kept:
        raise CommandError(f"The session {session_id!r} was just deleted", 1)
    context.write(f"{session_id!r} in namespace {info['namespace']!r} is {session.status}")
    return 0
