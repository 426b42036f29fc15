"""What a live session takes of memory, beside its history."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from pathlib import Path

from scrapy import Request
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions import SessionManager
from scrapy_sessions.crawl.in_flight import InFlightRequests
from scrapy_sessions.pools.claim import Claim
from scrapy_sessions.sessions.manager import registry_of
from tests.support.configs import CONFIG

URL = "https://shop.example/p"
SET_COOKIES = [f"c{n}=value-{n}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly".encode() for n in range(10)]
# The bound is that of CPython 3.11 on 64 bits; others lay out their objects a little otherwise.
BOUND = 8_192 if sys.version_info[:2] == (3, 11) else 8_400
SESSIONS = 200


def use(manager: SessionManager, visits: InFlightRequests, session_id: str) -> int:
    """Send two requests in *session_id*, the first answered by cookies, and return the bytes of its history."""
    session = registry_of(manager).obtain_now(Claim(session_id, None))
    for headers in (SET_COOKIES, []):
        request = Request(URL)
        visit = visits.begin(request, session, CONFIG)
        visit.apply_identity(request)
        visit.mark_sent(time.time())
        visit.apply_cookies(request)
        session.jar.store(headers, urlparse_cached(request))
        visit.remove_identity(request)
        visit.record_response(request, Response(URL), time.time(), page=True)
        visit.end()
    return sys.getsizeof(session.history.encoded())


async def test_a_live_session_is_small(tmp_path: Path) -> None:
    """A live session with 10 cookies, after two requests and a save, takes under 8 kB beside its history."""
    visits = InFlightRequests()
    async with SessionManager(tmp_path, namespace="shop") as manager:
        use(manager, visits, "warm-up")  # what the first session brings along is there once
        await manager.flush()
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            history = sum([use(manager, visits, f"s{number}") for number in range(SESSIONS)])
            await manager.flush()
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] - before - history
        finally:
            tracemalloc.stop()
        last = registry_of(manager).ready(f"s{SESSIONS - 1}")
        assert last is not None
        assert (len(last.jar), last.requests, last.revision) == (10, 2, 1)
    assert taken / SESSIONS < BOUND
