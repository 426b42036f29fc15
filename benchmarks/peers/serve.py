"""How a worker speaks: a command a line on standard input, an answer a line on standard output, both JSON.

A worker is a program of its own, run by the Python of the side it measures, and knows nothing of the others: no module
in this folder imports anything of ours or of another peer but the worker of that side.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

__all__ = ["Stopwatch", "serve"]

_mark = getattr(os, "getsid", int)  # Windows has none, and no callgrind either

Command = Callable[..., Awaitable[Any]]


class Stopwatch:
    """Takes the seconds of a block: ``cpu`` of all threads, and ``wall``.

    Beginning and end call ``getsid``, which nothing else does: under callgrind, that is where counts are set down.
    """

    def __enter__(self) -> Stopwatch:
        _mark(0)
        self._began = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        cpu, wall = self._began
        self.cpu, self.wall = time.process_time() - cpu, time.perf_counter() - wall
        _mark(0)


def serve(commands: dict[str, Command], run: Callable[[Coroutine[Any, Any, None]], Any] = asyncio.run) -> None:
    """Answer commands, all in one event loop, until standard input ends.

    ``{"do": "round", "n": 100}`` awaits ``commands["round"](n=100)``; the answer is ``{"result": …}``, or
    ``{"error": …}`` for what it raised.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not get between the answers

    async def answer() -> None:
        for line in sys.stdin:
            arguments = json.loads(line)
            try:
                said = {"result": await commands[arguments.pop("do")](**arguments)}
            except Exception as error:  # noqa: BLE001  # the parent decides what a fault means
                said = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(said), file=answers, flush=True)

    run(answer())
