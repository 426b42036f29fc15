"""A cached response changes no session, and Scrapy's own fetch of robots.txt uses none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.models import PersistentSession
from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

SETTINGS: dict[str, Any] = {
    "HTTPCACHE_ENABLED": True,
    "HTTPCACHE_IGNORE_HTTP_CODES": [500],
    "ROBOTSTXT_OBEY": True,
    "CONCURRENT_REQUESTS": 1,
    "DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.hops.CookieOnRobots": 970},
}


class Run(NamedTuple):
    """What arrived, the crawl, and alice's record before and after the cached answers."""

    journal: list[Arrival]
    crawled: Crawl
    before: PersistentSession
    after: PersistentSession


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Alice gets a page that sets a cookie, then one that changes it; a second run gets the first from the cache."""
    site, folder = site_process, tmp_path_factory.mktemp("cache")
    site.reset()
    alice, bob, pooled = {"session_id": "alice"}, {"session_id": "bob"}, {"session_pool": "p"}
    page = site.url("/page", set=["token=old; Path=/", "other=old; Path=/"])
    fresh = {**alice, "dont_cache": True}
    change = site.url("/change", set=["token=new; Path=/", "other=; Max-Age=0; Path=/"])
    first = [[{"url": page, "meta": alice}], [{"url": change, "meta": fresh}]]
    first += [[{"url": site.url("/pooled"), "meta": pooled}]]
    settings: dict[str, Any] = {
        **SETTINGS,
        "SESSIONS_STORE": f"sqlite:///{folder}/s.db",
        "SESSIONS_POOLS": {"p": {"size": 2}},
    }
    settings["HTTPCACHE_DIR"] = f"{folder}/httpcache"
    crawl_jobs(folder, Job("tests.support.spiders.base.Listed", {"steps": first}), mode=request.param, **settings)
    before = asyncio.run(_alice(folder))
    again = [[{"url": page, "meta": alice}], [{"url": page, "meta": alice}]]
    again += [[{"url": site.url("/pooled"), "meta": pooled}]]
    (cached,) = crawl_jobs(
        folder, Job("tests.support.spiders.base.Listed", {"steps": again}), mode=request.param, **settings
    )
    after = asyncio.run(_alice(folder))
    last = [[{"url": site.url("/last"), "meta": fresh}], [{"url": page, "meta": bob}]]
    crawl_jobs(folder, Job("tests.support.spiders.base.Listed", {"steps": last}), mode=request.param, **settings)
    return Run(site.journal(), cached, before, after)


async def _alice(folder: Path) -> PersistentSession:
    async with SessionManager(folder / "s.db") as manager:
        record = await manager.load_session("alice")
    assert record is not None
    return record


def test_the_page_came_from_the_cache(run: Run) -> None:
    """Alice's page was served from the cache, each time of the second run: the other tests rest on it."""
    assert [item["cached"] for item in run.crawled.items] == [True, True, True]


def test_a_cached_response_sets_no_cookie(run: Run) -> None:
    """A cookie that a cached response brings along neither replaces a newer one nor comes back."""
    (last,) = (arrival for arrival in run.journal if arrival.path == "/last")
    assert last.cookies == {"token": "new"}


def test_a_cached_response_is_not_recorded(run: Run) -> None:
    """No counter, no history and no time of the record moves."""
    assert run.after == run.before


def test_a_cached_page_is_its_sessions_own(run: Run) -> None:
    """Bob isn't served the page that was cached for alice."""
    pages = [arrival for arrival in run.journal if arrival.path == "/page"]
    assert len(pages) == 2
    assert pages[1].cookies == {}


def test_a_pools_page_is_cached_for_all_of_it(run: Run) -> None:
    """A page that any session of a pool fetched is served from the cache to all of them."""
    assert len([arrival for arrival in run.journal if arrival.path == "/pooled"]) == 1


def test_robots_txt_is_sent_no_cookie(run: Run) -> None:
    """Scrapy's fetch of robots.txt brings no cookie, also when the session that asks has some for that host."""
    robots = [arrival for arrival in run.journal if arrival.path == "/robots.txt"]
    assert robots
    assert [arrival.cookies for arrival in robots] == [{}] * len(robots)


def test_robots_txt_sets_no_cookie(run: Run) -> None:
    """A cookie that comes with robots.txt is nobody's."""
    assert "robots" not in {name for arrival in run.journal for name in arrival.cookies}
    assert "robots" not in {cookie.name for cookie in run.before.cookies}


def test_robots_txt_makes_no_session(run: Run) -> None:
    """No session is made for robots.txt: only alice's was restored, and a pool's."""
    assert run.crawled.stats.get("sessions/created", 0) + run.crawled.stats["sessions/restored"] == 2
