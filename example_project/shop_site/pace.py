"""How fast the price lists are answered, and the log of who used which account when."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from twisted.web.http import Request

__all__ = ["Log", "Pace"]


class Log:
    """The requests that came from a logged-in worker, in their order.

    An entry has the ``time`` when the request came and when it was ``answered`` (``None``: not yet, or never), in UNIX
    seconds; the ``worker``, as its header ``X-Worker`` says; the ``user`` and the ``path``.
    """

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def add(self, came: float, worker: str, user: str | None, path: str) -> dict[str, Any]:
        entry = {"time": came, "answered": None, "worker": worker, "user": user, "path": path}
        if worker and user:
            self.entries.append(entry)
        return entry


class Pace:
    """Answers each request after some *seconds*, and from a number of requests on only when a demo says so.

    :param call_later: calls a function after some seconds
    """

    def __init__(self, seconds: float, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._seconds = seconds
        self._call_later = call_later
        self._left: float = math.inf
        self._held: list[Callable[[], None]] = []

    def hold(self, after: int) -> None:
        """Answer *after* requests more, and keep the others until the next call; 0: answer all."""
        self._left = after or math.inf
        held, self._held = self._held, []
        for send in held:
            send()

    def answer(self, request: Request, body: bytes, entry: dict[str, Any]) -> None:
        """Send *body* when it is time, and note when that was in *entry*."""
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)  # a client that left gets no answer

        def finish() -> None:
            if not gone:
                request.write(body)
                request.finish()
                entry["answered"] = time.time()

        def send() -> None:
            if self._left <= 0:
                self._held.append(send)
            else:
                self._left -= 1
                self._call_later(self._seconds, finish)

        send()
