"""Which page ends a login in a browser."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.browser.url_pattern import URLPattern
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.storage import MemoryStore
from tests.support.browser import MISSING, chromium
from tests.support.site import Site
from tests.support.waiting import HANG

FIELD = '<form><input name="user"><input type="password"></form>'
CHANGE = '<form><input type="password"><input type="password"></form>'
HIDDEN = '<form style="display: none"><input type="password"></form>'
LEAVES = '<script>fetch("/slow").then(() => history.pushState(0, "", "/signin"))</script>'


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("**/account", "https://shop.example/account", True),
        ("**/account", "https://shop.example/account?tab=1#top", True),
        ("**/account", "https://shop.example/login?next=/account", False),
        ("**/account", "https://shop.example/login#/account", False),
        ("**/account", "https://shop.example/account/orders", False),
        ("**/home?tab=*", "https://shop.example/home?tab=1", True),
        ("**/home?tab=*", "https://shop.example/home", False),
        ("**/home?tab=*", "https://shop.example/login?next=/home?tab=1", False),
        ("**/#/account", "https://shop.example/?a=1#/account", True),
        ("**/#/account", "https://shop.example/#/login", False),
        ("https://shop.example", "https://shop.example/", True),
        ("https://shop.example/*", "https://shop.example/a/b", False),
        ("https://shop.example/**/b", "https://shop.example/b", True),
        ("https://*.example/{a,b}", "https://shop.example/b", True),
        ("https://*.example/{a,b}", "https://shop.example/c", False),
        ("**/a\\{b,.c", "https://shop.example/a{b,.c", True),
        ("**/a.c", "https://shop.example/abc", False),
    ],
)
def test_patterns(pattern: str, url: str, fits: bool) -> None:
    """A pattern is that of a page: the query and the fragment of a URL count if the pattern has its own."""
    assert URLPattern(pattern).fits(url) is fits


@pytest.mark.parametrize("pattern", ["**/{a", "**/a}", "**/{a{b}}"])
def test_braces_that_do_not_fit(pattern: str) -> None:
    """A pattern that is none is refused, with what was given."""
    with pytest.raises(SessionConfigurationError, match=r"--until-url: .* has braces"):
        URLPattern(pattern)


async def ends(context: Any, site: Site, expected: bool, selector: str | None, arguments: dict[str, Any]) -> bool:
    """Whether /account, with what *arguments* say of it, ends a login; a page that does so ends it in any case."""
    from scrapy_sessions.browser.arrival import Arrival  # noqa: PLC0415  # needs Playwright

    arrival = Arrival("**/account", selector, lambda url: "key=login" in url)
    page = await context.new_page()
    arrival.follow(page)
    waiting = asyncio.ensure_future(arrival.wait(page))
    await page.goto(site.url("/account", **arguments))
    done, _ = await asyncio.wait([waiting], timeout=HANG if expected else 2)
    await page.goto(site.url("/account", body="<p>Hello</p>"))
    await asyncio.wait_for(waiting, HANG)
    return bool(done)


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed")
def test_pages(site: Site) -> None:
    """Neither the login page nor one with a login form, a refused one, or one that its script leaves."""
    pages: dict[str, tuple[bool, str | None, dict[str, Any]]] = {
        "good": (True, None, {"body": "<p>Hello</p>"}),
        "change": (True, None, {"body": CHANGE}),
        "hidden": (True, None, {"body": HIDDEN}),
        "form": (False, None, {"body": FIELD}),
        "frame": (False, None, {"body": f"<iframe srcdoc='{FIELD}'></iframe>"}),
        "selector": (False, "p", {"body": f"<p>Hello</p>{FIELD}"}),
        "login": (False, None, {"body": "<p>Hello</p>", "key": "login"}),
        "401": (False, None, {"body": "<p>Hello</p>", "status": "401"}),
        "503": (False, None, {"body": "<p>Hello</p>", "status": "503"}),
        "404": (True, None, {"body": "<p>Hello</p>", "status": "404"}),
        "script": (False, None, {"body": LEAVES}),
    }

    async def ask_all() -> dict[str, bool]:
        async with chromium() as started:
            context = await started.new_context()
            found = await asyncio.gather(*(ends(context, site, *each) for each in pages.values()))
            return dict(zip(pages, found, strict=True))

    assert asyncio.run(ask_all()) == {name: expected for name, (expected, _, _) in pages.items()}


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed")
def test_a_navigation_that_fails_is_no_end(site: Site) -> None:
    """One without a page, with a download, or interrupted by another one: the page waited for still ends the login."""
    failing: dict[str, dict[str, Any]] = {
        "no page": {"status": 204},
        "download": {"header": "Content-Disposition: attachment"},
        "interrupted": {"ms": 60_000},
    }

    async def ask(context: Any, arguments: dict[str, Any]) -> None:
        from playwright.async_api import Error  # noqa: PLC0415  # not everybody has it

        from scrapy_sessions.browser.arrival import Arrival  # noqa: PLC0415  # as above

        arrival = Arrival("**/account", None, lambda _: False)
        page = await context.new_page()
        waiting = asyncio.ensure_future(arrival.wait(page))
        await page.goto(site.url("/login"))
        with suppress(Error):
            await page.goto(site.url("/page/1", **arguments), timeout=2000)
        await page.goto(site.url("/account", body="<p>Hello</p>"))
        await asyncio.wait_for(waiting, HANG)

    async def ask_all() -> None:
        async with chromium() as started:
            context = await started.new_context()
            await asyncio.gather(*(ask(context, each) for each in failing.values()))

    asyncio.run(ask_all())


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed")
async def test_after_the_end_no_page_is_waited_for(site: Site) -> None:
    """What is opened after a login has ended, to ask the site whether it is one, is no part of the login."""
    from scrapy_sessions.browser.arrival import Arrival  # noqa: PLC0415  # not everybody has Playwright
    from scrapy_sessions.browser.attended import Window  # noqa: PLC0415  # as above
    from scrapy_sessions.browser.context import SessionContext  # noqa: PLC0415  # as above

    class Watched(Arrival):
        async def wait(self, page: Any) -> None:
            waited_for.append(page)
            await super().wait(page)

    waited_for: list[Any] = []
    async with chromium() as started, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice = runtime_of(await manager.get("alice"))
        context = await SessionContext.open(alice, started)
        page = await context.context.new_page()
        window = Window(page, context, all_pages=True, visible=False)
        await window.expect(Watched("**/account", None, lambda _: False))
        assert await window.show(site.url("/account", body="<p>Hello</p>")) is None
        assert await window.wait(HANG) == "reached"
        later = await context.context.new_page()
        await later.goto(site.url("/login"))
        assert waited_for == [page]
