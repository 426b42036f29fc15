"""When a session may send its next request: its delay, its concurrency, its budget, and the pauses that the site asks
for.

Waits of ours, before the download slot of the domain, which is never touched: Scrapy's own delay bounds the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from scrapy_sessions.sessions.runtime import SessionRuntime, is_full

if TYPE_CHECKING:
    from scrapy_sessions.crawl.shutdown import ShutdownGuard


_LONGEST = 60.0
"""Seconds after which a wait for a budget looks at the clock again, which a suspended machine, say, may have moved."""


class _Turn(asyncio.Future[None]):
    """Done when the request that waits for it is to look whether its turn has come.

    :param until_rest: whether it waits no longer than until its session rests
    """

    def __init__(self, until_rest: bool, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.until_rest = until_rest


def is_ready(session: SessionRuntime, now: float, host: str = "") -> bool:
    """Whether a request of *session* may go to *host* at *now* (``time.monotonic()``)."""
    if now < session.not_before or session.queue or is_full(session):
        return False
    if session.budget is not None and session.budget.seconds(time.time()) > 0:
        return False
    return not session.pauses or not session.paused_for(host, now)


async def wait_turn(
    session: SessionRuntime,
    closing: ShutdownGuard,
    host: str = "",
    *,
    alone: bool = False,
    ahead: bool = False,
    until_rest: bool = False,
) -> None:
    """Wait until a request of *session* may go to *host*, or until no request is sent in it any more.

    A pause of the host is waited for outside the queue, as it holds for no request to another host. First come, first
    served: the others are woken when the caller yields to the event loop, so it must have gone by then. Raises
    :exc:`~scrapy_sessions.exceptions.CrawlClosing`.

    :param alone: wait until no request is in flight, for an ``alone()`` block
    :param ahead: wait for the first in the queue only: what it asks decides about the others
    :param until_rest: return when the budget of the session is used up, too
    """
    while True:
        await _wait_for_pause(session, closing, host)
        await _wait_in_queue(session, closing, alone, ahead, until_rest)
        if until_rest and session.rest(time.time()):
            return
        if not session.pauses or not session.paused_for(host, time.monotonic()) or _has_ended(session):
            return


async def _wait_for_pause(session: SessionRuntime, closing: ShutdownGuard, host: str) -> None:
    while session.pauses and not _has_ended(session):
        seconds = session.paused_for(host, time.monotonic())
        if seconds <= 0:
            return
        # The session's last activity is the only sign for other processes that requests wait here.
        beat = min(seconds, session.idle_timeout / 2 or seconds)
        await closing.wait(asyncio.wait([session.ended()], timeout=beat))
        if seconds > beat:
            _touch(session)


def _touch(session: SessionRuntime) -> None:
    """A request still waits for *session*, which isn't idle."""
    session.last_activity = time.time()
    session.changed()


def _has_ended(session: SessionRuntime) -> bool:
    return session.closed or session.status == "retired"


async def _wait_in_queue(
    session: SessionRuntime, closing: ShutdownGuard, alone: bool, ahead: bool, until_rest: bool
) -> None:
    if session.queue is None:
        session.queue = deque()  # only now: an empty one takes 600 bytes
    queue = session.queue
    loop = asyncio.get_running_loop()
    turn = _Turn(until_rest, loop=loop)
    queue.insert(1 if ahead else len(queue), turn)
    try:
        while queue[0] is not turn:
            if until_rest and session.rest(time.time()):
                return
            await closing.wait(turn)
            if queue[0] is not turn:  # woken as a rest began
                last, turn = turn, _Turn(until_rest, loop=loop)
                queue[queue.index(last)] = turn
        while not _has_ended(session):
            rest = session.rest(time.time())
            if until_rest and rest:
                return
            if rest:
                _wake_movable(queue)
            seconds = max(session.not_before - time.monotonic(), min(rest, _LONGEST))
            if seconds <= 0 and not (is_full(session) or (alone and session.in_flight)):
                return
            turn = queue[0] = _Turn(until_rest, loop=loop)
            # The session's last activity is the only sign for other processes that requests wait here.
            beat = session.idle_timeout / 2 or seconds
            waking = loop.call_later(min(seconds, beat), session.wake_first) if seconds > 0 else None
            try:
                await closing.wait(turn)
            finally:
                if waking is not None:
                    waking.cancel()
            if rest or seconds > beat:
                _touch(session)
    finally:
        queue.remove(turn)
        session.wake_first()


def _wake_movable(queue: Iterable[asyncio.Future[None]]) -> None:
    """The first in the *queue* waits for the end of a rest: those behind it that may go to another session need not."""
    for turn in queue:
        if isinstance(turn, _Turn) and turn.until_rest and not turn.done():
            turn.set_result(None)


async def wait_pause(session: SessionRuntime, closing: ShutdownGuard, host: str) -> None:
    """Wait for the delay and the budget of *session*, and its pause at *host*, only, or until it has ended.

    Raises as :func:`wait_turn`.
    """
    await _wait_for_pause(session, closing, host)
    while not _has_ended(session):
        seconds = session.not_before - time.monotonic()
        if seconds <= 0 and not session.rest(time.time()):
            return
        await (closing.sleep(seconds) if seconds > 0 else wait_rest(session, closing))


async def wait_rest(session: SessionRuntime, closing: ShutdownGuard) -> None:
    """Wait, for a minute at most, until the budget of *session* lets a request go, or it has ended.

    Raises as :func:`wait_turn`.
    """
    seconds = session.rest(time.time())
    if session.budget is not None and seconds > 0 and not _has_ended(session):
        ends = [session.ended(), session.budget.freed()]
        wait = asyncio.wait(ends, timeout=min(seconds, _LONGEST), return_when=asyncio.FIRST_COMPLETED)
        await closing.wait(wait)
        _touch(session)


def postpone(session: SessionRuntime, delay: float) -> None:
    """A request of *session* goes now: the next one may go *delay* seconds later."""
    session.spacing = delay
    session.not_before = time.monotonic() + delay
