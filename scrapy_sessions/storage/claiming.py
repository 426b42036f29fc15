"""What stores share for leases and claims: tokens, and waiting by polling."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

REMEMBERED = 86_400.0
"""Seconds for which a store remembers the token of a lease that has expired, or of a session that left its pool."""

_PAUSE = 0.1  # seconds between two looks: a hand-over takes half of it on average, and a look a small part of a ms


def next_token(last: int, now: float) -> int:
    """Return the token after *last* at *now* (UNIX seconds).

    It is at least the time in microseconds, so that a store that lost the last tokens gives none of them again.
    """
    return max(last + 1, int(now * 1_000_000))


async def poll(look: Callable[[], Awaitable[bool]], timeout: float) -> None:
    """Return when *look* returns True, or *timeout* seconds have passed."""
    until = time.monotonic() + timeout
    # No event: it is another process that gives back.
    while not await look() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(min(_PAUSE, left))
