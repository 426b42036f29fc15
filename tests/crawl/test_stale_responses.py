"""A response that left under an older generation of its session changes nothing in the newer one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site


@pytest.fixture(scope="module", params=MODES)
def run(
    request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Crawl, Arrival]:
    """A crawl with a slow answer of an older generation, and the request that was sent after it."""
    site = site_process
    site.reset()
    urls = {
        "slow": site.url("/slow", ms=900, set=["token=old; Path=/", "more=old; Path=/"]),
        "quick": site.url("/quick", ms=200),
        "after": site.url("/after"),
    }
    (done,) = crawl_jobs(
        tmp_path_factory.mktemp("generation"), Job("tests.support.spiders.hops.Refreshing", urls), mode=request.param
    )
    (after,) = site.journal("/after")
    return done, after


def _late(run: tuple[Crawl, Arrival], name: str) -> tuple[Any, Any]:
    late = run[0].item(step="late")
    return late["before"][name], late["after"][name]


def test_the_response_was_under_way(run: tuple[Crawl, Arrival]) -> None:
    """The slow request had left, and wasn't answered, when the new generation began: the other tests rest on it."""
    assert run[0].item(step="refreshed")["in_flight"] >= 1
    assert run[0].item(step="refreshed")["requests"] == 2


def test_its_callback_is_reached(run: tuple[Crawl, Arrival]) -> None:
    """The response itself reaches its callback as ever."""
    assert run[0].item(step="late")["status"] == 200


def test_its_cookies_are_not_taken(run: tuple[Crawl, Arrival]) -> None:
    """Neither a cookie that the new generation has too, nor one that it hasn't, comes in."""
    before, after = _late(run, "cookies")
    assert before == after
    assert run[1].cookies == {"token": "new"}


@pytest.mark.parametrize("name", ["pages", "actions", "responses", "failures", "bytes", "last_activity"])
def test_nothing_is_recorded(run: tuple[Crawl, Arrival], name: str) -> None:
    """No counter and no history of the session moves."""
    before, after = _late(run, name)
    assert before == after
