"""Ask the site who is still logged in: each session requests the probe_url of its
SessionConfig, or a page that it got and that an anonymous visitor doesn't get.
That is a crawl of the spider without its start(): its settings, pace,
robots.txt, proxies and middlewares hold. Nothing is posted, except with
--login, which logs in those that are not logged in, each with one attempt, also
accounts of a pool that have no session yet. Sessions that a running crawl has
claimed are left alone, and retired ones stay retired. The exit code is 1 if one
is not logged in at the end, has expired or is retired; 3 if there is none of these,
but one of which nothing could be found out.

  scrapy sessions check alice bob --spider shop
  scrapy sessions check --all --spider shop --json
  scrapy sessions check --pool staff --spider shop --login
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.arguments import add_spider_arguments
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.exceptions import UnknownPool

if TYPE_CHECKING:
    from scrapy.crawler import CrawlerProcessBase

    from scrapy_sessions.crawl.checking import Finding

HELP = "ask the site who is still logged in, and log in the others"

_NOTHING_KNOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", type=types.session_id, help="a session")
    parser.add_argument("--all", action="store_true", help="all sessions and accounts of the spider")
    parser.add_argument("--pool", metavar="NAME", help="the sessions and accounts of this pool")
    add_spider_arguments(parser)
    parser.add_argument("--login", action="store_true", help="log in those that are not logged in")
    parser.add_argument("--json", action="store_true", help="as a JSON array")


def crawl(context: Context, process: CrawlerProcessBase) -> int:
    """Check, print what was found out, and return the exit code."""
    # Not for the help: it loads Scrapy's engine.
    from scrapy_sessions.commands.support.runner import INTERRUPTED  # noqa: PLC0415
    from scrapy_sessions.commands.support.spider_run import SpiderRun  # noqa: PLC0415
    from scrapy_sessions.crawl.checking import Checker, Finding, State  # noqa: PLC0415

    options = context.options
    if bool(options.ids) + options.all + (options.pool is not None) != 1:
        raise CommandError("Name the sessions by their ids, by --all or by --pool")
    # A wrong password is sent once.
    run = SpiderRun(context, process, SESSIONS_LOGIN_ATTEMPTS=1)
    run.check_store(must_exist=not options.login)
    checker = Checker(run.crawler, log_in=options.login)
    try:
        ended = run.do(lambda: checker.run(options.ids, pool=options.pool))
    except UnknownPool as e:
        raise CommandError(str(e)) from None
    unasked = Finding("", None, "", State.UNKNOWN, "it was not asked about: the check was ended before")
    found = [
        each
        for session_id, findings in checker.found.items()
        for each in findings or [unasked._replace(session_id=session_id)]
    ]
    _print(context, found)
    if ended is not None:
        if ended == "shutdown":
            context.note("scrapy sessions: Interrupted")
            return INTERRUPTED
        raise CommandError(f"The spider was closed before all were asked ({ended})", 1)
    if checker.unsaved:
        raise CommandError(f"Could not be saved: {', '.join(checker.unsaved)}. -L ERROR logs why", 1)
    if not found:
        context.note("No session matches")
        return 1
    if any(each.state.is_dead for each in found):
        return 1
    return _NOTHING_KNOWN if any(each.state is State.UNKNOWN for each in found) else 0


def _print(context: Context, found: list[Finding]) -> None:
    if context.options.json:
        names = ("session_id", "pool", "site", "reason")
        context.write_json(
            [{**{name: getattr(each, name) for name in names}, "state": each.state.value} for each in found], indent=2
        )
        return
    if not found:
        return
    headers = ["ID", "POOL", "SITE", "STATE", "REASON"]
    rows = [(each.session_id, each.pool or "-", each.site or "-", each.state.value, each.reason) for each in found]
    print_table(context, headers, rows)
