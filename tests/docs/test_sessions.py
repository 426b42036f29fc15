"""What the documentation shows of logins, health, pace and sharing does what it says."""

from __future__ import annotations

import ast
import asyncio
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import HtmlResponse, Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, CrawlClosing, SessionConfig, Verdict
from scrapy_sessions.config import Fetch
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.settings import SessionsSettings
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.docs_pages import PAGES, Reader, blocks, demo, page_named
from tests.support.site import Site
from tests.support.spiders.pages import Pages
from tests.support.waiting import HANG

SHOP = "https://shop.example"


@pytest.fixture
def shop() -> Iterator[str]:
    """The URL of the example project's shop, just opened."""
    with demo.shop() as url:
        yield url


def fragment(topic: str, words: str) -> str:
    """The one block of code of *topic* that has *words* in it and is no file."""
    (text,) = (b.text for b in blocks(page_named(topic)) if words in b.text and not b.file)
    return text


def config(topic: str, words: str) -> SessionConfig:
    """An object of the config that *topic* shows in the block with *words*."""
    names: dict[str, Any] = {}
    exec(fragment(topic, words), names)
    (cls,) = (n for n in names.values() if isinstance(n, type) and issubclass(n, SessionConfig) and n != SessionConfig)
    return cls.from_crawler(get_crawler())


def test_login_runs(tmp_path: Path, shop: str) -> None:
    """The page on logins shows a spider whose three requests wait for one login."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("login"))
    assert demo.seen_by_shop(shop)["logins"] == 1


def test_ready_made_logins_run(tmp_path: Path, shop: str) -> None:
    """The page on ready-made logins shows a spider that logs in to the example project's shop."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("ready-made-logins"))
    assert demo.seen_by_shop(shop)["logins"] == 1


def test_health_runs(tmp_path: Path, shop: str) -> None:
    """The page on health shows a spider that gets every page of a shop that bans each visitor after five."""
    connection = HTTPConnection(urlsplit(shop).netloc, timeout=HANG)
    connection.request("POST", "/admin/ban?after=5")
    assert connection.getresponse().status == 200
    connection.close()
    page = page_named("verdicts")
    reader = Reader(tmp_path, {SHOP: shop})
    (program,) = (block for block in blocks(page) if block.file)
    reader.write(program.file or "", program.text)
    output = reader.run("scrapy runspider products.py")
    (shown,) = (block.text for block in blocks(page) if block.language == "console")
    for line in shown.splitlines()[1:]:
        assert line in output, output
    assert len({line for line in output.splitlines() if line.startswith("{'name': ")}) == 12
    assert demo.seen_by_shop(shop)["sessions"] >= 3


def test_sharing_runs(tmp_path: Path, shop: str) -> None:
    """The page on sharing shows a spider that finds, in its second run, what its sessions learnt in the first."""
    Reader(tmp_path, {SHOP: shop}).follow(page_named("sharing"))


def test_a_token_login_sends_its_header(tmp_path: Path, site: Site) -> None:
    """The login by a token puts that into a header which the session's requests then carry."""
    address = site.url("").rstrip("/")
    token = site.url("/answer", type="application/json", body='{"token": "t-1"}')
    reader = Reader(tmp_path, {"https://api.shop.example/token": token, "https://api.shop.example": address})
    spider = f"""
from scrapy import Request, Spider


class Orders(Spider):
    name = "orders"
    session_config = Api
    custom_settings = {{"ADDONS": {{"scrapy_sessions.SessionsAddon": 300}}}}

    async def start(self):
        yield Request("{address}/whoami", meta={{"session_id": "alice"}})

    def parse(self, response):
        pass
"""
    reader.write("api.py", fragment("login", "class Api") + spider)
    reader.run("scrapy runspider api.py")
    (asked,) = site.journal("/answer")
    (arrival,) = site.journal("/whoami")
    assert (asked.method, asked.header("Authorization")) == ("POST", None)
    assert arrival.header("Authorization") == "Bearer t-1"


def test_a_registered_config_leads_to_its_pool(tmp_path: Path) -> None:
    """The class that is registered for a URL is used for it and its subdomains, and says which pool is drawn from."""
    check = """
from scrapy import Request
from scrapy_sessions.config import registered_config

assert registered_config("https://other.example/") is None
assert registered_config("https://www.shop.example/") is Shop
assert [Shop(None).pool(Request(f"https://shop.example/{path}/1")) for path in ("admin", "p")] == ["staff", None]
"""
    reader = Reader(tmp_path)
    reader.write("registered.py", fragment("login", "@session_config") + check)
    reader.run("python registered.py")


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, "<form id='login'></form>", Verdict.EXPIRED),
        (200, "<h1>Hello</h1>", Verdict.OK),
        (401, "", Verdict.EXPIRED),
        (403, "", Verdict.SUSPECT),
    ],
)
def test_a_page_that_holds_a_login_form_is_an_expiry(status: int, body: str, verdict: Verdict) -> None:
    """The ``check`` that is shown sees the form behind a 200, and leaves the rest to the default."""
    request = Request(SHOP)
    response = HtmlResponse(SHOP, status=status, body=body.encode(), request=request)
    assert config("login", "def check").check(response, request) is verdict


@pytest.mark.parametrize(
    ("method", "url", "header"),
    [
        ("POST", SHOP, b"t-1"),
        ("GET", SHOP, None),
        ("POST", "https://evil.example/", None),
        ("POST", "https://www.shop.example/", None),
        ("POST", "http://shop.example/", None),
        ("POST", f"{SHOP}:8443/", None),
    ],
)
def test_a_csrf_token_goes_with_posts(method: str, url: str, header: bytes | None) -> None:
    """The ``process_request`` that is shown sends the session's token with POST requests to the shop only."""
    session = BrowserSession("alice")
    session.data["csrf"] = "t-1"
    request = Request(url, method=method)
    config("login", "def process_request").process_request(request, session)
    assert request.headers.get("X-CSRF-Token") == header


@pytest.mark.parametrize(("pages", "bounds"), [(0, (2, 6)), (50, (5, 15))])
def test_a_delay_depends_on_the_session(pages: int, bounds: tuple[float, float]) -> None:
    """The ``delay`` that is shown slows down with the pages that a session has seen."""
    session = BrowserSession("alice")
    runtime_of(session).pages_visited = pages
    drawn = [config("pace", "def delay").delay(session) for _ in range(50)]
    assert bounds[0] <= min(drawn) < max(drawn) <= bounds[1]


def settings_blocks() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "python" and "class " not in block.text and "SESSIONS_" in block.text:
                yield pytest.param(block.text, id=f"{page.stem}-{block.text.split()[0]}")


def value_of(node: ast.expr) -> Any:
    """Return the value of a literal, or of ``os.environ["NAME"]``."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
        return os.environ[ast.literal_eval(node.slice)]
    return ast.literal_eval(node)


@pytest.mark.parametrize("code", list(settings_blocks()))
def test_settings_that_are_shown_are_accepted(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting that a page shows has a value that the plugin takes, and another than the default."""
    monkeypatch.setenv("REDIS_URL", "redis://redis.example:6379/0")
    names = {
        name.id: value_of(node.value)
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name) and name.id.startswith("SESSIONS_") and not isinstance(node.value, ast.BinOp)
    }
    profiles = {name for pool in names.get("SESSIONS_POOLS", {}).values() for name in pool.get("profiles", ())}
    settings = SessionsSettings.from_settings({"SESSIONS_PROFILES": {name: {} for name in profiles}} | names)
    for name in names:
        field = name.removeprefix("SESSIONS_").lower()
        assert getattr(settings, field) != SessionsSettings.model_fields[field].default


async def answers(
    site: Site, meta: dict[str, Any], query: dict[str, Any], *, urls: int = 1, **settings: Any
) -> tuple[int, dict[str, Any]]:
    """Ask for *urls* pages shaped by *query*, and return how often the first was asked for, and the stats."""
    asked = [(site.url(f"/answer/{number}", **query), meta) for number in range(urls)]
    crawler = await crawl(Pages, {"SESSIONS_STORE": "memory://", **settings}, urls=asked)
    return len(site.journal("/answer/0")), session_stats(crawler)


@pytest.mark.parametrize(
    ("meta", "settings", "times"),
    [
        ({}, {}, 3),
        ({"cookiejar": 1}, {}, 4),
        ({"session_id": "alice"}, {}, 4),
        ({"dont_retry": True}, {}, 1),
        ({}, {"SESSIONS_SUSPECT_STATUSES": []}, 1),
        ({}, {"SESSIONS_RETRY_TIMES": 0}, 1),
    ],
)
async def test_drop_in_403(site: Site, meta: dict[str, Any], settings: dict[str, Any], times: int) -> None:
    """An old spider's 403 is tried again as often as the page on existing projects says, and not if switched off."""
    assert (await answers(site, meta, {"status": 403}, **settings))[0] == times


@pytest.mark.parametrize(
    ("settings", "retired"),
    [({}, True), ({"SESSIONS_MAX_ERRORS": 0}, False), ({"SESSIONS_SUSPECT_STATUSES": []}, False)],
)
async def test_drop_in_403_in_a_row(site: Site, settings: dict[str, Any], retired: bool) -> None:
    """Three URLs in a row that answer 403 retire the session of untagged requests, unless that is switched off."""
    _, stats = await answers(site, {}, {"status": 403}, urls=3, **settings)
    assert ("retired" in stats) is retired
    assert (stats["created"] > 1) is retired


@pytest.mark.parametrize(("settings", "times"), [({}, 4), ({"SESSIONS_RETRY_TIMES": 0}, 1)])
async def test_drop_in_429(site: Site, settings: dict[str, Any], times: int) -> None:
    """A request that the site asks to wait is tried again three times in its session, or never, and the pause noted."""
    asked, stats = await answers(site, {}, {"status": 429, "header": "Retry-After: 0"}, **settings)
    assert (asked, stats["paused"], stats["created"]) == (times, times, 1)


@pytest.mark.parametrize(("meta", "times"), [({"session_id": "alice"}, 1), ({"cookiejar": 1}, 1), ({}, 3)])
async def test_drop_in_401(site: Site, meta: dict[str, Any], times: int) -> None:
    """Without a login a 401 reaches the spider at once in a named session; in an anonymous one it is a refusal."""
    assert (await answers(site, meta, {"status": 401}))[0] == times


class Refused(SessionConfig):
    """A site that refuses every login for good."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict:
        await fetch(Request(self.crawler.settings["LOGIN_AT"]))
        return Verdict.BLOCKED


async def test_a_login_refused_for_good_is_tried_once_per_session(site: Site) -> None:
    """``BLOCKED`` retires each session at once, counted once however many waited; the last one closes the spider."""
    settings = {"SESSIONS_STORE": "memory://", "SESSIONS_CONFIG": Refused, "LOGIN_AT": site.url("/login", ms=50)}
    urls = [(site.url(f"/answer/{number}"), {"session_pool": "default"}) for number in range(40)]
    crawler = await crawl(Pages, {**settings, "CONCURRENT_REQUESTS": 4}, urls=urls)
    stats = session_stats(crawler)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "session_login_failed"
    assert stats["retired"] == stats["login_failures"] == len(site.journal("/login"))
    assert site.journal("/answer") == []


class Stopping(Pages):
    """Stops at the first page, while others wait."""

    name = "stopping"

    def parse(self, response: Response, **kwargs: Any) -> None:
        super().parse(response)
        if self.settings["SLOWNESS"]:
            raise CloseSpider("enough")


async def test_a_job_that_stops_loses_no_waiting_request(site: Site, tmp_path: Path) -> None:
    """With JOBDIR, requests that waited for their pace when the crawl was stopped are sent by a later run."""
    settings = {
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "SESSIONS_CONFIG": Slow,
        "JOBDIR": str(tmp_path / "job"),
        "CONCURRENT_REQUESTS": 3,
    }
    urls = [(site.url(f"/answer/{number}"), {"session_id": "slow"}) for number in range(6)]
    failures = []
    for slowness in (5, 5, 0):
        crawler = await crawl(Stopping, {**settings, "SLOWNESS": slowness}, urls=urls)
        urls = []
        assert isinstance(crawler.spider, Stopping)
        failures += crawler.spider.failures
    assert failures == []
    assert sorted(arrival.path for arrival in site.journal("/answer")) == [f"/answer/{number}" for number in range(6)]


class Fetching(Pages):
    """Fetches a page in a session that has to wait, and is told to close meanwhile."""

    name = "fetching"

    async def parse(self, response: Response, **kwargs: Any) -> None:
        assert self.crawler.engine is not None
        session = self.sessions.of(response)
        closing = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason="enough"))
        try:
            await session.fetch(Request(response.url + "&again"))
        except CrawlClosing as error:
            self.failures.append(error)
        self.closing = closing


async def test_a_fetch_is_told_that_the_job_stops(site: Site, tmp_path: Path) -> None:
    """With JOBDIR too, ``session.fetch()`` raises when the crawl closes: nobody else would handle its response."""
    settings = {
        "SESSIONS_STORE": "memory://",
        "SESSIONS_CONFIG": Slow,
        "SLOWNESS": 30,
        "JOBDIR": str(tmp_path / "job"),
    }
    crawler = await crawl(Fetching, settings, urls=[(site.url("/answer", a=1), {"session_id": "slow"})])
    assert isinstance(crawler.spider, Fetching)
    await crawler.spider.closing
    assert [type(failure) for failure in crawler.spider.failures] == [CrawlClosing]
    assert len(site.journal("/answer")) == 1


@pytest.mark.parametrize(("delay", "holds"), [(0, False), (0.3, True), (8, False)])
async def test_a_waiting_request_holds_a_place(site: Site, delay: float, holds: bool) -> None:
    """Requests that wait for less than a second or two hold their places; others give them back, as the page on pace
    says."""
    waiting = [(site.url(f"/answer/slow/{number}"), {"session_id": "slow"}) for number in range(3)]
    other = (site.url("/answer/other"), {"session_id": "other"})
    settings = {"SESSIONS_STORE": "memory://", "SESSIONS_CONFIG": Slow, "CONCURRENT_REQUESTS": 2, "SLOWNESS": delay}
    await crawl(Pages, settings, urls=[*waiting, other])
    times = {arrival.path: arrival.time for arrival in site.journal("/answer")}
    gap = times["/answer/other"] - times["/answer/slow/0"]
    assert (gap >= delay / 2) if holds else (gap < 3)


class Slow(SessionConfig):
    """Makes one session wait."""

    def delay(self, session: BrowserSession) -> float:
        return self.crawler.settings.getfloat("SLOWNESS") if session.id == "slow" else 0.0
