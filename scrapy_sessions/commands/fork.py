"""Copy the session ID to NEW_ID in the same namespace: with its identity, cookies,
headers, storages, data, login and history. The age and the counters of the copy
start at zero, and it belongs to no pool. Use it, for example, to try something
without changing the original.

  scrapy sessions fork alice alice-test
"""

from __future__ import annotations

import argparse

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import Context

HELP = "copy a session under a new id"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session to copy")
    parser.add_argument("new_id", metavar="NEW_ID", type=types.session_id, help="the id of the copy")
    parser.add_argument("--replace", action="store_true", help="delete NEW_ID first, if it exists")


async def run(context: Context) -> int:
    options = context.options
    info = await context.info(options.id)
    # A manager of exactly that namespace: another namespace may contain the new id.
    async with context.manager_of(info["namespace"]) as manager:
        await manager.fork_session(options.id, options.new_id, replace=options.replace)
    context.write(f"{options.new_id!r} is a copy of {options.id!r} in namespace {info['namespace']!r}")
    return 0
