"""Every response of a session gets a verdict: by its status, or by a check() of the spider's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import Response

from scrapy_sessions import SessionConfig, Verdict
from tests.support.login_configs import LogsIn
from tests.support.proxy import Proxy
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat

POOLED = {"session_pool": "p"}
POOL = {"SESSIONS_POOLS": {"p": {"size": 3}}}


def checking(answer: Any) -> type[SessionConfig]:
    """A config whose check() calls *answer* with the response."""

    class Checks(SessionConfig):
        def check(self, response: Response, request: Request) -> Any:
            return answer(response)

    return Checks


@pytest.mark.parametrize(
    ("settings", "status", "verdict"),
    [
        pytest.param({}, 401, "expired", id="401"),
        pytest.param({}, 403, "suspect", id="403"),
        pytest.param({}, 407, "suspect", id="407"),
        pytest.param({}, 404, None, id="404"),
        pytest.param({}, 500, None, id="500"),
        pytest.param({"SESSIONS_EXPIRED_STATUSES": [418]}, 418, "expired", id="another expired"),
        pytest.param({"SESSIONS_EXPIRED_STATUSES": [418]}, 401, None, id="401 no more"),
        pytest.param({"SESSIONS_SUSPECT_STATUSES": [418]}, 418, "suspect", id="another suspect"),
        pytest.param({"SESSIONS_BLOCKED_STATUSES": [418], **POOL}, 418, "blocked", id="blocked"),
    ],
)
async def test_the_default_goes_by_status(
    shop: Shop, settings: dict[str, Any], status: int, verdict: str | None
) -> None:
    """The statuses of the settings, and the 407 of a proxy, settle the verdict; others are OK."""
    meta = POOLED if "SESSIONS_POOLS" in settings else {}
    crawler = await buy(shop, settings, [{"path": f"/page?status={status}&times=1", "meta": meta}], None)
    assert crawler.stats is not None
    found = [name for name in crawler.stats.get_stats() if name.startswith("sessions/verdicts/")]
    assert found == ([] if verdict is None else [f"sessions/verdicts/{verdict}"])


async def test_an_expiry_without_a_login_goes_to_the_spider(shop: Shop) -> None:
    """Where nobody can log in, a 401 reaches the callback at once, as it is."""
    crawler = await buy(shop, {}, [{"path": "/secret/1"}], None)
    assert pages(crawler) == [(401, "Log in")]
    assert len(shop.arrivals) == 1


async def test_a_blocked_session_of_a_pool_makes_way_for_another(shop: Shop) -> None:
    """BLOCKED retires an anonymous session, and its request gets the page in another."""
    settings = {**POOL, "SESSIONS_BLOCKED_STATUSES": [410]}
    crawler = await buy(shop, settings, [{"path": "/page?status=410&times=1", "meta": POOLED}], None)
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "retired") == 1
    assert spider_of(crawler).responses[0].meta["session_id"] == "p#2"


async def test_a_status_alone_does_not_retire_a_named_session(shop: Shop) -> None:
    """A status of BLOCKED_STATUSES is a suspicion against a named session, no more."""
    settings = {"SESSIONS_BLOCKED_STATUSES": [410]}
    crawler = await buy(shop, settings, [{"path": "/page?status=410&times=1"}], None)
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "retired") is None


async def test_a_suspect_request_of_a_pool_moves_on(shop: Shop) -> None:
    """A 403 sends a pooled request to another session of its pool."""
    crawler = await buy(shop, POOL, [{"path": "/page?status=403&times=2", "meta": POOLED}], None)
    assert pages(crawler) == [(200, "A page")]
    assert spider_of(crawler).responses[0].meta["session_id"] == "p#3"


async def test_check_overrides_the_default(shop: Shop) -> None:
    """A check() that finds everything well lets a 401 and a 403 through."""
    requests = [{"path": f"/page?status={status}"} for status in (401, 403)]
    crawler = await buy(shop, {}, requests, checking(lambda response: Verdict.OK))
    assert sorted(status for status, _ in pages(crawler)) == [401, 403]
    assert len(shop.arrivals) == 2


async def test_check_may_be_a_coroutine(shop: Shop) -> None:
    """A check() that is awaited settles the verdict as another does."""

    async def slowly(response: Response) -> Verdict:
        await asyncio.sleep(0.01)
        return Verdict.SUSPECT if response.status == 418 else Verdict.OK

    crawler = await buy(shop, {}, [{"path": "/page?status=418&times=2"}], checking(slowly))
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "verdicts/suspect") == 2


def _raises(response: Response) -> Verdict:
    raise ValueError("a bug of check()")


async def _raises_late(response: Response) -> Verdict:
    raise ValueError("a bug of check()")


async def _nothing(response: Response) -> Any:
    return None


FAULTS = [_raises, _raises_late, _nothing, lambda response: None, lambda response: "ok"]


@pytest.mark.parametrize("fault", FAULTS, ids=["raises", "raises late", "awaited None", "None", "text"])
async def test_a_check_that_fails_means_ok(shop: Shop, caplog: pytest.LogCaptureFixture, fault: Any) -> None:
    """An exception of check(), or an answer that is no verdict, is logged and counted; the response is delivered."""
    crawler = await buy(shop, {}, [{"path": "/page?status=401"}], checking(fault))
    assert pages(crawler) == [(401, "Not today")]
    assert failures(crawler) == []
    assert stat(crawler, "check_errors") == 1
    (logged,) = [record for record in caplog.records if record.name == "scrapy_sessions.crawl.user_code"]
    assert logged.levelname == "ERROR"
    raises = fault in (_raises, _raises_late)
    words = f"ValueError at {__file__}:" if raises else "not a Verdict"
    assert words in logged.getMessage()


@pytest.mark.parametrize("late", [False, True])
async def test_check_may_close_the_spider(shop: Shop, late: bool) -> None:
    """CloseSpider raised by check(), at once or awaited, ends the crawl with its reason."""

    def check(response: Response) -> Any:
        async def closes() -> Verdict:
            raise CloseSpider("seen_enough")

        if late:
            return closes()
        raise CloseSpider("seen_enough")

    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1}, [{"path": f"/page/{n}"} for n in range(50)], checking(check))
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "seen_enough"
    assert stat(crawler, "check_errors") is None
    assert len(shop.arrivals) < 50


async def test_dont_retry_is_honoured(shop: Shop) -> None:
    """A request with dont_retry is not sent again, but the session logs in for the next one."""
    requests = [{"path": "/secret/first?forget=1"}]
    then = [{"path": "/secret/1", "meta": {"dont_retry": True}}, {"path": "/secret/2", "priority": -1}]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1}, requests, LogsIn, then=then)
    assert [status for status, _ in pages(crawler)] == [200, 401, 200]
    assert shop.logins == 2


@pytest.mark.parametrize("tries", [0, 1, 4])
async def test_after_retry_times_the_response_goes_on(shop: Shop, tries: int) -> None:
    """A request is sent again SESSIONS_RETRY_TIMES times; then its response reaches the spider as it is."""
    crawler = await buy(shop, {"SESSIONS_RETRY_TIMES": tries}, [{"path": "/page?status=403"}], None)
    assert pages(crawler) == [(403, "Not today")]
    assert len(shop.arrivals) == 1 + tries


async def test_replays_are_apart_from_scrapys_retries(shop: Shop) -> None:
    """A request that met both, bad sessions and a bad server, has as many tries of each as the settings say."""
    requests = [{"path": "/page?status=403&times=2&key=a"}]
    settings = {"RETRY_ENABLED": True, "RETRY_TIMES": 1, "RETRY_HTTP_CODES": [500], "SESSIONS_RETRY_TIMES": 2}
    crawler = await buy(shop, settings, requests, None)
    assert pages(crawler) == [(200, "A page")]
    assert crawler.stats is not None
    assert crawler.stats.get_value("retry/count") is None
    served = await buy(shop, settings, [{"path": "/page?status=500&key=b"}], None)
    assert served.stats is not None
    assert (served.stats.get_value("retry/count"), stat(served, "replays")) == (1, None)


async def test_a_proxy_that_refuses_makes_a_pooled_request_move_on(shop: Shop) -> None:
    """Nobody listens where the proxy of the first session is: its request goes out in the next session."""
    profiles = {"dead": {"user_agent": "a/1", "proxy": "http://127.0.0.1:9"}, "direct": {"user_agent": "b/1"}}
    settings = {"SESSIONS_PROFILES": profiles, "SESSIONS_POOLS": {"p": {"size": 2, "profiles": ["dead", "direct"]}}}
    crawler = await buy(shop, settings, [{"path": "/page", "meta": POOLED}], None)
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "verdicts/suspect") == 1
    assert shop.came("/page")[0].header("User-Agent") == "b/1"


async def test_a_site_that_refuses_draws_no_verdict(shop: Shop) -> None:
    """Nobody listens at the site itself: that says nothing of a session without a proxy, and reaches the errback."""
    crawler = await buy(shop, POOL, [{"path": "http://127.0.0.1:9/", "meta": POOLED}], None)
    (failure,) = failures(crawler)
    assert "ConnectionRefused" in failure
    assert stat(crawler, "verdicts/suspect") is None


async def test_a_proxy_that_asks_for_a_password_makes_a_pooled_request_move_on(shop: Shop) -> None:
    """The proxy of the first session answers 407: its request goes out in the next session."""
    with Proxy("user:right") as proxy:
        wrong = proxy.url.replace("right", "wrong")
        profiles = {"wrong": {"proxy": wrong}, "right": {"proxy": proxy.url}}
        pools = {"p": {"size": 2, "profiles": ["wrong", "right"]}}
        settings = {"SESSIONS_PROFILES": profiles, "SESSIONS_POOLS": pools}
        crawler = await buy(shop, settings, [{"path": "/page", "meta": POOLED}], None)
    assert pages(crawler) == [(200, "A page")]
    assert [passage.credentials for passage in proxy.passages] == ["user:wrong", "user:right"]


async def test_a_late_expiry_does_not_bring_a_retired_session_back(shop: Shop) -> None:
    """Two answers to one session: the first retires it, the second says 401. It stays retired."""

    class Retires(LogsIn):
        def check(self, response: Response, request: Request) -> Verdict:
            return Verdict.BLOCKED if response.status == 410 else super().check(response, request)  # type: ignore[return-value]

    requests = [{"path": "/gone?status=410&until=1:/no&times=1"}, {"path": "/no?status=401&until=1:/next&times=1"}]
    then = [{"path": "/next", "meta": {"session_id": None}}]
    crawler = await buy(shop, {"SESSIONS_RETRY_TIMES": 0}, requests, Retires, then=then)
    session = await spider_of(crawler).sessions.get("alice")
    assert session.status == "retired"
