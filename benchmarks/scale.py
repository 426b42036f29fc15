"""A crawl's start and its requests, with ever more sessions in the store: ten, a hundred, … a million.

Each start is a process of its own, as caches of any kind would outlive it otherwise. Its time runs, on the wall clock,
from before the crawler is made to the end of the first request through the chain. Scrapy imports most of itself only
when a crawler is made, for half a second that would hide the rest: a first crawl, on an empty store, takes that away.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.chains import OFF, OURS, SCRAPY, Side, session_settings
from benchmarks.figures import Curve, Row, Size, compare
from benchmarks.processes import Worker
from benchmarks.records import fill_store

__all__ = ["measure"]

_FEW = 10


def measure(size: Size) -> list[Row | Curve]:
    """Let stores of all sizes, and chains without sessions, take turns. Of each store, ten sessions are used."""
    sizes = [_FEW]
    while sizes[-1] < size.stored:
        sizes.append(sizes[-1] * 10)
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[int | str, Side] = {"off": OFF, "scrapy": SCRAPY}
        for n in sizes:
            file = Path(folder) / f"{n}.db"
            print(f"  a store of {n} sessions …", file=sys.stderr, flush=True)
            asyncio.run(fill_store(file, n))
            sides[n] = OURS._replace(settings=session_settings(f"sqlite:///{file}"))
        started: dict[int | str, list[float]] = {each: [] for each in sides}
        requests: dict[int | str, list[float]] = {each: [] for each in sides}
        order = list(sides)
        for _ in range(2 * size.rounds - 1):  # more than others have: each process has its luck with memory
            with ExitStack() as stack:
                workers: dict[int | str, Worker] = {}
                for each in order:
                    workers[each], start = _start(stack, sides[each], size.requests)
                    started[each].append(start)
                for _ in range(size.turns):
                    for each, worker in workers.items():
                        requests[each].append(worker.ask("round", n=min(size.requests, size.turn), every=10))
                for worker in workers.values():
                    worker.ask("close")
            order.append(order.pop(0))
    for n in sizes:
        requests[n] = [took - off for took, off in zip(requests[n], requests["off"], strict=True)]
    stock = statistics.median(took - off for took, off in zip(requests["scrapy"], requests["off"], strict=True))
    most, against = sizes[-1], f"{_FEW} stored sessions"
    return [
        compare(
            f"CPU per request, {most} stored sessions",
            requests[most],
            requests[_FEW],
            "us",
            against,
            bound=1.1,
            paired=True,
        ),
        compare(f"start-up to first request, {most} stored", started[most], started[_FEW], "ms", against, bound=1.2),
        Curve("CPU per request", "us", _medians(requests, sizes), ("CookiesMiddleware", stock)),
        Curve(
            "start-up to first request",
            "ms",
            _medians(started, sizes),
            ("a crawl with CookiesMiddleware", statistics.median(started["scrapy"])),
        ),
    ]


def _medians(took: dict[int | str, list[float]], sizes: list[int]) -> tuple[tuple[int, float], ...]:
    return tuple((n, statistics.median(took[n])) for n in sizes)


def _start(stack: ExitStack, side: Side, n: int) -> tuple[Worker, float]:
    """Return a worker that goes on as *side*, warm after *n* requests, and the milliseconds that its start took."""
    worker = stack.enter_context(Worker("chain.py"))
    empty = {**side.settings, "SESSIONS_STORE": "memory://"} if side.saver else dict(side.settings)
    worker.ask("start", settings=empty, key=side.key)
    start = worker.ask("start", settings=dict(side.settings), key=side.key)
    side.open(worker, stack.enter_context(tempfile.TemporaryDirectory()), sessions=_FEW)
    worker.ask("round", n=n, every=10)
    return worker, start
