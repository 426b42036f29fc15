"""An extension that leaves a run's stats in a file, so that another program can read how it went."""

from __future__ import annotations

import json
from pathlib import Path

from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured

__all__ = ["StatsFile"]


class StatsFile:
    """Writes all stats as JSON to the file named by ``STATS_FILE`` when the run is over."""

    def __init__(self, crawler: Crawler, path: Path) -> None:
        self._crawler = crawler
        self._path = path

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> StatsFile:
        name = crawler.settings.get("STATS_FILE")
        if not name:
            raise NotConfigured
        extension = cls(crawler, Path(name))
        # Not at spider_closed: others still count then.
        crawler.signals.connect(extension.write, signal=signals.engine_stopped)
        return extension

    def write(self) -> None:
        assert self._crawler.stats is not None
        # Dates and the like become text.
        self._path.write_text(json.dumps(self._crawler.stats.get_stats(), default=str, indent=1), encoding="utf-8")
