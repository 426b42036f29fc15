"""When a session may send its next request: its delay, its concurrency, and the pauses that the site asks for.

Waits of ours, before the download slot of the domain, which is never touched: Scrapy's own delay bounds the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from scrapy_sessions.sessions.runtime import SessionRuntime, is_full

if TYPE_CHECKING:
    from scrapy_sessions.crawl.shutdown import ShutdownGuard

__all__ = ["is_ready", "postpone", "wait_pause", "wait_turn"]


def is_ready(session: SessionRuntime, now: float) -> bool:
    """Whether a request of *session* may go at *now* (``time.monotonic()``)."""
    return now >= session.not_before and not session.queue and not is_full(session)


async def wait_turn(session: SessionRuntime, closing: ShutdownGuard, *, alone: bool = False) -> None:
    """Wait until a request of *session* may go, or until no request is sent in it any more.

    First come, first served: the others are woken when the caller yields to the event loop, so it must have gone by
    then. Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.

    :param alone: wait until no request is in flight, for an ``alone()`` block
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
            seconds = session.not_before - time.monotonic()
            if seconds <= 0 and not (is_full(session) or (alone and session.in_flight)):
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


async def wait_pause(session: SessionRuntime, closing: ShutdownGuard) -> None:
    """Wait for the delay and the pauses of *session* only. Raises as :func:`wait_turn`."""
    while (seconds := session.not_before - time.monotonic()) > 0:
        await closing.sleep(seconds)


def postpone(session: SessionRuntime, delay: float) -> None:
    """A request of *session* goes now: the next one may go *delay* seconds later."""
    session.spacing = delay
    session.not_before = time.monotonic() + delay
