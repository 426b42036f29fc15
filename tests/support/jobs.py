"""Real crawls in a process of their own: ``crawl(folder, Job("tests.support.spiders.hops.Hops"))``.

All jobs of one call run at once in one process, each with its own settings, as with several spiders in one script.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from itemadapter import ItemAdapter
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler
from scrapy.settings import Settings, default_settings
from scrapy.utils.misc import load_object
from twisted.internet.defer import Deferred, succeed

import scrapy_sessions
from tests.support.resolver import RESOLVER_SETTING, RESOLVER_SETTINGS, LoopbackResolver
from tests.support.waiting import HANG

__all__ = ["ADDON", "ANY_HOST", "MODES", "AnyHostResolver", "Crawl", "Job", "crawl"]

ADDON = {"scrapy_sessions.SessionsAddon": 300}

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

_BASE: dict[str, Any] = {
    "ADDONS": ADDON,
    "SESSIONS_STORE": "memory://",
    "TELNETCONSOLE_ENABLED": False,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    "URLLENGTH_LIMIT": 0,  # URLs tell the site what to answer
    "CLOSESPIDER_TIMEOUT": HANG,
}
# Not tldextract's: at its first use Scrapy's own cookies middleware asks the network for the suffix list, without need.
_ERROR = re.compile(r"^\S+ \S+ \[(?!tldextract)[^\]]*\] (?:ERROR|CRITICAL): .*$", re.MULTILINE)


class AnyHostResolver(LoopbackResolver):
    """Answers every name with 127.0.0.1: a crawl can then visit hosts under real public suffixes."""

    def getHostByName(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        return succeed("127.0.0.1")


ANY_HOST: dict[str, Any] = {RESOLVER_SETTING: f"{__name__}.{AnyHostResolver.__name__}"}


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
        """The lines of the log that tell of an error."""
        return _ERROR.findall(self.log)

    def item(self, **wanted: Any) -> dict[str, Any]:
        """The one item that has the fields *wanted*."""
        (found,) = (item for item in self.items if all(item.get(name) == value for name, value in wanted.items()))
        return found


def crawl(
    folder: Path,
    *jobs: Job,
    mode: str = "asyncio",
    errors: bool = False,
    environment: Mapping[str, str] | None = None,
    **settings: Any,
) -> list[Crawl]:
    """Run *jobs* to their end with *folder* as their working directory, and return how each went.

    *settings* are those of all jobs; *environment* comes on top of that of the tests. Unless *errors* are expected,
    one in the log fails the test.
    """
    common = {**_BASE, **settings}
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
    # The package under test first, wherever it stands: tox tests the installed one.
    path = [str(Path(scrapy_sessions.__file__).parents[1]), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(plan_file)],
        cwd=folder,
        env={**_without_proxies(), "PYTHONPATH": os.pathsep.join(path), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=2 * HANG,  # time to close and to report the log, when the crawl hangs
        check=False,
    )
    log = (log_file.read_text(errors="replace") if log_file.exists() else "") + done.stdout + done.stderr
    assert done.returncode == 0, log
    assert result_file.exists(), log
    crawls = [Crawl(result["stats"], result["items"], log) for result in json.loads(result_file.read_text())]
    assert "closespider_timeout" not in {each.stats.get("finish_reason") for each in crawls}, log[-20000:]
    if not errors and crawls[0].errors:
        pytest.fail("\n".join([*crawls[0].errors, log[-20000:]]))
    return crawls


def _without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


class _Items(list[dict[str, Any]]):
    def collect(self, item: Any) -> None:
        content = ItemAdapter(item).asdict()
        self.append(content if isinstance(item, dict) else {**content, "_type": type(item).__name__})


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    process = AsyncCrawlerProcess(plan["process"])
    crawls: list[tuple[Crawler, _Items]] = []
    for job in plan["jobs"]:
        crawler, items = Crawler(load_object(job["spider"]), Settings(job["settings"])), _Items()
        crawler.signals.connect(items.collect, signal=signals.item_scraped)
        crawls.append((crawler, items))
        process.crawl(crawler, **job["arguments"])
    process.start()
    results = []
    for crawler, items in crawls:
        assert crawler.stats is not None
        results.append({"stats": crawler.stats.get_stats(), "items": items})
    Path(plan["result"]).write_text(json.dumps(results, default=str))


if __name__ == "__main__":
    main()
