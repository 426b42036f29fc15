"""Delete sessions with their cookies and history. A running crawl notices it when
it next saves the session, and doesn't restore it; the next request for that id
creates a new session, with a new login. The site isn't informed: the session
stays valid there. Asks for confirmation unless --yes is given; without a
terminal, --yes is required.

  scrapy sessions delete alice bob
  scrapy sessions delete --all --pool shoppers --yes
"""

from __future__ import annotations

import argparse
import time

from scrapy_sessions.commands.cleanup import clean_up
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.text import count
from scrapy_sessions.models import SessionInfo
from scrapy_sessions.sessions.manager import registry_of

HELP = "delete sessions for good"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", type=types.session_id, help="a session")
    parser.add_argument("--expired", action="store_true", help="expired sessions, as cleanup does")
    parser.add_argument("--all", action="store_true", help="all sessions, or those of --namespace and --pool")
    parser.add_argument("--pool", metavar="NAME", help="with --all: only sessions of this pool")
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask for confirmation")


async def run(context: Context) -> int:
    """Delete, and return 1 if a session is missing, or the answer was no."""
    options = context.options
    if bool(options.ids) + options.expired + options.all != 1:
        raise CommandError("Which sessions? Give one of: ids, --expired, --all")
    if options.pool is not None and not options.all:
        raise CommandError("--pool requires --all")
    if options.all:
        return await _delete_all(context)
    if options.expired:
        if not _confirmed(context, "all expired sessions"):
            return 1
        await clean_up(context)
        return 0
    return await _delete_ids(context)


async def _delete_ids(context: Context) -> int:
    # All are looked up first: an ambiguous id ends the command before anything is deleted.
    ids = list(dict.fromkeys(context.options.ids))
    missing = [session_id for session_id in ids if await context.manager.get_session_info(session_id) is None]
    found = [session_id for session_id in ids if session_id not in missing]
    for session_id in missing:
        context.note(f"There is no session {session_id!r}{context.where()}{await context.nearest(session_id)}")
    if not found:
        return 1
    if not _confirmed(context, f"the session {found[0]!r}" if len(found) == 1 else f"these {len(found)} sessions"):
        return 1
    deleted = [session_id for session_id in found if await context.manager.delete_session(session_id)]
    context.write(f"{count(len(deleted), 'session')} deleted")
    return 1 if missing else 0


async def _delete_all(context: Context) -> int:
    began, total = time.time(), 0
    ahead: set[tuple[str, str, float]] = set()  # begun later than this command: by a clock that is ahead, or just now
    async for page in context.pages():
        total += len(page)
        ahead.update(_begin(info) for info in page if info["start_time"] > began)
    if not total:
        context.note(f"There is no session{_where(context)}{await context.nearest()}")
        return 1
    if not _confirmed(context, "the only session" if total == 1 else f"all {total} sessions"):
        return 1
    deleted = 0
    with context.progress("Deleting sessions", total=total) as advance:
        before = -1
        while before < deleted:  # a session that a crawl saves during a pass may be in none of its pages
            before = deleted
            async for page in context.pages():
                old = [info for info in page if info["start_time"] <= began or _begin(info) in ahead]
                if old:
                    deleted += await registry_of(context.manager).remover.delete_many(old)  # in one transaction
                    advance(len(old))
    context.write(f"{count(deleted, 'session')} deleted")
    return 0


def _begin(info: SessionInfo) -> tuple[str, str, float]:
    """Return what no other session has: one that is created again under its id begins at another time."""
    return info["namespace"], info["session_id"], info["start_time"]


def _confirmed(context: Context, what: str) -> bool:
    if context.options.yes or context.confirm(f"Delete {what}{_where(context)}?"):
        return True
    context.note("Nothing was deleted")
    return False


def _where(context: Context) -> str:
    pool = context.options.pool
    return f"{f' of the pool {pool!r}' if pool else ''}{context.where()}"
