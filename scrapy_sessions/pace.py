"""When a session may send its next request: its delay, its concurrency, and the pauses that the site asks for.

Waits of ours, before the download slot of the domain, which is never touched: Scrapy's own delay bounds the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from scrapy_sessions.browser_session import BrowserSession

if TYPE_CHECKING:
    from scrapy_sessions.closing import Closing

__all__ = ["backlog", "free", "may_go", "must_go_alone", "take_turn"]


def may_go(session: BrowserSession, now: float) -> bool:
    """Whether a request of *session* may go at *now* (``time.monotonic()``)."""
    return now >= session.next_at and not session.queue and not _is_full(session)


def backlog(session: BrowserSession, now: float) -> float:
    """How long a request of *session* would wait at *now*, to be compared: in seconds, or in requests before it."""
    waiting = len(session.queue or ())
    return max(session.next_at - now, 0.0) + (waiting + 1 if waiting or _is_full(session) else 0)


def must_go_alone(session: BrowserSession) -> bool:
    """Whether *session* is one of several anonymous ones, and has had no response yet.

    Requests that go out side by side before the site has set its first cookie would make several visits of one.
    """
    return session.alone_first and not session.responses


def _is_full(session: BrowserSession) -> bool:
    if session.in_flight and must_go_alone(session):
        return True
    return bool(session.concurrency) and session.in_flight >= session.concurrency


async def take_turn(session: BrowserSession, delay: float, closing: Closing) -> None:
    """Wait until the next request of *session* may go, and put the one after it *delay* seconds later.

    First come, first served. Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
    """
    if session.queue is None:
        session.queue = deque()  # only now: an empty one takes 600 bytes
    queue = session.queue
    waited = False
    while True:
        if _is_full(session) or (queue and not waited):
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if waited:
                queue.appendleft(freed)
            else:
                queue.append(freed)
            try:
                await closing.wait(freed)
            finally:
                queue.remove(freed)  # only now: who comes between sees that the place is not free
            waited = True
            continue
        now = time.monotonic()
        at = max(now, session.next_at)
        session.next_at = at + delay
        if at <= now:
            return
        paused = session.pauses
        await closing.sleep(at - now)
        if session.pauses == paused and not _is_full(session):
            return
        # The site asked for a pause meanwhile, or others were let in: take the next place.


def free(session: BrowserSession) -> None:
    """Wake those who wait for a place in *session*: as many as there are places, but all when it has no limit."""
    queue = session.queue or ()
    places = session.concurrency - session.in_flight if session.concurrency else len(queue)
    for freed in islice(queue, max(places, 0)):
        if not freed.done():
            freed.set_result(None)
