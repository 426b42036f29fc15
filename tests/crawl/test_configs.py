"""Which SessionConfig a request goes by: the spider's, the one for its URL, the project's, or the default."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, ConfigFailed, SessionConfig, session_config
from scrapy_sessions.config import registered_config
from scrapy_sessions.crawl.configs import Configs
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.storage import MemoryStore
from tests.support.crawl import PLAIN
from tests.support.login_configs import LogsIn, TakesToken
from tests.support.shop import Shop, buy, pages, spider_of
from tests.support.spiders.buyer import Buyer

pytestmark = pytest.mark.usefixtures("own_registry")

PAGE = "http://shop.example/account/orders?page=2"
LOGS_IN = f"{LogsIn.__module__}.{LogsIn.__qualname__}"


class Project(SessionConfig):
    """That of the project."""


def configs(setting: Any = None, own: Any = None) -> Configs:
    """The configs of a crawl whose spider has *own*."""
    spider = type("Shopper", (Buyer,), {"session_config": own, "name": "shopper"})
    crawler = get_crawler(spider, {"SESSIONS_ENABLED": True})
    crawler.spider = crawler._create_spider()
    return Configs(crawler, setting, MemoryStore())


def test_without_any_it_is_the_default() -> None:
    """Nothing is set: the plain SessionConfig, which has no login and judges by status."""
    config = configs().of(PAGE)
    assert type(config) is SessionConfig
    overridden = [config.can_log_in, config.reads_body, config.sets_pace, config.changes_requests]
    assert overridden == [False] * 4


@pytest.mark.parametrize("setting", [LogsIn, LOGS_IN])
def test_the_setting_names_that_of_the_project(setting: Any) -> None:
    """SESSIONS_CONFIG is a class or its import path."""
    assert type(configs(setting).of(PAGE)) is LogsIn


def test_a_pattern_wins_over_the_setting() -> None:
    """A class registered for a URL goes before SESSIONS_CONFIG, for that URL only."""
    session_config("shop.example")(LogsIn)
    found = configs(Project)
    assert type(found.of(PAGE)) is LogsIn
    assert type(found.of("http://other.example/")) is Project


@pytest.mark.parametrize("own", [TakesToken, f"{TakesToken.__module__}.{TakesToken.__qualname__}"])
def test_the_spiders_wins_over_all(own: Any) -> None:
    """``session_config`` of the spider, a class or its path, goes before patterns and the setting."""
    session_config("shop.example")(LogsIn)
    assert type(configs(Project, own).of(PAGE)) is TakesToken


def test_the_spider_may_have_an_instance() -> None:
    """``session_config`` may be an object, which is then used as it is."""
    instance = LogsIn(get_crawler(Buyer))
    assert configs(None, instance).of(PAGE) is instance


def test_the_highest_priority_wins() -> None:
    """Of two classes whose patterns fit, the one with the higher priority is taken, whatever the order."""
    session_config("shop.example", priority=600)(LogsIn)
    session_config("shop.example/account")(TakesToken)
    assert registered_config(PAGE) is LogsIn


def test_of_one_priority_the_more_specific_wins() -> None:
    """Of two patterns of one priority, the one that says more of the path is taken."""
    session_config("shop.example")(LogsIn)
    session_config("shop.example/account")(TakesToken)
    assert registered_config(PAGE) is TakesToken
    assert registered_config("http://shop.example/") is LogsIn


def test_what_is_excluded_does_not_fit() -> None:
    """A URL that fits *exclude* is not that class's, though it fits *include*."""
    session_config(["shop.example", "store.example"], exclude="shop.example/account")(LogsIn)
    assert registered_config(PAGE) is None
    assert registered_config("http://store.example/account") is LogsIn


def test_a_later_registration_counts_at_once() -> None:
    """A class that is registered after the URL was looked up is found from then on."""
    assert registered_config(PAGE) is None
    session_config("shop.example")(LogsIn)
    assert registered_config(PAGE) is LogsIn


@pytest.mark.parametrize(
    ("pattern", "url", "fits"),
    [
        ("shop.test", "http://shop.test:8080/a", True),
        ("shop.test", "https://www.shop.test:8443/", True),
        ("shop.test", "http://shop.test/a", True),
        ("shop.test/account", "http://shop.test:8080/account", True),
        ("shop.test/account", "http://shop.test:8080/other", False),
        ("https://shop.test", "https://shop.test:8443/", True),
        ("https://shop.test", "http://shop.test:8080/", False),
        ("shop.test", "https://shop.test:80/", True),
        ("shop.test:8080", "http://shop.test:8080/a", True),
        ("shop.test:8080", "http://shop.test/a", False),
        ("shop.test:8080", "http://shop.test:9090/a", False),
        ("127.0.0.1", "http://127.0.0.1:8080/", True),
        ("shop.test", "http://shop.test:99999/", False),
    ],
)
def test_a_pattern_without_a_port_fits_every_port(pattern: str, url: str, fits: bool) -> None:
    """One with a port fits that port only."""
    session_config(pattern)(LogsIn)
    assert (registered_config(url) is LogsIn) is fits


def test_an_excluded_pattern_without_a_port_does_so_too() -> None:
    """What is excluded by host and path is excluded on every port."""
    session_config("shop.test", exclude="shop.test/public")(LogsIn)
    assert registered_config("http://shop.test:8080/public") is None
    assert registered_config("http://shop.test:8080/private") is LogsIn


class Plain(SessionConfig):
    """Its login is no coroutine."""

    def login(self, session: BrowserSession, fetch: Any) -> bool:
        return True


@pytest.mark.parametrize("place", ["pattern", "setting", "spider", "instance"])
def test_a_login_that_is_no_coroutine_is_refused_at_the_start(place: str) -> None:
    """It would run to its end, and then fail with each request."""
    uses: dict[str, Callable[[], object]] = {
        "pattern": lambda: session_config("shop.example")(Plain),
        "setting": lambda: configs(Plain),
        "spider": lambda: configs(own=Plain).look_at_spider(),
        "instance": lambda: configs(own=Plain(get_crawler())).look_at_spider(),
    }
    with pytest.raises(SessionConfigurationError, match=r"Plain\.login\(\) must be .* 'async def login'"):
        uses[place]()


def test_there_is_one_object_of_each_class() -> None:
    """Two URLs of one class share its object: what it keeps is kept for the crawl."""
    session_config(["shop.example", "store.example"])(LogsIn)
    found = configs(LogsIn)
    assert found.of(PAGE) is found.of("http://store.example/") is found.of("http://else.example/")


@pytest.mark.parametrize("wrong", ["no.such.Thing", "scrapy.Spider", dict, 7, "LogsIn"])
@pytest.mark.parametrize("where", ["SESSIONS_CONFIG", "session_config of the spider"])
async def test_a_bad_one_stops_the_crawl_before_its_first_request(shop: Shop, wrong: Any, where: str) -> None:
    """What can't be imported, or is no SessionConfig, raises at the start, and says where it stands and what it is."""
    by_setting = where == "SESSIONS_CONFIG"
    settings = {"SESSIONS_CONFIG": wrong} if by_setting else {}
    arguments = {} if by_setting else {"session_config": wrong}
    with pytest.raises(SessionConfigurationError) as caught:
        await buy(shop, {**PLAIN, **settings}, [{"path": "/page"}], None, **arguments)
    assert where in str(caught.value)
    assert repr(wrong) in str(caught.value)
    assert shop.arrivals == []


def test_what_is_no_config_can_not_be_registered() -> None:
    """The decorator refuses another class, where it stands."""
    with pytest.raises(SessionConfigurationError, match="SessionConfig"):
        session_config("shop.example")(dict)  # type: ignore[type-var]


async def test_the_pattern_counts_in_a_crawl(shop: Shop) -> None:
    """Requests for a registered URL log in, those for others don't."""
    session_config(shop.url("/secret").removeprefix("http://"))(LogsIn)
    requests: list[dict[str, Any]] = [{"path": "/page", "meta": {"session_id": "bob"}}, {"path": "/secret/1"}]
    crawler = await buy(shop, {}, requests, None)
    assert sorted(pages(crawler)) == [(200, "A page"), (200, "Hello, alice")]
    assert shop.logins == 1


async def test_an_untagged_request_draws_from_the_pool_of_its_config(shop: Shop) -> None:
    """``pool()`` names the pool of requests without a session key, and is not asked about others."""

    class Pools(SessionConfig):
        def pool(self, request: Request) -> str | None:
            return "p" if "/pooled" in request.url else None

    requests: list[dict[str, Any]] = [
        {"path": "/pooled/1", "tagged": False},
        {"path": "/page", "tagged": False},
        {"path": "/pooled/2"},
    ]
    crawler = await buy(shop, {"SESSIONS_POOLS": {"p": {"size": 1}}}, requests, Pools)
    responses = spider_of(crawler).responses
    found = {response.url.removeprefix(shop.url("")): response.meta["session_id"] for response in responses}
    assert found == {"/pooled/1": "p#1", "/page": "default#1", "/pooled/2": "alice"}


class Csrf(SessionConfig):
    """Sends what the session's data says as a header."""

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["X-CSRF"] = f"of-{session.id}"
        request.headers["X-Kind"] = "session"


async def test_process_request_changes_what_goes_out(shop: Shop) -> None:
    """The header that it sets is on the request as the site sees it, in place of the request's own."""
    await buy(shop, {}, [{"path": "/page", "headers": {"X-Kind": "own"}}], Csrf)
    (arrival,) = shop.came("/page")
    assert (arrival.header("X-CSRF"), arrival.header("X-Kind")) == ("of-alice", "session")


async def test_what_process_request_set_stays_with_its_session(shop: Shop) -> None:
    """A copy of the request, once it has been answered, carries none of it: the request's own header is there again."""
    crawler = await buy(shop, {}, [{"path": "/page", "headers": {"X-Kind": "own"}}], Csrf)
    request = spider_of(crawler).responses[0].request
    assert request is not None
    assert request.headers.get("X-CSRF") is None
    assert request.headers["X-Kind"] == b"own"


async def test_a_replay_in_another_session_wears_that_ones(shop: Shop) -> None:
    """A request that moves on within its pool goes out with the header of the session that then sends it."""
    settings = {"SESSIONS_POOLS": {"p": {"size": 2}}}
    requests: list[dict[str, Any]] = [{"path": "/page?status=403&times=1", "meta": {"session_pool": "p"}}]
    await buy(shop, settings, requests, Csrf)
    assert [arrival.header("X-CSRF") for arrival in shop.came("/page")] == ["of-p#1", "of-p#2"]


async def test_a_copy_made_on_the_way_wears_nothing_of_it(shop: Shop) -> None:
    """A middleware in between answers with a copy for no session: no header of the session is on it."""
    settings = {"DOWNLOADER_MIDDLEWARES": {"tests.support.middlewares.SendsElsewhere": 300}}
    await buy(shop, settings, [{"path": "/page"}], Csrf)
    (arrival,) = shop.came("/page")
    assert arrival.header("X-CSRF") is None


async def test_process_request_that_raises_reaches_the_errback(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in it fails that request alone, at its errback."""

    class Raises(SessionConfig):
        def process_request(self, request: Request, session: BrowserSession) -> None:
            if "/page/1" in request.url:
                raise ValueError("a bug")

    caplog.set_level(logging.ERROR)
    crawler = await buy(shop, {}, [{"path": "/page/1"}, {"path": "/page/2"}], Raises)
    (failure,) = spider_of(crawler).failures
    assert failure.type is ConfigFailed
    assert "ValueError" in str(failure.value)
    assert pages(crawler) == [(200, "A page")]
