"""The budget of a session over runs and processes, on one SQLite file."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.crawl import ENVIRONMENT, MODES, PLAIN, Job, command, crawl_jobs, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages
from tests.support.waiting import HANG, wait_until

LIMIT = 20
SAVE, DELAY = 0.1, 0.1


def start(site: Site, folder: Path, name: str, meta: dict[str, Any], **settings: Any) -> subprocess.Popen[str]:
    """Start a crawl of twice as many requests as the budget allows, two at a time."""
    settings = {
        **PLAIN,
        "SESSIONS_STORE": sqlite_url(folder / "s.db"),
        "SESSIONS_BUDGET": {"per_hour": LIMIT},
        "SESSIONS_SAVE_INTERVAL": SAVE,
        "CONCURRENT_REQUESTS": 2,
        "DOWNLOAD_DELAY": DELAY,
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        **settings,
    }
    urls = [(site.url(f"/{name}/{number}"), meta) for number in range(2 * LIMIT)]
    return subprocess.Popen(
        command(Pages, settings, {"urls": urls}), stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
    )


def sent(site: Site, *processes: subprocess.Popen[str]) -> int:
    """How many requests they have sent when no more come. They are told to stop then."""
    try:
        wait_until(lambda: len(site.journal()) >= LIMIT - 2 or any(each.poll() is not None for each in processes))
        seen = -1
        while seen < (seen := len(site.journal())):
            time.sleep(2)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
    for process in processes:
        _, log = process.communicate(timeout=HANG)
        assert process.returncode == 0, log
    return len(site.journal())


@pytest.mark.alone
def test_two_processes_share_a_budget(site: Site, tmp_path: Path) -> None:
    """Each learns of the other's requests when it saves: together they send hardly more than the budget."""
    both = [start(site, tmp_path, name, {"session_id": "alice"}, SESSIONS_NAMESPACE="n") for name in "ab"]
    number = sent(site, *both)
    assert LIMIT <= number <= LIMIT + 4 + 3 * SAVE / DELAY  # what was in flight, and what was sent between two saves
    assert len(site.journal("/a")) < number


@pytest.mark.alone
def test_the_budget_of_an_exclusive_pool_is_exact(site: Site, tmp_path: Path) -> None:
    """Two processes have one account, and its budget is never exceeded."""
    settings = {
        "SESSIONS_POOLS": {"staff": {"sessions": ["alice"], "exclusive": True}},
        "SESSIONS_NAMESPACE": "n",
        "SESSIONS_LEASE_TTL": 0.9,
        "CONCURRENT_REQUESTS": 4,
        "DOWNLOAD_DELAY": 0.3,
    }
    both = [start(site, tmp_path, name, {"session_pool": "staff"}, **settings) for name in "ab"]
    assert LIMIT - 2 <= sent(site, *both) <= LIMIT  # what is given back may have been counted already


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_crawl(site: Site, tmp_path: Path, sig: signal.Signals) -> None:
    """After a kill, the next run sends what is left of the budget, but for what was not saved yet. The two requests
    that were about to be sent may count."""
    process = start(site, tmp_path, "a", {"session_id": "alice"}, DOWNLOAD_DELAY=0.2)
    try:
        wait_until(lambda: len(site.journal()) >= LIMIT // 2 or process.poll() is not None)
    finally:
        process.send_signal(sig)
        process.communicate(timeout=HANG)
    assert len(site.journal()) < LIMIT
    number = sent(site, start(site, tmp_path, "b", {"session_id": "alice"}, DOWNLOAD_DELAY=0))
    assert LIMIT - 2 <= number <= LIMIT + (2 if sig == signal.SIGKILL else 0)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_job(site: Site, tmp_path: Path, mode: str) -> None:
    """A run that rests returns what waits to the queue of its job. The next one goes on from there."""
    settings: dict[str, Any] = {
        "JOBDIR": str(tmp_path / "job"),
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "SESSIONS_SAVE_INTERVAL": SAVE,
        "SESSIONS_POOLS": {"shop": {"size": 1}},
        "CONCURRENT_REQUESTS": 4,
    }
    arguments = {"urls": [site.url("/queued", n=n) for n in range(6)], "metas": [{"session_pool": "shop"}]}
    for first, limit in ((site.url("/queued", n="first"), 3), ("", 5), ("", 0)):
        job = Job("tests.support.spiders.jobs.Waiting", {**arguments, "first": first})
        budget = {"per_hour": limit}
        (run,) = crawl_jobs(tmp_path, job, mode=mode, **settings, SESSIONS_BUDGET=budget, CLOSESPIDER_TIMEOUT_NO_ITEM=2)
        assert len(site.journal("/queued")) == (limit or 7)
    assert run.stats["finish_reason"] == "finished"
