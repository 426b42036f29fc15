"""A site that redirects what a login posts doesn't get the credentials sent to wherever it says."""

from __future__ import annotations

import pytest
from scrapy import FormRequest, Request
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from scrapy_sessions.crawl.login_redirects import check_redirect
from scrapy_sessions.exceptions import LoginImpossible
from scrapy_sessions.logins import Credentials, FormLogin, TokenLogin
from tests.support.login_configs import LogsIn, base_of
from tests.support.shop import Shop, buy, failures, pages

SETTINGS = {"SESSIONS_LOGIN_ATTEMPTS": 3}


class _Known:
    async def credentials(self, session: BrowserSession) -> Credentials:
        return Credentials(session.id, "hunter2")


class Form(_Known, FormLogin):
    form = "form"
    username_field = "user"

    @property
    def login_url(self) -> str:  # type: ignore[override]
        return base_of(self) + "/login"


class Token(_Known, TokenLogin):
    @property
    def login_url(self) -> str:  # type: ignore[override]
        return base_of(self) + "/token"


class Own(LogsIn):
    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        await fetch(FormRequest(base_of(self) + "/login", formdata={"user": session.id}))


CONFIGS = [Form, Token, Own]


@pytest.fixture(params=["/login", "/evil"])
def target(request: pytest.FixtureRequest, shop: Shop) -> str:
    """Where the site redirects to: to itself, or to another host."""
    at = shop.url(request.param)
    return at if request.param == "/login" else at.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("config", CONFIGS)
async def test_the_credentials_are_not_sent_on(shop: Shop, config: type[SessionConfig], target: str) -> None:
    """A 307 to another host, or in a circle, ends the login: nothing is posted there, and no session counts as logged
    in."""
    shop.rules(moved=target if config is not Token else target.replace("/login", "/token"))
    crawler = await buy(shop, SETTINGS, [{"path": "/page"}], config)
    assert failures(crawler) == ["LoginFailed"]
    assert len([each for each in shop.arrivals if each.method == "POST"]) == 1


@pytest.mark.parametrize("config", [Form, Own])
async def test_one_redirect_within_the_site_is_followed(shop: Shop, config: type[SessionConfig]) -> None:
    """A 307 to the URL with a trailing slash is followed with what was posted."""
    shop.rules(moved="/login/")
    crawler = await buy(shop, SETTINGS, [{"path": "/page"}], config)
    assert pages(crawler) == [(200, "A page")]
    assert [each.path for each in shop.arrivals if each.method == "POST"] == ["/login", "/login/"]


async def test_redirects_of_the_page_before_do_not_count(shop: Shop) -> None:
    """A login() that copies the meta of a page, which was redirected twice, may post."""

    class Copies(LogsIn):
        async def login(self, session: BrowserSession, fetch: Fetch) -> None:
            page = await fetch(Request(base_of(self) + "/a?to=/b%3Fto=/c"))
            assert page.meta["redirect_times"] == 2
            await fetch(FormRequest(base_of(self) + "/posted", formdata={"user": session.id}, meta=page.meta))

    crawler = await buy(shop, SETTINGS, [{"path": "/page"}], Copies)
    assert pages(crawler) == [(200, "A page")]
    assert len(shop.came("/posted")) == 1


class Site(SessionConfig):
    login_url = "https://shop.example/login"


class Trusting(FormLogin):
    login_url = "https://shop.example/login"
    trusted_hosts = ("sso.test",)


@pytest.mark.parametrize(
    ("config", "urls", "method", "words"),
    [
        pytest.param(Site, ["https://shop.example/a", "https://www.shop.example/b"], "POST", None, id="of its site"),
        pytest.param(Site, ["https://auth.test/a", "https://shop.example/b"], "POST", None, id="to the login_url"),
        pytest.param(Site, ["http://shop.example/a", "https://shop.example/a"], "POST", None, id="to HTTPS"),
        pytest.param(Site, ["https://shop.example/a", "http://shop.example/a"], "POST", "plain HTTP", id="to HTTP"),
        pytest.param(Site, ["https://shop.example/a", "https://evil.test/"], "POST", "evil.test", id="elsewhere"),
        pytest.param(Site, ["https://shop.example/a", "https://evil.test/"], "PUT", "evil.test", id="by PUT"),
        pytest.param(Site, ["https://shop.example/a", "https://evil.test/"], "GET", None, id="without a body"),
        pytest.param(Site, ["https://shop.example/a", "https://shop.example/a#b"], "POST", "again", id="to itself"),
        pytest.param(
            Site, [f"https://shop.example/{each}" for each in "abc"], "POST", "again and again", id="two redirects"
        ),
        pytest.param(Trusting, ["https://shop.example/a", "https://sso.test/"], "POST", None, id="trusted"),
        pytest.param(
            Trusting, ["https://shop.example/a", "https://evil.test/"], "POST", "Trusting.trusted_hosts", id="untrusted"
        ),
    ],
)
def test_where_a_redirect_may_lead(
    config: type[SessionConfig], urls: list[str], method: str, words: str | None
) -> None:
    """Once, within the site, not to plain HTTP; a request without a body is free to go."""
    *before, url = urls
    meta = {"redirect_urls": before, "redirect_reasons": [307] * len(before)}
    request = Request(url, method=method, body="" if method == "GET" else "pw=hunter2", meta=meta)
    if words is None:
        check_redirect(request, config.from_crawler(get_crawler()))
    else:
        with pytest.raises(LoginImpossible, match=words) as caught:
            check_redirect(request, config.from_crawler(get_crawler()))
        assert "hunter2" not in str(caught.value)
