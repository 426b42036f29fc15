"""A session is opened in a real Chromium, and what the browser made of it is saved."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest

from scrapy_sessions import Cookie, Profile, SessionConfigurationError, SessionManager
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore
from tests.support.browser import MISSING, chromium
from tests.support.clock import Clock
from tests.support.crawl import Job, crawl_jobs
from tests.support.proxy import Proxy
from tests.support.site import Site
from tests.support.tls_site import tls_site
from tests.support.waiting import HANG

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

SHOWN = ("cookie", "local", "tab", "database")


async def shown(page: Any, *names: str) -> dict[str, str]:
    """What the elements *names* of *page* show once its script has ended."""
    await page.wait_for_function("document.title === 'ready'")
    return {name: await page.text_content(f"#{name}") for name in names}


async def greeted(page: Any, site: Site) -> dict[str, str]:
    """Whom the site greets by each kind of storage."""
    await page.goto(site.url("/browser/home"))
    return await shown(page, *SHOWN)


def everywhere(user: str) -> dict[str, str]:
    return dict.fromkeys(SHOWN, user)


async def log_in(context: Any, site: Site, user: str) -> Any:
    page = await context.new_page()
    await page.goto(site.url("/browser/login", user=user))
    await page.wait_for_url("**/browser/home")
    assert await shown(page, *SHOWN) == everywhere(user)
    return page


async def test_one_login_serves_browser_and_crawl(tmp_path: Path, site: Site) -> None:
    """A login by a script in the browser, a crawl, the browser again, each process a new one: one login in all."""
    store = f"sqlite:///{tmp_path / 'sessions.db'}"
    async with chromium() as browser, SessionManager(store=store, namespace="shop") as manager:
        context = await manager.open_browser("alice", browser)
        await log_in(context, site, "alice")
        assert await manager.save_browser("alice", context)
    request = {"url": site.url("/browser/home"), "meta": {"session_id": "alice"}}
    job = Job("tests.support.spiders.base.Listed", {"requests": [request]})
    (done,) = crawl_jobs(tmp_path / "crawl", job, SESSIONS_STORE=store, SESSIONS_NAMESPACE="shop")
    assert [item["status"] for item in done.items] == [200]
    async with chromium() as browser, SessionManager(store=store, namespace="shop") as manager:
        context = await manager.open_browser("alice", browser)
        for _ in range(2):  # each new page begins with the session's sessionStorage
            assert await greeted(await context.new_page(), site) == everywhere("alice")
        assert await manager.save_browser("alice", context)
    assert len(site.journal("/browser/token")) == 1
    assert {each.cookies["token"] for each in site.journal("/browser/home")} != {""}


async def test_sessions_of_one_browser_dont_meet(site: Site) -> None:
    """Alice and Bob in one browser: neither sees a cookie or a storage of the other."""
    async with chromium() as browser, SessionManager(store=MemoryStore()) as manager:
        contexts = {user: await manager.open_browser(user, browser) for user in ("alice", "bob", "carol")}
        for user in ("alice", "bob"):
            await log_in(contexts[user], site, user)
        for user in ("alice", "bob"):
            assert await greeted(await contexts[user].new_page(), site) != everywhere("nobody")
            await manager.save_browser(user, contexts[user])
            again = await manager.open_browser(user, browser)
            assert await greeted(await again.new_page(), site) == everywhere(user)
        assert await greeted(await contexts["carol"].new_page(), site) == everywhere("nobody")


async def test_a_logout_clears_the_session(site: Site) -> None:
    """What the site deletes in the browser is deleted in the session, also by a page that leaves at once."""
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        first = await manager.open_browser("alice", browser)
        await log_in(first, site, "alice")
        await manager.save_browser("alice", first)
        await first.close()
        alice = await manager.get("alice")
        alice.local_storage["https://other.example"] = {"kept": "1"}
        alice.cookies.set("kept", "1", domain="other.example")
        second = await manager.open_browser("alice", browser)
        page = await second.new_page()
        await page.goto(site.url("/browser/logout"))
        await page.wait_for_url("**/browser/home")
        assert await shown(page, *SHOWN) == everywhere("nobody")
        assert await manager.save_browser("alice", second)
        assert [cookie.name for cookie in alice.cookies] == ["kept"]
        assert alice.local_storage == {"https://other.example": {"kept": "1"}}
        assert alice.session_storage == {}
        databases = alice.indexed_db.get(site.url("").rstrip("/"), [])
        assert not [store["records"] for each in databases for store in each["stores"] if store["records"]]


async def test_the_identity_is_the_sessions(site: Site) -> None:
    """The browser has the session's agent, languages, time zone and viewport, for navigations and for XHR."""
    profile = Profile(
        user_agent="Browser of alice",
        language="de-CH,de;q=0.8,fr;q=0.5",
        timezone="Asia/Tokyo",
        viewport_width=811,
        viewport_height=603,
        headers={"X-Kind": "a", "Accept": "application/of-a-profile"},
    )
    manager = SessionManager(store=MemoryStore(), default_profile=profile)
    async with chromium() as browser, manager:
        context = await manager.open_browser("alice", browser)
        page = await context.new_page()
        await page.goto(site.url("/browser/place"))
        assert await shown(page, "zone", "language", "navigation", "xhr") == {
            "zone": "Asia/Tokyo",
            "language": "de-CH",
            "navigation": "de-CH,de;q=0.8,fr;q=0.5",
            "xhr": "de-CH,de;q=0.8,fr;q=0.5",
        }
        assert await page.evaluate("[innerWidth, innerHeight]") == [811, 603]
        (navigation,) = site.journal("/browser/place")
        assert navigation.header("User-Agent") == "Browser of alice"
        assert navigation.header("X-Kind") == "a"
        assert navigation.header("Accept") != "application/of-a-profile"
        wider = await manager.open_browser("alice", browser, viewport={"width": 1001, "height": 500})
        assert await (await wider.new_page()).evaluate("innerWidth") == 1001


async def test_a_later_context_has_the_proxy_of_then(site: Site) -> None:
    """With a ``proxy_lifetime``, a context keeps the user that it was opened with; one after that time has another."""
    clock = Clock()
    with Proxy("") as proxy, patch.object(proxy, "accepts", lambda brought: brought is not None):
        profile = Profile(proxy=f"http://{{token}}:pw@{proxy.address}", proxy_lifetime=600.0)
        manager = SessionManager(store=MemoryStore(), default_profile=profile, clock=clock)
        users = []
        async with chromium() as browser, manager:
            for _ in range(2):
                context = await manager.open_browser("alice", browser)
                page = await context.new_page()
                users.append(urlsplit((await manager.get("alice")).proxy or "").username)
                await page.goto(site.url("/page/1", host="shop.test"))
                clock.ahead += 600.0
                await page.goto(site.url("/page/1", host="shop.test"))
                await context.close()
    came = [str(each.credentials) for each in proxy.passages if each.path == "/page/1" and each.credentials]
    assert list(dict.fromkeys(came)) == [f"{user}:pw" for user in users]
    assert len(came) == 4
    assert len(set(users)) == 2


async def test_the_proxy_gets_its_credentials(site: Site) -> None:
    """The browser goes through the session's proxy, with the user and password of its URL."""
    with Proxy("al%69ce:s3%40cret") as proxy:
        proxy.credentials = "alice:s3@cret"
        manager = SessionManager(
            store=MemoryStore(), default_profile=Profile(proxy=f"http://al%69ce:s3%40cret@{proxy.address}")
        )
        async with chromium() as browser, manager:
            page = await (await manager.open_browser("alice", browser)).new_page()
            await page.goto(site.url("/page/1", host="shop.test"))
        assert [each.credentials for each in proxy.passages if each.path == "/page/1"][-1] == "alice:s3@cret"


async def test_every_kind_of_cookie_survives(site: Site) -> None:
    """HttpOnly, Secure, SameSite, host-only, expiry and partition are the same after a stay in the browser."""
    soon = float(int(time.time()) + 86400)
    kinds: list[dict[str, Any]] = [
        {"name": "plain"},
        {"name": "wide", "host_only": False, "http_only": True, "expires": soon},
        {"name": "years", "expires": soon + 3000 * 86400},
        {"name": "__Host-bound", "secure": True, "same_site": "Strict"},
        {"name": "lax", "same_site": "Lax", "path": "/a"},
        {"name": "none", "same_site": "None", "secure": True},
        {"name": "chips", "same_site": "None", "secure": True, "partition_key": "https://shop.example"},
        {
            "name": "embedded",
            "same_site": "None",
            "secure": True,
            "partition_key": "https://news.example",
            "cross_site_ancestor": True,
        },
    ]
    cookies = [Cookie(value="1", domain="shop.example", **kind) for kind in kinds]
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice = await manager.get("alice")
        for cookie in cookies:
            alice.cookies.add(cookie)
        before = alice.cookies.dump()
        context = await manager.open_browser("alice", browser)
        in_browser = {each["name"]: each for each in await context.cookies()}
        assert in_browser.keys() == {cookie.name for cookie in cookies}
        assert in_browser["wide"]["expires"] == soon
        assert in_browser["years"]["expires"] < time.time() + 401 * 86400
        await manager.save_browser("alice", context)
        assert alice.cookies.dump() == before
        # Into a session that knows nothing of them: what the browser has, exactly.
        await manager.save_browser("bob", context)
        copies = {cookie.name: cookie for cookie in (await manager.get("bob")).cookies}
        ignored = {"created": 0.0, "updated": 0.0, "expires": None}
        for cookie in cookies:
            wanted = cookie.model_copy(update={"same_site": cookie.same_site or "Lax", **ignored})
            assert copies[cookie.name].model_copy(update=ignored) == wanted
        assert copies["wide"].expires == soon


async def test_a_partitioned_cookie_stays_in_its_partition(tmp_path: Path) -> None:
    """A cookie that a frame sets in its partition is saved, and sent again there only."""
    script = "document.cookie = 'made=1; Path=/; Secure; SameSite=None; Partitioned'"
    pages = {
        "news.example/": "<iframe src='https://shop.example/frame'></iframe>",
        "shop.example/frame": f"<script>{script}</script>",
        "shop.example/": "shop",
    }
    with tls_site(tmp_path, pages) as seen:
        hosts = f"--host-resolver-rules=MAP * 127.0.0.1:{seen.port}"
        async with chromium(hosts) as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
            for _ in range(2):
                seen.cookies.clear()
                context = await manager.open_browser("alice", browser, ignore_https_errors=True)
                page = await context.new_page()
                for url in ("news.example/", "shop.example/"):
                    await page.goto(f"https://{url}")
                assert await manager.save_browser("alice", context)
                await context.close()
            assert seen.cookies["shop.example/frame"] == {"made"}
            assert seen.cookies["shop.example/"] == set()
            (cookie,) = (await manager.get("alice")).cookies
            assert (cookie.partition_key, cookie.cross_site_ancestor) == ("https://news.example", True)


async def test_a_bad_cookie_costs_that_cookie(caplog: pytest.LogCaptureFixture) -> None:
    """A cookie that the browser refuses is named in the log without its value; the others are there."""
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice = await manager.get("alice")
        for number in range(9):
            alice.cookies.set(f"c{number}", "1", domain="shop.example")
        alice.cookies.set("deep", "hunter2", domain="shop.example", path=f"/{'x' * 2000}")
        alice.cookies.set("odd", "hunter2", domain="shop.example", secure=True, partition_key="no site")
        context = await manager.open_browser("alice", browser)
        assert sorted(each["name"] for each in await context.cookies()) == [f"c{number}" for number in range(9)]
        await manager.save_browser("alice", context)
        assert {"deep", "odd"} <= {cookie.name for cookie in alice.cookies}
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert "'alice'" in warning
    assert "deep, odd" in warning
    assert "hunter2" not in warning


async def test_a_public_suffix_is_refused(site: Site) -> None:
    """A cookie for a whole public suffix doesn't come from the browser into a session."""
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        context = await manager.open_browser("alice", browser)
        fields = {"value": "1", "path": "/"}
        await context.add_cookies(
            [{"name": "a", "domain": ".github.io", **fields}, {"name": "b", "domain": ".shop.example", **fields}]
        )
        await manager.save_browser("alice", context)
        assert [(cookie.name, cookie.host_only) for cookie in (await manager.get("alice")).cookies] in (
            [("b", False)],
            [("a", True), ("b", False)],  # a browser may make it a host-only one
        )


async def test_storages_that_cant_be_restored_cost_themselves(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """An origin that isn't one, or a database that the browser doesn't understand, is left out and stays saved."""
    here = site.url("").rstrip("/")
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice = await manager.get("alice")
        alice.local_storage.update({"null": {"a": "1"}, here: {"user": "alice"}})
        alice.indexed_db["https://shop.example"] = [{"name": "of another tool"}]
        context = await manager.open_browser("alice", browser)
        page = await context.new_page()
        assert (await greeted(page, site))["local"] == "alice"
        await manager.save_browser("alice", context)
        assert alice.local_storage == {"null": {"a": "1"}, here: {"user": "alice"}}
        assert alice.indexed_db["https://shop.example"] == [{"name": "of another tool"}]
    assert "https://shop.example, null" in caplog.text


async def test_what_is_too_large_keeps_what_was_saved(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """SESSIONS_BROWSER_MAX_STORAGE bounds what a session takes over; what no record can contain is left out."""
    here = site.url("").rstrip("/")
    settings = SessionsSettings(browser_max_storage=1000)
    manager = SessionManager(store=MemoryStore(), namespace="shop", settings=settings)
    async with chromium() as browser, manager:
        alice = await manager.get("alice")
        alice.local_storage[here] = {"user": "alice"}
        context = await manager.open_browser("alice", browser)
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        await page.evaluate("sessionStorage.setItem('half', '\\ud800'); sessionStorage.setItem('whole', 'yes')")
        await page.evaluate("localStorage.setItem('large', 'x'.repeat(2000))")
        assert await manager.save_browser("alice", context)
        assert alice.local_storage == {here: {"user": "alice"}}
        assert alice.session_storage == {here: {"whole": "yes"}}
    assert f"local_storage of {here}" in caplog.text


async def test_a_page_keeps_what_it_removed(site: Site) -> None:
    """A key that a page removed from its sessionStorage doesn't come back in its next document."""
    here = site.url("").rstrip("/")
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        alice = await manager.get("alice")
        alice.session_storage[here] = {"user": "alice", "basket": "7"}
        alice.session_storage["https://other.example"] = {"kept": "1"}
        context = await manager.open_browser("alice", browser)
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        await page.evaluate("sessionStorage.removeItem('basket')")
        for path in ("/page/2", "about:blank", "/page/3"):
            await page.goto(path if ":" in path else site.url(path))
        assert await page.evaluate("Object.entries(sessionStorage)") == [["user", "alice"]]
        await manager.save_browser("alice", context)
        assert alice.session_storage == {here: {"user": "alice"}, "https://other.example": {"kept": "1"}}


async def test_a_page_that_hangs_doesnt_hold_up_the_save(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose script runs for ever is left out: everything else is saved."""
    monkeypatch.setattr("scrapy_sessions.browser.storages.PATIENCE", 0.5)
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        context = await manager.open_browser("alice", browser)
        hanging = await context.new_page()
        await hanging.goto("data:text/html,hello")
        await hanging.evaluate("setTimeout(() => { for (;;); })")
        await log_in(context, site, "alice")
        assert await manager.save_browser("alice", context)
        assert (await manager.get("alice")).session_storage != {}


async def test_a_context_that_cant_be_filled_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context that a session can't be put into is closed; if it doesn't close, nobody waits for it."""
    from playwright.async_api import BrowserContext  # noqa: PLC0415  # not everybody has Playwright

    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("not filled")

    async def hang(*args: Any, **kwargs: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("scrapy_sessions.browser.context.SessionContext.fill", fail)
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        with pytest.raises(RuntimeError, match="not filled"):
            await manager.open_browser("alice", browser)
        assert not browser.contexts
        monkeypatch.setattr("scrapy_sessions.browser.context.PATIENCE", 0.2)
        with patch.object(BrowserContext, "close", hang), pytest.raises(RuntimeError, match="not filled"):
            await asyncio.wait_for(manager.open_browser("alice", browser), HANG)


async def test_a_deleted_session_stays_deleted(site: Site) -> None:
    """A session that was deleted while its browser was open isn't brought back."""
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        context = await manager.open_browser("alice", browser)
        await log_in(context, site, "alice")
        assert await manager.save_browser("alice", context)
        assert await manager.delete_session("alice")
        assert not await manager.save_browser("alice", context)
        assert await manager.load_session("alice") is None


async def test_a_context_of_somebody_else_is_added(site: Site) -> None:
    """A context that was opened otherwise is saved into a new session, or beside what a session has."""
    store = MemoryStore()
    async with chromium() as browser, SessionManager(store=store, namespace="shop") as manager:
        context = await browser.new_context()
        await log_in(context, site, "alice")
        assert await manager.save_browser("alice", context)
        bob = await manager.get("bob")
        bob.cookies.set("kept", "1", domain="shop.example")
        assert await manager.save_browser("bob", context)
        assert {"kept", "token"} <= {cookie.name for cookie in bob.cookies}
        assert bob.status == "ready"
        again = await manager.open_browser("bob", browser)
        assert await greeted(await again.new_page(), site) == everywhere("alice")
        assert await manager.save_browser("bob", again)
    async with chromium() as browser, SessionManager(store=store) as manager:  # all namespaces
        again = await manager.open_browser("alice", browser)
        assert await greeted(await again.new_page(), site) == everywhere("alice")
        assert await manager.save_browser("alice", again)
        assert [info["namespace"] for info in await manager.list_sessions()] == ["shop", "shop"]


async def test_without_playwright_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Playwright isn't installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "scrapy_sessions.browser.context", None)
    async with SessionManager(store=MemoryStore()) as manager:
        with pytest.raises(SessionConfigurationError, match=r"pip install 'scrapy-persistent-sessions\[playwright\]'"):
            await manager.open_browser("alice", None)  # type: ignore[arg-type]
        with pytest.raises(SessionConfigurationError, match="pip install"):
            await manager.save_browser("alice", None)  # type: ignore[arg-type]
