"""What a cookie is survives the store: its host, its moment of expiry, and that it has none."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scrapy_sessions import BrowserSession, Cookie, SessionManager
from scrapy_sessions.sessions.browser_session import runtime_of
from tests.support.crawl import Job, crawl_jobs
from tests.support.site import Arrival, Site


class Two(NamedTuple):
    """Two runs: the cookies that each left in the store, what the second one sent, and when the first one was."""

    first: dict[str, Cookie]
    second: dict[str, Cookie]
    seen: dict[str, Arrival]
    began: float
    ended: float


@pytest.fixture(scope="module")
def runs(site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Two:
    """A first run that is given cookies, and a second one that comes back with them."""
    site, folder = site_process, tmp_path_factory.mktemp("lasting")
    site.reset()
    named = {"session_id": "alice"}
    cookies = [
        "host=1; Path=/; Max-Age=3600",
        "domain=1; Path=/; Domain=shop.test; Max-Age=3600",
        "session=1; Path=/",
        "past=1; Path=/; Max-Age=0",
    ]
    store: dict[str, Any] = {"SESSIONS_STORE": f"sqlite:///{folder}/s.db"}
    began = time.time()
    first = [{"url": site.url("/set", "shop.test", set=cookies), "meta": named}]
    crawl_jobs(folder, Job("tests.support.spiders.base.Listed", {"requests": first}), **store)
    ended = time.time()
    stored = asyncio.run(_cookies(folder))
    second = [{"url": site.url(f"/{host}", host), "meta": named} for host in ("shop.test", "www.shop.test")]
    crawl_jobs(folder, Job("tests.support.spiders.base.Listed", {"requests": second}), **store)
    return Two(
        stored,
        asyncio.run(_cookies(folder)),
        {arrival.path: arrival for arrival in site.journal()},
        began,
        ended,
    )


async def _cookies(folder: Path) -> dict[str, Cookie]:
    async with SessionManager(folder / "s.db") as manager:
        record = await manager.load_session("alice")
    assert record is not None
    return {cookie.name: cookie for cookie in record.cookies}


def test_a_host_only_cookie_stays_host_only(runs: Two) -> None:
    """After the store, a cookie without a Domain goes to its host and to no subdomain."""
    assert "host" in runs.seen["/shop.test"].cookies
    assert "host" not in runs.seen["/www.shop.test"].cookies


def test_a_domain_cookie_stays_shared(runs: Two) -> None:
    """After the store, a cookie with a Domain still goes to its subdomains."""
    assert runs.seen["/www.shop.test"].cookies == {"domain": "1"}


def test_an_expiry_is_a_moment(runs: Two) -> None:
    """Max-Age is kept as the moment of expiry, counted from the answer, and a second run doesn't move it."""
    expires = runs.first["host"].expires
    assert expires is not None
    assert runs.began + 3600 <= expires <= runs.ended + 3600
    assert runs.second["host"].expires == expires


def test_a_session_cookie_is_not_dated(runs: Two) -> None:
    """A cookie that came without an expiry has none after the store, and is still sent."""
    assert runs.second["session"].expires is None
    assert runs.seen["/shop.test"].cookies["session"] == "1"


def test_a_cookie_that_is_over_is_not_stored(runs: Two) -> None:
    """A cookie that expires with its own answer is in no record."""
    assert "past" not in runs.first


def test_a_restored_cookie_expires_by_the_clock() -> None:
    """A cookie restored before its moment of expiry is gone once the clock has passed it."""
    now = [1000.0]
    session = BrowserSession("alice", clock=lambda: now[0])
    session.cookies.set("sid", "1", domain="shop.test", expires=1100.0)
    restored = BrowserSession("alice", clock=lambda: now[0])
    runtime_of(restored).restore(session.snapshot())
    assert "sid" in restored.cookies
    now[0] = 1100.5
    assert "sid" not in restored.cookies
