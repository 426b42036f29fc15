"""A login that fails is tried again for a while, then given up, and its requests fail with it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider

from scrapy_sessions import BrowserSession, SessionConfig, SessionManager, Verdict
from scrapy_sessions.exceptions import StoreError
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.storage import MemoryStore, Outcome
from tests.support.login_configs import Fails, LogsIn, base_of
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat
from tests.support.waiting import HANG, slowness

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

FEW = [{"path": f"/secret/{number}"} for number in range(4)]


class Slow(SessionConfig):
    """Hangs in its login."""

    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await fetch(Request(base_of(self) + "/token", method="POST", body='{"user": "alice"}'))


class Accepts(SessionConfig):
    """A login that takes any answer for success."""

    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await fetch(Request(base_of(self) + "/login", method="POST"))


class ByRedirect(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await fetch(Request(base_of(self) + "/page?to=/login"))


class Overrules(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await fetch(Request(base_of(self) + "/login", meta={"dont_obey_robotstxt": True}))


class Patient(SessionConfig):
    """Runs out of its own patience."""

    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await asyncio.wait_for(asyncio.sleep(30), 0.01)


class Closes(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        raise CloseSpider("password_changed")


class Unsaved(MemoryStore):
    """Fails the first save of a session that is logged in."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = False

    async def save(self, rows: Any) -> list[Outcome]:
        if not self.failed and any(row.status == "ready" for row in rows):
            self.failed = True
            raise StoreError("The test lets this save fail")
        return await super().save(rows)


def returning(answer: object) -> type[SessionConfig]:
    """A config whose login returns *answer*."""

    class Returns(SessionConfig):
        async def login(self, session: BrowserSession, fetch: Any) -> Any:
            return answer

    return Returns


async def test_a_login_that_fails_twice_is_tried_a_third_time(shop: Shop) -> None:
    """The shop answers two logins with an error and accepts the third: every request is answered, none fails."""
    shop.rules(refusals=[500, 500])
    crawler = await buy(shop, {}, FEW)
    assert shop.logins == 3
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
    assert (stat(crawler, "logins"), stat(crawler, "login_failures")) == (1, 2)


async def test_tries_are_apart_by_a_growing_pause(shop: Shop) -> None:
    """LOGIN_BACKOFF seconds lie between the first two tries, and twice as much before the third."""
    shop.rules(refusals=[500, 500])
    await buy(shop, {"SESSIONS_LOGIN_BACKOFF": 0.2}, FEW)
    first, second, third = (arrival.time for arrival in shop.came("/login", "POST"))
    assert second - first >= 0.2
    assert third - second >= 0.4


async def test_a_login_that_always_fails_is_given_up(shop: Shop) -> None:
    """After LOGIN_ATTEMPTS tries every request that waited reaches its errback with LoginFailed; none is sent."""
    crawler = await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 2}, FEW, Fails)
    assert failures(crawler) == ["LoginFailed"] * len(FEW)
    assert stat(crawler, "login_failures") == 2
    assert stat(crawler, "logins_given_up") == 1
    assert shop.came("/secret") == []


@pytest.mark.parametrize("config", [LogsIn, ByRedirect])
async def test_a_login_that_robots_txt_forbids(
    shop: Shop, caplog: pytest.LogCaptureFixture, config: type[SessionConfig]
) -> None:
    """It is given up at once, with one error that names the URL; a redirect that leads there is as good."""
    shop.robots("User-agent: *\nDisallow: /login")
    crawler = await buy(shop, {"ROBOTSTXT_OBEY": True}, FEW, config)
    assert failures(crawler) == ["LoginFailed"] * len(FEW)
    assert (stat(crawler, "login_failures"), stat(crawler, "logins_given_up")) == (1, 1)
    assert shop.came("/login") == []
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert f"robots.txt forbids {shop.url('/login' if config is LogsIn else '/page')}" in errors[0]


async def test_a_login_that_overrules_robots_txt(shop: Shop) -> None:
    """With dont_obey_robotstxt in its meta, a request of the login is sent."""
    shop.robots("User-agent: *\nDisallow: /login")
    crawler = await buy(shop, {"ROBOTSTXT_OBEY": True}, [{"path": "/page"}], Overrules)
    assert stat(crawler, "logins") == 1


async def test_later_requests_fail_at_once(shop: Shop) -> None:
    """A request that comes for a session given up fails without another try."""
    requests: list[dict[str, Any]] = [{"path": "/secret/1"}, {"path": "/public?ms=300", "meta": {"session_id": "bob"}}]
    crawler = await buy(shop, {}, requests, FailsForAlice, then=FEW)
    assert failures(crawler) == ["LoginFailed"] * (1 + len(FEW))
    assert stat(crawler, "login_failures") == 3


class FailsForAlice(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        if session.id == "alice":
            raise ValueError("no")


@pytest.mark.parametrize("answer", [False, Verdict.SUSPECT, Verdict.EXPIRED])
async def test_a_login_can_say_that_it_failed(shop: Shop, answer: object) -> None:
    """Returning False, or a verdict that isn't OK, is a failure as good as an exception."""
    crawler = await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 2}, FEW, returning(answer))
    assert failures(crawler) == ["LoginFailed"] * len(FEW)
    assert stat(crawler, "login_failures") == 2


@pytest.mark.parametrize("answer", [None, True, Verdict.OK])
async def test_a_login_can_say_that_it_worked(shop: Shop, answer: object) -> None:
    """Returning nothing, True or OK is success."""
    crawler = await buy(shop, {}, [{"path": "/page"}], returning(answer))
    assert pages(crawler) == [(200, "A page")]
    assert stat(crawler, "logins") == 1


async def test_blocked_at_the_login_retires_the_session_at_once(shop: Shop) -> None:
    """A login that returns BLOCKED isn't tried again: the session is retired, and its requests fail."""
    crawler = await buy(shop, {}, FEW, returning(Verdict.BLOCKED))
    assert set(failures(crawler)) <= {"LoginFailed", "SessionRetired"}
    assert len(failures(crawler)) == len(FEW)
    assert (stat(crawler, "login_failures"), stat(crawler, "retired")) == (1, 1)


async def test_a_login_that_hangs_times_out(shop: Shop) -> None:
    """A login longer than LOGIN_TIMEOUT counts as failed; when the tries are used up, its requests fail."""
    shop.rules(hanging=True)
    begun = time.monotonic()
    settings = {"SESSIONS_LOGIN_TIMEOUT": 0.2, "SESSIONS_LOGIN_ATTEMPTS": 2, "DOWNLOAD_TIMEOUT": 3}
    crawler = await buy(shop, settings, FEW, Slow)
    assert failures(crawler) == ["LoginFailed"] * len(FEW)
    assert shop.logins == 2
    assert "SESSIONS_LOGIN_TIMEOUT" in str(spider_of(crawler).failures[0].value)
    assert time.monotonic() - begun < 15 * slowness()


async def test_a_timeout_of_the_logins_own_is_not_called_ours(shop: Shop) -> None:
    """A login that runs out of its own patience fails with that, not with LOGIN_TIMEOUT."""
    crawler = await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 1}, FEW[:1], Patient)
    assert "SESSIONS_LOGIN_TIMEOUT" not in str(spider_of(crawler).failures[0].value)
    assert "TimeoutError" in str(spider_of(crawler).failures[0].value)


async def test_logins_that_change_nothing_come_to_an_end(shop: Shop) -> None:
    """The login seems to work and every page is a 401 again: the budget bounds the logins, and the 401s are handed on.
    Refusals end no account."""
    many = [{"path": f"/secret/{number}"} for number in range(30)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 4}, many, Accepts)
    assert shop.logins == stat(crawler, "logins") <= 1 + 3
    assert pages(crawler) == [(401, "Log in")] * 30
    assert stat(crawler, "logins_given_up") is None


async def test_failures_in_a_row_over_a_pool_close_the_spider(shop: Shop) -> None:
    """As many sessions in a row as the pool has places are given up: no account is left, and the crawl ends."""
    settings = {"SESSIONS_POOLS": {"p": {"size": 3}}, "SESSIONS_LOGIN_ATTEMPTS": 3}
    requests: list[dict[str, Any]] = [
        {"path": f"/page/{number}", "meta": {"session_pool": "p"}} for number in range(30)
    ]
    crawler = await buy(shop, {**settings, "CONCURRENT_REQUESTS": 3}, requests, Fails)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "session_login_failed"
    assert stat(crawler, "login_failures") <= 3 * 3 + 2 * 3  # and what began for their successors
    assert shop.came("/page") == []


async def test_a_named_session_that_fails_does_not_close_the_spider(shop: Shop) -> None:
    """A session without a pool is given up alone: the requests of others go on to the end."""
    requests: list[dict[str, Any]] = [{"path": "/secret/1"}, {"path": "/page", "meta": {"session_id": "bob"}}]
    crawler = await buy(shop, {}, requests, FailsForAlice)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "finished"
    assert pages(crawler) == [(200, "A page")]


async def test_close_spider_in_a_login_closes_the_spider(shop: Shop) -> None:
    """CloseSpider raised by a login ends the crawl with its reason; it isn't tried again, and nothing is sent."""
    crawler = await buy(shop, {}, FEW, Closes)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "password_changed"
    assert stat(crawler, "login_failures") is None
    assert shop.came("/secret") == []


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
async def test_the_message_of_what_failed_is_kept_out_of_the_log(
    shop: Shop, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    """An exception's message may hold a password: at no level does the log have it, nor has LoginFailed; the place
    where it was raised is there."""
    caplog.set_level(level)
    crawler = await buy(shop, {}, FEW[:1], Fails)
    told = caplog.text + str(spider_of(crawler).failures[0].value) + spider_of(crawler).failures[0].getTraceback()
    assert "hunter2" not in told
    assert "configs.py" in told


async def test_a_login_that_cannot_be_saved_has_worked_nonetheless(shop: Shop) -> None:
    """The store fails when the login is to be saved: the requests go out, and a later save has it."""
    store = f"{__name__}.Unsaved"
    crawler = await buy(shop, {"SESSIONS_STORE": store, "SESSIONS_SAVE_INTERVAL": 0.01}, FEW, LogsIn)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
    assert stat(crawler, "save_errors") == 1


async def test_anonymous_sessions_that_cannot_log_in_are_replaced_once(shop: Shop) -> None:
    """However many requests waited for its login, a session that is given up is retired once."""
    requests: list[dict[str, Any]] = [{"path": f"/page/{number}", "meta": {"session_pool": "p"}} for number in range(6)]
    settings = {"SESSIONS_POOLS": {"p": {"size": 1}}, "SESSIONS_LOGIN_ATTEMPTS": 1}
    crawler = await buy(shop, settings, requests, Fails)
    assert stat(crawler, "retired") == stat(crawler, "logins_given_up")
    assert set(failures(crawler)) <= {"LoginFailed", "CrawlClosing"}


async def test_a_login_that_uses_its_session_up_does_not_repeat_for_ever(shop: Shop) -> None:
    """With MAX_USES below what the login takes, the crawl ends, in failures that say so."""
    crawler = await asyncio.wait_for(buy(shop, {"SESSIONS_MAX_USES": 2}, FEW[:2], LogsIn), HANG)
    assert failures(crawler) == ["LoginFailed"] * 2
    assert "SESSIONS_MAX_USES" in str(spider_of(crawler).failures[0].value)
    assert len(shop.came("/login", "GET")) <= 2


async def test_a_session_used_up_by_its_next_login_makes_way(shop: Shop) -> None:
    """A session reaches MAX_USES while it logs in again: a new one takes its place, logs in, and gets the page."""
    settings = {"SESSIONS_MAX_USES": 6, "CONCURRENT_REQUESTS": 1}
    crawler = await buy(shop, settings, [{"path": "/secret/first?forget=1"}], then=FEW[:2])
    assert pages(crawler)[1:] == [(200, "Hello, alice")] * 2
    assert failures(crawler) == []


class Deleted(LogsIn):
    """The session is deleted during its first login, by another process or by the spider. *fails*: that login fails."""

    elsewhere, fails, deleted = False, False, False

    async def login(self, session: BrowserSession, fetch: Any) -> Verdict | bool | None:
        answer = await super().login(session, fetch)
        if self.deleted:
            return answer
        self.deleted = True
        extension = self.crawler.get_extension(SessionsExtension)
        assert extension is not None
        manager = extension.router.manager
        await manager.flush()  # else another process could not find it
        if self.elsewhere:
            async with SessionManager(store=manager.store, namespace=manager.namespace) as other:
                assert await other.delete_session(session.id)
        else:
            assert await manager.delete_session(session.id)
        return False if self.fails else answer


class Elsewhere(Deleted):
    elsewhere = True


class FailsThen(Deleted):
    fails = True


class FailsElsewhere(Elsewhere, FailsThen):
    pass


@pytest.mark.parametrize("config", [Deleted, Elsewhere, FailsThen, FailsElsewhere])
async def test_a_session_that_is_deleted_during_its_first_login_makes_way(
    shop: Shop, caplog: pytest.LogCaptureFixture, config: type[Deleted]
) -> None:
    """It is not given up: the requests that waited get a new session, with a login of its own, and no failure."""
    crawler = await asyncio.wait_for(buy(shop, {}, FEW, config), HANG)
    assert pages(crawler) == [(200, "Hello, alice")] * len(FEW)
    assert failures(crawler) == []
    assert stat(crawler, "logins_given_up") is None
    assert stat(crawler, "created") == 2
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


class Idles(LogsIn):
    """Is idle for so long that its session expires and is replaced, and goes on then."""

    async def login(self, session: BrowserSession, fetch: Any) -> Verdict | bool | None:
        extension = self.crawler.get_extension(SessionsExtension)
        assert extension is not None
        await asyncio.sleep(0.3)
        assert await extension.router.manager.get(session.id) is not session
        return await super().login(session, fetch)


async def test_a_login_that_outlasts_idle_timeout_does_not_repeat_for_ever(shop: Shop) -> None:
    """A session that expired during its first login, and was replaced, is given up, unlike one that was deleted."""
    crawler = await asyncio.wait_for(buy(shop, {"SESSIONS_IDLE_TIMEOUT": 0.2}, FEW[:1], Idles), HANG)
    assert failures(crawler) == ["LoginFailed"]
    assert "_IDLE_TIMEOUT" in str(spider_of(crawler).failures[0].value)
