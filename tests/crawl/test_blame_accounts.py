"""Real crawls of accounts: what one page, one account, one host or one login does to the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request

from scrapy_sessions import BrowserSession, SessionConfig, Verdict, session_config
from scrapy_sessions.config import Fetch
from tests.support.crawl import sqlite_url
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

POOL = {"session_pool": "staff"}
HELLO = (200, "Hello, alice")


class OneFails(LogsIn):
    """The password of bob is wrong."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict | bool | None:
        if session.id == "bob":
            raise ValueError("no")
        return await super().login(session, fetch)


class OneIsBlocked(LogsIn):
    """Bob is never to log in again."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict | bool | None:
        return Verdict.BLOCKED if session.id == "bob" else await super().login(session, fetch)


def secrets(count: int, *, closed: int | None = None, **keywords: Any) -> list[dict[str, Any]]:
    """Requests for pages behind the login; that of the number *closed* is refused to everybody."""
    paths = [f"/secret/{number}" for number in range(count)]
    if closed is not None:
        paths[closed] = "/closed?status=401"
    return [{"path": path, **keywords} for path in paths]


def staff(*names: str, **settings: Any) -> dict[str, Any]:
    """Settings with a pool of accounts."""
    return {"SESSIONS_POOLS": {"staff": {"sessions": list(names)}}, **settings}


def statuses(crawler: Any) -> Mapping[int, int]:
    return Counter(status for status, _ in pages(crawler))


@pytest.mark.parametrize(("concurrency", "count"), [(16, 20), (1, 31)])
async def test_one_page_of_an_account_is_always_401(shop: Shop, concurrency: int, count: int) -> None:
    """The third page is refused for ever: all others arrive, and it is handed on."""
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": concurrency}, secrets(count, closed=2))
    assert statuses(crawler) == {200: count - 1, 401: 1}
    assert failures(crawler) == []
    assert shop.logins == 1
    assert stat(crawler, "closed_pages") == 1


async def test_a_user_who_lacks_a_permission_is_redirected_to_the_login(shop: Shop) -> None:
    """Django's ``permission_required``: a logged-in user is redirected to the login form by one page of 22."""
    shop.rules(denial="redirect")
    requests = secrets(22)
    requests[4] = {"path": "/no?to=/login"}
    crawler = await buy(shop, {}, requests)
    assert pages(crawler).count(HELLO) == 21
    assert shop.logins <= 2


@pytest.mark.parametrize("path", ["/no?status=401", "/no?to={form}"], ids=["401", "redirect"])
async def test_a_refusal_by_another_host(shop: Shop, path: str) -> None:
    """A 401, or a redirect to our login form, by another host has no effect on the account."""
    other = shop.url(path).replace("127.0.0.1", "127.0.0.2").format(form=shop.url("/login"))
    requests = [*secrets(5), *({"path": other + f"&n={number}"} for number in range(5)), *secrets(5)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 2}, requests)
    assert pages(crawler).count(HELLO) == 10
    assert len(pages(crawler)) == 15
    assert (shop.logins, failures(crawler)) == (1, [])


async def test_posts_with_a_stale_token(shop: Shop) -> None:
    """419 is an expiry, and a POST gets it for its own stale token: it is handed on, and the other pages arrive."""
    requests = secrets(10)
    requests[3] = {"path": "/form?status=419", "method": "POST"}
    settings = {"SESSIONS_EXPIRED_STATUSES": [401, 419], "CONCURRENT_REQUESTS": 1}
    crawler = await buy(shop, settings, requests)
    assert statuses(crawler) == {200: 9, 419: 1}
    assert shop.logins == 1


@pytest.mark.parametrize("concurrency", [16, 1])
async def test_one_wrong_password_of_three(shop: Shop, concurrency: int) -> None:
    """The requests that waited for the account move to the others; the spider goes on."""
    settings = staff("alice", "bob", "carol", CONCURRENT_REQUESTS=concurrency)
    crawler = await buy(shop, settings, secrets(30, meta=POOL), OneFails)
    assert statuses(crawler) == {200: 30}
    assert failures(crawler) == []
    assert stat(crawler, "logins_given_up") == 1
    assert stat(crawler, "login_failures") == 3


async def test_one_wrong_password_in_the_second_run(shop: Shop, tmp_path: Path) -> None:
    """Five of six accounts are restored, one can't log in: every page arrives, in the second run too."""
    settings = staff(*"abcdef", SESSIONS_STORE=sqlite_url(tmp_path / "s.db"))

    class Fails(LogsIn):
        async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict | bool | None:
            if session.id == "c":
                raise ValueError("no")
            return await super().login(session, fetch)

    for _ in range(2):
        crawler = await buy(shop, settings, secrets(30, meta=POOL), Fails)
        assert crawler.stats is not None
        assert statuses(crawler) == {200: 30}
        assert crawler.stats.get_value("finish_reason") == "finished"


async def test_no_account_is_left(shop: Shop) -> None:
    """LoginFailed reaches the requests when the last account was given up, and only then the spider is closed."""
    crawler = await buy(shop, staff("bob"), secrets(4, meta=POOL), OneFails)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "session_login_failed"
    assert set(failures(crawler)) <= {"LoginFailed", "CrawlClosing"}
    assert "LoginFailed" in failures(crawler)


async def test_blocked_from_a_login(shop: Shop) -> None:
    """``Verdict.BLOCKED`` from ``login()`` retires the account; the requests that waited for it move to others."""
    crawler = await buy(shop, staff("alice", "bob"), secrets(20, meta=POOL), OneIsBlocked)
    assert statuses(crawler) == {200: 20}
    assert (failures(crawler), stat(crawler, "retired")) == ([], 1)


async def test_a_dead_login_where_strangers_get_403(shop: Shop, tmp_path: Path) -> None:
    """A site that answers 403 to visitors, as Jupyter's API does, and a saved login that is dead: one login."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    await buy(shop, settings, secrets(1))
    shop.expire()
    shop.rules(denial="403")
    crawler = await buy(shop, settings, secrets(20))
    assert pages(crawler) == [HELLO] * 20
    assert shop.logins == 2


async def test_a_token_that_is_accepted_seven_times(shop: Shop) -> None:
    """With 16 requests in parallel: replays of an older generation are no tries, and every page arrives."""
    shop.rules(uses=7)
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 16}, secrets(30))
    assert pages(crawler) == [HELLO] * 30


async def test_a_login_that_is_told_to_wait(shop: Shop) -> None:
    """The login endpoint answers 429 with ``Retry-After``: it is asked again after that time, and once."""
    shop.rules(refusals=[429], after=2)
    crawler = await buy(shop, {}, secrets(4))
    first, second = (arrival.time for arrival in shop.came("/login", "POST"))
    assert second - first >= 1.9
    assert pages(crawler) == [HELLO] * 4
    assert stat(crawler, "login_failures") is None


async def test_a_pause_does_not_count_as_time_of_a_login(shop: Shop) -> None:
    """A pause longer than LOGIN_TIMEOUT doesn't make a login fail."""
    shop.rules(refusals=[429], after=3)
    crawler = await buy(shop, {"SESSIONS_LOGIN_TIMEOUT": 2}, secrets(2))
    assert pages(crawler) == [HELLO] * 2
    assert stat(crawler, "login_failures") is None


@pytest.mark.usefixtures("own_registry")
async def test_two_sites_with_a_login_each(shop: Shop, tmp_path: Path) -> None:
    """One account name at two sites: each has its own login, which both are saved and neither repeats."""
    logins: list[str] = []

    def config(host: str) -> type[SessionConfig]:
        @session_config(f"{host}/secret")
        class Site(SessionConfig):
            async def login(self, session: BrowserSession, fetch: Fetch) -> None:
                logins.append(host)
                base = shop.url("").replace("127.0.0.1", host)
                await fetch(Request(f"{base}/token", method="POST", body='{"user": "alice"}'))

        return Site

    one, other = (config(host) for host in ("127.0.0.1", "127.0.0.2"))
    assert one is not other
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_EXPIRED_STATUSES": []}
    elsewhere = [{"path": shop.url(request["path"]).replace("127.0.0.1", "127.0.0.2")} for request in secrets(4)]
    for _ in range(2):
        crawler = await buy(shop, settings, [*secrets(4), *elsewhere], None)
        assert len(pages(crawler)) == 8
    assert sorted(logins) == ["127.0.0.1", "127.0.0.2"]
    session = await spider_of(crawler).sessions.get("alice")
    assert session.status == "ready"
