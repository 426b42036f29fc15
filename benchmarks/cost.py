"""CPU per request of all session middlewares, saving to SQLite included, against Scrapy's ``CookiesMiddleware`` alone.

Three chains of all downloader middlewares in one process, in turns: with cookies off, with Scrapy's cookies, with
sessions. What cookies cost is a chain less the one with cookies off in the same round.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

from scrapy import Request
from scrapy.core.downloader.middleware import DownloaderMiddlewareManager
from scrapy.http import Response

from benchmarks.chain import (
    ACTIONS,
    COOKIES,
    PAGES_A_SECOND,
    SESSIONS,
    Flush,
    chain,
    cpu_per_request,
    fill,
    traffic,
)
from benchmarks.figures import Figure, Size, compare
from scrapy_sessions.extension import SessionsExtension

__all__ = ["compare_chains", "measure"]

_OFF, _SCRAPY, _OURS = "cookies off", "Scrapy's cookies", "sessions"


def measure(size: Size) -> list[Figure]:
    """Measure with ``Set-Cookie`` on one response of ten, on every one, and with a save for every request."""
    # As many sessions as a second has requests: no two requests share a save.
    many = min(PAGES_A_SECOND, size.requests)
    return [
        asyncio.run(compare_chains("CPU per request, Set-Cookie on 1 of 10", size, bound=1.2)),
        asyncio.run(compare_chains("CPU per request, Set-Cookie on 1 of 1", size, set_cookie_every=1)),
        asyncio.run(compare_chains(f"CPU per request, Set-Cookie on 1 of 10, {many} sessions", size, sessions=many)),
    ]


async def compare_chains(
    name: str,
    size: Size,
    *,
    set_cookie_every: int = 10,
    sessions: int = SESSIONS,
    cookies: int = COOKIES,
    bound: float | None = None,
) -> Figure:
    """Compare what the chains take for a request, with so many *sessions* of so many *cookies* each."""
    with tempfile.TemporaryDirectory() as folder:
        took: dict[str, list[float]] = {name: [] for name in (_OFF, _SCRAPY, _OURS)}
        async with AsyncExitStack() as stack:
            chains = {
                _OFF: await _Chain.open(stack, {"COOKIES_ENABLED": False}),
                _SCRAPY: await _Chain.open(stack, {}),
                _OURS: await _Chain.open(stack, _session_settings(Path(folder)), "session_id"),
            }
            for each in chains.values():
                await fill(each.middlewares, each.key, sessions, cookies)
                # Until every history is as long as it gets: a save then costs what it costs for good.
                warm_up = min(ACTIONS, size.requests) * sessions
                await each.cpu(traffic(warm_up, each.key, set_cookie_every=set_cookie_every, sessions=sessions))
            order = list(chains)
            for _ in range(size.rounds):
                for chosen in order:
                    key = chains[chosen].key
                    pairs = traffic(size.requests, key, set_cookie_every=set_cookie_every, sessions=sessions)
                    took[chosen].append(await chains[chosen].cpu(pairs))
                order.append(order.pop(0))  # each is the first of a round in its turn
    return compare(name, took[_OURS], took[_SCRAPY], "us", "CookiesMiddleware", less=took[_OFF], bound=bound)


class _Chain(NamedTuple):
    middlewares: DownloaderMiddlewareManager
    key: str
    flush: Flush | None

    @classmethod
    async def open(cls, stack: AsyncExitStack, settings: dict[str, Any], key: str = "cookiejar") -> _Chain:
        crawler, middlewares = await stack.enter_async_context(chain(settings))
        sessions = crawler.get_extension(SessionsExtension)
        return cls(middlewares, key, sessions.manager.flush if sessions is not None else None)

    async def cpu(self, pairs: Iterable[tuple[Request, Response]]) -> float:
        return await cpu_per_request(self.middlewares, list(pairs), self.flush)


def _session_settings(folder: Path) -> dict[str, Any]:
    return {
        "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
        "SESSIONS_STORE": f"sqlite:///{folder / 'sessions.db'}",
        # Saved is when the measure says so: by the timer, a save could fall into the time of another chain.
        "SESSIONS_SAVE_INTERVAL": 3600,
        "SESSIONS_HISTORY_LIMIT": ACTIONS,
    }
