"""What sessions add to a page of scrapy-playwright, and an open page to the HTTP requests of its session."""

from __future__ import annotations

import shutil
import statistics
from importlib.util import find_spec
from typing import Any

from benchmarks.crawl import website
from benchmarks.figures import Figure, Missing, Row, Size, compare
from benchmarks.processes import Worker

__all__ = ["measure"]

_PAGE = 30.0  # ms
_HTTP = 1.1  # times the same crawl without a page in the browser
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_HANDLER = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-proxy-server"]


def measure(size: Size) -> list[Row]:
    """Let crawls take turns: in the browser with sessions and without, and over HTTP with a browser and without."""
    chromium = next(filter(None, map(shutil.which, _NAMES)), None)
    if chromium is None or find_spec("scrapy_playwright") is None:
        why = "left out: not installed: apt install chromium, pip install 'scrapy-persistent-sessions[playwright]'"
        return [Missing("a page in the browser", "scrapy-playwright", why)]
    plain = {
        "DOWNLOAD_HANDLERS": {"http": _HANDLER},
        "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": chromium, "args": _ARGUMENTS},
    }
    with_sessions = {**plain, "ADDONS": {"scrapy_sessions.SessionsAddon": 300}, "SESSIONS_STORE": "memory://"}
    with website() as url, Worker("browser.py") as first, Worker("browser.py") as second:
        browsed = max(size.pages // 20, 5)
        pages = _in_turns(
            size.rounds,
            (first, "browse", {"url": url, "pages": browsed, "settings": with_sessions}),
            (second, "browse", {"url": url, "pages": browsed, "settings": plain}),
        )
        requests = _in_turns(
            size.rounds,
            (first, "crawl", {"url": url, "pages": size.pages, "settings": with_sessions, "browsed": 1}),
            (second, "crawl", {"url": url, "pages": size.pages, "settings": with_sessions, "browsed": 0}),
        )
    added = statistics.median(ours - other for ours, other in zip(*pages, strict=True))
    other = statistics.median(pages[1])
    name = "what a session adds to a page in the browser, 20 cookies and 100 entries of storage"
    return [
        Figure(name, added, other, "ms", "the whole page by scrapy-playwright", _PAGE, absolute=True),
        compare(
            "an HTTP request of a session with a browser context, CPU",
            *requests,
            "ms",
            "the same crawl without the browser",
            bound=_HTTP,
        ),
    ]


def _in_turns(rounds: int, *sides: tuple[Worker, str, dict[str, Any]]) -> list[list[float]]:
    """Return what each of the two *sides* took, by round; a first round warms up."""
    took: list[list[float]] = [[], []]
    order = list(zip(took, sides, strict=True))
    for number in range(rounds + 1):
        for times, (worker, command, arguments) in order:
            time = worker.ask(command, **arguments)
            if number:
                times.append(time)
        order.reverse()
    return took
