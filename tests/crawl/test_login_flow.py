"""A login is plain Python: ``fetch`` sends what it likes in the session, past the cache and without a verdict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from scrapy import FormRequest, Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig, Verdict
from scrapy_sessions.config import Fetch
from tests.support.crawl import crawl, session_stats, sqlite_url
from tests.support.login_configs import LogsIn, TakesToken, base_of
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat
from tests.support.site import Site
from tests.support.spiders.base import SiteSpider
from tests.support.spiders.buyer import Buyer
from tests.support.waiting import until

ONE = [{"path": "/secret/1"}]


class Looks(SessionConfig):
    """Fetches ``paths`` as its login, and keeps what came."""

    paths: tuple[str, ...] = ()

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        self.came = [await fetch(Request(base_of(self) + path)) for path in self.paths]


class Distrustful(LogsIn):
    """Retires whatever it sees at the login; every other response is good."""

    def check(self, response: Any, request: Request) -> Verdict:
        return Verdict.BLOCKED if "/login" in response.url or "/home" in response.url else Verdict.OK


class Elsewhere(LogsIn):
    """Logs in on the host ``localhost``, to which its first request is redirected."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        form = await fetch(Request(f"{base_of(self)}/moved?to={base_of(self).replace('127.0.0.1', 'localhost')}/login"))
        data = {"csrf": form.css("[name=csrf]::attr(value)").get(""), "user": session.id}
        assert (await fetch(FormRequest(form.url, formdata=data))).status == 200


class Confined(Buyer):
    """Crawls 127.0.0.1 only."""

    allowed_domains = ["127.0.0.1"]  # noqa: RUF012  # Scrapy's declaration


def looking_at(shop: Shop, *paths: str) -> type[Looks]:
    return type("LooksAt", (Looks,), {"paths": paths})


def looked(crawler: Any) -> Looks:
    config = crawler.get_extension(_extension()).router.configs.of("http://any.example")
    assert isinstance(config, Looks)
    return config


def _extension() -> Any:
    from scrapy_sessions.extension import SessionsExtension  # noqa: PLC0415  # after the reactor

    return SessionsExtension


async def test_a_form_with_a_token_is_plain_python(shop: Shop) -> None:
    """The form is fetched and posted with its token and its cookies, and the redirect behind it is followed."""
    crawler = await buy(shop, {}, ONE)
    came = [(arrival.method, arrival.path) for arrival in shop.arrivals]
    assert came == [("GET", "/login"), ("POST", "/login"), ("GET", "/secret/home"), ("GET", "/secret/1")]
    assert set(shop.came("/secret/home")[0].cookies) == {"auth", "theme"}
    assert pages(crawler) == [(200, "Hello, alice")]


async def test_a_token_goes_into_the_headers(shop: Shop) -> None:
    """A JSON endpoint gives a token, which then goes out as a header with every request of the session."""
    crawler = await buy(shop, {}, [{"path": f"/api/{number}"} for number in range(3)], TakesToken)
    assert shop.logins == 1
    assert [status for status, _ in pages(crawler)] == [200] * 3
    assert all((arrival.header("Authorization") or "").startswith("Bearer ") for arrival in shop.came("/api"))


async def test_a_token_that_expired_is_replaced(shop: Shop, tmp_path: Path) -> None:
    """A replay wears the token of the new login, not the one it was sent with before."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    await buy(shop, settings, [{"path": "/api/first"}], TakesToken)
    shop.expire()
    crawler = await buy(shop, settings, [{"path": "/api/1"}], TakesToken)
    before, after = (arrival.header("Authorization") for arrival in shop.came("/api/1"))
    assert before != after
    assert [status for status, _ in pages(crawler)] == [200]
    assert shop.logins == 2


async def test_a_login_on_another_host_is_not_filtered(shop: Shop) -> None:
    """The requests of a login pass OffsiteMiddleware, those behind a redirect too; all others are filtered."""
    requests = [{"path": "/page"}, {"path": "/page?to=//localhost/", "dont_filter": False}]
    crawler = await buy(shop, {}, requests, Elsewhere, spider=Confined)
    assert shop.logins == 1
    assert pages(crawler) == [(200, "A page")]
    assert crawler.stats is not None
    assert crawler.stats.get_value("offsite/filtered") == 1


async def test_every_session_logs_in_once(shop: Shop) -> None:
    """Requests of three sessions, mixed: three logins, each in its own session."""
    requests = [{"path": f"/secret/{n}", "meta": {"session_id": f"user{n % 3}"}} for n in range(12)]
    crawler = await buy(shop, {}, requests)
    assert shop.logins == 3
    assert sorted(text for _, text in pages(crawler)) == sorted(f"Hello, user{n % 3}" for n in range(12))


async def test_a_saved_login_is_not_repeated(shop: Shop, tmp_path: Path) -> None:
    """The next run finds the session logged in, and its first request is for the page."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    await buy(shop, settings, ONE)
    shop.forget()
    crawler = await buy(shop, settings, ONE)
    assert [arrival.path for arrival in shop.arrivals] == ["/secret/1"]
    assert pages(crawler) == [(200, "Hello, alice")]


async def test_the_responses_of_a_login_draw_no_verdict(shop: Shop) -> None:
    """A 401 and a 403 come to the login as they are: the session lives on."""
    paths = ("/no?status=401", "/no?status=403")
    crawler = await buy(shop, {}, [{"path": "/page"}], looking_at(shop, *paths))
    assert [response.status for response in looked(crawler).came] == [401, 403]
    assert stat(crawler, "replays") is None
    assert pages(crawler) == [(200, "A page")]


async def test_check_is_not_asked_about_a_login(shop: Shop) -> None:
    """What check() would retire the session for, a login may see."""
    crawler = await buy(shop, {}, ONE, Distrustful)
    assert stat(crawler, "verdicts/blocked") is None
    assert pages(crawler) == [(200, "Hello, alice")]


async def test_a_login_goes_past_the_http_cache(shop: Shop, tmp_path: Path) -> None:
    """A page that the cache holds comes from the site for a login, which doesn't write it there either."""
    settings = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path / "cache")}
    await buy(shop, settings, [{"path": "/page"}], None)
    crawler = await buy(shop, settings, [{"path": "/other"}], looking_at(shop, "/page", "/fresh"))
    assert [response.flags for response in looked(crawler).came] == [[], []]
    assert len(shop.came("/page")) == 2
    again = await buy(shop, settings, [{"path": "/fresh"}], None)
    assert "cached" not in spider_of(again).responses[0].flags


async def test_a_login_obeys_robots_txt(shop: Shop) -> None:
    """What robots.txt forbids, a login may not fetch: it fails, and nothing was asked for."""
    shop.robots("User-agent: *\nDisallow: /login\n")
    crawler = await buy(shop, {"ROBOTSTXT_OBEY": True, "SESSIONS_LOGIN_ATTEMPTS": 1}, ONE)
    assert shop.came("/login") == []
    assert failures(crawler) == ["LoginFailed"]


async def test_a_login_keeps_the_sessions_pace(shop: Shop) -> None:
    """The delay of a session lies between the requests of its login, too."""

    class Noting(LogsIn):
        went: ClassVar[list[float]] = []

        def delay(self, session: BrowserSession) -> float:
            self.went.append(time.monotonic())
            return super().delay(session)

    await buy(shop, {"SESSIONS_DELAY": 0.3}, ONE, Noting)
    assert len(Noting.went) == len(shop.arrivals)
    assert min(later - earlier for earlier, later in pairwise(Noting.went)) >= 0.3


async def test_the_redirects_of_a_login_are_its_own(shop: Shop) -> None:
    """A redirect to login_url within a login is followed, not taken for an expiry."""
    config = type("LooksAt", (Looks,), {"paths": ("/moved?to=/login",), "login_url": "/login"})
    crawler = await buy(shop, {}, [{"path": "/page"}], config)
    assert [response.url for response in looked(crawler).came] == [shop.url("/login")]
    assert stat(crawler, "verdicts/expired") is None


async def test_what_a_login_fetches_by_its_session_does_not_wait_for_itself(shop: Shop) -> None:
    """``session.fetch`` in a login is as good as ``fetch``."""

    class BySession(SessionConfig):
        async def login(self, session: BrowserSession, fetch: Fetch) -> None:
            await session.fetch(Request(base_of(self) + "/page"))

    crawler = await buy(shop, {"SESSIONS_LOGIN_TIMEOUT": 1, "SESSIONS_LOGIN_ATTEMPTS": 1}, [{"path": "/p"}], BySession)
    assert pages(crawler) == [(200, "A page")]


class Interrupted(SessionConfig):
    """Its second login is on its way when somebody asks for another one."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        spider = self.crawler.spider
        assert isinstance(spider, AsksAgain)
        spider.logins += 1
        path = f"/login/{spider.logins}"
        logging_in = asyncio.ensure_future(
            fetch(Request(f"{spider.base}{path}?set=sid%3D{spider.logins}%3B+Path%3D/&ms=100"))
        )
        if spider.logins == 2:
            await until(lambda: spider.site.journal(path))
            await spider.sessions.login_again(session.id)
        await logging_in


class AsksAgain(SiteSpider):
    session_config = Interrupted
    site: Site
    logins = 0

    @property
    def base(self) -> str:
        return self.site.url("")

    async def start(self) -> AsyncIterator[Any]:
        yield Request(f"{self.base}/first", self.again, meta={"session_id": "alice"})

    async def again(self, response: Response) -> AsyncIterator[Any]:
        await self.sessions.login_again("alice")
        yield Request(f"{self.base}/second", meta={"session_id": "alice"})


async def test_login_again_during_a_login_is_that_login(site: Site) -> None:
    """What the login gets isn't outdated by the call: the next page is logged in."""
    crawler = await crawl(AsksAgain, {"SESSIONS_STORE": "memory://"}, site=site)
    (second,) = site.journal("/second")
    assert second.cookies["sid"] == "2"
    assert session_stats(crawler)["logins"] == 2
