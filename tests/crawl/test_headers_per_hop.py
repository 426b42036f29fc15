"""The ``Cookie`` header is made anew at every hop, and a secret header goes to its origin only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.crawl import MODES, Job, crawl_jobs
from tests.support.site import Arrival, Site

HERE, THERE = "127.0.0.1", "127.0.0.2"
DETOUR = {"DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.hops.Detour": 300}}

Seen = Mapping[str, Arrival]


@pytest.fixture(scope="module", params=MODES)
def seen(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What arrived, by path."""
    site = site_process
    site.reset()
    across = site.url("/a3", HERE)
    across = site.url("/a2", THERE, set="there=2; Path=/", to=across)
    across = site.url("/a1", HERE, set="here=1; Path=/", to=across)
    same = site.url("/b2", HERE, set=["step=2; Path=/", "gone=; Max-Age=0; Path=/"], to=site.url("/b3", HERE))
    same = site.url("/b1", HERE, set=["step=1; Path=/", "gone=1; Path=/"], to=same)
    failed = site.url("/c", HERE, times=1, set="try=failed; Path=/")
    origin = site.url("/", HERE)
    token = site.url("/t4", HERE)
    token = site.url("/t3", HERE, second=True, to=token)
    token = site.url("/t2", THERE, to=token)
    token = site.url("/t1", HERE, to=token)
    detour = {"session_id": "alice", "detour": site.url("/d1", THERE)}
    steps: list[list[dict[str, Any]]] = [
        [{"url": across, "meta": {"session_id": "a"}}, {"url": same, "meta": {"session_id": "b"}}],
        [{"url": failed, "meta": {"session_id": "c"}}, {"url": token, "meta": {"session_id": "alice"}}],
        [{"url": site.url("/d0", HERE), "meta": detour}],
        [{"url": site.url("/e1", HERE), "meta": {"session_id": "bob"}}],
    ]
    spider = Job("tests.support.spiders.hops.Secretive", {"steps": steps, "origin": origin}, DETOUR)
    crawl_jobs(tmp_path_factory.mktemp("cookies"), spider, mode=request.param)
    seen: dict[str, Arrival] = {}
    for arrival in site.journal():
        assert arrival.path not in seen or arrival.path == "/c"
        seen[arrival.path] = arrival  # of /c the retry
    return seen


def test_another_host_gets_no_cookie_of_the_first(seen: Seen) -> None:
    """A redirect to another host takes no cookie of the first along."""
    assert seen["/a2"].cookies == {}


def test_a_redirect_back_sends_the_first_hosts_cookie_only(seen: Seen) -> None:
    """A redirect back to the first host sends what that host set, and nothing of the other's."""
    assert seen["/a3"].cookies == {"here": "1"}


def test_a_redirect_on_one_host_sends_what_it_has_just_set(seen: Seen) -> None:
    """A cookie that every hop changes is sent as the hop before left it, in one single header."""
    assert seen["/b2"].cookies == {"step": "1", "gone": "1"}
    assert seen["/b3"].cookie_pairs == [("step", "2")]
    assert len(seen["/b3"].headers["cookie"]) == 1


def test_a_retry_sends_what_the_failed_try_set(seen: Seen) -> None:
    """The cookie of a response that is then retried is sent by the retry."""
    assert seen["/c"].cookies == {"try": "failed"}


def test_a_secret_header_goes_to_its_origin(seen: Seen) -> None:
    """The header goes to the scheme, host and port that it was bound to."""
    assert seen["/t1"].header("Authorization") == "Bearer alices-token"
    assert seen["/t1"].header("X-Token") == "alices-token"


def test_a_secret_header_goes_to_no_other_host(seen: Seen) -> None:
    """After a redirect to another host the header is gone, whatever its name."""
    assert seen["/t2"].header("Authorization") is None
    assert seen["/t2"].header("X-Token") is None


def test_a_secret_header_goes_to_no_other_port(seen: Seen) -> None:
    """After a redirect to another port of its own host the header is gone."""
    assert seen["/t3"].header("Authorization") is None
    assert seen["/t3"].header("X-Token") is None


def test_a_secret_header_comes_back_with_its_origin(seen: Seen) -> None:
    """A chain of redirects that ends at the origin sends the header there again."""
    assert seen["/t4"].header("X-Token") == "alices-token"


def test_a_secret_header_does_not_follow_a_middlewares_copy(seen: Seen) -> None:
    """A middleware in between that sends a copy elsewhere doesn't send the header along."""
    assert seen["/d1"].header("Authorization") is None
    assert seen["/d1"].header("X-Token") is None


def test_a_secret_header_is_its_sessions_own(seen: Seen) -> None:
    """Another session sends no such header to the same origin."""
    assert seen["/e1"].header("X-Token") is None
