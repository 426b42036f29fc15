"""Cookies go both ways between a session and its browser context: each side is compared with itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scrapy_sessions.cookies import SessionCookieJar
from tests.support.browser import MISSING, chromium
from tests.support.site import Site

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]


def values(jar: SessionCookieJar) -> dict[str, str]:
    return {cookie.name: cookie.value for cookie in jar}


async def in_browser(context: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in await context.cookies()}


async def set_in_browser(context: Any, **cookies: str) -> None:
    await context.add_cookies(
        [{"name": name, "value": value, "domain": "shop.example", "path": "/"} for name, value in cookies.items()]
    )


async def test_changes_go_both_ways(site: Site) -> None:
    """What one side sets, changes or deletes, the other gets; what both changed is the browser's."""
    from scrapy_sessions.browser.cookie_sync import CookieSync  # noqa: PLC0415  # not everybody has Playwright

    jar = SessionCookieJar()
    for name in ("same", "ours", "theirs", "both", "dropped here", "dropped there"):
        jar.set(name, "0", domain="shop.example")
    async with chromium() as browser:
        context = await browser.new_context()
        sync = CookieSync(jar, context)
        assert await sync.push() == []
        assert await in_browser(context) == values(jar)

        jar.set("ours", "1", domain="shop.example")
        jar.set("both", "1", domain="shop.example")
        jar.delete("dropped here")
        await set_in_browser(context, theirs="2", both="2", new="2")
        await context.clear_cookies(name="dropped there")
        await sync.pull()
        assert values(jar) == {"same": "0", "ours": "1", "theirs": "2", "both": "2", "new": "2"}
        page = await context.new_page()
        await page.goto(site.url("/browser/late"))
        await page.wait_for_function("document.title === 'ready'")
        await sync.pull()  # a cookie that came late
        assert values(jar)["late"] == "1"

        assert await sync.push() == []
        assert await in_browser(context) == values(jar)
        version = jar.version
        await sync.pull()
        assert jar.version == version


async def test_a_push_that_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the browser didn't get is copied the next time."""
    from scrapy_sessions.browser.cookie_sync import CookieSync  # noqa: PLC0415  # as above

    async def cancelled(cookies: Any) -> None:
        raise asyncio.CancelledError

    jar = SessionCookieJar()
    jar.set("name", "value", domain="shop.example")
    async with chromium() as browser:
        context = await browser.new_context()
        sync = CookieSync(jar, context)
        with monkeypatch.context() as patch:
            patch.setattr(context, "add_cookies", cancelled)
            with pytest.raises(asyncio.CancelledError):
                await sync.push()
        await sync.push()
        assert await in_browser(context) == values(jar)
