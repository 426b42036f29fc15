"""``scrapy sessions delete``."""

from __future__ import annotations

import argparse
import time
from collections.abc import AsyncIterator

from scrapy_sessions.commands.cleanup import clean_up
from scrapy_sessions.commands.support.arguments import given_id
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.models import SessionInfo

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "delete sessions for good: log them out on this side"
DESCRIPTION = """
Delete sessions with their cookies and history. A running crawl learns of it when it next saves the session, and doesn't
bring it back; the next request for that id begins a new session, with a new login. The site itself isn't told. Asks
before, unless --yes is given; where nobody can be asked, --yes is needed.

  scrapy sessions delete alice bob
  scrapy sessions delete --all --pool shoppers --yes
"""

_PAGE = 500  # in one transaction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which sessions, and --yes."""
    parser.add_argument("ids", metavar="ID", nargs="*", type=given_id, help="a session")
    parser.add_argument("--expired", action="store_true", help="those that have expired, as cleanup does")
    parser.add_argument("--all", action="store_true", help="all sessions, of --namespace and --pool if they are given")
    parser.add_argument("--pool", metavar="NAME", help="with --all: only those of this pool")
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask")


async def run(context: Context) -> int:
    """Delete, and return 1 if one wasn't there, or the answer was no."""
    options = context.options
    if bool(options.ids) + options.expired + options.all != 1:
        raise CommandError("Say what to delete, by one of: ids, --expired, --all")
    if options.pool is not None and not options.all:
        raise CommandError("--pool goes with --all only")
    if options.all:
        return await _delete_all(context)
    if options.expired:
        if not _agreed(context, f"Delete all expired sessions{_where(context)}?"):
            return 1
        await clean_up(context)
        return 0
    return await _delete_ids(context)


async def _delete_ids(context: Context) -> int:
    # All of them are looked for first: one that stands in two namespaces stops the command before anything is gone.
    ids = list(dict.fromkeys(context.options.ids))
    missing = [session_id for session_id in ids if await context.manager.get_session_info(session_id) is None]
    found = [session_id for session_id in ids if session_id not in missing]
    for session_id in missing:
        context.err.print(f"There is no session {session_id!r}{_where(context)}", soft_wrap=True)
    if not found:
        return 1
    what = f"the session {found[0]!r}" if len(found) == 1 else f"these {len(found)} sessions"
    if not _agreed(context, f"Delete {what}{_where(context)}?"):
        return 1
    gone = [session_id for session_id in found if await context.manager.delete_session(session_id)]
    context.write(_told(len(gone)))
    return 1 if missing else 0


async def _delete_all(context: Context) -> int:
    count = sum([len(page) async for page in _pages(context)])
    if not count:
        context.err.print(f"There is no session{_where(context)}", soft_wrap=True)
        return 1
    if not _agreed(context, f"Delete {'the one session' if count == 1 else f'all {count} sessions'}{_where(context)}?"):
        return 1
    deleted = 0
    with context.progress("Deleting sessions", total=count) as advance:
        async for page in _pages(context):
            deleted += await context.manager.delete_sessions(page)
            advance(len(page))
    context.write(_told(deleted))
    return 0


async def _pages(context: Context) -> AsyncIterator[list[SessionInfo]]:
    # By the place in the list, not from its start: what a crawl saves meanwhile stands before it, and isn't met again.
    after: SessionInfo | None = None
    options = context.options
    while True:
        page = await context.store.list(
            now=time.time(), namespace=options.namespace, pool=options.pool, limit=_PAGE, after=after
        )
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = page[-1]


def _agreed(context: Context, question: str) -> bool:
    if context.options.yes or context.confirm(question):
        return True
    context.err.print("Nothing was deleted")
    return False


def _where(context: Context) -> str:
    options = context.options
    pool = f" of the pool {options.pool!r}" if options.pool else ""
    namespace = f" in namespace {options.namespace!r}" if options.namespace else ""
    return f"{pool}{namespace} in {context.store.location}"


def _told(n: int) -> str:
    return f"{n} session{'' if n == 1 else 's'} deleted"
