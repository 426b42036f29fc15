"""Worker: a whole crawl, over HTTP, with the reactor, scheduler, download handler and all."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.http import Response
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.misc import load_object
from scrapy.utils.reactor import install_reactor
from serve import Stopwatch, serve

CHAIN = 50  # as the site has it
PAGES_A_SECOND = 400


class WalkSpider(Spider):
    """Follows the links of as many chains as make up the pages."""

    name = "bench"

    async def start(self) -> AsyncIterator[Any]:
        for chain in range(max(self.pages // CHAIN, 1)):
            yield Request(f"{self.url}/p/{chain}/{max(CHAIN - self.pages, 0)}")

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get()}
        link = response.css("a::attr(href)").get()
        if link is not None:
            yield response.follow(link)


class Saver:
    """Extension of either side: lets ours save after as many pages as a second brings when nobody counts."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._responses = 0
        crawler.signals.connect(self._received, signals.response_received)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Saver:
        return cls(crawler)

    def _received(self) -> None:
        self._responses += 1
        if self._responses % PAGES_A_SECOND == 0 and self._crawler.settings["BENCH_SAVER"]:
            sessions = self._crawler.get_extension(load_object(self._crawler.settings["BENCH_SAVER"]))
            self._saving = asyncio.ensure_future(sessions.manager.flush())


async def crawl(url: str, pages: int, settings: dict[str, Any], saver: str | None = None) -> float:
    """Return the milliseconds of CPU of a crawl of *pages*, from before its crawler is made to after it has closed."""
    gc.collect()
    settings = {"TELNETCONSOLE_ENABLED": False, "EXTENSIONS": {Saver: 0}, "BENCH_SAVER": saver, **settings}
    with Stopwatch() as watch:
        runner = AsyncCrawlerRunner(settings)
        crawler = runner.create_crawler(WalkSpider)
        await runner.crawl(crawler, url=url, pages=pages)
    found = crawler.stats.get_value("item_scraped_count")
    if found != pages or crawler.stats.get_value("log_count/ERROR"):
        raise AssertionError(f"The crawl has found {found} pages of {pages}")
    return watch.cpu * 1e3


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* in Scrapy's reactor."""
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    from twisted.internet import reactor  # only now it is the right one

    reactor.callWhenRunning(lambda: deferred_from_coro(work).addBoth(lambda _: reactor.stop()))
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    serve({"crawl": crawl}, run)
