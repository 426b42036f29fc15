"""Work on a browser ends when that is lost: it has crashed, was closed, or doesn't answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.support.browser import MISSING, chromium
from tests.support.site import Site
from tests.support.waiting import HANG

loss = pytest.importorskip("scrapy_sessions.browser.loss", reason="the package playwright is not installed")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "PATIENCE", 0.1)
    monkeypatch.setattr(loss, "_GRACE", 0.1)


async def answer() -> None:
    """A browser that answers."""


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def raising(error: Exception) -> None:
    raise error


async def test_work_may_take_long_as_long_as_there_is_an_answer() -> None:
    """Without an end of the page, and with answers, nothing is lost."""
    assert await loss.until_lost(asyncio.sleep(0.5, "done"), [], answer) == "done"


async def test_who_doesnt_answer_is_lost() -> None:
    """Work that never ends is cancelled once the browser doesn't answer in time."""
    before = asyncio.all_tasks()
    with pytest.raises(loss.Lost, match="no answer"):
        await loss.until_lost(for_ever(), [], for_ever)
    assert asyncio.all_tasks() <= before


async def test_an_end_ends_the_work() -> None:
    """A page that is closed or has crashed ends what never would; a result that comes nevertheless is one."""
    end = asyncio.get_running_loop().create_future()
    end.set_result(None)
    with pytest.raises(loss.Lost):
        await loss.until_lost(for_ever(), [end], answer)
    assert await loss.until_lost(asyncio.sleep(0.01, "done"), [end], answer) == "done"


async def test_errors_are_told_apart() -> None:
    """The error of a page that is gone is a loss, and any error of a page that has ended; others are raised as ever."""
    from playwright._impl._errors import TargetClosedError  # noqa: PLC0415  # not everybody has Playwright
    from playwright.async_api import Error  # noqa: PLC0415

    with pytest.raises(Error, match="NAME_NOT_RESOLVED"):
        await loss.until_lost(raising(Error("net::ERR_NAME_NOT_RESOLVED")), [], answer)
    for error in (TargetClosedError(), Error("Page.content: Target crashed ")):
        with pytest.raises(loss.Lost):
            await loss.until_lost(raising(error), [], answer)
        with pytest.raises(loss.Lost):
            await loss.within(1.0, raising(error))
    end = asyncio.get_running_loop().create_future()
    end.set_result(None)
    with pytest.raises(loss.Lost):
        await loss.until_lost(raising(Error("net::ERR_ABORTED")), [end], answer)


@pytest.mark.parametrize(
    "message",
    [
        "Page.goto: net::ERR_EMPTY_RESPONSE at http://shop.example/crashed-cars",
        "Page.goto: net::ERR_EMPTY_RESPONSE at http://shop.example/?Page crashed",
        "Page.evaluate: Error: Page crashed\n    at f (http://shop.example/app.js:1:7)",
        "Page.goto: Timeout 30000ms exceeded.\nCall log:\nPage crashed",
    ],
    ids=["path", "query", "thrown", "log"],
)
async def test_the_text_of_a_site_is_no_loss(message: str) -> None:
    """A URL or a script that tells of a crash leaves an error what it is: else its request is sent again."""
    from playwright.async_api import Error  # noqa: PLC0415  # not everybody has Playwright

    with pytest.raises(Error):
        await loss.until_lost(raising(Error(message)), [], answer)
    assert loss.is_loss(Error("Page.goto: Page crashed\nCall log:\n  - navigating"))


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium")
async def test_a_crash_is_told_by_an_error() -> None:
    """What Playwright raises when the process of a page is gone is taken for a loss: it has no class of its own."""
    async with chromium() as browser:
        page = await (await browser.new_context()).new_page()
        waiting: asyncio.Future[Any] = asyncio.ensure_future(page.evaluate("new Promise(() => 0)"))
        await asyncio.sleep(0.1)
        devtools = await page.context.new_cdp_session(page)
        crashing = asyncio.ensure_future(devtools.send("Page.crash"))
        with pytest.raises(loss.Lost):
            await loss.within(30.0, waiting)
        crashing.cancel()
        await asyncio.wait([crashing])


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium")
async def test_a_page_that_just_goes_on_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page is closed even at the moment when it goes on to another one, and Chromium drops the request."""
    from playwright.async_api import Error  # noqa: PLC0415  # not everybody has Playwright

    monkeypatch.setattr(loss, "PATIENCE", HANG)
    url = site.url("/page/1", body=f'<meta http-equiv="refresh" content="0; url={site.url("/page/2")}">')
    async with chromium() as browser:
        context = await browser.new_context()
        for _ in range(8):
            page = await context.new_page()
            await page.goto(url)
            with suppress(Error):  # it has gone on
                await page.evaluate("0")
            await loss.close_page(page)
            assert page.is_closed()


async def test_who_doesnt_close_is_given_up() -> None:
    """A page that never closes keeps nobody waiting; an error of its closing is raised."""
    from playwright.async_api import Error  # noqa: PLC0415  # not everybody has Playwright

    before = asyncio.all_tasks()
    await loss.close_page(object(), for_ever())
    with pytest.raises(Error, match="no page"):
        await loss.close_page(object(), raising(Error("no page")))
    assert asyncio.all_tasks() <= before
