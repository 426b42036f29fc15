"""Waiting for conditions, and bounds that hold on a slow machine, too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["HANG", "at_once", "slowness", "until", "wait_until"]

_T = TypeVar("_T")

HANG = 300
"""Seconds after which a test that hangs ends. No test measures it, and a slow machine doesn't reach it."""


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until *condition* holds."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), HANG)


def at_once(way: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of *way*, which must not wait for anything."""
    try:
        way.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    way.close()
    raise AssertionError("It waits")


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until *condition* holds, where no loop runs."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def slowness() -> float:
    """How many times longer work takes now than on a machine without other work: wall time by CPU time, at least 1.

    A bound on seconds that is multiplied by this holds whatever else runs, and is as strict as ever if nothing does.
    """
    wall, cpu = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu < 0.2:
        sum(range(10_000))
    return max(1.0, (time.perf_counter() - wall) / (time.thread_time() - cpu))
