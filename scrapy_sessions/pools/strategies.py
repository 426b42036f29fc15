"""Whose turn it is in a pool, by slot. Every look at a slot is O(1) in the size of the pool, in the long run."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator


class Strategy(ABC):
    """Says whose turn it is among the slots 0 to *size* - 1."""

    @abstractmethod
    def turns(self, size: int) -> Iterator[int]:
        """Yield the slot whose turn it is, then those to look at in its place if its session can't go now."""

    def record_use(self, slot: int) -> None:
        """A request goes to *slot*."""

    def renewed(self, slot: int) -> None:
        """*slot* has a new session."""

    def moved(self, last: int, slot: int) -> None:
        """*slot* has lost its session for good: that of the *last* slot, which there is no more, takes its place."""


class RoundRobin(Strategy):
    """One after the other."""

    def __init__(self) -> None:
        self._turn = -1

    def turns(self, size: int) -> Iterator[int]:
        for _ in range(size):
            self._turn = (self._turn + 1) % size
            yield self._turn


class RandomTurn(Strategy):
    """Any, with equal chances."""

    def turns(self, size: int) -> Iterator[int]:
        first = random.randrange(size)  # noqa: S311  # a fair draw, no secret
        for step in range(size):  # its neighbours: another draw may be the same
            yield (first + step) % size


class LeastUsed(Strategy):
    """The one with the fewest requests in this crawl; of several, the one that has them for longest.

    A new session begins level with the least used one: it must not get all requests until it has caught up.
    """

    def __init__(self) -> None:
        self._uses: dict[int, int] = {}
        self._slots: defaultdict[int, dict[int, None]] = defaultdict(dict)  # by uses, in the order they came to them
        self._fewest = 0
        self._unseen = 0
        self._others = RoundRobin()

    def turns(self, size: int) -> Iterator[int]:
        while self._unseen < size and 0 not in self._slots:
            if self._unseen not in self._uses:
                self._move(self._unseen, 0)
            self._unseen += 1
        first = next(iter(self._slots[self._lowest()]))
        yield first
        for slot in self._others.turns(size):
            if slot != first:
                yield slot

    def record_use(self, slot: int) -> None:
        self._move(slot, self._uses.get(slot, 0) + 1)

    def renewed(self, slot: int) -> None:
        self._move(slot, self._lowest())

    def moved(self, last: int, slot: int) -> None:
        uses = self._uses.pop(last, 0)
        self._leave(last, uses)
        if last != slot:
            self._move(slot, uses)

    def _lowest(self) -> int:
        while self._slots and self._fewest not in self._slots:
            self._fewest += 1  # each use adds one at the most: in the long run a step per pick
        return self._fewest

    def _move(self, slot: int, uses: int) -> None:
        before = self._uses.get(slot)
        if before is not None:
            self._leave(slot, before)
        self._uses[slot] = uses
        self._slots[uses][slot] = None
        self._fewest = min(self._fewest, uses)

    def _leave(self, slot: int, uses: int) -> None:
        slots = self._slots.get(uses, {})
        slots.pop(slot, None)
        if not slots:
            self._slots.pop(uses, None)


STRATEGIES: dict[str, type[Strategy]] = {
    "round_robin": RoundRobin,
    "least_used": LeastUsed,
    "random": RandomTurn,
}
"""By the option ``strategy`` of a pool."""
