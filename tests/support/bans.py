"""Crawls of the part of the site that bans its visitors: :mod:`tests.support.site.bans`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from scrapy.crawler import Crawler

from tests.support.crawl import Settings, crawl, session_stats
from tests.support.site import HOST, Site
from tests.support.spiders.asking import Asking
from tests.support.waiting import HANG

__all__ = ["Asked", "BanningSite", "Seen", "ask"]

_PART = 3


class Seen(NamedTuple):
    """A request as the site saw it. ``beside``: how many of this visitor were in flight, with this one."""

    path: str
    sid: str
    time: float
    beside: int
    status: int


class BanningSite:
    """A handle on that part of *site*."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def reset(self, **rules: int) -> None:
        """Forget everything, and go by *rules* from now on: ``limit``, ``ms``, ``random``."""
        self._site.call("POST", "/_reset", part=_PART)
        self._site.call("POST", "/_rules", json.dumps(rules).encode(), part=_PART)

    def url(self, path: str = "/", **query: Any) -> str:
        return f"http://{HOST}:{self._site.ports[_PART]}{path}" + (f"?{urlencode(query)}" if query else "")

    def journal(self, path: str = "/") -> list[Seen]:
        """What came, oldest first, under paths that begin with *path*."""
        entries = self._site.entries(_PART)
        return [Seen(*(entry[name] for name in Seen._fields)) for entry in entries if entry["path"].startswith(path)]


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
