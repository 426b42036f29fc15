"""A crawl without a request, in a process of its own: ``python empty.py SETTINGS``, which are JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from scrapy import Spider
from scrapy.crawler import CrawlerProcess


class EmptySpider(Spider):
    """Has no start request."""

    name = "empty"

    async def start(self) -> AsyncIterator[Any]:
        for request in ():
            yield request


if __name__ == "__main__":
    process = CrawlerProcess({"LOG_LEVEL": "WARNING", "TELNETCONSOLE_ENABLED": False, **json.loads(sys.argv[1])})
    process.crawl(EmptySpider)
    process.start()
