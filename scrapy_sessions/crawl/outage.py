"""Requests wait while the store can't be reached. Those whose session is in memory don't need it, and go on."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from random import random
from typing import TYPE_CHECKING, TypeVar

from scrapy_sessions.exceptions import StoreUnavailable

if TYPE_CHECKING:
    from scrapy_sessions.crawl.shutdown import ShutdownGuard

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0  # seconds between two tries; doubled each time
_OVER = 60.0  # seconds without a failure after which the next one begins another outage


class StoreOutage:
    """The state of an outage of the store, for the requests of a crawl.

    :param timeout: the seconds after which requests fail, counted from the beginning of the outage
    """

    def __init__(self, guard: ShutdownGuard, timeout: float, count: Callable[[str], None]) -> None:
        self._guard = guard
        self._timeout = timeout
        self._count = count
        self._begun = self._failed = float("-inf")  # time.monotonic(): of the first failure, and of the last

    async def endure(self, action: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of *action*, which is called again while the store can't be reached.

        Raises :exc:`~scrapy_sessions.exceptions.StoreUnavailable` after the timeout, and
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
        """
        pause = 0.0
        while True:
            try:
                result = await action()
            except StoreUnavailable as error:
                self.note(error)
                if self._failed - self._begun >= self._timeout:
                    raise
            else:
                if pause and self._begun > float("-inf"):
                    seconds = time.monotonic() - self._begun
                    logger.info("The session store is reached again, after %.1f s", seconds)
                    self._begun = self._failed = float("-inf")
                return result
            pause = min(2 * pause, _LONGEST_PAUSE) or _FIRST_PAUSE
            await self._guard.sleep(pause * (0.5 + random() / 2))  # noqa: S311  # not all at the same moment

    def note(self, error: StoreUnavailable) -> None:
        """A call of the store has failed."""
        now = time.monotonic()
        if now - self._failed > _OVER:
            self._begun = now
            self._count("store_outages")
            logger.warning(
                "%s. Requests whose session is in memory go on, others wait, for up to %g s", error, self._timeout
            )
        self._failed = now
