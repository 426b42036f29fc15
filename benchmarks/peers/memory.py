"""Worker: what a crawl over many sessions takes of memory, and what one session does."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from pathlib import Path
from typing import Any

from chain import PAGES_A_SECOND, URL, announce, downloads, opened
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.utils.misc import load_object
from serve import serve


async def crawl(settings: dict[str, Any], key: str, saver: str, sessions: int, cookies: int) -> float:
    """Crawl over *sessions*, two requests to each, of which the first is answered by *cookies*.

    Return the most memory that this process has held, in MB: its resident set.
    """
    async with opened(settings) as crawler:
        send = downloads(crawler)
        await announce(crawler)
        flush = crawler.get_extension(load_object(saver)).manager.flush
        headers = [f"c{c}=value-{c}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly" for c in range(cookies)]
        for number in range(2 * sessions):
            request = Request(f"{URL}p/{number}", meta={key: f"s{number // 2}"})
            set_cookies = [] if number % 2 else headers
            await send(request, HtmlResponse(request.url, headers={"Set-Cookie": set_cookies}, request=request))
            if number % PAGES_A_SECOND == PAGES_A_SECOND - 1:
                await flush()
    return _most_resident()


async def live(settings: dict[str, Any], key: str, saver: str, sessions: int, cookies: int, actions: int) -> float:
    """Return the bytes that each of *sessions* takes which had *cookies* set, a request more, *actions*, and a save."""
    async with opened(settings) as crawler:
        send = downloads(crawler)
        await announce(crawler)
        manager = crawler.get_extension(load_object(saver)).manager
        await _use(send, key, "warm-up", cookies)  # what the first session brings along is there once
        await manager.flush()
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(sessions):
            await _use(send, key, f"s{number}", cookies)
            session = await manager.get(f"s{number}")
            for action in range(actions):
                session.record(f"GET {URL}p/{action} 200")
        del session
        await manager.flush()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return (after - before) / sessions


async def _use(send: Any, key: str, session_id: str, cookies: int) -> None:
    headers = [f"c{c}=value-{c}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly" for c in range(cookies)]
    for set_cookies in (headers, []):
        request = Request(URL, meta={key: session_id})
        await send(request, HtmlResponse(URL, headers={"Set-Cookie": set_cookies}, request=request))


def _most_resident() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone: what getrusage tells goes back to before it was begun
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # noqa: PLC0415  # Windows has none

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    serve({"crawl": crawl, "live": live})
