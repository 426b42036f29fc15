"""After a login, an answer to the session as it was before changes nothing, and a bad one is asked for anew."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, Verdict
from scrapy_sessions.sessions.browser_session import runtime_of
from tests.support.crawl import ENVIRONMENT, PLAIN, command, sqlite_url
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, pages, spider_of, stat
from tests.support.spiders.buyer import Buyer
from tests.support.waiting import HANG

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

EXPIRES = [{"path": "/secret/first?forget=1"}]
"""The first page, whose callback yields the requests that then find the session expired."""


class Checks(LogsIn):
    """Blocks by a 410, suspects by a 418."""

    def check(self, response: Response, request: Request) -> Any:
        by_status = {410: Verdict.BLOCKED, 418: Verdict.SUSPECT}
        return by_status.get(response.status) or super().check(response, request)


@pytest.mark.parametrize("status", [401, 410, 418])
async def test_a_bad_answer_of_an_older_generation_is_asked_for_once_more(shop: Shop, status: int) -> None:
    """It left before the login and comes after it: the session is neither logged in again, retired nor suspected, and
    the request is answered under the new generation."""
    slow = {"path": f"/slow?until=2:/secret/home&status={status}&times=1"}
    crawler = await buy(shop, {}, EXPIRES, Checks, then=[{"path": "/secret/1"}, slow])
    came = shop.came("/slow")
    assert len(came) == 2
    assert came[0].cookies != came[1].cookies
    assert shop.logins == 2
    assert (stat(crawler, "verdicts/expired"), stat(crawler, "retired")) == (1, None)
    assert stat(crawler, "verdicts/suspect") is None
    assert sorted(status for status, _ in pages(crawler)) == [200] * 3


async def test_a_good_answer_of_an_older_generation_is_delivered(shop: Shop) -> None:
    """It reaches its callback, and nobody asks for it again; the cookies that it sets are not taken."""
    slow = {"path": "/slow?until=2:/secret/home&set=auth%3Dstolen%3B+Path%3D/"}
    crawler = await buy(shop, {}, EXPIRES, LogsIn, then=[{"path": "/secret/1"}, slow])
    assert len(shop.came("/slow")) == 1
    assert (200, "A page") in pages(crawler)
    session = await spider_of(crawler).sessions.get("alice")
    assert session.cookies["auth"] in shop.users


async def test_every_login_begins_a_generation(shop: Shop) -> None:
    """Two logins, two generations."""
    crawler = await buy(shop, {}, EXPIRES, LogsIn, then=[{"path": "/secret/1"}])
    session = await spider_of(crawler).sessions.get("alice")
    assert (session.generation, runtime_of(session).logins, session.status) == (2, 2, "ready")


async def test_cookies_that_a_timed_out_login_gets_late_are_not_taken(shop: Shop) -> None:
    """A login is tried again while the answer to the first try is still to come: its cookie doesn't overwrite."""

    class OnceSlow(LogsIn):
        tries = 0

        async def login(self, session: BrowserSession, fetch: Any) -> Any:
            type(self).tries += 1
            if self.tries == 1:
                await fetch(Request(shop.url("/slow?until=1:/secret/home&set=auth%3Dlate%3B+Path%3D/")))
            return await super().login(session, fetch)

    settings = {"SESSIONS_LOGIN_TIMEOUT": 0.3}
    crawler = await buy(shop, settings, [{"path": "/secret/1"}], OnceSlow, then=[{"path": "/secret/2?ms=500"}])
    assert pages(crawler) == [(200, "Hello, alice")] * 2
    session = await spider_of(crawler).sessions.get("alice")
    assert session.cookies["auth"] in shop.users


async def test_a_request_that_leaves_during_a_login_belongs_to_the_time_before(shop: Shop) -> None:
    """A middleware holds a request back until its session logs in again, and it leaves without the new cookie: the 401
    that it gets, when the login is done, is no expiry of that login."""
    shop.rules(login_ms=500)
    settings = {"DOWNLOADER_MIDDLEWARES": {"tests.support.middlewares.HoldsBack": 300}}
    then = [{"path": "/secret/1"}, {"path": "/secret/held?until=2:/secret/home&ms=500"}]
    crawler = await buy(shop, settings, EXPIRES, LogsIn, then=then)
    assert len(shop.came("/secret/held")) == 2
    assert shop.came("/login", "POST")[1].time < shop.came("/secret/held")[0].time
    assert shop.logins == 2
    assert [status for status, _ in pages(crawler)] == [200] * 3


def test_a_job_resumed_after_its_login_expired_logs_in_once(shop: Shop, tmp_path: Path) -> None:
    """A job is stopped in the middle, the site forgets the login, the job is resumed: one login more, and over both
    runs every page is fetched."""
    count = 200
    settings = {**PLAIN, "JOBDIR": str(tmp_path / "job"), "SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    arguments = {
        "base": shop.url(""),
        "session_config": "tests.support.login_configs.LogsIn",
        "requests": [{"path": f"/secret/page/{n}", "dont_filter": False} for n in range(count)],
    }
    got: list[set[str]] = []
    for stopping in ("/secret/page/100", ""):
        given = command(Buyer, {**settings, "CONCURRENT_REQUESTS": 4}, {**arguments, "stop": stopping})
        done = subprocess.run(given, env=ENVIRONMENT, capture_output=True, text=True, timeout=HANG, check=True)
        stats = json.loads(done.stdout.splitlines()[-1])
        assert stats["finish_reason"] == ("enough" if stopping else "finished")
        answered = shop.answered("/secret/page/", 200)
        got.append(answered)
        shop.expire()
    assert 1 < len(got[0]) < count
    assert got[1] == {f"/secret/page/{n}" for n in range(count)}
    assert shop.logins == 2
