"""The contexts of a crawl are bounded, and closed when nobody needs them: in a real Chromium, without Scrapy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scrapy_sessions.exceptions import PoolBusy, SessionRetired
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.browser import MISSING, chromium
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]


class Guard:
    """The crawl is never closing."""

    async def wait(self, awaitable: Awaitable[Any]) -> Any:
        return await awaitable


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The contexts under test, and the browser."""
    from scrapy_sessions.browser.contexts import BrowserContexts  # noqa: PLC0415  # not everybody has Playwright

    async with chromium() as browser:

        async def create(session: Any, name: str, arguments: dict[str, Any]) -> Any:
            return await browser.new_context(**arguments)

        wanted = {"limit": 8, "idle": 0.0, "timeout": 0.0, "max_storage": 0, **options}
        contexts = BrowserContexts(create, Guard(), **wanted)
        yield contexts, browser
        await contexts.close()
        assert browser.contexts == []


async def visit(contexts: Any, session: SessionRuntime, site: Site, script: str = "0", *, keep: bool = False) -> Any:
    """Run *script* in a page of *session*; return the page if it is to be kept."""
    async with contexts.use(session, {}) as context:
        page = await context.context.new_page()
        await page.goto(site.url("/page/1"))
        await page.evaluate(script)
        if keep:
            return page
        await page.close()
    return None


async def test_the_least_recently_used_context_gives_way(site: Site) -> None:
    """At the limit the idle context whose last page is the longest ago is closed, after its storages were read."""
    alice, bob, carol = (SessionRuntime(name) for name in ("alice", "bob", "carol"))
    async with opened(limit=2) as (contexts, browser):
        await visit(contexts, alice, site, "localStorage.setItem('who', 'alice')")
        await visit(contexts, bob, site)
        first = list(browser.contexts)
        await visit(contexts, alice, site, "document.cookie = 'again=1'")
        await visit(contexts, carol, site)
        assert len(browser.contexts) == 2
        assert first[0] in browser.contexts
        assert alice.data_of("local_storage") == {site.url("").rstrip("/"): {"who": "alice"}}
        assert alice.jar["again"] == "1"


async def test_an_idle_context_is_closed(site: Site) -> None:
    """After a while without a page the context is closed; not as long as a page is open."""
    alice = SessionRuntime("alice")
    async with opened(idle=0.2) as (contexts, browser):
        page = await visit(contexts, alice, site, keep=True)
        await asyncio.sleep(0.5)
        assert len(browser.contexts) == 1
        await page.evaluate("sessionStorage.setItem('draft', '7')")
        await page.close()
        await until(lambda: not browser.contexts)
        assert alice.data_of("session_storage") == {site.url("").rstrip("/"): {"draft": "7"}}


async def test_a_page_is_read_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept page is read when it is closed, one that ends with its content together with that: no answer is extra."""
    alice = SessionRuntime("alice")
    script = "document.cookie = '{0}=1; Path=/'; localStorage.setItem('{0}', '1'); sessionStorage.setItem('{0}', '1')"
    async with opened() as (contexts, browser):
        kept = await visit(contexts, alice, site, keep=True)
        (context,) = browser.contexts
        await kept.evaluate(script.format("kept"))
        await kept.close()
        assert alice.jar["kept"] == "1"
        read: list[str] = []
        cookies = context.cookies

        async def noted() -> Any:
            read.append("cookies")
            return await cookies()

        monkeypatch.setattr(context, "cookies", noted)
        async with contexts.use(alice, {}) as use:
            page = await use.context.new_page()
            use.read_with_content.add(page)
            await page.goto(site.url("/page/1"))
            await page.evaluate(script.format("brief"))
            assert "page" in await page.content()
            assert alice.jar["brief"] == "1"
            await page.close()
        assert read == ["cookies"]
    origin = site.url("").rstrip("/")
    for kind in ("local_storage", "session_storage"):
        assert alice.data_of(kind) == {origin: {"kept": "1", "brief": "1"}}


@pytest.mark.parametrize("end", ["retired", "deleted"])
async def test_the_end_of_a_session_closes_its_context(site: Site, end: str) -> None:
    """A session that is retired or deleted has no context any more, and gets none."""
    alice = SessionRuntime("alice")
    async with opened() as (contexts, browser):
        await visit(contexts, alice, site, keep=True)
        assert browser.contexts
        if end == "retired":
            alice.retire("over")
        else:
            alice.closed = True
            alice.wake_first()
        await until(lambda: not browser.contexts)
        with pytest.raises(SessionRetired):
            await visit(contexts, alice, site)


async def test_a_new_generation_gets_a_new_context(site: Site) -> None:
    """After a login, pages of before change nothing in the session, and the next page runs in a new context."""
    alice = SessionRuntime("alice")
    alice.jar.set("token", "old", domain="127.0.0.1")
    async with opened() as (contexts, browser):
        old = await visit(contexts, alice, site, "localStorage.setItem('theme', 'dark')", keep=True)
        alice.new_generation()
        alice.jar.set("token", "new", domain="127.0.0.1")
        await old.evaluate("document.cookie = 'token=stale; Path=/'")
        page = await visit(contexts, alice, site, keep=True)
        assert page.context != old.context
        assert await page.evaluate("[document.cookie, localStorage.getItem('theme')]") == ["token=new", "dark"]
        await old.close()
        await until(lambda: len(browser.contexts) == 1)
        await contexts.capture()
        assert alice.jar["token"] == "new"


async def test_an_old_page_does_not_undo_a_login(site: Site) -> None:
    """What an old page changes in the storages stays out where the session has changed it, too, as by a login."""
    alice = SessionRuntime("alice")
    origin = site.url("").rstrip("/")
    alice.set_data("local_storage", {origin: {"token": "old", "theme": "light"}})
    alice.set_data("session_storage", {origin: {"step": "1"}})
    async with opened() as (contexts, _):
        old = await visit(contexts, alice, site, keep=True)
        alice.new_generation()
        alice.set_data("local_storage", {origin: {"token": "new", "theme": "light"}})
        alice.set_data("session_storage", {origin: {"step": "2"}})
        await old.evaluate(
            "localStorage.removeItem('token'); localStorage.setItem('theme', 'dark'); sessionStorage.clear()"
        )
        page = await visit(contexts, alice, site, keep=True)
        shown = await page.evaluate("[localStorage.token, localStorage.theme, sessionStorage.step]")
        assert shown == ["new", "dark", "2"]
    assert alice.data_of("local_storage") == {origin: {"token": "new", "theme": "dark"}}
    assert alice.data_of("session_storage") == {origin: {"step": "2"}}


async def test_a_kept_page_is_read_before_http(site: Site) -> None:
    """HTTP requests read what a kept page set, whatever other requests wait for a page; not one that is in use."""
    alice = SessionRuntime("alice")
    async with opened() as (contexts, _):
        async with contexts.use(alice, {}) as context:
            page = await context.context.new_page()
            context.in_use.add(page)
            assert contexts.before_http(alice) is None
            context.in_use.discard(page)
        await page.goto(site.url("/page/1"))
        await page.evaluate("document.cookie = 'token=renewed; Path=/'")
        async with contexts.use(alice, {}):
            reading = contexts.before_http(alice)
            assert reading is not None
            await reading
            assert alice.jar["token"] == "renewed"


async def test_a_session_is_handed_over_when_its_pages_are_closed(site: Site) -> None:
    """A callback works on in a page, one of before a login, too; then the session has what the browser has."""
    alice, bob = SessionRuntime("alice"), SessionRuntime("bob")
    async with opened() as (contexts, browser):
        old = await visit(contexts, alice, site, keep=True)
        alice.new_generation()
        page = await visit(contexts, alice, site, keep=True)
        await visit(contexts, bob, site)
        handing = asyncio.ensure_future(contexts.hand_over(alice))
        await page.evaluate("document.cookie = 'token=2'; localStorage.setItem('cart', '3')")
        assert contexts.has_pages(alice)
        await old.close()
        assert not handing.done()
        await page.close()
        await handing
        assert not contexts.has_pages(alice)
        assert len(browser.contexts) == 1
        assert alice.jar["token"] == "2"
        assert alice.data_of("local_storage")[site.url("")] == {"cart": "3"}


async def test_the_end_of_a_session_closes_its_older_contexts(site: Site) -> None:
    """Also one of before a login, in which a page is open."""
    alice = SessionRuntime("alice")
    async with opened() as (contexts, browser):
        await visit(contexts, alice, site, keep=True)
        alice.new_generation()
        await visit(contexts, alice, site, keep=True)
        alice.retire("banned")
        await until(lambda: not browser.contexts)


async def test_the_last_reading_waits_for_contexts_that_are_being_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of a crawl the session has what was read of an idle context, while an older one was closed, too."""
    alice, bob = SessionRuntime("alice"), SessionRuntime("bob")
    async with opened(limit=2) as (contexts, browser):
        old = await visit(contexts, alice, site, keep=True)
        alice.new_generation()
        await visit(contexts, alice, site)
        (context,) = (each for each in browser.contexts if each is not old.context)
        cookies, begun, free = context.cookies, asyncio.Event(), asyncio.Event()

        async def slow() -> Any:
            begun.set()
            await free.wait()
            return await cookies()

        await context.add_cookies([{"name": "late", "value": "1", "url": site.url("")}])
        monkeypatch.setattr(context, "cookies", slow)
        other = asyncio.ensure_future(visit(contexts, bob, site))  # takes its place
        await begun.wait()
        await old.close()
        await until(lambda: old.context not in browser.contexts)
        capturing = asyncio.ensure_future(contexts.capture())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not capturing.done()
        free.set()
        await capturing
        assert alice.jar["late"] == "1"
        await other


async def test_who_waits_too_long_is_named_and_fails(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is never closed keeps its context: a WARNING names its session, and others fail after the timeout."""
    monkeypatch.setattr("scrapy_sessions.browser.contexts._WARN_AFTER", 0.2)
    alice, bob = SessionRuntime("alice"), SessionRuntime("bob")
    async with opened(limit=1, timeout=0.5) as (contexts, _):
        await visit(contexts, alice, site, keep=True)
        with pytest.raises(PoolBusy, match="'bob'"):
            await visit(contexts, bob, site)
        (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert "'bob' waits" in warning
        assert "'alice' (open pages: 1)" in warning


async def test_a_context_that_was_closed_by_others_is_opened_again(site: Site) -> None:
    """A context that is gone, as with its browser, frees its place, and the session gets another with its cookies."""
    alice = SessionRuntime("alice")
    async with opened(limit=1) as (contexts, browser):
        await visit(contexts, alice, site, "document.cookie = 'a=1; Path=/'")
        await browser.contexts[0].close()
        page = await visit(contexts, alice, site, keep=True)
        assert await page.evaluate("document.cookie") == "a=1"


async def test_requests_of_a_session_share_one_context(site: Site) -> None:
    """Requests that come at once wait for one context, and what they set is all in the session."""
    alice = SessionRuntime("alice")
    async with opened() as (contexts, browser):
        await asyncio.gather(
            *(visit(contexts, alice, site, f"document.cookie = 'c{number}=1; Path=/'") for number in range(8))
        )
        assert len(browser.contexts) == 1
        assert {cookie.name for cookie in alice.jar} == {f"c{number}" for number in range(8)}


async def test_a_kept_page_that_crashes_keeps_no_place(site: Site) -> None:
    """Its context is idle: it gives way to that of another session, and is still saved."""
    alice, bob = SessionRuntime("alice"), SessionRuntime("bob")
    async with opened(limit=1, timeout=10.0) as (contexts, _):
        page = await visit(contexts, alice, site, "document.cookie = 'left=here'", keep=True)
        crashed = asyncio.get_running_loop().create_future()
        page.on("crash", lambda _: crashed.set_result(None))
        devtools = await page.context.new_cdp_session(page)
        crashing = asyncio.ensure_future(devtools.send("Page.crash"))
        await asyncio.wait_for(crashed, 10)
        await visit(contexts, bob, site)
        crashing.cancel()
        await asyncio.wait([crashing])
        assert page.is_closed()
    assert [cookie.value for cookie in alice.jar.dump()] == ["here"]
