"""429, and 503 with Retry-After, pause the session for as long as the site asks. No other one is taken."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions.crawl.verdicts import pause_of
from tests.support.shop import Shop, buy, pages, spider_of, stat
from tests.support.waiting import slowness

pytestmark = pytest.mark.alone  # it measures time

HOUR = 3600.0
URL = "http://shop.example/"


def pause(status: int, after: str | None, **meta: Any) -> float | None:
    """The pause that such a response asks for."""
    headers = {} if after is None else {"Retry-After": after}
    return pause_of(Response(URL, status, headers), Request(URL, meta=meta))


def date_in(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
async def test_the_session_waits_as_long_as_it_is_asked_to(shop: Shop, status: int) -> None:
    """The request that was turned away is sent again in its session once the time is over, and gets the page."""
    crawler = await buy(shop, {}, [{"path": f"/page?status={status}&times=1&after=1"}], None)
    first, second = (arrival.time for arrival in shop.came("/page"))
    assert 1 <= second - first < 20 * slowness()
    assert pages(crawler) == [(200, "A page")]
    assert spider_of(crawler).responses[0].meta["session_id"] == "alice"
    assert (stat(crawler, "paused"), stat(crawler, "replays")) == (1, 1)


async def test_a_pause_holds_for_the_whole_session(shop: Shop) -> None:
    """A request of the session that comes during the pause waits for its end, too."""
    requests = [{"path": "/busy?status=429&times=1&after=1"}, {"path": "/start?ms=300"}]
    await buy(shop, {}, requests, None, then=[{"path": "/next"}])
    (asked, _), (following,) = shop.came("/busy"), shop.came("/next")
    assert following.time - asked.time >= 1


async def test_others_go_on_meanwhile(shop: Shop) -> None:
    """While one session of a pool pauses, the others are used, and the request stays with its own."""
    pooled = {"session_pool": "p"}
    requests = [{"path": "/busy?status=429&times=1&after=3", "meta": pooled}]
    requests += [{"path": f"/page/{number}?ms=20", "meta": pooled} for number in range(20)]
    settings = {"SESSIONS_POOLS": {"p": {"size": 2}}, "CONCURRENT_REQUESTS": 4}
    crawler = await buy(shop, settings, requests, None)
    first, second = (arrival.time for arrival in shop.came("/busy"))
    meanwhile = [arrival for arrival in shop.came("/page") if first < arrival.time < second]
    assert len(meanwhile) >= 5
    by_path = {response.url.split("?")[0]: response.meta["session_id"] for response in spider_of(crawler).responses}
    assert by_path[shop.url("/busy")] == "p#1"
    assert stat(crawler, "retired") is None


async def test_a_pause_longer_than_the_idle_timeout(shop: Shop) -> None:
    """The session outlives a pause for longer than it may be idle, with its cookies."""
    settings = {"SESSIONS_IDLE_TIMEOUT": 1, "SESSIONS_CLEANUP_INTERVAL": 1}
    crawler = await buy(shop, settings, [{"path": "/busy?status=429&times=1&after=3"}], None, then=[{"path": "/next"}])
    assert (stat(crawler, "created"), stat(crawler, "expired")) == (1, None)
    assert pages(crawler) == [(200, "A page")] * 2


async def test_a_pause_is_no_failure(shop: Shop) -> None:
    """However often it is asked to wait, an anonymous session is not retired, and a named one doesn't log in again."""
    requests = [{"path": f"/{number}?status=429&times=1&after=0", "meta": {"session_pool": "p"}} for number in range(9)]
    settings = {"SESSIONS_POOLS": {"p": {"size": 1}}, "SESSIONS_MAX_ERRORS": 1}
    crawler = await buy(shop, settings, requests, None)
    assert len(pages(crawler)) == 9
    assert stat(crawler, "paused") == 9
    assert stat(crawler, "retired") is None


async def test_when_the_tries_are_used_up_the_response_goes_on(shop: Shop) -> None:
    """A site that always says 429 is asked RETRY_TIMES times more, then the spider gets the 429."""
    crawler = await buy(shop, {"SESSIONS_RETRY_TIMES": 2}, [{"path": "/page?status=429&after=0"}], None)
    assert pages(crawler) == [(429, "Not today")]
    assert len(shop.arrivals) == 3


async def test_a_503_without_retry_after_is_none_of_ours(shop: Shop) -> None:
    """A 503 that says nothing of when to come back reaches the spider, or Scrapy's own retries."""
    crawler = await buy(shop, {}, [{"path": "/page?status=503&times=1"}], None)
    assert pages(crawler) == [(503, "Not today")]
    assert stat(crawler, "paused") is None


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("0", 0.0), ("7", 7.0), (" 7 ", 7.0), ("3600", HOUR), ("3601", HOUR), ("9" * 400, HOUR)],
)
def test_seconds_are_bounded(after: str, seconds: float) -> None:
    """Retry-After in seconds counts as it stands, up to an hour."""
    assert pause(429, after) == pause(503, after) == seconds


@pytest.mark.parametrize(("there", "seconds"), [(60, 60.0), (-60, 0.0), (86_400, HOUR)])
def test_a_date_is_bounded(there: float, seconds: float) -> None:
    """Retry-After as an HTTP date is the time until then: none for one that is over, an hour for a distant one."""
    began = time.time()
    waits = pause(503, date_in(there))
    assert waits is not None
    assert seconds - 1 - (time.time() - began) <= waits <= seconds  # a date has whole seconds


def test_a_date_without_a_zone_is_utc() -> None:
    """A date that names no zone, or minus zero, is taken for UTC, wherever this machine stands."""
    began = time.time()
    waits = pause(503, date_in(60).replace("GMT", "-0000"))
    assert waits is not None
    assert 59 - (time.time() - began) <= waits <= 60


@pytest.mark.parametrize(
    "after", ["", "soon", "-5", "1.5", "²", "Mon, 99 Foo 2026 99:99:99 GMT", "1 Jan 99999999999999999999 1:00"]
)
def test_garbage_is_a_second(after: str) -> None:
    """A Retry-After that nobody can read still asks to wait: a second."""
    assert pause(429, after) == pause(503, after) == 1.0


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_no_text_breaks_it(after: str) -> None:
    """Whatever stands there, the pause is between nothing and an hour."""
    waits = pause(429, after.replace("\r", "").replace("\n", ""))
    assert waits is not None
    assert 0 <= waits <= HOUR


@given(st.from_regex(r"\A(Mon, )?\d{1,12} (Jan|Dec) \d{1,24} \d{1,9}:\d{1,9}(:\d{1,9})? ([+-]\d{1,12}|GMT|XYZ)\Z"))
def test_no_date_breaks_it(after: str) -> None:
    """Nor does a date with numbers out of all bounds."""
    waits = pause(429, after)
    assert waits is not None
    assert 0 <= waits <= HOUR


def test_a_429_without_a_word_doubles() -> None:
    """A 429 without Retry-After asks for a second, then two, then four."""
    assert [pause(429, None, _session_tries=tries) for tries in range(3)] == [1.0, 2.0, 4.0]


async def test_a_pause_that_grows_is_kept(shop: Shop) -> None:
    """Of two pauses asked for side by side the longer one holds."""
    requests = [{"path": "/long?status=429&times=1&after=2"}, {"path": "/short?status=429&times=1&after=0&ms=100"}]
    begun = time.time()
    await buy(shop, {}, requests, None)
    assert shop.came("/short")[1].time - begun >= 1.9
