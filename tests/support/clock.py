"""A clock for crawls in the process of the tests."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """``time.time()``, which a test moves forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._real = time.time

    def __call__(self) -> float:
        return self._real() + self.ahead
