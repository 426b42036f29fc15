"""Crawls: in the reactor of the tests, or in a process of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from scrapy import Spider
from scrapy.crawler import AsyncCrawlerRunner, Crawler

import scrapy_sessions
from tests.support.waiting import HANG

__all__ = ["ENVIRONMENT", "PLAIN", "Finished", "command", "crawl", "run", "session_stats", "sqlite_url", "start"]

Settings: TypeAlias = Mapping[str, Any]

PLAIN: Settings = {
    "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
    "ROBOTSTXT_OBEY": False,
    "RETRY_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
}
"""The add-on, and nothing that sends requests of its own."""

# The package under test may be installed, or stand in this checkout; the tests always stand in the checkout.
_ROOTS = dict.fromkeys((str(Path(scrapy_sessions.__file__).parents[1]), str(Path(__file__).parents[2])))
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(_ROOTS), "PYTHONUNBUFFERED": "1"}
"""The environment in which a process finds the package under test, and the tests."""


def sqlite_url(path: Path) -> str:
    """``SESSIONS_STORE`` for the file *path*."""
    return f"sqlite:///{path}"


def session_stats(crawler: Crawler) -> dict[str, Any]:
    """The stats under ``sessions/``, by what follows."""
    assert crawler.stats is not None
    return {
        name.removeprefix("sessions/"): value
        for name, value in crawler.stats.get_stats().items()
        if name.startswith("sessions/")
    }


async def crawl(
    spider: type[Spider], settings: Settings, *, prepare: Callable[[Crawler], None] | None = None, **arguments: Any
) -> Crawler:
    """Crawl in the reactor that runs, to the end, and return the crawler. *prepare* gets it before it starts.

    Raises :exc:`TimeoutError` for a crawl that doesn't end.
    """
    runner = AsyncCrawlerRunner({**PLAIN, **settings})
    crawler = runner.create_crawler(spider)
    if prepare is not None:
        prepare(crawler)
    await asyncio.wait_for(runner.crawl(crawler, **arguments), HANG)
    return crawler


@dataclass(frozen=True)
class Finished:
    """A crawl that ran in its own process."""

    status: int
    log: str
    stats: Mapping[str, Any]


def command(spider: str, settings: Settings, arguments: Settings | None = None) -> Sequence[str]:
    """The command line that crawls with the class *spider* of :mod:`tests.support.spiders.pages`."""
    given = json.dumps({**PLAIN, **settings})
    return [sys.executable, "-m", "tests.support.crawl_process", spider, given, json.dumps(dict(arguments or {}))]


def start(spider: str, settings: Settings, arguments: Settings | None = None, **options: Any) -> subprocess.Popen[str]:
    """Start a crawl in its own process, with what the spider says on its standard output."""
    return subprocess.Popen(
        command(spider, settings, arguments), text=True, stdout=subprocess.PIPE, env=ENVIRONMENT, **options
    )


def run(spider: str, settings: Settings, arguments: Settings | None = None, **environment: str) -> Finished:
    """Crawl in a process of its own, to the end, with *environment* beside the usual one.

    The stats are the last line of its standard output.
    """
    done = subprocess.run(
        command(spider, settings, arguments),
        text=True,
        capture_output=True,
        env={**ENVIRONMENT, **environment},
        timeout=HANG,
        check=False,
    )
    lines = done.stdout.splitlines()
    return Finished(done.returncode, done.stderr, json.loads(lines[-1]) if lines else {})


@cache
def status_of_a_failed_start() -> int:
    """The exit status of a crawl with an extension, not ours, that raises when it is made: 0 before Scrapy 2.15."""
    done = run("Pages", {"ADDONS": {}, "EXTENSIONS": {"tests.support.spiders.pages.Raising": 0}})
    assert "raised when it was made" in done.log
    return done.status
