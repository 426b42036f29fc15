"""Run crawls in this process, all at once: ``python -m tests.support.crawl_process PLAN``.

PLAN is JSON, or a file of it: the settings of the ``process``; ``jobs``, each with the path of a ``spider``, its
``arguments`` and perhaps ``settings`` of its own; and perhaps the file for the ``result``: the stats and items of each
job. Without that file, the last line on the standard output is the stats of the last job. The exit status is that of
``scrapy crawl``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from itemadapter import ItemAdapter
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

import tests.support.spiders.pages  # noqa: F401  # likewise


class Items(list[dict[str, Any]]):
    """What a job has scraped, as dicts."""

    def collect(self, item: Any) -> None:
        content = ItemAdapter(item).asdict()
        self.append(content if isinstance(item, dict) else {**content, "_type": type(item).__name__})


def crawl(plan: dict[str, Any]) -> int:
    process = AsyncCrawlerProcess(plan["process"])
    crawls: list[tuple[Crawler, Items]] = []
    for job in plan["jobs"]:
        spider, items = load_object(job["spider"]), Items()
        own = job.get("settings")
        crawler = process.create_crawler(spider) if own is None else Crawler(spider, Settings(own))
        crawler.signals.connect(items.collect, signal=signals.item_scraped)
        crawls.append((crawler, items))
        process.crawl(crawler, **job["arguments"])
    process.start()
    results = []
    for crawler, items in crawls:
        assert crawler.stats is not None
        results.append({"stats": crawler.stats.get_stats(), "items": items})
    if "result" in plan:
        Path(plan["result"]).write_text(json.dumps(results, default=str))
    else:
        print(json.dumps(results[-1]["stats"], default=str), flush=True)
    return int(process.bootstrap_failed)


if __name__ == "__main__":
    given = sys.argv[1]
    sys.exit(crawl(json.loads(given if given.startswith("{") else Path(given).read_text())))
