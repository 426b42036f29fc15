"""Headers that are bound to an origin are sent to it by the browser, and to no other: in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import MemoryStore
from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING, chromium
from tests.support.crawl import Job, crawl_jobs
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

HANDLER = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
OTHER = "127.0.0.2"  # another site, so that its frames have a process of their own
MIXED = {"img", "xhr", "worker", "frame", "there", "back", "here"}
NOT_BY_ITSELF = {"/loaded/worker", "/loaded/back"}  # of a worker made from a blob, by a redirect of another origin


def origin(site: Site, host: str = "127.0.0.1") -> str:
    return site.url("", host=host).rstrip("/")


def mixed(site: Site) -> str:
    """The URL of a page that loads from both origins in many ways."""
    return site.url("/browser/mixed", other=origin(site, OTHER))


def check_secrets(site: Site, *sessions: str) -> None:
    """Check that the requests of the site's own pages had the header of their session, and no others."""
    arrived = [each for each in site.journal() if each.path != "/favicon.ico"]
    own = [each for each in arrived if each.host.startswith("127.0.0.1")]
    others = [each for each in arrived if each.host.startswith(OTHER)]
    assert {each.path.rpartition("/")[2] for each in own} >= {"mixed", *MIXED - {"there"}}
    assert {each.path.rpartition("/")[2] for each in others} >= MIXED - {"back", "here"}
    by_others = [each for each in own if each.path in NOT_BY_ITSELF]
    own = [each for each in own if each not in by_others]
    assert {each.header("X-Secret") for each in by_others} == {None}
    assert {each.header("X-Secret") for each in own} == {f"of {session}" for session in sessions or ("alice",)}
    for session in sessions:
        of_session = [each for each in own if each.header("User-Agent") == f"Browser of {session}"]
        assert {each.header("X-Secret") for each in of_session} == {f"of {session}"}
    for each in arrived:
        strange = [name for name in each.headers if name.startswith("x-") and name != "x-secret"]
        assert not strange
    assert {each.header("X-Secret") for each in others} == {None}


@asynccontextmanager
async def opened(site: Site, user: str = "alice", **headers: str) -> AsyncIterator[tuple[Any, Any]]:
    """A manager, and a context of *user* with *headers* bound to the site."""
    async with chromium() as browser, SessionManager(store=MemoryStore(), namespace="shop") as manager:
        session = await manager.get(user)
        for name, value in headers.items():
            session.headers.set(name.replace("_", "-"), value, url=origin(site))
        yield session, await manager.open_browser(user, browser)


@pytest.mark.skipif(find_spec("scrapy_playwright") is None, reason="the package scrapy-playwright is not installed")
def test_secrets_of_a_crawl_stay_at_their_origin(tmp_path: Path, site: Site) -> None:
    """Pages, XHR, images, workers and frames have the header at the site, and nowhere else, also after redirects."""
    users = ("alice", "bob")
    requests = [
        {"url": url, "meta": {"session_id": user, "playwright": True}}
        for user in users
        for url in (mixed(site), site.url("/redirect", to=site.url("/page/1", host=OTHER)), site.url("/page/2"))
    ]
    (done,) = crawl_jobs(
        tmp_path,
        Job("tests.support.spiders.browser.Secrets", {"requests": requests}),
        DOWNLOAD_HANDLERS={"http": HANDLER},
        PLAYWRIGHT_LAUNCH_OPTIONS={"executable_path": CHROMIUM, "args": ARGUMENTS},
        SESSIONS_POOLS={user: {"sessions": [user], "profiles": [user]} for user in users},
        SESSIONS_PROFILES={user: {"user_agent": f"Browser of {user}"} for user in users},
        SITE=origin(site),
    )
    assert [item["status"] for item in done.items] == [200] * len(requests)
    check_secrets(site, *users)
    assert len(site.journal("/page/1")) == len(users)


async def test_secrets_of_a_script_stay_at_their_origin(site: Site) -> None:
    """A context of ``open_browser()`` sends the header likewise, also from a page that another one opens."""
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(mixed(site))
        await page.wait_for_function("document.title === 'ready'")
        check_secrets(site)
        async with page.expect_popup() as popup:
            await page.evaluate("url => { open(url); }", site.url("/page/3"))
        await (await popup.value).wait_for_load_state()
        assert [each.header("X-Secret") for each in site.journal("/page/3")] == ["of alice"]


async def test_what_the_page_sends_itself_comes_first(site: Site) -> None:
    """A header that a script sets is left alone; a new value of the session is sent at once, a deleted one no more."""
    async with opened(site, Authorization="Bearer of-session") as (session, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        await page.evaluate("fetch('/page/2', {headers: {authorization: 'Bearer of-script'}})")
        session.headers.set("Authorization", "Bearer new", url=origin(site))
        await page.goto(site.url("/page/3"))
        session.headers.delete("Authorization")
        await page.goto(site.url("/page/4"))
    sent = [each.header("Authorization") for each in site.journal("/page/")]
    assert sent == ["Bearer of-session", "Bearer of-script", "Bearer new", None]


async def test_a_redirect_after_the_end_of_the_page_takes_no_secret_along(site: Site) -> None:
    """A request that outlives its page, for which Playwright no longer answers, leaves the header at its origin."""
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        away = site.url("/redirect", ms=400, to=site.url("/page/2", host=OTHER))
        await page.evaluate("url => { fetch(url, {keepalive: true, mode: 'no-cors'}); }", away)
        await until(lambda: site.journal("/redirect"))
        await page.close()
        await (await context.new_page()).goto(site.url("/page/3", ms=600))
    (redirected,) = site.journal("/redirect")
    assert redirected.header("X-Secret") == "of alice"
    for each in site.journal("/page/2"):
        assert not [name for name in each.headers if name.startswith("x-")]
    assert site.journal("/page/2")


async def test_service_workers_send_no_secret(site: Site) -> None:
    """A service worker neither sees the header nor sends it, nor what stands for it."""
    worker = """
        self.addEventListener("activate", event => event.waitUntil(clients.claim()));
        self.addEventListener("fetch", event => event.respondWith((async () => {
            const sent = JSON.stringify([...event.request.headers]);
            await fetch("/page/8?sent=" + encodeURIComponent(sent));
            return fetch(event.request);
        })()));
    """
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        script = site.url("/worker.js", body=worker, type="text/javascript")
        await page.evaluate(
            "async url => { await navigator.serviceWorker.register(url); await navigator.serviceWorker.ready; }", script
        )
        await page.evaluate(
            "navigator.serviceWorker.controller || new Promise(done => { "
            "navigator.serviceWorker.oncontrollerchange = done; })"
        )
        await page.goto(site.url("/page/2"))
        await page.evaluate("fetch('/page/3')")
    seen = site.journal("/page/8")
    assert seen
    assert not any("alice" in each.target or "x-" in json.dumps(each.headers) for each in seen)
    for path in ("/page/2", "/page/3"):
        assert not [each for each in site.journal(path) if any(name.startswith("x-") for name in each.headers)]


@pytest.mark.skipif(find_spec("scrapy_playwright") is None, reason="the package scrapy-playwright is not installed")
async def test_pages_from_before_send_none(site: Site) -> None:
    """A header that is bound while a page is open is sent by the pages after it."""
    from scrapy_sessions.browser.context import SessionContext  # noqa: PLC0415  # not everybody has Playwright

    alice = SessionRuntime("alice")
    async with chromium() as browser:
        context = SessionContext(alice, await browser.new_context())
        await context.fill(intercept=False)
        await context.send_secrets()
        assert context.secrets is None
        old = await context.context.new_page()
        await old.goto(site.url("/page/1"))
        alice.bound_headers.set("X-Secret", "of alice", url=origin(site))
        await context.send_secrets()
        new = await context.context.new_page()
        assert context.secrets is not None

        async def go_on(route: Any, request: Any) -> None:
            await route.continue_()

        for page in (old, new):
            await page.route("**", context.secrets.marking(context, go_on))
        await new.goto(site.url("/page/2"))
        await old.evaluate("fetch('/page/3')")
        await old.goto(site.url("/page/4"))
    assert [each.header("X-Secret") for each in site.journal("/page/")] == [None, "of alice", None, None]
    assert not [
        each for each in site.journal() if any(name.startswith("x-") and name != "x-secret" for name in each.headers)
    ]


def secrets_at(site: Site, *paths: str) -> dict[str, str | None]:
    """What the first request to each of *paths* had of the header."""
    return {path: site.journal(path)[0].header("X-Secret") for path in paths}


async def test_pages_of_another_site_cannot_use_the_secret(site: Site) -> None:
    """Scripts, forms and frames of another site get nothing by it, nor do its redirects of what isn't only read."""
    from playwright.async_api import Error  # noqa: PLC0415  # not everybody has Playwright

    allow = "Access-Control-Allow-Origin: *"
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1", host=OTHER))
        text = await page.evaluate("url => fetch(url).then(r => r.text())", site.url("/page/2", header=allow))
        post = "url => fetch(url, {method: 'POST', mode: 'no-cors', body: 'x', referrerPolicy: 'no-referrer'})"
        await page.evaluate(f"url => ({post})(url).then(() => 0)", site.url("/page/3"))
        framed = """html => new Promise(done => {
            const added = document.createElement("iframe");
            added.onload = done;
            added.src = html;
            document.body.append(added);
        })"""
        await page.evaluate(framed, site.url("/page/4"))
        data = f"<img src='{site.url('/page/5')}'>"
        await page.evaluate(framed, f"data:text/html,{data}")
        form = """url => {
            const added = document.createElement("form");
            added.method = "post";
            added.action = url;
            document.body.append(added);
            added.submit();
        }"""
        async with page.expect_navigation():
            await page.evaluate(form, site.url("/page/6"))
        away = [site.url("/redirect", host=OTHER, status=307, to=site.url(f"/page/{n}")) for n in (7, 9)]
        await page.goto(site.url("/page/1", host=OTHER))
        await page.evaluate(f"url => ({post})(url).then(() => 0)", away[0])
        with suppress(Error):  # Chromium 150 fails it, as it does with any route of Playwright's
            async with page.expect_navigation():
                await page.evaluate(form, away[1])
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        async with page.expect_navigation():
            await page.evaluate(form, site.url("/page/8"))
    assert "alice" not in text
    refused = dict.fromkeys(f"/page/{n}" for n in range(2, 8))
    assert secrets_at(site, *refused) == refused
    assert {each.header("X-Secret") for each in site.journal("/page/9")} <= {None}
    assert secrets_at(site, "/page/8") == {"/page/8": "of alice"}


async def test_requests_of_a_page_that_is_left_are_its_own(site: Site) -> None:
    """What another site's page sends while the frame goes to the origin isn't taken for the origin's."""
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1", host=OTHER))
        leave = """([send, go]) => {
            const options = {method: "POST", keepalive: true, mode: "no-cors", referrerPolicy: "no-referrer"};
            addEventListener("pagehide", () => { fetch(send, options); navigator.sendBeacon(send, "x"); });
            location = go;
        }"""
        async with page.expect_navigation():
            await page.evaluate(leave, [site.url("/page/2"), site.url("/page/3")])
        await page.evaluate("fetch('/page/4')")
    assert {each.header("X-Secret") for each in site.journal("/page/2")} <= {None}
    assert secrets_at(site, "/page/3", "/page/4") == {"/page/3": "of alice", "/page/4": "of alice"}


async def test_redirects_leave_behind_what_is_the_page_s_own(site: Site) -> None:
    """Another origin doesn't get the ``Authorization`` of a script, nor from a script the path of its page."""
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1", private=1))
        away = site.url("/redirect", to=site.url("/page/2", host=OTHER))
        send = "url => fetch(url, {headers: {authorization: 'Bearer of-script'}, mode: 'cors'}).catch(() => 0)"
        await page.evaluate(send, away)
        (fetched,) = site.journal("/page/2")
        assert fetched.header("Referer") == f"{origin(site)}/"
        async with page.expect_navigation():
            await page.evaluate("url => { location = url; }", away)
    arrived = [each for each in site.journal("/page/2") if each.host.startswith(OTHER)]
    assert arrived
    for each in arrived:
        assert each.header("Authorization") is None


async def test_a_connection_that_ends_leaves_no_mark(site: Site) -> None:
    """Without the connection that takes the marks away nothing is marked; the next one serves the pages after it."""
    async with opened(site, X_Secret="of alice") as (_, context):
        page = await context.new_page()
        await page.goto(site.url("/page/1"))
        from scrapy_sessions.browser.secret_headers import SecretHeaders  # noqa: PLC0415  # not everybody has Playwright

        secrets = SecretHeaders.of(context.browser)
        await secrets._devtools.detach()
        await page.goto(site.url("/page/2"))
        await secrets.start()
        await page.goto(site.url("/page/3"))
        await (await context.new_page()).goto(site.url("/page/4"))
    expected = {"/page/1": "of alice", "/page/2": None, "/page/3": None, "/page/4": "of alice"}
    assert secrets_at(site, *expected) == expected
    for each in site.journal("/page/"):
        assert not [name for name in each.headers if name.startswith("x-") and name != "x-secret"]


async def test_a_browser_that_was_slow_is_asked_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that didn't answer in time sends the headers from the next context on."""
    async with opened(site) as (session, context):
        session.headers.set("X-Secret", "of alice", url=origin(site))
        from scrapy_sessions.browser.secret_headers import SecretHeaders  # noqa: PLC0415  # not everybody has Playwright

        secrets = SecretHeaders.of(context.browser)
        with monkeypatch.context() as patched:
            patched.setattr("scrapy_sessions.browser.secret_headers._PATIENCE", 0.0)
            await secrets.start()
        await secrets.start()
        assert secrets._devtools is not None


async def test_a_header_that_the_browser_refuses_fails_the_request(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored record may have a header that Chromium doesn't send: the page fails at once, and a warning names it."""
    async with opened(site, X_Secret="of alice") as (session, context):
        session.headers.restore({origin(site): {"Content-Length": "5"}})
        page = await context.new_page()
        for _ in range(2):
            with pytest.raises(Exception, match="ERR_FAILED"):
                await page.goto(site.url("/page/1"), timeout=10_000)
    assert len([each for each in caplog.messages if "Content-Length" in each]) == 1
