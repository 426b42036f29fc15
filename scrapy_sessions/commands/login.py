"""Open a browser window for a person who logs the session ID in, second factor and
all, on URL: by default the login_url of the spider, else the start page of the
site that the session visited last. When the window is closed, or Enter is
pressed, the session is saved as logged in, and a table shows what was kept, in
numbers. Crawls go on with it and don't log in again, running ones too. Ctrl-C
saves nothing. Nor does a browser that crashed or was quit as a whole, unless you
say so in the terminal, or the probe_url of the spider proves the login.

The browser is the one of PLAYWRIGHT_BROWSER_TYPE and PLAYWRIGHT_LAUNCH_OPTIONS,
else an installed Chromium. A stored session is opened as it is. A new one takes
the browser's user agent, languages, time zone, window size, Accept and sec-ch-ua
headers, and the proxy of its profile.

With --cdp, a Chrome that runs already is used, in a new tab, and stays open. Only
what it has of the site of URL is kept. Start it with --remote-debugging-port=9222
and a --user-data-dir of its own.

  scrapy sessions login alice https://shop.example/login --namespace shop
  scrapy sessions login alice --spider shop --until-url "**/account"
  scrapy sessions login alice https://shop.example/login --cdp http://localhost:9222
"""

from __future__ import annotations

import argparse
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from scrapy_sessions.analytics.redaction import describe_fault
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support import window as windows
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.spiders import config_of, crawler_of
from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.models import EVERYWHERE, Profile, check_session_id
from scrapy_sessions.safe_repr import safe_repr
from scrapy_sessions.sessions.attended import save_login
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.sessions.manager import registry_of

if TYPE_CHECKING:
    from playwright.async_api import Playwright

    from scrapy_sessions.browser.attended import Window
    from scrapy_sessions.browser.launch import Looks
    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.sessions.runtime import SessionRuntime

NEEDS_STORE = False  # it creates the store, if need be
HELP = "log a session in by hand, in a browser window"

# The profile of a session with a browser's identity. It is not in the settings, so that no crawl warns of a change.
_PROFILE = "browser"
_FAILED = {
    "closed": "The window was closed before the page of --until-url or --until-selector came: nothing is saved",
    "crashed": "The page has crashed: nothing is saved",
    "timeout": "Nobody has logged in within the time of --timeout: nothing is saved",
}
_UNATTENDED = 300.0  # seconds of --timeout where perhaps nobody is there to end it
_KEEP = "Had the login succeeded when the browser ended, and is that to be saved?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=types.session_id, help="the session, a stored or a new one")
    parser.add_argument("url", metavar="URL", nargs="?", help="the page to log in on")
    parser.add_argument(
        "--spider", metavar="NAME", help="whose session it is: with its settings, its namespace and its SessionConfig"
    )
    parser.add_argument(
        "--until-url", metavar="PATTERN", help='end by itself at a URL that fits, as in Playwright: "**/account"'
    )
    parser.add_argument("--until-selector", metavar="CSS", help="end by itself when a page has this element")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=types.seconds,
        help="then end, and save nothing (default: 300 with --headless or without a terminal, else never)",
    )
    parser.add_argument("--headless", action="store_true", help="without a window, for a page that logs in by itself")
    parser.add_argument("--cdp", metavar="URL", help="use a Chrome that runs, by its debugging address")
    parser.add_argument("--all-sites", action="store_true", help="with --cdp: keep what that Chrome has of every site")


class _Task(NamedTuple):
    """What is to be logged in, and where. *site*: ``SessionConfig.site``, if that is known."""

    namespace: str
    url: str | None
    site: str | None
    config: SessionConfig | None

    def is_login_page(self, url: str) -> bool:
        """Whether *url* is the ``login_url`` of the spider."""
        try:
            return self.config is not None and self.config.is_login_page(url)
        except Exception:  # noqa: BLE001  # the project's own code, or a URL that can't be read
            return False

    def __repr__(self) -> str:
        return safe_repr(self, "namespace")


async def run(context: Context) -> int:
    windows.require_playwright()
    _check_options(context.options)
    task = await _task(context)
    session_id = context.options.id
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(windows.playwright(context))
        manager = await stack.enter_async_context(context.manager_of(task.namespace))
        registry = registry_of(manager)
        session = await registry.detached(session_id, task.namespace)
        await stack.enter_async_context(windows.kept_alive(context, task.namespace, session))
        window, is_whole = await _log_in(context, stack, started, session, task)
        await _prove(context, started, session, task, window if is_whole else None)
        if not (session.jar.dump() or any(map(session.data_of, windows.STORAGES))):
            raise CommandError("The browser has no cookie and no storage: nothing is saved", 1)
        saved = await save_login(
            registry,
            session,
            hosts=window.hosts,
            site=task.site,
            waiting=lambda: context.note(f"A crawl logs {session_id!r} in: waiting for its end"),
        )
    if not saved:
        raise CommandError(f"The session {session_id!r} was deleted while the window was open: log in again", 1)
    context.write(f"{session_id} of {task.namespace} saved as logged in")
    windows.show_content(context, session)
    return 0


def _check_options(options: argparse.Namespace) -> None:
    check_session_id(options.id)
    if options.url is not None:
        windows.site_of_url(options.url)
    if options.headless and options.cdp is not None:
        raise CommandError("Give either --headless or --cdp, not both")
    if options.headless and options.until_url is options.until_selector is None:
        raise CommandError("--headless has no window to close: say with --until-url or --until-selector when to end")
    if options.all_sites and options.cdp is None:
        raise CommandError("--all-sites is for --cdp: a browser of its own has visited the login's sites only")


async def _task(context: Context) -> _Task:
    """Find the namespace and the page, and let the stored session count as used."""
    options = context.options
    namespace, crawler = options.namespace, None
    if options.spider is not None:
        crawler = crawler_of(context, options.spider)
        context.settings = crawler.settings
    exists = await windows.open_store(context, must_exist=False)
    if namespace is None:
        namespace = context.session_settings.namespace or options.spider
    if namespace is None and exists:
        info = await context.manager.get_session_info(options.id)
        namespace = None if info is None else info["namespace"]
    if namespace is None:
        raise CommandError(
            f"The session {options.id!r} is new: name its spider with --spider, or its namespace with --namespace. "
            f"That is the spider's name, unless SESSIONS_NAMESPACE is set"
        )
    async with context.manager_of(namespace) as manager:
        record = await manager.load_session(options.id)
        if record is not None and record.status == "retired":
            raise CommandError(
                f"The session {options.id!r} is retired, no request is sent in it: put it back into use with "
                f"'scrapy sessions unretire' first",
                1,
            )
    url, site, config = options.url, None, None
    if crawler is not None:
        try:
            config = config_of(context, crawler, url)
            url, site, _ = url or config.login_url or None, config.site or None, config.probe_url
        except SessionError:
            raise
        except Exception as e:  # noqa: BLE001  # the project's own code, and no spider is there for it
            fault = f"The SessionConfig of {options.spider} can't be used without its spider: {describe_fault(e)}"
            if url is None:
                raise CommandError(f"{fault}. Give the URL of the login", 1) from None
            context.note(f"{fault}. The login is saved without it")
            config = None
    if url is None and record is not None and record.last_url:
        url = f"{origin_of(record.last_url)}/"
    if url is None and options.cdp is not None and not options.all_sites:
        raise CommandError("Which site is the login at? Give its URL, or keep what Chrome has of --all-sites")
    if url is not None:
        windows.site_of_url(url)
    if record is not None and (record.expiry is None or record.expiry[0] > registry_of(manager).clock()):
        await windows.keep_alive(context, namespace, options.id)
    return _Task(namespace, url, site, config)


async def _log_in(
    context: Context, stack: AsyncExitStack, started: Playwright, session: SessionRuntime, task: _Task
) -> tuple[Window, bool]:
    """Have a person log *session* in, and return the window, and whether the browser was still there at its end.

    Raises :exc:`CommandError` if nobody does.
    """
    from scrapy_sessions.browser.arrival import Arrival  # noqa: PLC0415  # an extra
    from scrapy_sessions.browser.attended import Window, of_running_browser  # noqa: PLC0415  # an extra
    from scrapy_sessions.browser.launch import Looker, connect, looks_of  # noqa: PLC0415  # an extra
    from scrapy_sessions.browser.loss import PATIENCE, within  # noqa: PLC0415  # an extra

    options, is_new = context.options, not session.revision
    arrival = None
    if not (options.until_url is options.until_selector is None):
        arrival = Arrival(options.until_url, options.until_selector, task.is_login_page)
    limit = context.session_settings.browser_max_storage
    if is_new:
        _set_identity(session, None)
    if options.cdp is not None:
        chrome = await connect(started, options.cdp)
        site = None if task.url is None else windows.site_of_url(task.url)
        capture = of_running_browser(session, chrome, site, all_sites=options.all_sites, limit=limit)
        page = await within(PATIENCE, chrome.new_page())
    else:
        browser = await stack.enter_async_context(windows.launched(context, started, headless=options.headless))
        size = {} if options.headless or session.viewport_width else {"no_viewport": True}
        if is_new and options.headless:
            session.user_agent = (await looks_of(browser)).user_agent
        capture = await windows.opened(session, browser, limit=limit, **size)
        page = await within(PATIENCE, capture.context.new_page())
    looker = Looker(page)
    looks = await looker.looks()
    window = Window(page, capture, all_pages=options.cdp is None, visible=not options.headless)
    if arrival is not None:
        await window.expect(arrival)
    timeout = options.timeout
    if timeout is None and (options.headless or not windows.has_terminal()):
        timeout = _UNATTENDED
    ending, is_whole = await windows.use(
        context, window, task.url, f"Log {session.id} in", timeout=timeout, visible=not options.headless
    )
    if ending in {"crashed", "timeout"} or (ending == "closed" and arrival is not None):
        raise CommandError(_FAILED[ending], 1)
    if is_new:
        _set_identity(session, await looker.with_sent(looks))
        context.note(f"Its user agent is that of the browser: {session.user_agent}")
    elif options.cdp is not None and session.user_agent not in {None, looks.user_agent}:
        context.note("That Chrome has another user agent than the session, which keeps its own")
    return window, is_whole


async def _prove(
    context: Context, started: Playwright, session: SessionRuntime, task: _Task, window: Window | None
) -> None:
    """Raise :exc:`CommandError` if the site doesn't recognise the login, or if that can't be found out.

    :param window: ``None``: its browser has ended, by a fault or by the person's hand; it looks the same
    """
    if task.config is not None and task.config.probe_url:
        from scrapy_sessions.browser.loss import PATIENCE, Lost, within  # noqa: PLC0415  # an extra
        from scrapy_sessions.commands.support.proof import ask  # noqa: PLC0415  # an extra
        from scrapy_sessions.crawl.blame import Answer  # noqa: PLC0415  # not without need

        answer, what = Answer.NOTHING, ""
        if window is not None:
            answer, what = await ask(window.context, session, task.config)
            await window.capture()  # what the site has changed with its answer
        else:
            with suppress(SessionError, Lost):  # there is no other browser, or it is lost
                async with windows.launched(context, started, headless=True) as browser:
                    limit = context.session_settings.browser_max_storage
                    opened = await windows.opened(session, browser, limit=limit)
                    answer, what = await ask(opened.context, session, task.config)
                    await within(PATIENCE, opened.save())
        if answer is Answer.REFUSED:
            raise CommandError(f"The site doesn't recognise the login ({what}): nothing is saved", 1)
        if answer is Answer.GOOD:
            return
    if window is None and not (windows.has_terminal() and context.confirm(_KEEP)):
        raise CommandError("The browser has ended before its window was closed: nothing is saved", 1)


def _set_identity(session: SessionRuntime, looks: Looks | None) -> None:
    """Give *session*, a new one, what sites see of the browser; ``None``: nothing yet, for that to be the browser's."""
    try:
        profile = Profile() if looks is None else Profile(**looks._asdict())
    except ValidationError:
        profile = Profile()  # a browser with an agent that no header can contain
    session.profile_name = _PROFILE
    session.user_agent, session.language, session.timezone = profile.user_agent, profile.language, profile.timezone
    session.viewport_width, session.viewport_height = profile.viewport_width, profile.viewport_height
    session.bound_headers.restore({EVERYWHERE: profile.headers} if profile.headers else {})
    session.forget_identity()
