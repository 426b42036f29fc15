"""Exceptions of the user's code: their messages may contain secrets, so nothing that we write has them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, IgnoreRequest

from scrapy_sessions import SessionConfig
from tests.support.crawl import sqlite_url
from tests.support.shop import Shop, buy, failures, pages, spider_of, stat

SECRET = "hunter2"
METHODS = ["login", "check", "late check", "process_request", "pool", "delay"]
BEFORE_THE_REQUEST = ["process_request", "pool", "delay"]


def faulty() -> None:
    """Raise an exception that has a secret in itself, in its cause and in the context of that."""
    try:
        try:
            raise KeyError(f"{SECRET} of the context")
        except KeyError as error:
            raise LookupError(f"{SECRET} of the cause") from error
    except LookupError as error:
        raise ValueError(f"{SECRET} of the message") from error


def raising(method: str, raise_it: Any = faulty) -> type[SessionConfig]:
    """A config whose *method* calls *raise_it*."""

    def plain(self: SessionConfig, *arguments: object) -> Any:
        raise_it()

    async def later(self: SessionConfig, *arguments: object) -> Any:
        raise_it()

    name = method.removeprefix("late ")
    return type("Config", (SessionConfig,), {name: later if method in {"login", "late check"} else plain})


def chain_of(error: BaseException | None) -> str:
    """What a traceback of *error* would show, its causes and contexts included."""
    return "" if error is None else f"{error!r} {error} {chain_of(error.__cause__)} {chain_of(error.__context__)}"


async def crawl_with(method: str, shop: Shop, raise_it: Any = faulty, **settings: Any) -> Crawler:
    request = {"path": "/page?status=200&token=q-secret", "tagged": method != "pool"}
    return await buy(shop, {"SESSIONS_LOGIN_ATTEMPTS": 2, **settings}, [request], raising(method, raise_it))


@pytest.mark.parametrize("method", METHODS)
async def test_no_message_is_written(method: str, shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither log, stats, store nor the errback's exception have the message of an exception, at level DEBUG either."""
    caplog.set_level(logging.DEBUG)
    crawler = await crawl_with(method, shop, SESSIONS_STORE=sqlite_url(tmp_path / "s.db"))
    assert crawler.stats is not None
    ours = [record for record in caplog.records if record.name.startswith("scrapy_sessions")]
    written = caplog.text + repr(crawler.stats.get_stats())
    written += "".join(chain_of(failure.value) + failure.getTraceback() for failure in spider_of(crawler).failures)
    written += "".join(path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file())
    assert ours
    assert SECRET not in written


@pytest.mark.parametrize("method", METHODS)
async def test_type_and_place_are_logged(method: str, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the type of the exception, the line of the user's code, and the line that raised it."""
    await crawl_with(method, shop)
    assert f"ValueError at {__file__}:" in caplog.text
    assert f", from {__file__}:" in caplog.text


@pytest.mark.parametrize("method", METHODS)
async def test_all_frames_are_logged_at_debug(method: str, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG every frame is there."""
    caplog.set_level(logging.DEBUG)
    await crawl_with(method, shop)
    (line,) = {each.getMessage() for each in caplog.records if "by way of" in each.getMessage()}
    assert line.count(__file__) == 2


@pytest.mark.parametrize("method", BEFORE_THE_REQUEST)
async def test_a_request_that_could_not_be_prepared_is_not_sent(method: str, shop: Shop) -> None:
    """Without what the method would have set, the request isn't sent; its errback is called, and it is counted."""
    crawler = await crawl_with(method, shop)
    assert failures(crawler) == ["ConfigFailed"]
    assert stat(crawler, "config_errors") == 1
    assert shop.came("/page") == []


@pytest.mark.parametrize("method", BEFORE_THE_REQUEST)
async def test_the_log_has_no_values_of_the_url(method: str, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The line about a request that isn't sent has the names of its parameters only."""
    await crawl_with(method, shop)
    (line,) = [each.getMessage() for each in caplog.records if "was not sent" in each.getMessage()]
    assert "token=…" in line
    assert "q-secret" not in line


@pytest.mark.parametrize("method", BEFORE_THE_REQUEST)
async def test_a_request_may_be_dropped(method: str, shop: Shop) -> None:
    """IgnoreRequest keeps its meaning, with its message."""

    def drop() -> None:
        raise IgnoreRequest("not today")

    crawler = await crawl_with(method, shop, drop)
    assert failures(crawler) == ["IgnoreRequest"]
    assert str(spider_of(crawler).failures[0].value) == "not today"
    assert stat(crawler, "config_errors") is None


@pytest.mark.parametrize("method", METHODS)
async def test_the_spider_may_be_closed(method: str, shop: Shop) -> None:
    """CloseSpider of any method closes the spider with its reason."""

    def close() -> None:
        raise CloseSpider("seen_enough")

    crawler = await crawl_with(method, shop, close)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "seen_enough"
    assert (stat(crawler, "config_errors"), stat(crawler, "check_errors")) == (None, None)


async def test_a_failed_request_leaves_its_session_usable(shop: Shop) -> None:
    """After a process_request() that failed for one URL, the session sends the others."""

    class Picky(SessionConfig):
        def process_request(self, request: Request, session: object) -> None:
            if "bad" in request.url:
                faulty()

    requests = [{"path": f"/page?{word}", "meta": {"session_id": "alice"}} for word in ("bad", "good")]
    crawler = await buy(shop, {"SESSIONS_POOL_SIZE": 1}, requests, Picky)
    assert failures(crawler) == ["ConfigFailed"]
    assert [status for status, _ in pages(crawler)] == [200]
