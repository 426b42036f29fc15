"""How many requests a session may send in an hour and in a day, and how many it has sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf

from scrapy_sessions.models import BUDGET_WINDOWS, budget_end

_STEP = min(window.step for window in BUDGET_WINDOWS.values())


class RequestBudget:
    """Counts the requests of one session within the windows of its budget. Times are UNIX seconds.

    A request is reserved from the moment at which it gets its session: so no two share the last place. All is O(1) for
    a request, but once in five minutes and while the budget is used up.

    :param limits: by the name of their window; without any, requests are only counted
    """

    __slots__ = ("_end", "_freed", "_left", "_reserved", "_latest", "_used", "_used_up", "limits")

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self._used: dict[str, dict[int, int]] = {name: {} for name in BUDGET_WINDOWS}
        self._reserved = 0
        self._left: float = 0.0  # requests within all limits, with those reserved
        self._latest = -1  # in which _left was computed
        self._end: float | None = None  # when a request may be sent; computed when it is needed
        self._freed: asyncio.Future[None] | None = None
        self._used_up: asyncio.Future[None] | None = None

    def seconds(self, now: float) -> float:
        """Return for how many seconds from *now* on no request may be sent; 0: one may."""
        if int(now // _STEP) != self._latest:
            self._count(now)
        if self._reserved < self._left:
            return 0.0
        if self._end is None:
            self._end = self._when_free(now)
        return max(self._end - now, 0.001)

    def reserve(self) -> None:
        """A request has got the session."""
        self._reserved += 1
        self._end = None
        if self._reserved >= self._left:
            self._say_used_up()

    def release(self) -> None:
        """A request that had got the session was not sent."""
        self._reserved -= 1
        self._end = None
        if self._freed is not None and not self._freed.done():
            self._freed.set_result(None)

    def freed(self) -> asyncio.Future[None]:
        """Return a future that is done when a request is not sent after all."""
        if self._freed is None or self._freed.done():
            self._freed = asyncio.get_running_loop().create_future()
        return self._freed

    def used_up(self) -> asyncio.Future[None]:
        """Return a future that is done when no request may be sent any more, or perhaps no more: look again then."""
        if self._used_up is None or self._used_up.done():
            self._used_up = asyncio.get_running_loop().create_future()
        return self._used_up

    def _say_used_up(self) -> None:
        if self._used_up is not None and not self._used_up.done():
            self._used_up.set_result(None)

    def send(self, now: float) -> bool:
        """A request that had got the session is sent. Returns whether it was the last one of the budget."""
        if int(now // _STEP) != self._latest:
            self._forget_old(now)
            self._count(now)
        for name, window in BUDGET_WINDOWS.items():
            slots, slot = self._used[name], int(now // window.step)
            slots[slot] = slots.get(slot, 0) + 1
        self._reserved -= 1
        self._left -= 1
        self._end = None
        return self._left == 0

    @property
    def used(self) -> dict[str, dict[str, int]] | None:
        """What the record contains of it."""
        if not self.limits and not any(self._used.values()):
            return None
        return {name: {str(slot): n for slot, n in slots.items()} for name, slots in self._used.items()}

    @property
    def rests_until(self) -> float | None:
        """As :attr:`PersistentSession.rests_until <scrapy_sessions.PersistentSession.rests_until>`."""
        return budget_end(self.limits, self._used)

    def restore(self, limits: Mapping[str, int], used: Mapping[str, Mapping[str, int]] | None) -> None:
        """Replace the limits and what the record contains. What is reserved stays so."""
        self.limits = limits
        for name in BUDGET_WINDOWS:
            self._used[name] = {int(slot): n for slot, n in (used or {}).get(name, {}).items()}
        self._latest, self._end = -1, None
        self._say_used_up()  # by another process, perhaps

    def _counted(self, now: float) -> dict[str, dict[int, int]]:
        """Return the slots that count.

        Those ahead count, too: the clock may have been set back, and be right again soon. What is ahead by more than
        the whole window was counted by a wrong clock.
        """
        return {
            name: {
                slot: n
                for slot, n in self._used[name].items()
                if (now - window.length) // window.step <= slot <= (now + window.length) // window.step
            }
            for name, window in BUDGET_WINDOWS.items()
        }

    def _forget_old(self, now: float) -> None:
        # Only when a request is sent: a clock that is wrong for a moment, at which one looks, forgets nothing.
        self._used = self._counted(now)

    def _count(self, now: float) -> None:
        self._latest, self._end = int(now // _STEP), None
        counted = self._counted(now)
        lefts = (limit - sum(counted[name].values()) for name in counted if (limit := self.limits.get(name, 0)))
        self._left = min(lefts, default=inf)

    def _when_free(self, now: float) -> float:
        used = self._counted(now)
        for name, window in BUDGET_WINDOWS.items():
            slot = int(now // window.step)
            used[name][slot] = used[name].get(slot, 0) + self._reserved
        return budget_end(self.limits, used) or now
