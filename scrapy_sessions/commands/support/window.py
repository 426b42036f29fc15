"""A browser window for a person, opened by a command: its options, and what was kept of it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy_sessions.analytics.redaction import describe_fault, safe_url, without_secrets
from scrapy_sessions.browser import NEEDS_PLAYWRIGHT
from scrapy_sessions.commands.support.context import CommandError, Context, missing_store
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.cookies.hosts import canonical_host, site_of
from scrapy_sessions.exceptions import SessionConfigurationError, SessionError
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import MemoryStore

if TYPE_CHECKING:
    from playwright.async_api import Browser, Playwright

    from scrapy_sessions.browser.attended import Ending, Window
    from scrapy_sessions.browser.context import SessionContext

STORAGES = ("local_storage", "session_storage", "indexed_db")
"""The storages of a browser, by their fields in the record."""

_KEEP_ALIVE = 60.0  # seconds between two uses of a session, or less
_PATIENCE = 10.0  # seconds for a browser to close: one that was killed never does


def site_of_url(url: str) -> str:
    """Return the registrable domain of *url*. Raises :exc:`~.context.CommandError` for one that can't be opened."""
    try:
        parts = urlsplit(url)
        host = canonical_host(parts.hostname or "")
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"}:
        raise CommandError("The URL needs http:// or https:// and a host")
    return site_of(host)


async def open_store(context: Context, *, must_exist: bool) -> bool:
    """Open the store, which is created unless it *must_exist*. Returns whether it existed."""
    if isinstance(context.store, MemoryStore):
        raise CommandError("The store is memory://, which ends with this command: name another store with --store")
    exists = missing_store(context.store) is None
    await context.open(must_exist=must_exist)
    return exists


async def keep_alive(context: Context, namespace: str, session_id: str) -> None:
    """Let the stored session count as used now, so that no crawl deletes it as idle while the window is open.

    One that was deleted, or has expired, is left so.
    """
    async with context.manager_of(namespace) as manager:
        registry = registry_of(manager)
        session = await registry.detached(session_id, namespace)
        if session.revision:
            session.last_activity = registry.clock()
            session.changed()
            await registry.save(session)


@asynccontextmanager
async def kept_alive(context: Context, namespace: str, session: SessionRuntime) -> AsyncIterator[None]:
    """Call :func:`keep_alive` for *session* again and again in the block, and let it count as used in it, too."""
    ended = asyncio.Event()

    async def go_on() -> None:
        seconds = min(session.idle_timeout / 3, _KEEP_ALIVE) if session.idle_timeout else _KEEP_ALIVE
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), seconds)
                return
            session.last_activity = time.time()
            try:
                await keep_alive(context, namespace, session.id)
            except Exception as e:  # noqa: BLE001  # whatever a custom store raises: the save at the end reports it, too
                why = e if isinstance(e, SessionError) else describe_fault(e)
                context.note(f"The session can't be kept from expiring: {why}")

    if not session.revision or session.status == "retired":
        yield
        return
    going_on = asyncio.ensure_future(go_on())
    try:
        yield
    finally:
        ended.set()  # not cancelled in the middle of a save
        await going_on


def require_playwright() -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` if Playwright is not installed."""
    if find_spec("playwright") is None:
        raise SessionConfigurationError(NEEDS_PLAYWRIGHT)


@asynccontextmanager
async def playwright(context: Context) -> AsyncIterator[Playwright]:
    """Start Playwright, and end it with all browsers that it launched. What it can't restore or read is printed.

    Raises as :func:`reporting_faults`.
    """
    from playwright.async_api import async_playwright  # noqa: PLC0415  # an extra

    logger, notes = logging.getLogger("scrapy_sessions.browser"), _Notes(context)
    logger.addHandler(notes)
    started = await async_playwright().start()
    try:
        with reporting_faults():
            yield started
    finally:
        logger.removeHandler(notes)
        await bounded(started.stop())


class _Notes(logging.Handler):
    """Prints warnings, as these commands write no log by default."""

    def __init__(self, context: Context) -> None:
        super().__init__(logging.WARNING)
        self._context = context

    def emit(self, record: logging.LogRecord) -> None:
        self._context.note(record.getMessage())


@contextmanager
def reporting_faults() -> Iterator[None]:
    """Raise :exc:`~scrapy_sessions.exceptions.SessionError` in place of Playwright's ``Error`` and of ``Lost``.

    Its message is their first line, without secrets.
    """
    from playwright.async_api import Error  # noqa: PLC0415  # an extra

    from scrapy_sessions.browser.loss import Lost  # noqa: PLC0415  # as above

    try:
        yield
    except (Error, Lost) as e:
        reason = without_secrets(str(e).strip().partition("\n")[0])
    else:
        return
    raise SessionError(f"The browser can't be used as the session: {reason}")  # without the other as its context


async def bounded(work: Any) -> None:
    """Await *work*, the end of something of the browser, which may be gone."""
    from playwright.async_api import Error  # noqa: PLC0415  # an extra

    with suppress(Error, asyncio.TimeoutError):
        await asyncio.wait_for(work, _PATIENCE)


@asynccontextmanager
async def launched(context: Context, started: Playwright, *, headless: bool) -> AsyncIterator[Browser]:
    """Launch the browser that the project's settings name, and close it at the end."""
    from scrapy_sessions.browser.launch import launch  # noqa: PLC0415  # an extra

    settings = context.settings
    kind = settings.get("PLAYWRIGHT_BROWSER_TYPE", "chromium")
    options = settings.getdict("PLAYWRIGHT_LAUNCH_OPTIONS")
    browser = await launch(started, kind, options, headless=headless)
    try:
        yield browser
    finally:
        await bounded(browser.close())


async def opened(session: SessionRuntime, browser: Browser, **options: Any) -> SessionContext:
    """Open a context of *browser* that is *session*; *options* are those of ``SessionContext.open()``.

    Raises as :func:`reporting_faults`.
    """
    from scrapy_sessions.browser.context import SessionContext  # noqa: PLC0415  # an extra
    from scrapy_sessions.browser.loss import PATIENCE, within  # noqa: PLC0415  # as above

    with reporting_faults():
        return await within(PATIENCE, SessionContext.open(session, browser, **options))


async def use(
    context: Context, window: Window, url: str | None, what: str, *, timeout: float | None = None, visible: bool = True
) -> tuple[Ending, bool]:
    """Show *url*, and return when the person has done *what*, with all that is in the browser copied.

    Without a *visible* window, it returns when the page waited for has come. Returns how the use ended, and whether
    the browser was still there then. If not, the session has what the browser had in the second before. Raises
    :exc:`~.context.CommandError` if the page can't be opened.
    """
    if url is not None:
        fault = await window.show(url)
        if fault is not None:
            raise CommandError(f"{safe_url(url)} can't be opened: {fault}", 1)
    with _enter_key(window.ended) as has_keys:
        limit = "" if timeout is None else f", within {timeout:g} s"
        keys = " or press Enter here" if has_keys else ""
        context.note(f"{what}, then close the window{keys}{limit}" if visible else f"Waiting for the page{limit}")
        ending = await window.wait(timeout)
    if ending in {"crashed", "timeout"} or await window.capture():
        return ending, True
    context.note("The browser has ended: what it had is known as of the second before, without IndexedDB")
    return ending, False


def has_terminal() -> bool:
    """Whether somebody can type: standard input is a terminal, and this isn't a job in its background."""
    try:
        descriptor = sys.stdin.fileno()
        if not os.isatty(descriptor):
            return False
    except (AttributeError, OSError, ValueError):  # closed, or no file
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError):  # Windows, or the terminal of another session: nothing stops who reads it
        return True


@contextmanager
def _enter_key(ended: asyncio.Future[Any]) -> Iterator[bool]:
    """Let Enter, pressed in the terminal from now on, end the use of a window. Yields whether somebody can press it.

    Standard input that is no terminal is not read: it says nothing of the window.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            data = os.read(descriptor, 1024)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            loop.remove_reader(descriptor)
        elif b"\n" in data and not ended.done():
            ended.set_result("entered")

    if not has_terminal():
        yield False
        return
    descriptor = sys.stdin.fileno()
    try:
        _drop_typed(descriptor)
        loop.add_reader(descriptor, read)
    except NotImplementedError:  # Windows
        yield False
        return
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)


def _drop_typed(descriptor: int) -> None:
    """Forget what was typed into the terminal *descriptor* and not read yet."""
    try:
        import termios  # noqa: PLC0415  # not on Windows
    except ImportError:
        return
    with suppress(termios.error):
        termios.tcflush(descriptor, termios.TCIFLUSH)


def show_content(context: Context, session: SessionRuntime) -> None:
    """Print how much the session has of each site, without values."""
    counts: dict[str, Counter[str]] = {}
    for cookie in session.jar.dump():
        _count(counts, cookie.domain)["cookies"] += 1
    for kind in STORAGES:
        for origin, content in session.data_of(kind).items():
            _count(counts, urlsplit(origin).hostname or origin)[kind] += len(content)
    columns = ("cookies", *STORAGES)
    rows = [(site, *(str(each[column]) for column in columns)) for site, each in sorted(counts.items())]
    headers = ("SITE", "COOKIES", "LOCAL STORAGE", "SESSION STORAGE", "INDEXED DB")
    print_table(context, headers, rows, right=range(1, len(headers)))


def _count(counts: dict[str, Counter[str]], host: str) -> Counter[str]:
    return counts.setdefault(site_of(canonical_host(host) or host), Counter())
