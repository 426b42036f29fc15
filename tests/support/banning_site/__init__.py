"""What the tests of health, pools and pace stand on: a site that bans sessions, and crawls of it.

The site runs in a process of its own. It tells visitors by its cookie ``sid``, which it gives to whoever has none.

====================  ==================================================================================================
``/closed…``          403 for everyone
every other path      200; 403 once the visitor has had ``limit`` pages (0: for ever)
====================  ==================================================================================================

Of the query, ``ms`` is how long the answer takes, at the most with ``random=1``, ``status`` its status, ``to`` a
redirect, and ``drop=1`` closes the connection in its place; ``limit`` is of the whole site, as ``ms`` is by default.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from scrapy.crawler import Crawler

from tests.support.crawl import Settings, crawl, session_stats
from tests.support.spiders.asking import Asking
from tests.support.waiting import HANG

__all__ = ["Asked", "BanningSite", "Seen", "ask"]


class Seen(NamedTuple):
    """A request as the site saw it. ``beside``: how many of this visitor were in flight, with this one."""

    path: str
    sid: str
    time: float
    beside: int
    status: int


class BanningSite:
    """A handle on the site's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> BanningSite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=HANG)
        self._process.stdout.close()

    def reset(self, **rules: int) -> None:
        """Forget everything, and go by *rules* from now on: ``limit``, ``ms``, ``random``."""
        self._call(f"/_reset?{urlencode(rules)}")

    def url(self, path: str = "/", **query: Any) -> str:
        return f"http://127.0.0.1:{self.port}{path}" + (f"?{urlencode(query)}" if query else "")

    def journal(self, path: str = "/") -> list[Seen]:
        """What came, oldest first, under paths that begin with *path*."""
        return [Seen(*entry) for entry in self._call("/_journal") if entry[0].startswith(path)]

    def _call(self, target: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=HANG)
        try:
            connection.request("GET", target)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


class Asked:
    """What came of a crawl: how each request ended, by the number it had in the list."""

    def __init__(self, crawler: Crawler) -> None:
        spider = crawler.spider
        assert isinstance(spider, Asking)
        self.crawler = crawler
        self.answers = spider.answers
        self.failures = spider.failures
        self.stats = session_stats(crawler)

    @property
    def sessions(self) -> list[str]:
        """In which session each request was answered, in the order of the requests."""
        return [session_id for _, (_, session_id) in sorted(self.answers.items())]

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for status, _ in self.answers.values())

    def groups(self) -> dict[str, list[int]]:
        """The numbers of the requests by session."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, (_, session_id) in sorted(self.answers.items()):
            found[session_id].append(number)
        return dict(found)


async def ask(
    *requests: tuple[str, dict[str, Any]],
    spider: type[Asking] = Asking,
    concurrency: int = 16,
    steps: Sequence[Sequence[tuple[str, dict[str, Any]]]] = (),
    **settings: Any,
) -> Asked:
    """Crawl *requests* (URL and meta), or *steps* of them one after the other, and return what came of it."""
    given: Settings = {
        "SESSIONS_STORE": "memory://",
        "CONCURRENT_REQUESTS": concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": concurrency,
        "LOG_LEVEL": "ERROR",
        "CLOSESPIDER_TIMEOUT": HANG / 2,
        **settings,
    }
    crawler = await crawl(spider, given, steps=list(steps) or [list(requests)])
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") != "closespider_timeout"
    return Asked(crawler)
