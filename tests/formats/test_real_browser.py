"""A session moves into a real Chromium and back, and is logged in wherever it is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from scrapy_sessions import Cookie
from scrapy_sessions.browser.state import to_playwright
from scrapy_sessions.formats import storage_state
from scrapy_sessions.formats.json_cookies import dump, to_puppeteer
from tests.support.browser import MISSING, Visit, chromium, visit
from tests.support.crawl import Job, crawl_jobs
from tests.support.exchange import STORE, loaded, rich_record, saved, sessions
from tests.support.formats import read_json
from tests.support.logins import GREETING, login_cookie
from tests.support.site import Site
from tests.support.tls_site import tls_site

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

NEXT_MONTH = float(int(time.time()) + 30 * 86400)  # Chromium keeps nothing for longer than 400 days
OTHERS = [
    Cookie(name="shared", value="1", domain="shop.example", host_only=False, expires=NEXT_MONTH, same_site="Lax"),
    Cookie(name="strict", value="2", domain="www.shop.example", path="/a", secure=True, same_site="Strict"),
    Cookie(
        name="chips",
        value="3",
        domain="shop.example",
        secure=True,
        same_site="None",
        partition_key="https://shop.example",
    ),
    Cookie(
        name="embedded",
        value="4",
        domain="shop.example",
        host_only=False,
        secure=True,
        same_site="None",
        partition_key="https://news.example",
        cross_site_ancestor=True,
    ),
    Cookie(
        name="between",
        value="5",
        domain="shop.example",
        secure=True,
        same_site="None",
        partition_key="https://shop.example",
        cross_site_ancestor=True,
    ),
]
PAGES = {"news.example/": "<iframe src='https://shop.example/in-news'></iframe>", "shop.example/": "shop"}


@pytest.fixture(scope="module")
def moved(site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Site, Visit]:
    """A logged-in session of our store, exported, in Chromium; the folder has the storage state it came out with."""
    folder = tmp_path_factory.mktemp("browser")
    site_process.reset()
    origin = site_process.url("").rstrip("/")
    cookies = [login_cookie(site_process), *OTHERS]
    saved(folder, rich_record(cookies=cookies, local_storage={origin: {"taken": "along"}}, session_storage={}))
    sessions(folder, "export", "alice", "--format", "storage-state", "-o", "state.json")
    seen = visit(folder, "state.json", site_process.url("/secret"), script="localStorage.setItem('made', 'there')")
    (folder / "back.json").write_text(json.dumps(seen.state))
    return folder, site_process, seen


def test_chromium_is_logged_in(moved: tuple[Path, Site, Visit]) -> None:
    """Chromium opens with our storage state, is greeted by the session's name, and has its local storage."""
    _, _, seen = moved
    assert GREETING in seen.text
    assert seen.local_storage == {"taken": "along", "made": "there"}


def test_chromium_takes_every_kind_of_cookie(moved: tuple[Path, Site, Visit]) -> None:
    """Chromium has the same host, path, expiry, flags, SameSite and partition of each cookie."""
    _, _, seen = moved
    back = {cookie.name: cookie for cookie in read_json("storage-state", seen.state).cookies}
    for cookie in OTHERS:
        assert back[cookie.name] == cookie


def test_a_crawl_continues_the_session_of_chromium(moved: tuple[Path, Site, Visit]) -> None:
    """The storage state that Chromium saved, imported, makes a session that a crawl is logged in with."""
    folder, site, _ = moved
    sessions(folder, "import", "back.json", "bob", "--namespace", "shop", "--user-agent", "Browser/1")
    assert loaded(folder, "bob").local_storage[site.url("").rstrip("/")] == {"taken": "along", "made": "there"}
    request = {"url": site.url("/secret"), "meta": {"session_id": "bob"}}
    job = Job("tests.support.spiders.base.Listed", {"requests": [request]})
    store = f"sqlite:///{folder / STORE}"
    (done,) = crawl_jobs(folder / "crawl", job, SESSIONS_STORE=store, SESSIONS_NAMESPACE="shop")
    assert [(item["status"], item["session"]) for item in done.items] == [(200, "bob")]
    assert site.journal("/secret")[-1].header("User-Agent") == "Browser/1"
    assert done.stats["sessions/restored"] == 1
    assert "keeps the identity" not in done.log  # its agent is no outdated one of the project


async def test_chromium_sends_partitioned_cookies(tmp_path: Path) -> None:
    """Chromium sends the partitioned cookies of a storage state and of a list where each of them belongs."""
    cookies = [cookie for cookie in OTHERS if cookie.partition_key]
    state = json.loads(storage_state.dump(cookies))
    with tls_site(tmp_path, PAGES) as seen:
        async with chromium(f"--host-resolver-rules=MAP * 127.0.0.1:{seen.port}") as browser:
            for options in ({"storage_state": state}, {}):
                seen.cookies.clear()
                context = await browser.new_context(ignore_https_errors=True, **options)
                if not options:
                    await context.add_cookies(json.loads(dump(cookies, to_playwright)))
                page = await context.new_page()
                for url in PAGES:
                    await page.goto(f"https://{url}")
                assert seen.cookies["shop.example/"] == {"chips"}
                assert seen.cookies["shop.example/in-news"] == {"embedded"}
                back = read_json("storage-state", await context.storage_state()).cookies
                assert sorted(back, key=lambda cookie: cookie.value) == cookies
                again = read_json("playwright", await context.cookies()).cookies
                assert sorted(again, key=lambda cookie: cookie.value) == cookies
                await context.close()


async def test_chromium_takes_the_list_of_puppeteer() -> None:
    """Storage.setCookies of the DevTools protocol accepts the list as Puppeteer passes it, and returns it."""
    entries = json.loads(dump(OTHERS, to_puppeteer))
    for entry in entries:
        if "partitionKey" in entry:  # as Puppeteer does
            entry["partitionKey"]["topLevelSite"] = entry["partitionKey"].pop("sourceOrigin")
    async with chromium() as browser:
        protocol = await browser.new_browser_cdp_session()
        await protocol.send("Storage.setCookies", {"cookies": entries})
        reply = await protocol.send("Storage.getCookies")
    back = {cookie.name: cookie for cookie in read_json("puppeteer", reply).cookies}
    assert {cookie.name: cookie for cookie in OTHERS} == back
