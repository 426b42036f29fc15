"""Write one HTML file that shows what sessions did: pages and responses over time,
lifetimes, logins, errors and bans, pools and cookies. It loads nothing from the
network and contains no secrets; it contains session ids and paths of URLs. A
crawl may run at the same time.

  scrapy sessions report --open
  scrapy sessions report -o shop.html --namespace shop --pool catalog --since 7d
"""

from __future__ import annotations

import argparse
import time
import webbrowser
from pathlib import Path

from scrapy_sessions.atomic_file import atomic_write, check_target
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import STANDARD, CommandError, Context
from scrapy_sessions.report import gather, is_report, render, templates
from scrapy_sessions.report.format import plural

HELP = "write an HTML report: charts and tables in one file"
READS_ONLY = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="report.html",
        help="the file, - for standard output (default: report.html)",
    )
    parser.add_argument("--pool", metavar="NAME", help="only sessions of this pool")
    parser.add_argument(
        "--since", metavar="AGE", type=types.age, help="only sessions active within the last 2h, 30d, 1.5w"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--yes", action="store_true", help="overwrite a file that isn't a report without asking")


async def run(context: Context) -> int:
    """Write the report, also without any session."""
    options = context.options
    templates()  # raises if jinja2 is missing: checked first, because reading the sessions may take long
    path = None if options.output == STANDARD else _path(context)
    if path is None and options.open:
        raise CommandError("--open needs a file: give -o FILE instead of -o -")
    now = time.time()
    with context.progress("Reading sessions") as advance:
        report = await gather(
            context.store,
            namespace=options.namespace,
            pool=options.pool,
            since=None if options.since is None else now - options.since,
            now=now,
            on_progress=advance,
        )
    content = render(report).encode()
    if report.empty:
        context.note(f"No session matches: the report is empty{await context.nearest()}")
    if path is None:
        context.write_bytes(content, "report")
        return 0
    with atomic_write(path) as file:
        file.write(content)
    sessions = report.totals.states.total()
    context.write(f"{options.output}: {plural(sessions, 'session')}, {len(content) / 1000:,.0f} kB")
    if options.open and not webbrowser.open(path.as_uri()):
        context.note("No browser could be started: open the file yourself")
    return 0


def _path(context: Context) -> Path:
    """Return where to write. Checked first, because reading the sessions may take long."""
    name = context.options.output
    path, _ = check_target(Path(name).absolute())
    if path.is_dir() or not path.parent.is_dir():
        fault = "is a folder" if path.is_dir() else "is in a folder that doesn't exist"
        raise CommandError(f"{name} {fault}: name a file, as in -o report.html")
    foreign = path.is_file() and path.stat().st_size and not is_report(path)
    if foreign and not context.options.yes and not context.confirm(f"{name} isn't a session report. Overwrite it?"):
        raise CommandError(f"{name} was not overwritten", 1)
    return path
