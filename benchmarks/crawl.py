"""A whole crawl of a local HTTP server, another process that isn't counted, against stock Scrapy with cookies."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.chains import SAVER, session_settings
from benchmarks.figures import Row, Size, compare
from benchmarks.processes import WORKERS, Worker

__all__ = ["SIDES", "crawl", "measure", "website"]

SIDES: dict[str, dict[str, Any]] = {
    "ours": {"settings": {**session_settings(), "SESSIONS_CLEANUP_INTERVAL": 3600}, "saver": SAVER},
    "scrapy": {"settings": {}},
}


def measure(size: Size) -> list[Row]:
    """Let crawls of both take turns; a first one of each warms up."""
    took: dict[str, list[float]] = {name: [] for name in SIDES}
    with website() as url, Worker("crawl.py") as ours, Worker("crawl.py") as scrapy:
        order = [("ours", ours), ("scrapy", scrapy)]
        for number in range(size.rounds + 1):
            for name, worker in order:
                time = crawl(worker, name, url, size.pages)
                if number:
                    took[name].append(time)
            order.reverse()
    name = f"whole crawl of {size.pages} pages, CPU"
    return [compare(name, took["ours"], took["scrapy"], "ms", "stock Scrapy with cookies")]


def crawl(worker: Worker, side: str, url: str, pages: int, command: str = "ask") -> float:
    """Let *worker* crawl with the settings of *side*, on a store that is new."""
    with tempfile.TemporaryDirectory() as folder:
        options = dict(SIDES[side])
        options["settings"] = {
            name: value.replace("{folder}", folder) if isinstance(value, str) else value
            for name, value in options["settings"].items()
        }
        return getattr(worker, command)("crawl", url=url, pages=pages, **options)


@contextmanager
def website() -> Iterator[str]:
    """Give the URL of the local site."""
    with subprocess.Popen([sys.executable, str(WORKERS / "web.py")], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()
