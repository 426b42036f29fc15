"""A crawl's start and its requests, with many sessions in the store against ten.

Each start is a process of its own, as caches of any kind would outlive it otherwise. Its time runs, on the wall clock,
from before the crawler is made to the end of the first request through the chain. Scrapy imports most of itself only
when a crawler is made, for half a second that would hide the rest: a first crawl, on an empty store, takes that away.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chain import chain, cpu_per_request, send, traffic
from benchmarks.figures import Figure, Size, compare
from benchmarks.records import fill_store
from scrapy_sessions.extension import SessionsExtension

__all__ = ["measure"]

_FEW = 10


def measure(size: Size) -> list[Figure]:
    """Alternate between the two stores; the same ten sessions are used of both."""
    with tempfile.TemporaryDirectory() as folder:
        files = {n: Path(folder) / f"{n}.db" for n in (_FEW, size.stored)}
        started: dict[int, list[float]] = {n: [] for n in files}
        requests: dict[int, list[float]] = {n: [] for n in files}
        for n, file in files.items():
            asyncio.run(fill_store(file, n))
        for _ in range(size.rounds):
            for n, file in files.items():
                command = [sys.executable, "-m", "benchmarks.start", str(file), str(size.requests)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                start, request = json.loads(output)
                started[n].append(start)
                requests[n].append(request)
        against = f"{_FEW} stored sessions"
        return [
            compare(f"start-up, {size.stored} stored sessions", started[size.stored], started[_FEW], "ms", against),
            compare(
                f"CPU per request, {size.stored} stored sessions",
                requests[size.stored],
                requests[_FEW],
                "us",
                f"{against}; the whole chain",
            ),
        ]


async def start(file: Path, n: int) -> tuple[float, float]:
    """Start a crawl on the store *file*; return the milliseconds it took, and the microseconds of CPU per request."""
    warm_up, first, *others = traffic(n + 2, "session_id", set_cookie_every=10, sessions=_FEW)
    settings = {
        "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
        "SESSIONS_STORE": f"sqlite:///{file}",
        "SESSIONS_SAVE_INTERVAL": 3600,
    }
    async with chain({**settings, "SESSIONS_STORE": "memory://"}) as (_, middlewares):
        await send(middlewares, *warm_up)
    began = time.perf_counter()
    async with chain(settings) as (crawler, middlewares):
        await send(middlewares, *first)
        took = (time.perf_counter() - began) * 1e3
        flush = SessionsExtension.of(crawler).manager.flush
        return took, await cpu_per_request(middlewares, others, flush)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(start(Path(sys.argv[1]), int(sys.argv[2])))))
