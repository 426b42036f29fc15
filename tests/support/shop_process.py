"""Crawl the shop in this process: ``python -m tests.support.shop_process '{"SETTING": …}' '{"argument": …}'``.

Its last line on the standard output is the stats as JSON.
"""

from __future__ import annotations

import json
import sys

from scrapy.crawler import AsyncCrawlerProcess

from tests.support.spiders.buyer import Buyer

__all__ = ["command"]


def command(settings: object, arguments: object) -> list[str]:
    """The command line that does this."""
    return [sys.executable, "-m", "tests.support.shop_process", json.dumps(settings), json.dumps(arguments)]


def main() -> None:
    process = AsyncCrawlerProcess(json.loads(sys.argv[1]))
    crawler = process.create_crawler(Buyer)
    process.crawl(crawler, **json.loads(sys.argv[2]))
    process.start()
    assert crawler.stats is not None
    print(json.dumps(crawler.stats.get_stats(), default=str), flush=True)


if __name__ == "__main__":
    main()
