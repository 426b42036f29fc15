"""Notices that a page, its context or the browser is lost: it crashed, was killed, or doesn't answer any more.

It also closes pages: Chromium sometimes has to be asked twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from playwright.async_api import Error, Page

_T = TypeVar("_T")

PATIENCE = 30.0
"""Seconds that the browser may take to answer: one that was killed may never do so."""

_GRACE = 2.0
"""Seconds that work on something lost may take to end by itself, with the error that says more."""

_AGAIN = 0.5  # seconds after which Chromium is asked once more to close a page
_CRASH = re.compile(r"(\w+\.\w+: )?(Target|Page) crashed\s*")


class Lost(Exception):
    """A page, its context or the browser was lost while it was used."""


async def within(seconds: float, work: Awaitable[_T]) -> _T:
    """Return the result of *work* on the browser. Raises :exc:`Lost` if it ends with the browser, or takes longer."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise Lost(f"no answer in {seconds:g} s") from None
    except Error as e:
        if is_loss(e):
            raise Lost(str(e)) from e
        raise


async def until_lost(
    work: Coroutine[Any, Any, _T], ends: Collection[asyncio.Future[Any]], ping: Callable[[], Awaitable[Any]]
) -> _T:
    """Return the result of *work*, which may take as long as the browser answers.

    Raises :exc:`Lost`, and cancels *work*, after one of *ends* is done, and when *ping* gets no answer.
    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            done, _ = await asyncio.wait({task, *ends}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if done:
                await asyncio.wait({task}, timeout=_GRACE)
                break
            with suppress(Error):  # an answer, too; the work itself shows what it means
                await within(PATIENCE, ping())
        if not task.done():
            raise Lost("it ended while it was used")
        try:
            return task.result()
        except Error as e:
            if is_loss(e) or any(end.done() for end in ends):
                raise Lost(str(e)) from e
            raise
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_GRACE)


def is_loss(error: Error) -> bool:
    """Whether *error* says that a page, its context or the browser is gone."""
    # TargetClosedError is no public name of Playwright, and a crash has no class of its own. The messages of other
    # errors have text of the site in them: its URLs, and what its scripts throw.
    return type(error).__name__ == "TargetClosedError" or bool(_CRASH.fullmatch(error.message.partition("\n")[0]))


async def close_page(page: Page, closing: Coroutine[Any, Any, None] | None = None) -> None:
    """Close *page*, or give up after :data:`PATIENCE`. Raises Playwright's ``Error``.

    Chromium drops the request to close a page at the moment when a script or a refresh navigates it. Playwright asks
    once, and then waits for ever (microsoft/playwright#42366). So Chromium is asked again.

    :param closing: what closes it, ``page.close()`` by default
    """
    task = asyncio.ensure_future(page.close() if closing is None else closing)
    try:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_until_closed(page, task), PATIENCE)
    finally:
        task.cancel()


async def _until_closed(page: Page, task: asyncio.Task[None]) -> None:
    while not (await asyncio.wait({task}, timeout=_AGAIN))[0]:
        with suppress(Error):  # it is no Chromium, or the page is closed
            chromium = await page.context.new_cdp_session(page)
            target = (await chromium.send("Target.getTargetInfo"))["targetInfo"]["targetId"]
            await chromium.send("Target.closeTarget", {"targetId": target})
    task.result()
