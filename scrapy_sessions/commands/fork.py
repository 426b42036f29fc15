"""``scrapy sessions fork``."""

from __future__ import annotations

import argparse

from scrapy_sessions.commands.support.arguments import given_id
from scrapy_sessions.commands.support.context import Context

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "copy a session under a new id"
DESCRIPTION = """
Make NEW_ID a copy of ID in the same namespace: with its identity, cookies, headers, storages, data, login and history,
and with an age and numbers of its own that begin now. It is in no pool. To try something out without touching the
original, say.

  scrapy sessions fork alice alice-test
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two ids."""
    parser.add_argument("id", metavar="ID", type=given_id, help="the session to copy")
    parser.add_argument("new_id", metavar="NEW_ID", type=given_id, help="the id of the copy, which must be free")


async def run(context: Context) -> int:
    """Fork."""
    options = context.options
    info = await context.info(options.id)
    # By a manager of that very namespace: the new id may well stand in another.
    async with context.manager_of(info["namespace"]) as manager:
        await manager.fork_session(options.id, options.new_id)
    context.write(f"{options.new_id!r} is a copy of {options.id!r} in namespace {info['namespace']!r}")
    return 0
