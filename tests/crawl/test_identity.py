"""Identity: the site sees no session arrive with another's agent, language or cookie, ever."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Site

SPIDERS, SESSIONS = 2, 25
ROUNDS = {"asyncio": 60, "reactorless": 10}


class Run(NamedTuple):
    """Two spiders in one process, and what the site saw of them."""

    crawls: list[Crawl]
    visitors: dict[str, dict[str, Any]]
    violations: list[dict[str, str]]
    statuses: Counter[str]
    rounds: int


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two spiders at once, with 25 sessions each, over redirects within and across hosts and ports, and retries."""
    site, mode = site_process, request.param
    site.reset()
    here, there = "127.0.0.1", "127.0.0.2"
    ends = [
        site.url("/identity/end", host, second=second, n="NNN", expect="WHO")
        for host, second in ((here, False), (there, False), (here, True))
    ]
    urls = [site.url("/identity/plain", here, n="NNN", expect="WHO")]
    urls += [site.url("/identity/hop", here, n="NNN", to=end, expect="WHO") for end in ends]
    urls += [site.url("/identity/fail", there, n="NNN", key="NNN", times=1, expect="WHO")]
    jobs = []
    for spider in range(SPIDERS):
        name = f"crowd{spider}"
        profiles = {
            f"{name}-{number}": {"user_agent": f"Agent/{name}-{number}", "language": f"x-{name}-{number}"}
            for number in range(SESSIONS)
        }
        arguments = {"name": name, "sessions_wanted": SESSIONS, "rounds": ROUNDS[mode], "urls": urls}
        jobs.append(Job("tests.support.spiders.identity.Crowd", arguments, {"SESSIONS_PROFILES": profiles}))
    crawls = crawl_jobs(tmp_path_factory.mktemp("identity"), *jobs, mode=mode, LOG_LEVEL="INFO")
    journal = site.journal()
    kinds = Counter(arrival.path.rpartition("/")[2] for arrival in journal)
    return Run(crawls, site.visitors(), site.violations(), kinds, ROUNDS[mode])


def test_every_page_was_fetched(run: Run) -> None:
    """Every request ended at its page, over redirects and retries, more than one a round: the others rest on it."""
    wanted = SESSIONS * run.rounds
    assert [each.stats["crowd/pages"] for each in run.crawls] == [wanted] * SPIDERS
    assert run.statuses["hop"] == run.statuses["end"] == SPIDERS * wanted * 3 / 5
    assert run.statuses["fail"] == 2 * SPIDERS * wanted / 5


def test_no_session_comes_as_another(run: Run) -> None:
    """The site never saw one of its session cookies with another agent, language, host or sender."""
    assert run.violations == []


def test_every_sid_belongs_to_one_session(run: Run) -> None:
    """Each of the site's sids was only ever brought by one session, in that session's agent and language."""
    for visitor in run.visitors.values():
        assert visitor["user_agent"] == f"Agent/{visitor['expect']}"
        assert visitor["language"] == f"x-{visitor['expect']}"
    assert len({visitor["expect"] for visitor in run.visitors.values()}) == SPIDERS * SESSIONS


def test_sessions_keep_their_cookies(run: Run) -> None:
    """A session comes back with its sid instead of being a newcomer each time."""
    newcomers = Counter(visitor["expect"] for visitor in run.visitors.values())
    assert max(newcomers.values()) < run.rounds


def test_responses_come_in_their_session(run: Run) -> None:
    """Every response carries the session that its request asked for."""
    assert [each.stats.get("crowd/strangers", 0) for each in run.crawls] == [0] * SPIDERS
