"""Requests that wait: nothing that could go on is stopped by them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scrapy_sessions.crawl import budget
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat

pytestmark = pytest.mark.alone  # it measures time

BOB: dict[str, Any] = {"session_id": "bob"}


def busy(shop: Shop, after: int, key: str = "a") -> str:
    """A page of another host that asks once for a pause."""
    return shop.url(f"/busy?status=429&times=1&after={after}&key={key}").replace("127.0.0.1", "127.0.0.2")


async def test_a_pause_of_one_host(shop: Shop) -> None:
    """One host asks for a long pause: other hosts go on in the same session."""
    then = [{"path": f"/page/{number}"} for number in range(10)]
    crawler = await buy(shop, {}, [{"path": busy(shop, 4)}, {"path": "/start?ms=200"}], None, then=then)
    others = [arrival.time - shop.came("/busy")[0].time for arrival in shop.came("/page")]
    assert len(others) == 10
    assert max(others) < 3.5
    first, second = (arrival.time for arrival in shop.came("/busy"))
    assert second - first >= 3.9
    assert len(pages(crawler)) == 12


@pytest.mark.parametrize("concurrency", [1, 16])
async def test_forty_requests_of_a_paused_host(shop: Shop, concurrency: int) -> None:
    """They give their places back while others are queued, and are sent when the pause is over; none is lost."""
    paused = [{"path": shop.url(f"/busy/{n}").replace("127.0.0.1", "127.0.0.2")} for n in range(40)]
    others = [{"path": f"/page/{number}", "meta": BOB} for number in range(60)]
    first = {"path": busy(shop, 6)}
    start = [first, {"path": "/start?ms=300", "meta": BOB}]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": concurrency}, start, None, then=[*paused, *others])
    times = [arrival.time - shop.came("/busy")[0].time for arrival in shop.came("/page")]
    assert len(times) == 60
    assert max(times) < 5.5
    assert len(pages(crawler)) == 102
    assert stat(crawler, "paused") == 1
    waited = [arrival.time for arrival in shop.came("/busy/")]
    assert min(waited) - shop.came("/busy")[0].time >= 5.9


async def test_requests_that_come_while_others_wait_in_place(shop: Shop) -> None:
    """Nothing else was left to do, so all places are held by requests that wait; what a callback yields gets one."""
    first = {"path": busy(shop, 6)}
    paused = [{"path": shop.url(f"/busy/{n}").replace("127.0.0.1", "127.0.0.2"), "priority": 1} for n in range(8)]
    slow = {"path": "/slow?ms=2500", "meta": BOB, "priority": 2}
    then = [{"path": f"/page/{number}", "meta": BOB} for number in range(6)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 4}, [{**first, "priority": 3}, slow, *paused], None, then=then)
    times = [arrival.time - shop.came("/busy")[0].time for arrival in shop.came("/page")]
    assert len(times) == 6
    assert max(times) < 5.5
    assert len(pages(crawler)) == 16


async def test_a_slow_login_stops_no_other_session(shop: Shop) -> None:
    """Forty requests wait for a login of four seconds: those of a session that is logged in go on."""
    shop.rules(login_ms=4000)
    requests = [{"path": f"/secret/{number}"} for number in range(40)]
    others = [{"path": f"/page/{number}", "meta": {"session_id": None}} for number in range(60)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 4}, [*requests, *others], LogsIn)
    times = [arrival.time - shop.came("/login")[0].time for arrival in shop.came("/page")]
    assert len(times) == 60
    assert max(times) < 4
    assert pages(crawler).count((200, "Hello, alice")) == 40
    assert shop.logins == 1


async def test_a_deferred_request_keeps_its_priority(shop: Shop) -> None:
    """Its callback sees the priority that the spider gave it, and nothing of the deferral in its meta."""
    paused = {"path": shop.url("/busy/1").replace("127.0.0.1", "127.0.0.2"), "priority": 7}
    others = [{"path": f"/page/{number}?ms=50", "meta": BOB} for number in range(40)]
    crawler = await buy(
        shop, {"CONCURRENT_REQUESTS": 1}, [{"path": busy(shop, 3), "priority": 9}, paused, *others], None
    )
    (response,) = [each for each in spider_of(crawler).responses if "/busy/1" in each.url]
    assert response.request is not None
    assert response.request.priority == 7
    assert not [key for key in response.meta if "deferred" in key]


async def posts_after_a_closed_page(shop: Shop) -> Counter[int]:
    """POSTs prove nothing: one closed page costs the one login of the budget. Later the login expires. Returns how
    often the spider got each status."""
    paths = [f"/secret/{number}" for number in range(22)]
    paths[5] = "/closed?status=401"
    paths[11] += "?forget=1"
    requests = [{"path": path, "method": "POST", "priority": -number} for number, path in enumerate(paths)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1, "SESSIONS_LOGIN_ATTEMPTS": 1}, requests)
    assert failures(crawler) == []
    return Counter(status for status, _ in pages(crawler))


async def test_refusals_wait_for_a_login(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third refusal in a row waits until the budget grows, after a minute (here 2 s): all others arrive."""
    monkeypatch.setattr(budget, "_MINUTE", 2.0)
    statuses = await posts_after_a_closed_page(shop)
    assert statuses.total() == 22
    assert statuses[401] <= 1 + 2
    assert shop.logins == 3


async def test_refusals_wait_for_five_minutes_at_the_most(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget grows too late, after 400 s: nothing waits for it."""
    monkeypatch.setattr(budget, "_MINUTE", 400.0)
    assert await posts_after_a_closed_page(shop) == {200: 11, 401: 11}
    assert shop.logins == 2
