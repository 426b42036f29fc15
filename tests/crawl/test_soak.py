"""A long crawl over many sessions: memory, open files and tasks don't grow.

``SOAK_REQUESTS`` is how many requests are sent, over a fiftieth of that many sessions: a million in ``tox -e long``.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scrapy import Request, Spider, signals
from scrapy.http import Response, TextResponse

import scrapy_sessions
from scrapy_sessions import SessionManager
from tests.support.crawl import crawl, sqlite_url

pytestmark = pytest.mark.heavy

REQUESTS = int(os.environ.get("SOAK_REQUESTS") or 6_000)
SESSIONS = REQUESTS // 50
SAMPLES = 20
PACKAGE = str(Path(scrapy_sessions.__file__).parent)


class Sample(NamedTuple):
    """What the process has: memory in MB, open files, tasks of ours."""

    memory: float
    files: int
    tasks: int

    @classmethod
    def take(cls) -> Sample:
        """Look at the process."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        # Scrapy itself has a hundred short-lived tasks for each response.
        ours = [task for task in asyncio.all_tasks() if PACKAGE in task.get_coro().cr_code.co_filename]  # type: ignore[union-attr]
        return cls(memory, len(list(Path("/proc/self/fd").iterdir())), len(ours))


class Handler:
    """Answers without a network; one response in ten sets a cookie, one in a hundred is refused."""

    lazy = False

    @classmethod
    def from_crawler(cls, crawler: Any) -> Handler:
        return cls()

    async def download_request(self, request: Request) -> Response:
        number = int(request.url.rpartition("/")[2])
        headers = {"Set-Cookie": f"n={number}; Path=/"} if number % 10 == 0 else {}
        return TextResponse(request.url, 403 if number % 100 == 99 else 200, headers, b"A page")

    async def close(self) -> None:
        """Nothing to close."""


class Walk(Spider):
    """Visits page after page, each in the next session."""

    name = "walk"
    handle_httpstatus_list = (403,)
    seen = 0

    async def start(self) -> AsyncIterator[Any]:
        self.samples: list[Sample] = []
        for number in range(REQUESTS):
            if number and number % 1000 == 0:  # a queue of all requests would hide what grows while it shrinks
                await self.crawler.signals.wait_for(signals.scheduler_empty)
            meta = {"session_id": f"s{number * 7 % SESSIONS}"}
            yield Request(f"http://shop.test/{number}", meta=meta, dont_filter=True)

    def parse(self, response: Response, **kwargs: Any) -> None:
        self.seen += 1
        if self.seen % (REQUESTS // SAMPLES) == 0:
            self.samples.append(Sample.take())


async def test_nothing_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second half of the crawl needs no more memory, open files and tasks than it began with; no page is lost."""
    monkeypatch.setattr("tests.support.crawl.HANG", 300 + REQUESTS / 50)
    settings = {
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "SESSIONS_CACHE_SIZE": max(SESSIONS // 20, 10),
        "SESSIONS_SAVE_INTERVAL": 0.2,
        "SESSIONS_HISTORY_LIMIT": 20,
        "DOWNLOAD_HANDLERS": {"http": "tests.crawl.test_soak.Handler"},
        "CONCURRENT_REQUESTS": 16,
        "CLOSESPIDER_TIMEOUT": 0,
        "LOG_LEVEL": "ERROR",
    }
    crawler = await crawl(Walk, settings)
    spider: Any = crawler.spider
    assert spider.seen == REQUESTS
    async with SessionManager(tmp_path / "s.db", namespace="walk") as manager:
        stored = await manager.list_sessions()
    assert len(stored) == SESSIONS
    assert sum(info["pages_visited"] for info in stored) == REQUESTS
    samples: list[Sample] = spider.samples
    half, end = samples[len(samples) // 2 :], samples[-1]
    print(*samples, sep="\n")
    assert end.memory <= 1.05 * half[0].memory + 2
    assert max(sample.files for sample in half) <= half[0].files + 2
    assert max(sample.tasks for sample in half) <= half[0].tasks + 20
