"""Instructions per operation of the hot paths, beside their times: they repeat from run to run, times don't."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import NamedTuple

from benchmarks import pool, saving
from benchmarks.callgrind import WITHOUT_VALGRIND, CountedWorker, has_valgrind
from benchmarks.chains import COOKIES, OFF, OURS, OURS_WITH_META, SCRAPY, Side
from benchmarks.crawl import crawl, website
from benchmarks.environments import CRAWLEE, PeerUnavailable, python_of
from benchmarks.figures import Figure, Missing, Row, Size

__all__ = ["measure"]

_PARTS = {"k instr": 1e3, "M instr": 1e6}
_WARM_UP = 50  # pages of the crawl that comes before the counted one, and loads what the first one loads

Counts = dict[str, float]


class _Comparison(NamedTuple):
    name: str
    ours: str
    other: str
    against: str
    less: str | None = None
    bound: float | None = None
    unit: str = "k instr"


def measure(size: Size) -> list[Row]:
    """Count what each side takes, and compare."""
    comparisons = [
        *(
            _Comparison(
                f"instructions per request, Set-Cookie on 1 of {every}",
                f"ours {every}",
                f"scrapy {every}",
                "CookiesMiddleware",
                f"off {every}",
            )
            for every in (10, 1)
        ),
        _Comparison(
            "instructions per request, all middlewares, with Profile.meta",
            "meta 10",
            "ours 10",
            "without Profile.meta",
            bound=1.05,
        ),
        _Comparison(
            f"instructions of a whole crawl of {size.pages} pages",
            "ours crawl",
            "scrapy crawl",
            "stock Scrapy with cookies",
            bound=1.0,
            unit="M instr",
        ),
        _Comparison("instructions per session saved", "save", "raw", "one executemany of the same bytes"),
        _Comparison(
            f"instructions per pick from {size.changed}", "ours_pool.py pick", "crawlee_pool.py pick", CRAWLEE.title
        ),
        _Comparison(
            f"instructions per cookie header, {COOKIES} cookies",
            "ours_pool.py header",
            "crawlee_pool.py header",
            CRAWLEE.title,
        ),
        _Comparison("instructions per Set-Cookie", "ours_pool.py take", "crawlee_pool.py take", CRAWLEE.title),
    ]
    why = "left out" if not size.counts else None if has_valgrind() else WITHOUT_VALGRIND
    if why is not None:
        return [Missing(each.name, each.against, why) for each in comparisons]
    counts, without_crawlee = _count(size)
    rows: list[Row] = []
    for each in comparisons:
        if each.other in counts:
            less = counts[each.less] if each.less is not None else 0.0
            ours, other = counts[each.ours] - less, counts[each.other] - less
            part = _PARTS[each.unit]
            rows.append(Figure(each.name, ours / part, other / part, each.unit, each.against, each.bound))
        else:
            rows.append(Missing(each.name, each.against, without_crawlee))
    return rows


def _count(size: Size) -> tuple[Counts, str]:
    """Return what was counted, and why crawlee isn't among it if it isn't."""
    jobs: list[Callable[[], Counts]] = [
        # The longest first, so that no core waits for it at the end.
        lambda: _crawl("ours", size.pages),
        lambda: _crawl("scrapy", size.pages),
        lambda: _chain("ours", OURS, size),
        lambda: _chain("meta", OURS_WITH_META, size),
        lambda: _chain("scrapy", SCRAPY, size),
        lambda: _chain("off", OFF, size),
        lambda: _save(size.counted),
        lambda: _pool("ours_pool.py", None, size),
    ]
    why = "left out"
    if size.peers:
        try:
            crawlee = python_of(CRAWLEE)
            jobs.append(lambda: _pool("crawlee_pool.py", crawlee, size))
        except PeerUnavailable as error:
            why = str(error)
    counts: Counts = {}
    # Counts don't mind what else runs: one job for each core.
    with ThreadPoolExecutor(cpu_count()) as threads:
        for found in threads.map(lambda job: job(), jobs):
            counts.update(found)
    return counts, why


def _chain(name: str, side: Side, size: Size) -> Counts:
    with tempfile.TemporaryDirectory() as folder, CountedWorker("chain.py") as worker:
        side.open(worker, folder, sessions=size.sessions)
        worker.warm_up("round", n=size.counted, every=10)
        counts = {f"{name} {every}": worker.per_operation("round", size.counted, every=every) for every in (10, 1)}
        worker.ask("close")
        return counts


def _crawl(side: str, pages: int) -> Counts:
    with website() as url, CountedWorker("crawl.py") as worker:
        crawl(worker, side, url, _WARM_UP, "warm_up")
        return {f"{side} crawl": crawl(worker, side, url, pages, "count")}


def _save(n: int) -> Counts:
    with saving.opened(CountedWorker, 2 * n) as worker:
        worker.warm_up("save", n=2 * n, mark=0)
        worker.warm_up("raw", n=2 * n)
        found: dict[str, list[float]] = {"save": [], "raw": []}
        for mark, times in enumerate((1, 2), 1):
            found["save"].append(worker.count("save", n=times * n, mark=mark))
            found["raw"].append(worker.count("raw", n=times * n))
        return {name: (twice - once) / n for name, (once, twice) in found.items()}


def _pool(script: str, python: object, size: Size) -> Counts:
    counts: Counts = {}
    for sessions, cookies, names in ((size.changed, 0, ("pick",)), (1, COOKIES, ("header", "take"))):
        with pool.opened(CountedWorker, script, python, sessions, cookies) as worker:
            for name in names:
                worker.warm_up(name, n=size.counted)
                counts[f"{script} {name}"] = worker.per_operation(name, size.counted)
    return counts
