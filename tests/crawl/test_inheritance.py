"""What a callback yields stays in the session, or the pool, of its response."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Site

KINDS = ["generator", "follow", "coroutine", "async_generator"]
METAS: dict[str, Any] = {
    "named": {"session_id": "alice"},
    "pooled": {"session_pool": "shop"},
    "sticky": {"session_pool": "staff"},
    "cookiejar": {"cookiejar": "jar"},
    "none": {"session_id": None},
    "untagged": {},
}
# Of as many sessions as there are requests, each is the next one's whose turn it is: none has to be waited for.
ROOMY = {"SESSIONS_POOLS": {"shop": {"size": 2 * len(KINDS)}}}
POOLS = {"shop": {"size": 3}, "staff": {"size": 3, "sticky": True}}


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> list[Crawl]:
    """Families of requests of every kind, pages followed by rules, and families where SESSIONS_STICKY is on."""
    family = {"url": site_process.url("/answer"), "metas": METAS}
    sticky = {"untagged": {}, "pooled": {"session_pool": "shop"}}
    return crawl_jobs(
        tmp_path_factory.mktemp("inheritance"),
        Job("tests.support.spiders.inherit.Family", family),
        Job("tests.support.spiders.inherit.Ruled", {"url": site_process.url("/page/0", of=13)}),
        Job("tests.support.spiders.inherit.Family", {**family, "metas": sticky}, {"SESSIONS_STICKY": True}),
        Job("tests.support.spiders.inherit.Family", {**family, "metas": {"pooled": METAS["pooled"]}}, ROOMY),
        mode=request.param,
        SESSIONS_POOLS=POOLS,
        SESSIONS_POOL_SIZE=3,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_session_is_inherited(run: list[Crawl], kind: str) -> None:
    """What is yielded by any kind of callback goes out in the named session of its response, without a pool."""
    child = run[0].item(name="named", kind=kind)
    assert (child["session"], child["pool"]) == ("alice", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_is_inherited(run: list[Crawl], kind: str) -> None:
    """From a pool's session the pool is inherited."""
    child = run[0].item(name="pooled", kind=kind)
    assert child["pool"] == "shop"
    assert child["session"].startswith("shop#")


def test_a_pools_session_is_not_inherited(run: list[Crawl]) -> None:
    """Within an inherited pool the turn goes on: each child has another session than its parent."""
    children = [item for item in run[3].items if item["name"] == "pooled"]
    assert [child["session"] != child["parent"] for child in children] == [True] * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sticky_pools_session_is_inherited(run: list[Crawl], kind: str) -> None:
    """Where the pool is sticky its session is inherited, too."""
    child = run[0].item(name="sticky", kind=kind)
    assert child["pool"] == "staff"
    assert child["session"] == child["parent"]


def test_sticky_families_differ(run: list[Crawl]) -> None:
    """The sessions that families of a sticky pool stay in aren't all the same one: that would prove nothing."""
    assert len({item["session"] for item in run[0].items if item["name"] == "sticky"}) == 3


@pytest.mark.parametrize("name", ["untagged", "pooled"])
@pytest.mark.parametrize("kind", KINDS)
def test_sessions_sticky_is_the_default_of_pools(run: list[Crawl], name: str, kind: str) -> None:
    """With SESSIONS_STICKY every pool that says nothing else is sticky, that of untagged requests, too."""
    child = run[2].item(name=name, kind=kind)
    assert child["session"] == child["parent"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["cookiejar", "none", "untagged"])
def test_others_are_not_inherited(run: list[Crawl], name: str, kind: str) -> None:
    """A cookiejar, as in Scrapy, and having no session pass to nobody: the child draws from the default pool."""
    child = run[0].item(name=name, kind=kind)
    assert child["pool"] == "default"
    assert child["session"].startswith("default#")


def test_rules_follow_in_the_session(run: list[Crawl]) -> None:
    """Links that the rules of a CrawlSpider follow, generation after generation, stay in the session they began in."""
    pages: dict[str, list[str]] = {"alice": [], "bob": []}
    for item in run[1].items:
        pages[item["session"]].append(item["url"])
    assert len(pages["alice"]) == 12
    assert sorted(pages["alice"]) == sorted(pages["bob"])
