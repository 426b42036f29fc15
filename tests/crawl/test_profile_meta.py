"""``Profile.meta``: every request of a session carries its keys, and no request keeps them for another session."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, IgnoreRequest
from scrapy.http import Response

from scrapy_sessions import Profile, SessionConfig, SessionManager
from scrapy_sessions.crawl.identity import APPLIED, remove_leftovers
from scrapy_sessions.crawl.in_flight import InFlightRequests
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import MemoryStore
from tests.support.configs import CONFIG
from tests.support.crawl import crawl, sqlite_url
from tests.support.site import Site
from tests.support.spiders.hops import Detour
from tests.support.spiders.pages import Pages

URL = "https://shop.example/p"
ALICE: dict[str, Any] = {"fingerprint": "chrome", "options": {"country": "DE", "tags": ["a"]}, "download_timeout": 25.0}
BOB: dict[str, Any] = {"fingerprint": "safari", "extra": True}
PROFILES = {"alice": {"meta": ALICE}, "bob": {"meta": BOB}, "carol": {"user_agent": "Carol/1"}}
KEYS = ("fingerprint", "options", "extra")


def runtime(name: str, meta: dict[str, Any]) -> SessionRuntime:
    return SessionRuntime(name, profile=Profile(meta=meta))


def sent(session: SessionRuntime, request: Request, in_flight: InFlightRequests) -> dict[str, Any]:
    """The meta of *request* as it is sent in *session*, without our own key."""
    remove_leftovers(request)
    in_flight.begin(request, session, CONFIG).apply_identity(request)
    return {key: value for key, value in request.meta.items() if key != APPLIED}


class Wire:
    """A middleware that notes the meta of each request that is sent, and changes the dicts of the session in it."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Wire:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        assert self.crawler.spider is not None
        meta = {key: copy.deepcopy(request.meta[key]) for key in KEYS if key in request.meta}
        self.crawler.spider.seen.append((urlsplit(request.url).path, request.meta["session_id"], meta))  # type: ignore[attr-defined]
        options = request.meta.get("options")
        if options is not None:
            options["country"] = "changed"
            options["tags"].append("changed")


class Refuses:
    """A middleware that drops what goes to ``/dropped``, between ours and the wire."""

    def process_request(self, request: Request) -> None:
        if "/dropped" in request.url:
            raise IgnoreRequest("dropped by the test")


class Seeing(Pages):
    """Notes what is sent, and the meta of what it gets back."""

    name = "seeing"

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.seen: list[tuple[str, Any, dict[str, Any]]] = []
        self.left: list[dict[str, Any]] = []

    def parse(self, response: Response, **kwargs: Any) -> Any:
        super().parse(response)
        self.left.append({key: response.meta[key] for key in (*KEYS, APPLIED) if key in response.meta})

    def failed(self, failure: Any) -> None:
        self.failures.append(failure.value)
        request = failure.request
        self.left.append({key: request.meta[key] for key in (*KEYS, APPLIED) if key in request.meta})


SETTINGS: dict[str, Any] = {
    "SESSIONS_STORE": "memory://",
    "SESSIONS_PROFILES": PROFILES,
    "DOWNLOADER_MIDDLEWARES": {Detour: 300, Refuses: 810, Wire: 990},
}
WITHOUT_OURS = {key: value for key, value in ALICE.items() if key in KEYS}


def of(name: str, **meta: Any) -> dict[str, Any]:
    return {"session_id": name, "session_profile": name, **meta}


async def seeing(spider: type[Seeing] = Seeing, **arguments: Any) -> Seeing:
    settings = {**SETTINGS, **arguments.pop("settings", {})}
    crawler = await crawl(spider, settings, **arguments)
    assert isinstance(crawler.spider, Seeing)
    return crawler.spider


async def test_every_hop_and_every_try_carries_it(site: Site) -> None:
    """Redirects to another host and retries carry the same keys; the callback finds none of them."""
    urls = [
        (site.url("/hop", to=site.url("/there", "127.0.0.2")), of("alice")),
        (site.url("/fail", times=1), of("alice")),
    ]
    spider = await seeing(urls=urls, settings={"RETRY_ENABLED": True})
    assert [path for path, _, _ in spider.seen].count("/fail") == 2
    assert {path for path, _, _ in spider.seen} == {"/hop", "/there", "/fail"}
    assert all(meta == WITHOUT_OURS for _, _, meta in spider.seen)
    assert spider.left == [{}, {}]
    assert len(spider.responses) == 2


async def test_the_requests_own_value_wins(site: Site) -> None:
    """A key that the request sets itself, also to None, is sent as it is, and stays."""
    own = {"fingerprint": None, "options": {"country": "FR", "tags": []}}
    spider = await seeing(urls=[(site.url("/own"), of("alice", **copy.deepcopy(own)))])
    assert spider.seen == [("/own", "alice", own)]
    (left,) = spider.left
    assert left["fingerprint"] is None
    assert "extra" not in left


@pytest.mark.parametrize("to", ["bob", "carol", None])
async def test_a_middlewares_copy_in_another_session(site: Site, to: str | None) -> None:
    """A copy that a middleware makes on the way has the keys of its own session alone."""
    changes = {"session_id": to, "session_profile": to}
    meta = of("alice", detour=site.url("/other"), detour_meta=changes)
    spider = await seeing(urls=[(site.url("/never"), meta)])
    expected = BOB if to == "bob" else {}
    assert spider.seen == [("/other", to, expected)]


async def test_an_exception_leaves_nothing(site: Site) -> None:
    """A request that failed on its way reaches the errback without the keys."""
    spider = await seeing(urls=[(site.url("/dropped"), of("alice")), (site.url("/drop"), of("alice"))])
    assert spider.left == [{}, {}]
    assert [path for path, _, _ in spider.seen] == ["/drop"]


class Passing(Seeing):
    """Sends on all meta of a response, in another session; and fetches in the session."""

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        super().parse(response)
        if response.url.endswith("/first"):
            session = self.sessions.of(response)
            await session.fetch(Request(response.urljoin("/fetched")))
            meta = {**response.meta, **of("bob")}
            yield Request(response.urljoin("/passed"), meta=meta, errback=self.failed)


async def test_a_callback_passes_nothing_on(site: Site) -> None:
    """``meta=response.meta`` brings no key into another session; ``session.fetch()`` carries them."""
    spider = await seeing(Passing, urls=[(site.url("/first"), of("alice"))])
    assert {path: meta for path, _, meta in spider.seen} == {
        "/first": WITHOUT_OURS,
        "/fetched": WITHOUT_OURS,
        "/passed": BOB,
    }


class LogsIn(SessionConfig):
    probe_url = "/probe"

    async def login(self, session: Any, fetch: Any) -> None:
        await fetch(Request(self.crawler.settings["SITE"] + "/login"))


class LoggedIn(Seeing):
    session_config = LogsIn


async def test_login_requests_carry_it(site: Site) -> None:
    """So the site sees one client from the login on."""
    spider = await seeing(
        LoggedIn, urls=[(site.url("/page"), of("alice"))], settings={"SITE": site.url("").rstrip("/")}
    )
    assert [(path, meta) for path, _, meta in spider.seen] == [("/login", WITHOUT_OURS), ("/page", WITHOUT_OURS)]


async def test_it_is_kept_over_runs(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A later change of the profile changes new sessions only, which one warning says; no value is in the log."""
    settings: dict[str, Any] = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "LOG_LEVEL": "DEBUG"}
    caplog.set_level("DEBUG")
    await seeing(urls=[(site.url("/1"), of("alice"))], settings=settings)
    assert "keeps the identity" not in caplog.text
    await seeing(urls=[(site.url("/1"), of("alice"))], settings=settings)
    assert "keeps the identity" not in caplog.text
    changed = {**PROFILES, "alice": {"meta": {"fingerprint": "firefox"}}}
    settings["SESSIONS_PROFILES"] = changed
    urls = [(site.url("/2"), of("alice")), (site.url("/3"), {"session_id": "new", "session_profile": "alice"})]
    spider = await seeing(urls=urls, settings=settings)
    assert {path: meta for path, _, meta in spider.seen} == {"/2": WITHOUT_OURS, "/3": {"fingerprint": "firefox"}}
    assert caplog.text.count("keeps the identity that it was created with") == 1
    assert "chrome" not in caplog.text


async def test_a_job_goes_on(site: Site, tmp_path: Path) -> None:
    """Requests that wait in the disk queue of a job, also copies with applied keys, carry their session's."""

    class Stops(Seeing):
        def parse(self, response: Response, **kwargs: Any) -> Any:
            super().parse(response)
            raise CloseSpider("enough")

    settings = {
        "JOBDIR": str(tmp_path / "job"),
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "CONCURRENT_REQUESTS": 1,
    }
    detours = [{"detour": site.url(f"/other/{number}"), "detour_meta": of("bob")} for number in range(20)]
    urls = [(site.url(f"/never/{number}"), of("alice", **detour)) for number, detour in enumerate(detours)]
    # Scrapy 2.14 waits 0.1 s before it calls a callback: time for all pages, but for a delay.
    first = await seeing(Stops, urls=urls, settings={**settings, "DOWNLOAD_DELAY": 0.3})
    second = await seeing(urls=[], settings=settings)
    assert first.seen
    assert second.seen
    expected = [(f"/other/{number}", "bob", BOB) for number in range(20)]
    assert sorted(first.seen + second.seen, key=lambda each: int(each[0].rpartition("/")[2])) == expected


def test_a_request_from_a_disk_queue() -> None:
    """A copy with the applied keys that was pickled loses them, changed dicts too; a value of its own stays."""
    in_flight, alice, bob = InFlightRequests(), runtime("alice", ALICE), runtime("bob", BOB)
    request = Request(URL, meta={"own": 1})
    assert sent(alice, request, in_flight) == {"own": 1, **ALICE}
    request.meta["options"]["country"] = "changed"
    back = pickle.loads(pickle.dumps(request))
    assert json.loads(json.dumps(back.meta)) == back.meta
    assert sent(bob, back, in_flight) == {"own": 1, **BOB}
    again = request.copy()
    again.meta["fingerprint"] = "its own"
    assert sent(bob, again, in_flight) == {"own": 1, **BOB, "fingerprint": "its own"}


def test_no_two_requests_share_a_dict() -> None:
    """A dict that a middleware changes in place is the same for no other request, nor for the session."""
    in_flight, alice = InFlightRequests(), runtime("alice", copy.deepcopy(ALICE))
    for _ in range(3):
        request = Request(URL)
        assert sent(alice, request, in_flight) == ALICE
        request.meta["options"]["tags"].append("x")
        request.meta["options"]["country"] = "y"
    assert alice.meta == ALICE
    assert alice.snapshot().meta == ALICE


def test_what_a_middleware_changed_is_removed() -> None:
    """A key that a middleware replaced on the way was made of the session's value, so it goes with it."""
    in_flight, alice = InFlightRequests(), runtime("alice", ALICE)
    request = Request(URL, meta={"own": 1})
    inflight = in_flight.begin(request, alice, CONFIG)
    inflight.apply_identity(request)
    request.meta["options"] = {**request.meta["options"], "session": "x"}
    inflight.remove_identity(request)
    assert request.meta == {"own": 1}


async def test_the_session_returns_a_copy() -> None:
    """``session.meta`` is the profile's, and not to be changed through what it returns."""
    async with SessionManager(store=MemoryStore(), default_profile=Profile(meta=copy.deepcopy(ALICE))) as manager:
        session = await manager.get("alice")
        assert session.meta == ALICE
        session.meta["options"]["tags"].append("x")
        assert session.meta == runtime_of(session).meta == ALICE
        session.record("used")
        await manager.save_session("alice", session)
        assert (await manager.fork_session("alice", "copy")).meta == ALICE
    assert "chrome" not in repr(Profile(meta=ALICE))


def refused() -> Iterator[tuple[str, str]]:
    ours = ("session_id", "session_pool", "session_profile", "session_key", "session", "cookiejar")
    yield from ((key, "which session") for key in ours)
    kept = ("depth", "download_latency", "download_slot", "redirect_times", "redirect_urls", "retry_times")
    yield from ((key, "Scrapy keeps it") for key in kept)
    yield from ((key, "after the response") for key in ("dont_retry", "handle_httpstatus_list", "dont_cache"))
    yield from ((key, "before a request gets its session") for key in ("allow_offsite", "referrer_policy"))
    yield from ((key, "a credential") for key in ("http_user", "http_pass"))
    yield from [("proxy", "the field 'proxy'"), ("dont_merge_cookies", "its cookies")]
    yield from ((key, "private to middlewares") for key in ("_session_applied", "_auth_proxy", "_x", ""))
    yield from [("playwright_context", "browser context"), ("playwright_page", "one request")]


@pytest.mark.parametrize(("key", "reason"), list(refused()))
def test_keys_that_are_refused(key: str, reason: str) -> None:
    """A key of ours, of Scrapy's bookkeeping, or without an effect is refused by its name, with the reason."""
    with pytest.raises(ValueError, match="can't be set by a profile") as caught:
        Profile(meta={key: "s3cret"})
    assert reason in str(caught.value)
    assert "s3cret" not in str(caught.value)


DEEP: Any = None
for _ in range(120):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"a": object()}, "isn't JSON (object)"),
        ({"a": float("nan")}, "infinite or NaN"),
        ({"a": {1: "b"}}, "a key that isn't a string"),
        ({"a": DEEP}, "levels deep"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({"a": "x" * (64 * 2**20)}, "more than 64 MiB"),
    ],
    ids=["object", "nan", "key", "deep", "surrogate", "large"],
)
def test_values_that_are_refused(value: dict[str, Any], fault: str) -> None:
    """A value must be one that a record can contain."""
    with pytest.raises(ValueError, match="must be JSON") as caught:
        Profile(meta=value)
    assert fault in str(caught.value)


def test_a_tuple_becomes_a_list() -> None:
    """As in a record that was saved, so that it is no change of the profile."""
    assert Profile(meta={"a": (1, (2,))}).meta == {"a": [1, [2]]}
