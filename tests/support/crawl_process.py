"""Run one crawl in this process: ``python -m tests.support.crawl_process Spider '{"SETTING": …}' '{"argument": …}'``.

Its last line on the standard output is the stats as JSON. The exit status is that of ``scrapy crawl``.

With ``--fork`` instead, each line of the standard input, a JSON list of these three and the path of a pipe to write to,
is such a crawl, in a process of its own that need not start Python and import Scrapy first. Its id is the answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from scrapy.crawler import AsyncCrawlerProcess

import scrapy_sessions.addon  # noqa: F401  # so that forks find it imported
from tests.support.spiders import pages


def crawl(spider: str, settings: dict[str, Any], arguments: dict[str, Any]) -> int:
    process = AsyncCrawlerProcess(settings)
    crawler = process.create_crawler(getattr(pages, spider))
    process.crawl(crawler, **arguments)
    process.start()
    assert crawler.stats is not None
    print(json.dumps(crawler.stats.get_stats(), default=str), flush=True)
    return int(process.bootstrap_failed)


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    for line in sys.stdin:
        spider, settings, arguments, pipe = json.loads(line)
        child = os.fork()
        if not child:
            os.dup2(os.open(pipe, os.O_WRONLY), 1)
            os._exit(crawl(spider, settings, arguments))
        print(child, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--fork"]:
        serve()
    else:
        sys.exit(crawl(sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])))
