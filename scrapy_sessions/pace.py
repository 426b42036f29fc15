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

__all__ = ["backlog", "may_go", "must_go_alone", "put_off", "wait_turn"]


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
    """Wait until a request of *session* may go, or until no request goes out in it any more.

    First come, first served: the others look once this one gives way to the event loop, and it must have gone by then.
    Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
    """
    if session.queue is None:
        session.queue = deque()  # only now: an empty one takes 600 bytes
    queue = session.queue
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    queue.append(turn)
    try:
        if queue[0] is not turn:
            await closing.wait(turn)
        while not session.closed and session.status != "retired":
            seconds = session.next_at - time.monotonic()
            if seconds <= 0 and not _is_full(session):
                return
            turn = queue[0] = loop.create_future()
            # Other processes know of who waits here by the session's last activity alone.
            beat = session.idle_timeout / 2 or seconds
            waking = loop.call_later(min(seconds, beat), session.wake_first) if seconds > 0 else None
            try:
                await closing.wait(turn)
            finally:
                if waking is not None:
                    waking.cancel()
            if seconds > beat:
                session.last_activity = time.time()
                session.changed()
    finally:
        queue.remove(turn)
        session.wake_first()


def put_off(session: BrowserSession, delay: float) -> None:
    """A request of *session* goes now: the next one may go *delay* seconds later."""
    session.gap = delay
    session.next_at = time.monotonic() + delay
