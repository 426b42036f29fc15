"""Runs a command of the user for events of sessions (``SESSIONS_NOTIFY_COMMAND``)."""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
from collections.abc import Callable
from typing import Any

from scrapy_sessions import child_process

logger = logging.getLogger(__name__)

_MOST_WAITING = 1000
_TIMEOUT = 30.0  # seconds that one command may take
_LAST = 10.0  # seconds that the end of a crawl waits for the commands


class Notifier:
    """Runs *command* for each event, one after the other, with the event as JSON on its standard input.

    :param count: adds one to a stat
    """

    def __init__(self, command: str, count: Callable[[str], None]) -> None:
        self._arguments = shlex.split(command)
        self._count = count
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    def notify(self, **event: Any) -> None:
        """Run the command for *event*, after those before it. Of too many that wait, the last are dropped."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._work())
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._fail(f"{_MOST_WAITING} events wait for it, so this one is dropped")

    async def close(self) -> None:
        """Wait a while for the commands that are left, and end. Idempotent."""
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._events.join(), _LAST)
        except asyncio.TimeoutError:
            self._fail(f"{self._events.qsize() + 1} events are left at the end of the crawl")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self._run(event)
            finally:
                self._events.task_done()

    async def _run(self, event: dict[str, Any]) -> None:
        try:
            data = json.dumps(event).encode()
            status, _ = await asyncio.wait_for(child_process.run(self._arguments, data, read=False), _TIMEOUT)
        except asyncio.TimeoutError:
            self._fail(f"it took longer than {_TIMEOUT:g} s")
        except OSError as e:
            self._fail(str(e.strerror))
        except Exception as e:  # noqa: BLE001  # the command still runs for the events after this one
            self._fail(type(e).__name__)
        else:
            if status:
                self._fail(f"it ended with status {status}")

    def _fail(self, reason: str) -> None:
        self._count("notify_errors")
        logger.warning("SESSIONS_NOTIFY_COMMAND (%s) failed: %s", self._arguments[0], reason)
