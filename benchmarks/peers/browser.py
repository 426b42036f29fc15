"""Worker: pages in a real browser, one after the other, by scrapy-playwright; and HTTP requests beside it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from crawl import CHAIN, run
from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerRunner
from scrapy.http import Response
from scrapy_playwright.page import PageMethod
from serve import serve

_FILL = """
for (let number = 0; number < 20; number++) document.cookie = `seen${number}=value-${number}; Path=/; Max-Age=3600`;
for (let number = 0; number < 100; number++) localStorage.setItem(`item${number}`, `value-${number}`);
"""


class BrowseSpider(Spider):
    """Fills cookies and storage on a first page in the browser, then goes from page to page there."""

    name = "bench"
    browsed = 1
    in_browser = True

    async def start(self) -> AsyncIterator[Any]:
        fill = [PageMethod("evaluate", _FILL)]
        for number in range(self.browsed):
            meta = {"playwright": True, "playwright_page_methods": fill}
            yield Request(f"{self.url}/p/0/{number}", meta=meta, callback=self.begin)
        if not self.browsed:
            yield Request(f"{self.url}/p/0/0", callback=self.begin)

    def begin(self, response: Response) -> Iterator[Any]:
        self.walls: list[float] = []
        gc.collect()
        self.cpu = time.process_time()
        self.wall = time.perf_counter()
        yield self.page(0)

    def page(self, number: int) -> Request:
        meta = {"playwright": True} if self.in_browser else {}
        return Request(f"{self.url}/p/{1 + number // CHAIN}/{number % CHAIN}", meta=meta)

    def parse(self, response: Response) -> Iterator[Any]:
        now = time.perf_counter()
        self.walls.append(now - self.wall)
        self.wall = now
        if len(self.walls) < self.pages:
            yield self.page(len(self.walls))
        else:
            self.cpu = time.process_time() - self.cpu


class CrawlSpider(BrowseSpider):
    """After the page in the browser, or one without, it crawls over HTTP."""

    in_browser = False


async def browse(url: str, pages: int, settings: dict[str, Any]) -> float:
    """Return the milliseconds of a page in the browser, the median of *pages*."""
    spider = await _crawl(BrowseSpider, settings, url=url, pages=pages)
    return statistics.median(spider.walls) * 1e3


async def crawl(url: str, pages: int, settings: dict[str, Any], browsed: int) -> float:
    """Return the milliseconds of CPU of an HTTP request; with *browsed*, the session has a context in the browser."""
    spider = await _crawl(CrawlSpider, settings, url=url, pages=pages, browsed=browsed)
    return spider.cpu * 1e3 / pages


async def _crawl(spider: type[BrowseSpider], settings: dict[str, Any], **arguments: Any) -> BrowseSpider:
    runner = AsyncCrawlerRunner({"TELNETCONSOLE_ENABLED": False, "SESSIONS_BROWSER_IDLE": 0, **settings})
    crawler = runner.create_crawler(spider)
    await runner.crawl(crawler, **arguments)
    if len(crawler.spider.walls) != arguments["pages"] or crawler.stats.get_value("log_count/ERROR"):
        raise AssertionError(f"The crawl has found {len(crawler.spider.walls)} pages of {arguments['pages']}")
    return crawler.spider


if __name__ == "__main__":
    serve({"browse": browse, "crawl": crawl}, run)
