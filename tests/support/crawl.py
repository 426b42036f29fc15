"""Crawls: in the reactor of the tests, with :func:`crawl`, or in a process of their own.

- :func:`crawl_jobs` runs several spiders to their end in one process, with and without a reactor;
- :func:`run` runs one, with the add-on and little else, and :func:`start` only starts it, for tests that interrupt it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from scrapy import Spider
from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.settings import default_settings

import scrapy_sessions
from tests.support import launcher
from tests.support.resolver import RESOLVER_SETTINGS
from tests.support.spiders.pages import Pages, Raising
from tests.support.waiting import HANG

__all__ = [
    "ADDON",
    "ENVIRONMENT",
    "MODES",
    "PLAIN",
    "Crawl",
    "Finished",
    "Job",
    "command",
    "crawl",
    "crawl_jobs",
    "run",
    "session_stats",
    "sqlite_url",
    "start",
    "status_of_a_failed_start",
]

Settings: TypeAlias = Mapping[str, Any]

ADDON = {"scrapy_sessions.SessionsAddon": 300}

PLAIN: Settings = {
    "ADDONS": ADDON,
    "ROBOTSTXT_OBEY": False,
    "RETRY_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
}
"""The add-on, and nothing that sends requests of its own."""

MODES = [
    "asyncio",
    pytest.param(
        "reactorless",
        marks=pytest.mark.skipif(
            not hasattr(default_settings, "TWISTED_REACTOR_ENABLED"), reason="this Scrapy can't do without a reactor"
        ),
    ),
]
"""For ``parametrize``: with Twisted's asyncio reactor, and without a reactor. Without, hosts must be IP addresses."""

# The package under test may be installed, or part of this checkout; the tests always are part of the checkout.
_PATHS = (str(Path(__file__).with_name("import_path")), str(Path(scrapy_sessions.__file__).parents[1]))
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(_PATHS), "PYTHONUNBUFFERED": "1"}
"""The environment in which a process finds the package under test, and the tests."""

_PROGRAM = [sys.executable, "-m", "tests.support.crawl_process"]

_JOBS: Settings = {
    "ADDONS": ADDON,
    "SESSIONS_STORE": "memory://",
    "TELNETCONSOLE_ENABLED": False,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    "URLLENGTH_LIMIT": 0,  # URLs tell the site what to answer
    "CLOSESPIDER_TIMEOUT": HANG,
}
# Not tldextract's: at its first use Scrapy's own cookies middleware asks the network for the suffix list, without need.
_ERROR = re.compile(r"^\S+ \S+ \[(?!tldextract)[^\]]*\] (?:ERROR|CRITICAL): .*$", re.MULTILINE)


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
class Job:
    """One spider to run, by its import path; *arguments* are those of the spider, *settings* come on top of others."""

    spider: str
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Crawl:
    """How a job went. ``items`` are dicts, with the name of the item's class under ``"_type"`` unless it was a dict;
    ``log`` is that of all jobs of the call."""

    stats: dict[str, Any]
    items: list[dict[str, Any]]
    log: str

    @property
    def errors(self) -> list[str]:
        """The lines of the log that report an error."""
        return _ERROR.findall(self.log)

    def item(self, **wanted: Any) -> dict[str, Any]:
        """The one item that has the fields *wanted*."""
        (found,) = (item for item in self.items if all(item.get(name) == value for name, value in wanted.items()))
        return found


def crawl_jobs(
    folder: Path,
    *jobs: Job,
    mode: str = "asyncio",
    errors: bool = False,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Crawl]:
    """Run *jobs* at once to their end, with *folder* as their working directory, and return how each went.

    *settings* are those of all jobs; *environment* comes on top of that of the tests. Unless *errors* are expected,
    one in the log fails the test.
    """
    common = {**_JOBS, **settings}
    if mode == "reactorless":
        common["TWISTED_REACTOR_ENABLED"] = False
    else:
        common = {**RESOLVER_SETTINGS, **common}
    folder.mkdir(parents=True, exist_ok=True)
    log_file, plan_file, result_file = folder / "crawl.log", folder / "plan.json", folder / "result.json"
    for file in (log_file, result_file):
        file.unlink(missing_ok=True)
    # Scrapy lays the settings of the process over those of a crawler: only what must be there is.
    process = {name: value for name, value in common.items() if name.startswith(("LOG_", "TWISTED_", "DNS_"))}
    plan = {
        "process": {**process, "LOG_FILE": str(log_file)},
        "jobs": [
            {"spider": job.spider, "arguments": job.arguments, "settings": {**common, **job.settings}} for job in jobs
        ],
        "result": str(result_file),
    }
    plan_file.write_text(json.dumps(plan))
    without_proxies = {name: value for name, value in ENVIRONMENT.items() if not name.lower().endswith("_proxy")}
    done = launcher.run(
        [*_PROGRAM, str(plan_file)],
        cwd=folder,
        env={**without_proxies, **(environment or {})},
        timeout=2 * HANG,  # time to close and to report the log, when the crawl hangs
    )
    log = (log_file.read_text(errors="replace") if log_file.exists() else "") + done.stdout + done.stderr
    assert done.returncode == 0, log
    assert result_file.exists(), log
    crawls = [Crawl(result["stats"], result["items"], log) for result in json.loads(result_file.read_text())]
    assert "closespider_timeout" not in {each.stats.get("finish_reason") for each in crawls}, log[-20000:]
    if not errors and crawls[0].errors:
        pytest.fail("\n".join([*crawls[0].errors, log[-20000:]]))
    return crawls


def command(spider: type[Spider], settings: Settings, arguments: Settings | None = None) -> Sequence[str]:
    """The command line that crawls with *spider*."""
    job = {"spider": f"{spider.__module__}.{spider.__name__}", "arguments": dict(arguments or {})}
    return [*_PROGRAM, json.dumps({"process": {**PLAIN, **settings}, "jobs": [job]})]


def start(
    spider: type[Spider], settings: Settings, arguments: Settings | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start a crawl in its own process, with what the spider says on its standard output."""
    return subprocess.Popen(
        command(spider, settings, arguments), text=True, stdout=subprocess.PIPE, env=ENVIRONMENT, **options
    )


@dataclass(frozen=True)
class Finished:
    """A crawl that ran in its own process."""

    status: int
    log: str
    stats: Mapping[str, Any]


def run(spider: type[Spider], settings: Settings, arguments: Settings | None = None, **environment: str) -> Finished:
    """Crawl in a process of its own, to the end, with *environment* beside the usual one.

    The stats are the last line of its standard output.
    """
    done = launcher.run(command(spider, settings, arguments), env={**ENVIRONMENT, **environment}, timeout=HANG)
    lines = done.stdout.splitlines()
    return Finished(done.returncode, done.stderr, json.loads(lines[-1]) if lines else {})


@cache
def status_of_a_failed_start() -> int:
    """The exit status of a crawl with an extension, not ours, that raises when it is made: 0 before Scrapy 2.15."""
    done = run(Pages, {"ADDONS": {}, "EXTENSIONS": {f"{Raising.__module__}.{Raising.__name__}": 0}})
    assert "raised when it was made" in done.log
    return done.status
