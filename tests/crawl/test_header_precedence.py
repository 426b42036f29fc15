"""Which header wins: the request's own, then the session's, then the project's. And which agent robots.txt judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

PROJECT: dict[str, Any] = {
    "USER_AGENT": "Project/1",
    "DEFAULT_REQUEST_HEADERS": {"Accept-Language": "pl", "X-Project": "1", "X-Both": "project"},
}
PROFILES = {
    "alice": {"user_agent": "Alice/1", "language": "de", "headers": {"X-Both": "alice", "X-Alice": "1"}},
    "bare": {"timezone": "Europe/Paris"},
}
OWN = {"User-Agent": "Own/1", "Accept-Language": "fr", "X-Both": "own", "Cookie": "ignored=1"}


@pytest.fixture(scope="module", params=MODES)
def seen(
    request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Arrival]:
    """What arrived, by path."""
    site = site_process
    site.reset()
    alice = {"session_id": "alice", "session_profile": "alice"}
    bare = {"session_id": "bare", "session_profile": "bare"}
    requests = [
        {"url": site.url("/alice"), "meta": alice},
        {"url": site.url("/own"), "meta": alice, "headers": OWN},
        {"url": site.url("/own-hop", to=site.url("/own-target", "127.0.0.2")), "meta": alice, "headers": OWN},
        {"url": site.url("/bare"), "meta": bare},
    ]
    listed = {"requests": requests}
    untagged = {"requests": [{"url": site.url("/untagged")}]}
    crawl_jobs(
        tmp_path_factory.mktemp("headers"),
        Job("tests.support.spiders.base.Listed", listed, {"SESSIONS_PROFILES": PROFILES}),
        Job("tests.support.spiders.base.Listed", untagged),
        mode=request.param,
        **PROJECT,
    )
    return {arrival.path: arrival for arrival in site.journal()}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/alice", "User-Agent", "Alice/1"),
        ("/alice", "Accept-Language", "de"),
        ("/alice", "X-Both", "alice"),
        ("/own", "User-Agent", "Own/1"),
        ("/own", "Accept-Language", "fr"),
        ("/own", "X-Both", "own"),
        ("/own-target", "User-Agent", "Own/1"),
        ("/own-target", "Accept-Language", "fr"),
        ("/own-target", "X-Both", "own"),
        ("/bare", "User-Agent", "Project/1"),
        ("/bare", "Accept-Language", "pl"),
        ("/bare", "X-Both", "project"),
        ("/untagged", "User-Agent", "Project/1"),
        ("/untagged", "Accept-Language", "pl"),
    ],
)
def test_who_wins(seen: Mapping[str, Arrival], path: str, name: str, value: str) -> None:
    """A request's own header wins over the session's, also behind a redirect, and the session's over the project's."""
    assert seen[path].headers[name.lower()] == [value]


@pytest.mark.parametrize("path", ["/alice", "/own", "/bare", "/untagged"])
def test_the_projects_other_headers_are_sent(seen: Mapping[str, Arrival], path: str) -> None:
    """A default header of the project that no session touches is sent in every session."""
    assert seen[path].header("X-Project") == "1"


def test_a_cookie_header_of_its_own_is_not_sent(seen: Mapping[str, Arrival]) -> None:
    """A Cookie header among the request's headers gives way to the cookies of the session, as in Scrapy to a jar's."""
    assert seen["/own"].cookies == {}


def test_the_sessions_other_headers_are_sent(seen: Mapping[str, Arrival]) -> None:
    """A header of the session that the request doesn't set is sent beside the request's own."""
    assert seen["/own"].header("X-Alice") == "1"
    assert seen["/bare"].header("X-Alice") is None


@pytest.mark.parametrize("mode", MODES)
def test_robots_txt_judges_the_agent_sent(site: Site, tmp_path_factory: pytest.TempPathFactory, mode: str) -> None:
    """A page is forbidden to the session whose agent robots.txt names, and to no other one."""
    site.robots("User-agent: Alice\nDisallow: /\n\nUser-agent: Project\nDisallow: /project\n")
    alice = {"session_id": "alice", "session_profile": "alice"}
    carol = {"session_id": "carol", "session_profile": "carol"}
    requests = [
        {"url": site.url("/page"), "meta": alice},
        {"url": site.url("/page"), "meta": carol},
        {"url": site.url("/project"), "meta": carol},
        {"url": site.url("/own"), "meta": alice, "headers": {"User-Agent": "Carol/1"}},
    ]
    profiles = {"alice": {"user_agent": "Alice/1"}, "carol": {"user_agent": "Carol/1"}}
    done: list[Crawl] = crawl_jobs(
        tmp_path_factory.mktemp("robots"),
        Job("tests.support.spiders.base.Listed", {"requests": requests}),
        mode=mode,
        ROBOTSTXT_OBEY=True,
        SESSIONS_PROFILES=profiles,
        **PROJECT,
    )
    fetched = {(arrival.path, arrival.header("User-Agent")) for arrival in site.journal("/")}
    pages = {entry for entry in fetched if entry[0] != "/robots.txt"}
    assert pages == {("/page", "Carol/1"), ("/project", "Carol/1"), ("/own", "Carol/1")}
    assert done[0].stats["robotstxt/forbidden"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_what_process_request_replaces_is_not_sent_in_another_session(
    site: Site, tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    """A copy of a request, made after its response, is sent with the header of its own session, not the first one's."""
    crawl_jobs(
        tmp_path_factory.mktemp("resent"),
        Job("tests.support.spiders.identity.Resent", {"url": site.url("/page")}),
        mode=mode,
        SESSIONS_PROFILES={"alice": {"user_agent": "Alice/1"}, "bob": {"user_agent": "Bob/1"}},
    )
    agents = [arrival.header("User-Agent") for arrival in site.journal("/page")]
    assert agents == ["Mobile Alice/1", "Mobile Bob/1"]
