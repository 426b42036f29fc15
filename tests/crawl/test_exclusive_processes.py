"""Several processes crawl with one exclusive pool: one at a time uses an account, also over kills and pauses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.crawl import PLAIN, start
from tests.support.site import Arrival, Site
from tests.support.spiders.worker import Worker
from tests.support.waiting import HANG, wait_until

pytestmark = [pytest.mark.alone, pytest.mark.heavy]  # what it looks at depends on the pace of others

TTL = 2.0  # seconds
AT_ONCE = 4  # requests of a process
PAGES = 400
MS = 100  # milliseconds of a page
ACCOUNTS = ["alice", "bob", "carol", "dora"]


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that all processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/s.db"
    return str(request.getfixturevalue("redis_server").url)


@contextmanager
def working(
    site: Site, store: str, label: str, pages: int, accounts: list[str] = ACCOUNTS, **arguments: Any
) -> Iterator[subprocess.Popen[str]]:
    """A process that gets *pages* pages under ``/<label>/``, which take MS each."""
    common: dict[str, Any] = {
        **PLAIN,
        "SESSIONS_STORE": store,
        "SESSIONS_NAMESPACE": "staff",
        "SESSIONS_LEASE_TTL": TTL,
        "SESSIONS_POOLS": {"staff": {"sessions": accounts, "exclusive": True}},
        "CONCURRENT_REQUESTS": AT_ONCE,  # none waits in Scrapy's downloader, where nothing holds it back any more
        "LOG_LEVEL": "INFO",
    }
    arguments = {"base": site.url(""), "pages": pages, "ms": MS, "label": label, **arguments}
    process = start(Worker, common, arguments, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """Its stats and its log, once it has ended."""
    output, log = process.communicate(timeout=HANG)
    assert process.returncode == 0, log
    assert " ERROR: " not in log, log
    return json.loads(output.splitlines()[-1]), log


def uses(site: Site) -> dict[str, list[Arrival]]:
    """The requests in each account, oldest first."""
    found: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in site.journal():
        account = arrival.header("X-Account")
        if account is not None:
            found[account].append(arrival)
    return found


def check_handovers(site: Site, allowed: int = 0) -> int:
    """Check that no account was used by a process until the last page from another was done, but for *allowed* pages.

    Returns how often an account changed hands.
    """
    handovers, early = 0, []
    for account, arrivals in uses(site).items():
        for before, after in pairwise(arrivals):
            if before.header("X-Worker") != after.header("X-Worker"):
                handovers += 1
                if after.time - before.time < MS / 1000 - 0.01:
                    early.append((account, before, after))
    assert len({before.path for _, before, _ in early}) <= allowed, early
    return handovers


def paths(site: Site, label: str) -> set[str]:
    return {arrival.path for arrival in site.journal(f"/{label}/")}


@contextmanager
def two_working(site: Site, store: str) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """Two processes, the first of which has begun alone, in the middle of their work under ``/first/`` and
    ``/second/``. Each has some of the accounts."""
    begun = [{"session_id": None}]  # a page that needs no account
    with working(site, store, "first", PAGES, until="1:/second/0") as first:
        wait_until(lambda: len(site.journal("/first/")) > 20)
        with working(site, store, "second", PAGES, metas=begun) as second:
            wait_until(lambda: len(site.journal("/second/")) > 20)
            yield first, second


def has_all(process: subprocess.Popen[str], site: Site) -> bool:
    """Whether *process* was the last to use each account."""
    return {found[-1].header("X-Worker") for found in uses(site).values()} == {str(process.pid)}


def test_one_takes_over_from_one_that_is_killed(site: Site, store: str) -> None:
    """Of two processes that share the accounts one is killed: the other finishes, with all of them."""
    with two_working(site, store) as (killed, other):
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: has_all(other, site))
        stats, _ = finish(other)
    assert stats["item_scraped_count"] == PAGES
    assert len(paths(site, "second")) == PAGES
    check_handovers(site)


def test_each_of_more_processes_than_accounts_gets_a_turn(site: Site, store: str) -> None:
    """Three processes share two accounts: all finish, and no account is in two places."""
    labels = ["a", "b", "c"]
    with (
        working(site, store, "a", 100, ["alice", "bob"]) as first,
        working(site, store, "b", 100, ["alice", "bob"]) as second,
        working(site, store, "c", 100, ["alice", "bob"]) as third,
    ):
        done = [finish(process) for process in (first, second, third)]
    assert [stats["item_scraped_count"] for stats, _ in done] == [100] * 3
    assert [len(paths(site, label)) for label in labels] == [100] * 3
    assert check_handovers(site) >= 2


def test_a_paused_one_loses_its_accounts(site: Site, store: str) -> None:
    """A process that is paused for longer than a lease saves nothing in the accounts that another has taken meanwhile.
    Its requests are sent in those that it holds. Only what it had sent meets those of the other."""
    with two_working(site, store) as (paused, other):
        os.kill(paused.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: has_all(other, site))
        finally:
            os.kill(paused.pid, signal.SIGCONT)
        stats, _ = finish(paused)
        finish(other)
    assert stats["item_scraped_count"] == PAGES
    assert [len(paths(site, label)) for label in ("first", "second")] == [PAGES] * 2
    assert stats["sessions/claims_lost"] >= 1
    check_handovers(site, allowed=AT_ONCE)
