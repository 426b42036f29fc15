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


def is_ready(session: SessionRuntime, now: float, host: str = "") -> bool:
    """Whether a request of *session* may go to *host* at *now* (``time.monotonic()``)."""
    if now < session.not_before or session.queue or is_full(session):
        return False
    return not session.pauses or not session.paused_for(host, now)


async def wait_turn(
    session: SessionRuntime, closing: ShutdownGuard, host: str = "", *, alone: bool = False, ahead: bool = False
) -> None:
    """Wait until a request of *session* may go to *host*, or until no request is sent in it any more.

    A pause of the host is waited for outside the queue, as it holds for no request to another host. First come, first
    served: the others are woken when the caller yields to the event loop, so it must have gone by then. Raises
    :exc:`~scrapy_sessions.exceptions.CrawlClosing`.

    :param alone: wait until no request is in flight, for an ``alone()`` block
    :param ahead: wait for the first in the queue only: what it asks decides about the others
    """
    while True:
        await _wait_for_pause(session, closing, host)
        await _wait_in_queue(session, closing, alone, ahead)
        if not session.pauses or not session.paused_for(host, time.monotonic()) or _has_ended(session):
            return


async def _wait_for_pause(session: SessionRuntime, closing: ShutdownGuard, host: str) -> None:
    while session.pauses and not _has_ended(session):
        seconds = session.paused_for(host, time.monotonic())
        if seconds <= 0:
            return
        # Other processes know that requests wait here by the session's last activity only.
        beat = min(seconds, session.idle_timeout / 2 or seconds)
        await closing.wait(asyncio.wait([session.ended()], timeout=beat))
        if seconds > beat:
            session.last_activity = time.time()
            session.changed()


def _has_ended(session: SessionRuntime) -> bool:
    return session.closed or session.status == "retired"


async def _wait_in_queue(session: SessionRuntime, closing: ShutdownGuard, alone: bool, ahead: bool) -> None:
    if session.queue is None:
        session.queue = deque()  # only now: an empty one takes 600 bytes
    queue = session.queue
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    queue.insert(1 if ahead else len(queue), turn)
    try:
        if queue[0] is not turn:
            await closing.wait(turn)
        while not _has_ended(session):
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


async def wait_pause(session: SessionRuntime, closing: ShutdownGuard, host: str) -> None:
    """Wait for the delay of *session* and its pause at *host* only. Raises as :func:`wait_turn`."""
    await _wait_for_pause(session, closing, host)
    while (seconds := session.not_before - time.monotonic()) > 0:
        await closing.sleep(seconds)


def postpone(session: SessionRuntime, delay: float) -> None:
    """A request of *session* goes now: the next one may go *delay* seconds later."""
    session.spacing = delay
    session.not_before = time.monotonic() + delay
