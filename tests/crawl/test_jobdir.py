"""A resumed job sends the requests that waited in its queue in their sessions."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.support.crawl import MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

METAS: list[dict[str, Any]] = [
    {"session_id": "alice"},
    {"session_id": "bob"},
    {"session_pool": "shop"},
    {"cookiejar": 1},
    {"session_id": None},
    {},
]
PROFILES = {name: {"user_agent": f"{name}/1"} for name in ("alice", "bob", "other")}
URLS = 4


class Run(NamedTuple):
    """The run that was stopped, the one that resumed it, and what arrived in the second one."""

    stopped: Crawl
    resumed: Crawl
    seen: list[Arrival]


@pytest.fixture(scope="module", params=MODES)
def run(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two runs of one job in two processes."""
    site, folder = site_process, tmp_path_factory.mktemp("jobdir")
    site.reset()
    settings: dict[str, Any] = {
        "JOBDIR": str(folder / "job"),
        "SESSIONS_STORE": f"sqlite:///{folder}/s.db",
        "SESSIONS_POOLS": {"shop": {"size": 2, "profiles": ["other"]}},
        "SESSIONS_PROFILES": PROFILES,
        "CONCURRENT_REQUESTS": 1,
    }
    arguments = {
        "first": site.url("/first", set="of=alice; Path=/"),
        "urls": [site.url("/queued", n=n) for n in range(URLS)],
        "metas": METAS,
    }
    (stopped,) = crawl_jobs(
        folder, Job("tests.support.spiders.jobs.Resumed", arguments), mode=request.param, **settings
    )
    site.reset()
    resumed_job = Job("tests.support.spiders.jobs.Resumed", {**arguments, "first": ""})
    (resumed,) = crawl_jobs(folder, resumed_job, mode=request.param, **settings)
    return Run(stopped, resumed, site.journal())


def test_the_queue_was_on_disk(run: Run) -> None:
    """Most requests waited on disk while the job was stopped, and each was sent once: the other tests rest on it."""
    assert run.stopped.stats["finish_reason"] == "enough"
    assert run.resumed.stats["scheduler/dequeued/disk"] > URLS * len(METAS) / 2
    assert len(run.stopped.items) + len(run.resumed.items) == URLS * len(METAS)


@pytest.mark.parametrize(
    ("asked", "session"), [(0, "alice"), (1, "bob"), (3, "cookiejar:int:1"), (4, None), (5, "alice")]
)
def test_each_goes_out_in_its_session(run: Run, asked: int, session: str | None) -> None:
    """A request that waited for a session by name, by cookiejar key, for none, or inherited one, goes out in it."""
    sessions = [item["session"] for item in run.resumed.items if item["asked"] == METAS[asked]]
    assert sessions
    assert set(sessions) == {session}


def test_pooled_ones_stay_in_their_pool(run: Run) -> None:
    """Requests that waited for a pool draw from that pool, its sessions in turn."""
    pooled = [item for item in run.resumed.items if item["asked"] == METAS[2]]
    assert {item["pool"] for item in pooled} == {"shop"}
    assert {item["session"] for item in pooled} == {"shop#1", "shop#2"}


def test_only_alice_sends_her_cookie(run: Run) -> None:
    """What alice's session was given before the stop is sent by her requests after it, and by no other."""
    alices = [item for item in run.resumed.items if item["session"] == "alice"]
    sent = [arrival for arrival in run.seen if arrival.cookies == {"of": "alice"}]
    assert len(sent) == len(alices)
    assert sum(bool(arrival.cookies) for arrival in run.seen) == len(sent)
    assert {arrival.header("User-Agent") for arrival in sent} == {"alice/1"}
