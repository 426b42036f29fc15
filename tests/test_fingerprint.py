"""The fingerprint tells requests of named sessions apart, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.request import RequestFingerprinter
from scrapy.utils.test import get_crawler

from scrapy_sessions.fingerprint import SessionFingerprinter
from scrapy_sessions.pools.claim import PICKED
from tests.support.crawl import ADDON, MODES, Crawl, Job, crawl_jobs
from tests.support.site import Site

URL = "http://shop.test/page"
NAMED = {"session_id": "alice"}


class OwnFingerprinter:
    """A project's own: every request is the same."""

    def fingerprint(self, request: Request) -> bytes:
        return b"the same"


@pytest.fixture
def fingerprinter() -> SessionFingerprinter:
    """As the add-on sets it up, around Scrapy's own."""
    return SessionFingerprinter(RequestFingerprinter())


def wrapped(meta: dict[Any, Any] | None = None) -> bytes:
    return RequestFingerprinter().fingerprint(Request(URL, meta=meta))


def test_named_sessions_differ(fingerprinter: SessionFingerprinter) -> None:
    """One URL has one fingerprint per named session, other than that without one, and always the same."""
    prints = [fingerprinter.fingerprint(Request(URL, meta={"session_id": who})) for who in ("alice", "bob", "alice")]
    assert prints[0] == prints[2]
    assert len({*prints, wrapped()}) == 3


def test_urls_of_one_session_differ(fingerprinter: SessionFingerprinter) -> None:
    """Within a session the wrapped fingerprinter still tells requests apart."""
    other = Request(URL + "/2", meta=NAMED)
    assert fingerprinter.fingerprint(Request(URL, meta=NAMED)) != fingerprinter.fingerprint(other)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"session_pool": "shop"},
        {"session_pool": "shop", "session_id": "shop#1"},
        {"cookiejar": 1},
        {"cookiejar": "alice"},
        {"session_id": None},
        {"session_profile": "de"},
        {"session_id": "default#1", PICKED: "default#1"},
        {"cookiejar": "alice", "session_id": "alice", PICKED: "alice"},
    ],
    ids=repr,
)
def test_others_keep_the_wrapped_one(fingerprinter: SessionFingerprinter, meta: dict[str, Any]) -> None:
    """A request that doesn't name its session itself keeps its fingerprint, before and after one is picked."""
    assert fingerprinter.fingerprint(Request(URL, meta=meta)) == wrapped()


@pytest.mark.parametrize(
    "meta",
    [
        {"session_id": ""},
        {"session_id": 5},
        {"session_id": ["alice"]},
        {"session_id": object()},
        {"session_id": "\ud800"},
        {"session_id": "x" * 10_000},
        {"session_id": "alice", "session_pool": 5},
        {"session_id": "alice", PICKED: []},
        {"session_pool": object()},
        {"cookiejar": []},
        {"cookiejar": object()},
    ],
    ids=lambda meta: repr(meta).partition(" object at")[0][:40],
)
def test_weird_meta_never_raises(fingerprinter: SessionFingerprinter, meta: dict[str, Any]) -> None:
    """Whatever stands in the meta, there is a fingerprint: the request's errback is told of a bad key later."""
    assert isinstance(fingerprinter.fingerprint(Request(URL, meta=meta)), bytes)


def test_a_projects_own_stays_inside() -> None:
    """The add-on puts the project's REQUEST_FINGERPRINTER_CLASS inside, at the priority it had."""
    own = f"{__name__}.OwnFingerprinter"
    settings = {"ADDONS": ADDON, "REQUEST_FINGERPRINTER_CLASS": own, "SESSIONS_STORE": "memory://"}
    crawler = get_crawler(settings_dict=settings)
    fingerprinter = crawler.request_fingerprinter
    assert isinstance(fingerprinter, SessionFingerprinter)
    assert fingerprinter.fingerprint(Request(URL)) == b"the same"
    assert fingerprinter.fingerprint(Request(URL, meta=NAMED)) != b"the same"
    assert crawler.settings.getpriority("SESSIONS_FALLBACK_FINGERPRINTER") == 20


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Crawl:
    """A crawl that asks for one URL in several sessions, twice in each, with the dupefilter on; retried once."""
    site = site_process
    site.reset()
    metas: list[dict[str, Any]] = [NAMED, {"session_id": "bob"}, {"session_pool": "shop"}, {}]
    first = [{"url": site.url(f"/{n}", times=1), "meta": meta, "dont_filter": False} for n, meta in enumerate(metas)]
    shared = [{"url": site.url("/shared"), "meta": meta, "dont_filter": False} for meta in (*metas, {"cookiejar": 1})]
    (done,) = crawl_jobs(
        tmp_path_factory.mktemp("fingerprint"),
        Job("tests.support.spiders.fingerprint.Twice", {"requests": [*first, *shared]}),
        mode=request.param,
        SESSIONS_POOLS={"shop": {"size": 2}},
    )
    return done


def test_the_dupefilter_tells_named_sessions_apart(run: Crawl) -> None:
    """One URL is fetched once for alice, once for bob, and once for all that name no session."""
    sessions = [item["session"] for item in run.items if item["path"] == "shared"]
    assert len(sessions) == 3
    assert {"alice", "bob"} < set(sessions)


def test_the_dupefilter_drops_repetitions(run: Crawl) -> None:
    """Nothing that was asked for twice, of one session or of none, is fetched twice."""
    paths = [item["path"] for item in run.items if item["path"] != "shared"]
    assert sorted(paths) == ["0", "1", "2", "3"]


def test_a_retry_keeps_its_fingerprint(run: Crawl) -> None:
    """The fingerprint of a request is the same before a session was picked, after, and on its retry."""
    for item in run.items:
        assert item["before"] == item["after"]
    assert run.stats["retry/count"] == 4
