"""The meta keys by which a spider says who it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from scrapy_sessions import SessionManager
from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

METAS: dict[str, Any] = {
    "untagged": {},
    "None": {"session_id": None},
    "None and cookiejar": {"session_id": None, "cookiejar": "alice"},
    "named": {"session_id": "alice"},
    "pooled": {"session_pool": "shop"},
    "profiled": {"session_id": "heidi", "session_profile": "heidi"},
    "jar 1": {"cookiejar": 1},
    "jar '1'": {"cookiejar": "1"},
    "jar None": {"cookiejar": None},
    "jar alice": {"cookiejar": "alice"},
    "both": {"session_id": "alice", "cookiejar": "other"},
    "no merge": {"session_id": "dora", "dont_merge_cookies": True},
    "merged again": {"session_id": "dora"},
}
USED = {
    "untagged": "default#1",
    "None": None,
    "None and cookiejar": None,
    "named": "alice",
    "pooled": "shop#1",
    "profiled": "heidi",
    "jar 1": "cookiejar:int:1",
    "jar '1'": "1",
    "jar None": "default#1",
    "jar alice": "alice",
    "both": "alice",
    "no merge": "dora",
    "merged again": "dora",
}


class Run(NamedTuple):
    """A crawl: what arrived by the header X-Case, and the sessions in the store after it."""

    crawls: list[Crawl]
    seen: dict[str, list[Arrival]]
    stored: set[str]


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every combination of keys, first on a page that sets a cookie, then on another."""
    site, folder = site_process, tmp_path_factory.mktemp("meta")
    site.reset()
    steps = []
    for path, sets in (("/first", ["got=WHO; Path=/"]), ("/second", [])):
        requests = []
        for case, meta in METAS.items():
            cookies = [cookie.replace("WHO", case.replace(" ", "-")) for cookie in sets]
            headers = {"X-Case": case, **({"Cookie": "raw=1"} if case == "no merge" else {})}
            requests.append({"url": site.url(path, set=cookies), "meta": meta, "headers": headers})
        steps += [[each] for each in requests]  # one by one: some share a session
    crawls = crawl_jobs(
        folder,
        Job("tests.support.spiders.base.Listed", {"steps": steps}),
        Job("tests.support.spiders.meta.OldStyle", {"url": site.url("/whoami", set="jar=1; Path=/")}),
        Job(
            "tests.support.spiders.base.Listed",
            {"requests": [{"url": site.url("/default")}]},
            {"SESSIONS_DEFAULT_ID": "me"},
        ),
        mode=request.param,
        SESSIONS_NAMESPACE="shared",
        SESSIONS_STORE=f"sqlite:///{folder}/s.db",
        SESSIONS_POOLS={"shop": {"size": 1}},
        SESSIONS_PROFILES={
            "one": {"user_agent": "One/1"},
            "two": {"user_agent": "Two/1"},
            "heidi": {"user_agent": "Heidi/1"},
        },
    )
    seen: dict[str, list[Arrival]] = {}
    for arrival in site.journal():
        seen.setdefault(arrival.header("X-Case") or arrival.path, []).append(arrival)
    return Run(crawls, seen, asyncio.run(_stored(folder)))


async def _stored(folder: Path) -> set[str]:
    async with SessionManager(folder / "s.db") as manager:
        return {info["session_id"] for info in await manager.list_sessions()}


@pytest.mark.parametrize("case", METAS)
def test_the_response_says_which_session_it_was(run: Run, case: str) -> None:
    """response.meta["session_id"] is there whatever was asked for, and says what was used."""
    place = list(METAS).index(case)
    items = run.crawls[0].items
    assert [items[place]["session"], items[place + len(METAS)]["session"]] == [USED[case], USED[case]]


@pytest.mark.parametrize("case", ["None", "None and cookiejar"])
def test_none_is_no_session(run: Run, case: str) -> None:
    """With the session_id None no cookie is sent or kept, and the agent is the project's."""
    for arrival in run.seen[case]:
        assert arrival.cookies == {}
        assert str(arrival.header("User-Agent")).startswith("Scrapy/")


def test_a_profile_is_given_at_creation(run: Run) -> None:
    """session_profile says which profile a new session takes."""
    assert {arrival.header("User-Agent") for arrival in run.seen["profiled"]} == {"Heidi/1"}


def test_keys_of_two_types_are_two_jars(run: Run) -> None:
    """The cookiejar 1 isn't the cookiejar "1"."""
    assert run.seen["jar 1"][1].cookies == {"got": "jar-1"}
    assert run.seen["jar '1'"][1].cookies == {"got": "jar-'1'"}


def test_a_string_cookiejar_is_a_session_id(run: Run) -> None:
    """The cookiejar "alice" and the session_id "alice" share their cookies."""
    assert run.seen["jar alice"][0].cookies == {"got": "named"}


def test_session_id_wins_over_cookiejar(run: Run) -> None:
    """With both keys the cookies of session_id are sent, and no session is made for the cookiejar."""
    assert run.seen["both"][0].cookies == {"got": "jar-alice"}
    assert "other" not in run.stored


def test_dont_merge_cookies_leaves_cookies_alone(run: Run) -> None:
    """With dont_merge_cookies a Cookie header of the request's own is sent, and no cookie is kept."""
    assert [arrival.cookies for arrival in run.seen["no merge"]] == [{"raw": "1"}, {"raw": "1"}]
    assert run.seen["merged again"][0].cookies == {}


def test_lasting_keys_are_saved(run: Run) -> None:
    """Sessions by name, of a pool, and of a cookiejar key with a text form are in the store after the crawl."""
    assert {"alice", "heidi", "shop#1", "default#1", "cookiejar:int:1", "1"} <= run.stored


def test_an_object_key_keeps_its_cookies_in_the_crawl(run: Run) -> None:
    """A cookiejar key that is any object has a jar of its own for this crawl."""
    sent = {item["step"]: item["jar"] for item in run.crawls[1].items if item["key"] == "object"}
    assert sent == {"first": None, "second": "1", "another": None}


def test_an_object_key_is_never_saved(run: Run) -> None:
    """The session of such a key is in no store, even if the spider put data into it."""
    assert {session for session in run.stored if "object" in session or "#" in session} <= {"shop#1", "default#1"}


def test_an_old_spider_changes_jars(run: Run) -> None:
    """A spider that copies response.meta and changes the cookiejar is in the new jar, as ever."""
    sent = {item["step"]: item["jar"] for item in run.crawls[1].items if item["key"] == "old"}
    assert sent == {"first": None, "other": None, "back": "1"}


def test_the_default_id_is_for_untagged_requests(run: Run) -> None:
    """With SESSIONS_DEFAULT_ID a request without a key uses that session."""
    assert [item["session"] for item in run.crawls[2].items] == ["me"]


def test_copied_meta_can_name_a_session(run: Run) -> None:
    """Meta copied from an untagged response, with a session_id of the spider's own, names that session and no pool."""
    found = run.crawls[1].item(key="copied")
    assert (found["session"], found["pools"]) == ("zoe", [None, None])
    assert found["fingerprint"] == found["named"] != found["untagged"]
