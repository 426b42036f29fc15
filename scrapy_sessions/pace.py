"""When a session may send its next request: its delay, its concurrency, and the pauses that the site asks for.

Waits of ours, before the download slot of the domain, which is never touched: Scrapy's own delay bounds the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from scrapy_sessions.browser_session import BrowserSession

if TYPE_CHECKING:
    from scrapy_sessions.closing import Closing

__all__ = ["backlog", "free", "may_go", "must_go_alone", "put_off", "wait_turn"]


def may_go(session: BrowserSession, now: float) -> bool:
    """Whether a request of *session* may go at *now* (``time.monotonic()``)."""
    return now >= session.next_at and not session.queue and not _is_full(session)


def backlog(session: BrowserSession, now: float) -> tuple[float, int]:
    """How long a request of *session* would wait at *now*, to be compared: the seconds of delays, then the requests
    before it, whose ends nobody knows."""
    waiting = len(session.queue or ())
    return max(session.next_at - now, 0.0) + waiting * session.gap, waiting + (waiting > 0 or _is_full(session))


def must_go_alone(session: BrowserSession) -> bool:
    """Whether *session* is one of several anonymous ones, and has had no response yet.

    Requests that go out side by side before the site has set its first cookie would make several visits of one.
    """
    return session.alone_first and not session.responses


def _is_full(session: BrowserSession) -> bool:
    if session.in_flight and must_go_alone(session):
        return True
    return bool(session.concurrency) and session.in_flight >= session.concurrency


async def wait_turn(session: BrowserSession, closing: Closing) -> None:
    """Wait until a request of *session* may go. First come, first served.

    The others look once this one gives way to the event loop: it must have gone by then.
    Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
    """
    if session.queue is None:
        session.queue = deque()  # only now: an empty one takes 600 bytes
    queue = session.queue
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    queue.append(turn)
    try:
        if queue[0] is not turn:
            await closing.wait(turn)
        while True:
            seconds = session.next_at - time.monotonic()
            if seconds > 0:
                await closing.sleep(seconds)  # the site may ask for a longer pause meanwhile
            elif _is_full(session):
                turn = queue[0] = asyncio.get_running_loop().create_future()
                await closing.wait(turn)
            else:
                return
    finally:
        queue.remove(turn)
        free(session)


def put_off(session: BrowserSession, delay: float) -> None:
    """A request of *session* goes now: the next one may go *delay* seconds later."""
    session.gap = delay
    session.next_at = time.monotonic() + delay


def free(session: BrowserSession) -> None:
    """Let the first of those who wait for *session* look whether it may go."""
    if session.queue and not session.queue[0].done():
        session.queue[0].set_result(None)
