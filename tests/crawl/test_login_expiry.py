"""However many requests find the session expired, one login follows, and each is sent again, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest

from scrapy_sessions import SessionConfig
from tests.support.crawl import MODES, Job, crawl_jobs, sqlite_url
from tests.support.login_configs import FormIsExpiry, LogsIn, SaysForm
from tests.support.shop import PARALLEL, Shop, buy, pages, spider_of, stat

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

MANY = 20


def secrets(n: int = MANY) -> list[dict[str, Any]]:
    """Requests of which none is answered before all have come."""
    return [
        {"path": f"/secret/{number}?until={n}:/secret/", "priority": number % 5, "cb_kwargs": {"number": number}}
        for number in range(n)
    ]


async def log_in(shop: Shop, settings: dict[str, Any], config: type[SessionConfig] = LogsIn) -> None:
    """Leave a session behind that has logged in."""
    await buy(shop, settings, [{"path": "/secret/first"}], config)
    assert shop.logins == 1


async def expire_and_crawl(
    shop: Shop, folder: Path, requests: list[dict[str, Any]], config: type[SessionConfig] = LogsIn, **settings: Any
) -> Crawler:
    """Log in, let the shop forget it, and crawl *requests* in another run."""
    settings = {"SESSIONS_STORE": sqlite_url(folder / "s.db"), **settings}
    await log_in(shop, settings, config)
    shop.expire()
    shop.forget()
    return await buy(shop, settings, requests, config)


async def test_twenty_401s_at_once_make_one_login(shop: Shop, tmp_path: Path) -> None:
    """Twenty requests in flight are told 401: the shop then sees one login, and each of them once more."""
    crawler = await expire_and_crawl(shop, tmp_path, secrets())
    assert shop.logins == stat(crawler, "logins") == 1
    came = [arrival.path for arrival in shop.came("/secret/") if arrival.path != "/secret/home"]
    assert sorted(came) == sorted([f"/secret/{number}" for number in range(MANY)] * 2)
    assert stat(crawler, "replays") == MANY


async def test_every_callback_is_reached_once_with_its_arguments(shop: Shop, tmp_path: Path) -> None:
    """The replays reach the callback of their request with its cb_kwargs, and only the good answers do."""
    crawler = await expire_and_crawl(shop, tmp_path, secrets())
    responses = spider_of(crawler).responses
    assert sorted(response.cb_kwargs["number"] for response in responses) == list(range(MANY))
    assert {(response.status, response.text) for response in responses} == {(200, "Hello, alice")}


async def test_replays_keep_errback_and_priority_and_pass_the_dupefilter(shop: Shop, tmp_path: Path) -> None:
    """A replay has the errback and priority of its request, and dont_filter, which its request didn't have."""
    requests: list[dict[str, Any]] = [{**request, "dont_filter": False} for request in secrets()]
    crawler = await expire_and_crawl(shop, tmp_path, requests)
    sent = [response.request for response in spider_of(crawler).responses]
    assert len(sent) == MANY
    for request in sent:
        assert request is not None
        assert request.errback == spider_of(crawler).failed
        assert request.priority == request.cb_kwargs["number"] % 5
        assert request.dont_filter


async def test_the_errback_of_a_replay_is_reached(shop: Shop, tmp_path: Path) -> None:
    """A replay whose download fails reaches the errback of its request, once."""
    requests: list[dict[str, Any]] = [{"path": "/secret/1", "meta": {"download_timeout": 5}}]
    settings: dict[str, Any] = {"DOWNLOADER_MIDDLEWARES": {"tests.support.middlewares.FailsReplays": 940}}
    crawler = await expire_and_crawl(shop, tmp_path, requests, **settings)
    (failure,) = spider_of(crawler).failures
    assert isinstance(failure.value, IgnoreRequest)


async def test_priorities_keep_their_order(shop: Shop) -> None:
    """One at a time: the request of the highest priority finds the session expired, and is answered before the others
    although it has to be sent again."""
    then = [{"path": f"/secret/{number}", "priority": number} for number in range(6)]
    requests: list[dict[str, Any]] = [{"path": "/secret/first?forget=1"}]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1}, requests, then=then)
    assert stat(crawler, "replays") == 1
    order = [response.url.rpartition("/")[2] for response in spider_of(crawler).responses]
    assert order[1:] == ["5", "4", "3", "2", "1", "0"]


@pytest.mark.parametrize("denial", ["401", "redirect", "absolute"])
@pytest.mark.parametrize("login_url", ["/login", "absolute"])
async def test_expiry_by_status_or_redirect(shop: Shop, tmp_path: Path, denial: str, login_url: str) -> None:
    """A 401, and a redirect to the login page whatever its query, are expiries; the page comes after one login."""
    url = shop.url("/login?lang=en") if login_url == "absolute" else login_url
    config = type("Config", (LogsIn,), {"login_url": url})
    shop.rules(denial=denial)
    crawler = await expire_and_crawl(shop, tmp_path, secrets(3), config)
    assert shop.logins == 1
    assert pages(crawler) == [(200, "Hello, alice")] * 3
    assert stat(crawler, "verdicts/expired") >= 1
    assert shop.came("/login", "GET")[0].query == ""  # of the login: no redirect was followed


@pytest.mark.parametrize("config", [FormIsExpiry, SaysForm])
async def test_expiry_by_a_form_in_a_compressed_page(shop: Shop, tmp_path: Path, config: type[SessionConfig]) -> None:
    """A page with a login form, status 200 and gzipped, is one for a check() that reads it, plain or async."""
    shop.rules(denial="form")
    crawler = await expire_and_crawl(shop, tmp_path, secrets(3), config)
    assert "gzip" in (shop.came("/secret/")[0].header("Accept-Encoding") or "")
    assert shop.logins == 1
    assert pages(crawler) == [(200, "Hello, alice")] * 3


async def test_a_redirect_elsewhere_is_no_expiry(shop: Shop) -> None:
    """A redirect to another page of the site is followed, and nobody logs in again."""
    crawler = await buy(shop, {}, [{"path": "/moved?to=/login/help"}])
    assert [arrival.path for arrival in shop.came("/login")][-1:] == ["/login/help"]
    assert shop.logins == 1
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "verdicts/expired") is None


async def test_losing_a_cookie_of_no_weight_is_no_expiry(shop: Shop) -> None:
    """The site deletes a cookie that its login had set: the session goes on, and doesn't log in again."""
    requests: list[dict[str, Any]] = [
        {"path": "/page?set=theme%3D%3B+Max-Age%3D0%3B+Path%3D/"},
        {"path": "/secret/1", "priority": -1},
    ]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1}, requests)
    (secret,) = shop.came("/secret/1")
    assert set(secret.cookies) == {"auth"}
    assert set(shop.came("/page")[0].cookies) == {"auth", "theme"}
    assert shop.logins == 1
    assert pages(crawler) == [(200, "A page"), (200, "Hello, alice")]


async def test_a_public_page_beside_an_expiry_saves_no_login(shop: Shop, tmp_path: Path) -> None:
    """A good answer that left before the login, and comes after the 401, doesn't pass for the login."""
    requests: list[dict[str, Any]] = [{"path": "/secret/1"}, {"path": "/public?ms=150"}, {"path": "/secret/2?ms=300"}]
    shop.rules(login_ms=300)
    crawler = await expire_and_crawl(shop, tmp_path, requests)
    assert shop.logins == 1
    assert [arrival.path for arrival in shop.came("/secret/")].count("/secret/1") == 2
    assert sorted(response.text for response in spider_of(crawler).responses) == [
        "A page",
        "Hello, alice",
        "Hello, alice",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_in_both_reactor_modes(shop: Shop, tmp_path: Path, mode: str) -> None:
    """With Twisted's reactor and without one: a first run logs in once, the next run, expired, once again."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "ROBOTSTXT_OBEY": False, **PARALLEL}
    arguments = {
        "base": shop.url(""),
        "session_config": "tests.support.login_configs.LogsIn",
        "requests": secrets(),
    }
    job = Job("tests.support.spiders.buyer.Buyer", arguments)
    for logins in (1, 2):
        (done,) = crawl_jobs(tmp_path, job, mode=mode, **settings)
        assert shop.logins == logins
        assert [item["text"] for item in done.items] == ["Hello, alice"] * MANY
        assert sorted(item["given"]["number"] for item in done.items) == list(range(MANY))
        shop.expire()
