"""Open a browser window that is the session ID, on URL: with its cookies, storages,
headers, user agent, languages, time zone and proxy. By default it shows the start
page of the site that the session visited last.

When the window is closed, or Enter is pressed, what changed in the browser is
saved in the session, and a table shows what it has then. That counts as no
login: scrapy sessions login is for one. Ctrl-C saves nothing.

  scrapy sessions open alice
  scrapy sessions open alice https://shop.example/orders
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support import window as windows
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.sessions.attended import save_visit
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.sessions.manager import registry_of

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from scrapy_sessions.sessions.runtime import SessionRuntime

NEEDS_STORE = False  # a store of memory:// is refused in other words
HELP = "open a browser window that is a session"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session")
    parser.add_argument(
        "url", metavar="URL", nargs="?", help="the page to show (default: the start page of the site visited last)"
    )


async def run(context: Context) -> int:
    options = context.options
    windows.require_playwright()
    if options.url is not None:
        windows.site_of_url(options.url)
    await windows.open_store(context, must_exist=True)
    record = await context.record(options.id)
    if record.expiry is not None and record.expiry[0] <= time.time():
        raise CommandError(f"The session {options.id!r} has expired: scrapy sessions login begins a new one", 1)
    namespace = record.namespace
    async with windows.playwright(context) as started, windows.launched(context, started, headless=False) as browser:
        if record.status != "retired":
            await windows.keep_alive(context, namespace, options.id)
        async with context.manager_of(namespace) as manager:
            registry = registry_of(manager)
            session = await registry.detached(options.id, namespace)
            url = options.url or (f"{origin_of(record.last_url)}/" if record.last_url else None)
            async with windows.kept_alive(context, namespace, session):
                await _visit(context, browser, session, url)
            kept = await save_visit(registry, session)
    if not kept:
        raise CommandError(
            f"The session {options.id!r} was deleted, or logged in elsewhere, while the window was open: what changed "
            f"in the window is not kept",
            1,
        )
    context.write(f"{options.id} of {namespace} saved")
    windows.show_content(context, session)
    return 0


async def _visit(context: Context, browser: Browser, session: SessionRuntime, url: str | None) -> None:
    from scrapy_sessions.browser.attended import Window  # noqa: PLC0415  # an extra
    from scrapy_sessions.browser.loss import PATIENCE, within  # noqa: PLC0415  # an extra

    limit = context.session_settings.browser_max_storage
    size = {} if session.viewport_width else {"no_viewport": True}
    opened = await windows.opened(session, browser, limit=limit, **size)
    page = await within(PATIENCE, opened.context.new_page())
    window = Window(page, opened, all_pages=True, visible=True)
    await windows.use(context, window, url, f"Use the browser as {session.id}")
