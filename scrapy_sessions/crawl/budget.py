"""How many logins a session may spend on refusals that prove nothing."""

from __future__ import annotations

from collections.abc import Callable

_MINUTE = 60.0


class Budget:
    """Logins without proof: *size* of them, and when none is left, one more after one minute, two, four, and so on.

    :param clock: returns seconds
    """

    def __init__(self, size: int, clock: Callable[[], float]) -> None:
        self.left = size
        self._size = size
        self._clock = clock
        self._pause = _MINUTE
        self._grows_at = 0.0

    def take(self) -> bool:
        """Take one login, if there is one."""
        if not self.left and self._clock() < self._grows_at:
            return False
        self.left = max(self.left, 1) - 1
        if not self.left:
            self._grows_at = self._clock() + self._pause
            self._pause *= 2
        return True

    def seconds(self) -> float:
        """Return how long an empty budget stays empty."""
        return max(self._grows_at - self._clock(), 0.0)

    def give_back(self) -> None:
        """Give one login back: it was needed."""
        if self.left < self._size:
            if not self.left:
                self._pause = max(self._pause / 2, _MINUTE)
            self.left += 1
