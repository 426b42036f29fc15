"""A request that leaves a session leaves all of its identity behind, in whatever way the copy was made."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.proxy import Passage, Proxy
from tests.support.site import Arrival, Site

SETTINGS: dict[str, Any] = {
    "DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.hops.Detour": 300, "tests.support.spiders.hops.LateDetour": 800}
}
PROFILES: dict[str, Any] = {
    "alice": {"user_agent": "Alice/1", "language": "de", "headers": {"X-Of": "alice", "X-Alice": "1"}},
    "bob": {"user_agent": "Bob/1", "language": "fr", "headers": {"X-Of": "bob"}},
    "carol": {"user_agent": "Carol/1"},
    "dave": {"language": "it"},
}
IDENTITY = ("user-agent", "accept-language", "x-of", "x-alice", "cookie", "proxy-authorization")
ALICE = {"user-agent": "Alice/1", "accept-language": "de", "x-of": "alice", "x-alice": "1"}
BOB = {"user-agent": "Bob/1", "accept-language": "fr", "x-of": "bob"}
CAROL = {"user-agent": "Carol/1", "accept-language": "en"}


class Run(NamedTuple):
    """What arrived by path, what went through which proxy, and the crawls."""

    seen: dict[str, Arrival]
    passages: dict[str, list[Passage]]
    crawls: list[Crawl]

    def identity(self, path: str) -> dict[str, str]:
        """What the request for *path* wore."""
        values = ((name, self.seen[path].header(name)) for name in IDENTITY)
        return {name: value for name, value in values if value is not None}

    def way(self, path: str) -> list[tuple[str, str | None]]:
        """The proxies that the request for *path* went through, with the credentials that it brought."""
        return [
            (name, passage.credentials)
            for name, passages in self.passages.items()
            for passage in passages
            if passage.path == path
        ]


def one(url: str, session: str, **meta: Any) -> Job:
    """A spider that sends one request in *session*, which it names after."""
    request = {"url": url, "meta": {"session_id": session, "session_profile": session, **meta}}
    return Job("tests.support.spiders.base.Listed", {"requests": [request]})


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every way to leave a session, in one crawl."""
    site = site_process
    site.reset()
    cookie = "sid=alice; Path=/"  # sent from the next hop on
    jobs = [
        Job(
            "tests.support.spiders.hops.Switching",
            {
                "first": site.url(f"/{frm}-{to}/0", set=cookie, to=site.url(f"/{frm}-{to}/1")),
                "second": site.url(f"/{frm}-{to}/2"),
                "frm": frm,
                "to": to,
            },
        )
        for frm, to in [("alice", "bob"), ("alice", "carol"), ("alice", None), ("carol", "bob"), ("dave", "bob")]
    ]
    for key in ("detour", "late_detour"):
        for to in ("alice", "bob", "carol"):
            changes = {"session_id": to, "session_profile": to}
            way = {key: site.url(f"/{key}/{to}"), "detour_meta": changes}
            jobs.append(one(site.url(f"/{key}/lost"), "alice", **way))
    jobs.append(one(site.url("/retry", times=2), "alice"))
    jobs.append(one(site.url("/hop/1", to=site.url("/hop/2", "127.0.0.2")), "alice"))
    with Proxy("alice:pw-of-alice") as alice, Proxy("bob:pw-of-bob") as bob:
        profiles = {
            **PROFILES,
            "alice": {**PROFILES["alice"], "proxy": alice.url},
            "bob": {**PROFILES["bob"], "proxy": bob.url},
        }
        crawls = crawl_jobs(
            tmp_path_factory.mktemp("switch"), *jobs, mode=request.param, SESSIONS_PROFILES=profiles, **SETTINGS
        )
    return Run(
        {arrival.path: arrival for arrival in site.journal()}, {"alice": alice.passages, "bob": bob.passages}, crawls
    )


def test_the_first_session_is_worn(run: Run) -> None:
    """Before the switch the request wears all of alice's identity: the other tests rest on it."""
    assert run.identity("/alice-bob/1") == {**ALICE, "cookie": "sid=alice"}
    assert run.way("/alice-bob/1") == [("alice", "alice:pw-of-alice")]


def test_another_session_replaces_the_identity(run: Run) -> None:
    """A copy in bob's session wears bob's headers only, and no cookie of alice's."""
    assert run.identity("/alice-bob/2") == BOB


def test_another_session_replaces_the_proxy(run: Run) -> None:
    """A copy in bob's session goes through bob's proxy only, with bob's password."""
    assert run.way("/alice-bob/2") == [("bob", "bob:pw-of-bob")]


def test_a_session_without_a_proxy_uses_none(run: Run) -> None:
    """A copy in a session without a proxy goes straight to the site, with no password and none of alice's headers."""
    assert run.way("/alice-carol/2") == []
    assert run.identity("/alice-carol/2") == CAROL


def test_no_session_at_all_wears_nothing(run: Run) -> None:
    """A copy with the session_id None goes out as from plain Scrapy."""
    assert run.way("/alice-None/2") == []
    identity = run.identity("/alice-None/2")
    assert identity.pop("user-agent").startswith("Scrapy/")
    assert identity == {"accept-language": "en"}


@pytest.mark.parametrize("before", ["carol", "dave"])
def test_a_default_of_the_project_is_left_behind(run: Run, before: str) -> None:
    """What the project's defaults gave to a session that lacks it doesn't count as the copy's own."""
    assert run.identity(f"/{before}-bob/2") == BOB


def test_a_finished_request_wears_nothing(run: Run) -> None:
    """What a callback finds in response.request holds neither the session's headers nor its cookie nor its proxy."""
    worn = run.crawls[0].item(step="worn")
    assert {name.lower() for name in worn["headers"]}.isdisjoint(IDENTITY)
    assert set(worn["meta"]).isdisjoint({"proxy", "_auth_proxy", "_session_applied"})


@pytest.mark.parametrize("key", ["detour", "late_detour"])
class TestMiddlewaresCopy:
    """A copy made by a middleware between ours, before and after Scrapy's proxy middleware."""

    def test_in_the_same_session(self, run: Run, key: str) -> None:
        """It goes out once, in alice's identity and through her proxy."""
        assert run.identity(f"/{key}/alice") == ALICE
        assert run.way(f"/{key}/alice") == [("alice", "alice:pw-of-alice")]

    def test_in_another_session(self, run: Run, key: str) -> None:
        """It wears bob's identity, and his proxy gets his password."""
        assert run.identity(f"/{key}/bob") == BOB
        assert run.way(f"/{key}/bob") == [("bob", "bob:pw-of-bob")]

    def test_in_a_session_without_a_proxy(self, run: Run, key: str) -> None:
        """It wears nothing of alice's, and goes through no proxy."""
        assert run.identity(f"/{key}/carol") == CAROL
        assert run.way(f"/{key}/carol") == []


def test_a_retry_stays_as_it_was(run: Run) -> None:
    """Every retry goes through the session's proxy, with its password each time."""
    assert run.way("/retry") == [("alice", "alice:pw-of-alice")] * 3
    assert run.identity("/retry") == ALICE


def test_a_redirect_to_another_host_keeps_the_proxy(run: Run) -> None:
    """Behind a redirect to another host the session keeps its agent, and its proxy with the password."""
    assert run.way("/hop/2") == [("alice", "alice:pw-of-alice")]
    assert run.identity("/hop/2") == ALICE


def test_a_session_wins_over_the_environments_proxy(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A copy in bob's session goes through his proxy, though the request before went through the environment's."""
    first = {"first": site.url("/env/1"), "second": site.url("/env/2"), "frm": "carol", "to": "bob"}
    with Proxy("env:pw") as ours, Proxy("bob:pw-of-bob") as bob:
        crawl_jobs(
            tmp_path_factory.mktemp("env"),
            Job("tests.support.spiders.hops.Switching", first),
            environment={"http_proxy": ours.url},
            SESSIONS_PROFILES={**PROFILES, "bob": {**PROFILES["bob"], "proxy": bob.url}},
        )
    assert [passage.path for passage in ours.passages] == ["/env/1"]
    assert bob.passages == [("/env/2", "bob:pw-of-bob")]
