"""A crawl goes on, or ends by itself, when Chromium, its renderers or the crawl are told to end in the middle."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING
from tests.support.crawl import ENVIRONMENT, Job, crawl_jobs, start
from tests.support.processes import of_folder
from tests.support.resolver import RESOLVER_SETTINGS
from tests.support.site import Site
from tests.support.spiders.browser import Killing
from tests.support.waiting import HANG

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.alone,
    pytest.mark.skipif(
        MISSING or find_spec("scrapy_playwright") is None,
        reason="there is no Chromium, or the package scrapy-playwright is not installed",
    ),
]

USERS = ("alice", "bob")
CONCURRENCY = 4


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the temporary files of a crawl. With a short name: Chromium has a socket there, of at most 107 characters."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def requests(site: Site, pages: int) -> list[dict[str, Any]]:
    """Pages of both users, every other one in the browser."""
    return [
        {"url": site.url("/browser/home", n=n, ms=50), "meta": {"session_id": user, "playwright": n % 2 == 0}}
        for n in range(pages)
        for user in USERS
    ]


def settings(folder: Path, site: Site) -> dict[str, Any]:
    handler = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
    return {
        "CONCURRENT_REQUESTS": CONCURRENCY,
        "DOWNLOAD_HANDLERS": {"http": handler, "https": handler},
        "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": CHROMIUM, "args": ARGUMENTS},
        "SESSIONS_STORE": f"sqlite:///{folder / 'sessions.db'}",
        "SITE": site.url("").rstrip("/"),
    }


def no_process_left(folder: Path) -> bool:
    """Whether all processes of a crawl in *folder* end soon after it."""
    return comes_true(lambda: not of_folder(folder), 10)


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def arrivals(site: Site) -> Counter[str]:
    return Counter(each.target + each.cookies["token"] for each in site.journal("/browser/home") if each.query)


@pytest.mark.parametrize("kill", ["browser", "renderers"])
def test_a_browser_that_is_killed_is_replaced(folder: Path, site: Site, kill: str) -> None:
    """What was in flight is sent once more, in new pages; everything arrives, and nobody logs in again."""
    wanted = requests(site, 8)
    (done,) = crawl_jobs(
        folder,
        Job("tests.support.spiders.browser.Killing", {"requests": wanted, "kill": kill, "after": 6}),
        environment={"TMPDIR": str(folder)},
        errors=True,
        **settings(folder, site),
    )
    assert not [item for item in done.items if "failed" in item], done.log
    assert Counter(item["url"] for item in done.items) == Counter(each["url"] for each in wanted)
    assert all(item["shown"]["cookie"] == item["session"] for item in done.items)
    assert len(site.journal("/browser/token")) == len(USERS)
    assert max(arrivals(site).values()) <= 2
    assert sum(arrivals(site).values()) <= len(wanted) + CONCURRENCY
    assert no_process_left(folder)


def test_ctrl_c_ends_the_crawl_which_goes_on_later(folder: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGINT to the process group, so to Playwright's driver, too: the crawl ends, and its job goes on, logged in."""
    monkeypatch.setitem(ENVIRONMENT, "TMPDIR", str(folder))
    wanted = requests(site, 12)
    plan = {**settings(folder, site), **RESOLVER_SETTINGS, "JOBDIR": str(folder / "job")}
    for interrupted in (True, False):
        with (folder / "log").open("a+") as log:
            crawl = start(Killing, plan, {"requests": wanted}, stderr=log, start_new_session=True)
            try:
                if interrupted:
                    assert comes_true(lambda: len(arrivals(site)) > len(wanted) // 3, HANG)
                    os.killpg(crawl.pid, signal.SIGINT)
                crawl.communicate(timeout=HANG)
            finally:
                crawl.kill()
            log.seek(0)
            assert no_process_left(folder), log.read()
        if interrupted:
            assert len(arrivals(site)) < len(wanted)
    assert len(site.journal("/browser/token")) == len(USERS)
    assert max(arrivals(site).values()) <= 2
    assert len(wanted) - CONCURRENCY <= len(arrivals(site))
    assert sum(arrivals(site).values()) <= len(wanted) + CONCURRENCY
