"""Cookies go both ways between a session and its browser context: each side is compared with itself."""

from __future__ import annotations

import asyncio
import time
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


async def test_a_push_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second request sends no page before the browser has the cookies that the first one sets."""
    from scrapy_sessions.browser.cookie_sync import CookieSync  # noqa: PLC0415  # as above

    jar = SessionCookieJar()
    async with chromium() as browser:
        context = await browser.new_context()
        sync = CookieSync(jar, context)
        add, begun, free = context.add_cookies, asyncio.Event(), asyncio.Event()

        async def slow(cookies: Any) -> None:
            begun.set()
            await free.wait()
            await add(cookies)

        monkeypatch.setattr(context, "add_cookies", slow)
        jar.set("token", "new", domain="shop.example")
        first = asyncio.ensure_future(sync.push())
        await begun.wait()
        second = asyncio.ensure_future(sync.push())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
        free.set()
        await second
        assert await in_browser(context) == {"token": "new"}
        await first


@pytest.mark.parametrize("renewed", ["value", "expiry"])
async def test_a_cookie_renewed_during_a_push(monkeypatch: pytest.MonkeyPatch, renewed: str) -> None:
    """What the site sets between the setting and the reading of a push is copied by the next pull."""
    from scrapy_sessions.browser.cookie_sync import CookieSync  # noqa: PLC0415  # as above

    jar = SessionCookieJar()
    now = int(time.time())
    async with chromium() as browser:
        context = await browser.new_context()
        sync = CookieSync(jar, context)
        cookies = context.cookies
        by_site = {"name": "token", "value": "http", "domain": "shop.example", "path": "/", "expires": now + 1000}
        by_site.update({"value": "page"} if renewed == "value" else {"expires": now + 2000})

        async def after_the_site() -> Any:
            await context.add_cookies([by_site])
            return await cookies()

        jar.set("token", "http", domain="shop.example", expires=now + 1000)
        with monkeypatch.context() as patch:
            patch.setattr(context, "cookies", after_the_site)
            await sync.push()
        await sync.pull()
        (cookie,) = jar
        assert (cookie.value, cookie.expires) == (by_site["value"], by_site["expires"])


async def test_an_http_response_during_a_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the jar gets while the browser is being read is newer than what is read, and replaces it there."""
    from scrapy_sessions.browser.cookie_sync import CookieSync  # noqa: PLC0415  # as above

    jar = SessionCookieJar()
    for name in ("token", "dropped", "back", "other"):
        jar.set(name, "0", domain="shop.example")
    async with chromium() as browser:
        context = await browser.new_context()
        sync = CookieSync(jar, context)
        await sync.push()
        await set_in_browser(context, token="1", dropped="1", other="1", added="1")
        await context.clear_cookies(name="back")
        cookies = context.cookies

        async def before_the_response() -> Any:
            read = await cookies()
            for name in ("token", "back", "added"):
                jar.set(name, "2", domain="shop.example")
            jar.delete("dropped")
            return read

        with monkeypatch.context() as patch:
            patch.setattr(context, "cookies", before_the_response)
            await sync.pull()
        assert values(jar) == {"token": "2", "back": "2", "other": "1", "added": "2"}
        await sync.push()
        assert await in_browser(context) == values(jar)
