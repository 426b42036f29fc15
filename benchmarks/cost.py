"""CPU per request of all session middlewares, SQLite saving on, against Scrapy's ``CookiesMiddleware`` alone.

``python -m benchmarks.cost``: three chains in one process, interleaved: with cookies off, with Scrapy's, with ours.
What cookies cost is a chain less the one with cookies off. Medians over the rounds; the ratio is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.chain import chain, cpu_per_request, fill, traffic
from scrapy_sessions.extension import SessionsExtension

ADDON = {"ADDONS": {"scrapy_sessions.SessionsAddon": 300}}


async def measure(rounds: int, n: int, set_cookie_every: int) -> dict[str, list[float]]:
    """Return the microseconds per request of each chain, by round."""
    with tempfile.TemporaryDirectory() as folder:
        ours = {**ADDON, "SESSIONS_STORE": f"sqlite:///{Path(folder) / 'sessions.db'}"}
        chains = {
            "off": ({"COOKIES_ENABLED": False}, "cookiejar"),
            "scrapy": ({}, "cookiejar"),
            "ours": (ours, "session_id"),
        }
        async with AsyncExitStack() as stack:
            opened = {}
            for name, (settings, key) in chains.items():
                crawler, middlewares = await stack.enter_async_context(chain(settings))
                await fill(middlewares, key)
                flush = SessionsExtension.of(crawler).manager.flush if name == "ours" else None
                opened[name] = middlewares, key, flush
            results: dict[str, list[float]] = {name: [] for name in chains}
            for number in range(rounds + 1):
                for name, (middlewares, key, flush) in opened.items():
                    pairs = list(traffic(n, key, set_cookie_every=set_cookie_every))
                    gc.collect()
                    cost = await cpu_per_request(middlewares, pairs, flush)
                    if number:  # the first round warms up
                        results[name].append(cost)
            return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4000)
    options = parser.parse_args()
    for every in (10, 1):
        results = asyncio.run(measure(options.rounds, options.requests, every))
        medians = {name: statistics.median(values) for name, values in results.items()}
        scrapy, ours = (medians[name] - medians["off"] for name in ("scrapy", "ours"))
        print(f"Set-Cookie on 1 of {every}: Scrapy {scrapy:.1f} us, ours {ours:.1f} us a request: {ours / scrapy:.2f}x")


if __name__ == "__main__":
    main()
