"""Crawls with ready-made logins: what is posted, logged and stored."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request

from scrapy_sessions import BrowserSession
from scrapy_sessions.exceptions import LoginRejected
from scrapy_sessions.logins import FormLogin, LoginConfig, TokenLogin
from tests.support.crawl import sqlite_url
from tests.support.login_configs import LogsIn, base_of
from tests.support.shop import Shop, buy, failures, pages, stat

FEW = [{"path": f"/secret/{number}"} for number in range(4)]
SECRET = "hunter2"


class Form(FormLogin):
    """The form of the shop has no password field."""

    form = "form"
    username_field = "user"

    @property
    def login_url(self) -> str:  # type: ignore[override]
        return base_of(self) + "/login"


class Token(TokenLogin):
    username_key = "user"

    @property
    def login_url(self) -> str:  # type: ignore[override]
        return base_of(self) + "/token"


class Renewed(LogsIn):
    """Says how long its login is good."""

    def renew_at(self, session: BrowserSession) -> float:
        return time.time() + 1.2


class Past(LogsIn):
    def renew_at(self, session: BrowserSession) -> float:
        return time.time() - 1


class Text(LogsIn):
    def renew_at(self, session: BrowserSession) -> Any:
        return "tomorrow"


class Missing(LogsIn):
    def renew_at(self, session: BrowserSession) -> float:
        return float(session.data["token_expires"])


class Rejected(LoginConfig):
    async def login(self, session: BrowserSession, fetch: Any) -> None:
        await fetch(Request(base_of(self) + "/login"))
        raise LoginRejected("the account is locked")


async def test_form(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form that is found by a selector."""
    monkeypatch.setenv("PASSWORD_alice", SECRET)
    crawler = await buy(shop, {"SESSIONS_CREDENTIALS": ["env:PASSWORD_{session_id}"]}, FEW, Form)
    assert len(pages(crawler)) == 4
    assert stat(crawler, "logins") == 1
    assert set(shop.users.values()) == {"alice"}


async def test_no_credentials(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The login isn't tried again, nothing is posted, and one ERROR says where the credentials were looked for."""
    crawler = await buy(shop, {"SESSIONS_CREDENTIALS": ["env:NOT_THERE", "netrc:/nowhere"]}, FEW, Token)
    assert failures(crawler) == ["LoginFailed"] * 4
    assert shop.logins == 0
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "the environment variable NOT_THERE is not set; there is no file /nowhere" in errors[0]


async def test_messages_for_the_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The message of LoginRejected is logged, and the login tried as often as the setting says."""
    crawler = await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 2, "SESSIONS_LOGIN_BACKOFF": 0.01}, FEW, Rejected)
    assert failures(crawler) == ["LoginFailed"] * 4
    assert "Login 1 of 2 of session 'alice' failed: the account is locked" in caplog.text
    assert "in 2 attempts; at last: the account is locked" in caplog.text
    assert len(shop.came("/login")) == 2


async def test_nothing_secret_is_kept(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the log, the stats nor the file has the password; the token is in the file, as a header."""
    monkeypatch.setenv("PASSWORD_alice", SECRET)
    caplog.set_level("DEBUG")
    path = tmp_path / "s.db"
    crawler = await buy(
        shop,
        {"SESSIONS_CREDENTIALS": ["env:PASSWORD_{session_id}"], "SESSIONS_STORE": sqlite_url(path)},
        [{"path": "/api/1"}],
        Token,
    )
    assert len(pages(crawler)) == 1
    assert crawler.stats is not None
    (token,) = shop.users
    assert SECRET not in caplog.text + str(crawler.stats.get_stats())
    assert token not in caplog.text + str(crawler.stats.get_stats())
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert SECRET.encode() not in stored


async def test_a_login_is_renewed(shop: Shop) -> None:
    """After the moment that the config names, the session logs in once more before its next request."""
    requests = [{"path": f"/secret/{number}"} for number in range(12)]
    crawler = await buy(shop, {"CONCURRENT_REQUESTS": 1, "DOWNLOAD_DELAY": 0.25}, requests, Renewed)
    assert len(pages(crawler)) == 12
    assert stat(crawler, "logins") >= 2
    assert shop.answered("/secret", 401) == set()


async def test_a_moment_that_is_past(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """It is ignored with a warning: the session would log in without end."""
    crawler = await buy(shop, {}, FEW, Past)
    assert len(pages(crawler)) == 4
    assert stat(crawler, "logins") == 1
    assert "Past.renew_at() names a moment less than 1 s ahead" in caplog.text


@pytest.mark.parametrize(("config", "fault"), [(Text, "TypeError"), (Missing, "KeyError")])
async def test_a_fault_in_renew_at(shop: Shop, caplog: pytest.LogCaptureFixture, config: Any, fault: str) -> None:
    """It is one of the login, which is tried again and given up."""
    crawler = await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 2}, FEW, config)
    assert failures(crawler) == ["LoginFailed"] * 4
    assert f"Login 1 of 2 of session 'alice' failed: {fault} at" in caplog.text
