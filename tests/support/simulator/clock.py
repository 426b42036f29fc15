"""An event loop whose clock moves only when nothing is left to do, and ``time`` that follows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Stalled", "run"]

_T = TypeVar("_T")
_EPOCH = 1_800_000_000.0


class Stalled(AssertionError):
    """Nothing is left to do, and nothing is to come: somebody waits for ever."""


class _Selector:
    """In place of a selector: there is no network, so each wait is over at once."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("the crawl waits for something that never comes")
        self._loop.now += max(timeout, 1e-8)  # or a timer that is due a hair later would never come
        return []


class _Loop(asyncio.BaseEventLoop):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who could be woken."""


def run(main: Callable[[], Coroutine[Any, Any, _T]], limit: float) -> _T:
    """Run *main* in a loop of its own, and return what it returns. ``time.time()`` and ``time.monotonic()`` follow it.

    Raises :exc:`Stalled` if it waits for ever, or for longer than *limit* seconds of its clock.
    """
    loop = _Loop()
    before = time.time, time.monotonic
    time.time = lambda: _EPOCH + loop.now
    time.monotonic = lambda: loop.now
    try:
        task = loop.create_task(main())
        loop.call_at(limit, task.cancel)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            raise Stalled(f"the crawl did not end within {limit:g} seconds") from None
        finally:
            _cancel_all(loop)
            loop.close()
    finally:
        time.time, time.monotonic = before


def _cancel_all(loop: _Loop) -> None:
    for _ in range(3):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        except Stalled:
            return
