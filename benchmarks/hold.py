"""How long a save of many changed sessions holds the event loop.

A heartbeat is due every millisecond of the wall clock. How late each one comes is what a request would have waited;
beats that fall into one hold all count, so a hold of 50 ms isn't one late beat but fifty. Between two saves, the same
loop idles for as long, and then works for as long in slices like those of a save: on a machine that others use, that
is late too. The longest step is the CPU that the save itself took of the loop's thread at once: what else
makes beats late is SQLite's thread, which needs the interpreter too, and what else runs on the machine.
"""

from __future__ import annotations

import asyncio
import gc
import math
import tempfile
import time
import types
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chains import ACTIONS, COOKIES
from benchmarks.figures import Figure, Size, compare
from benchmarks.records import NAMESPACE
from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings

__all__ = ["measure"]

_PERIOD = 0.001
_SLICE = 0.001  # as long as those of the write-behind saving
_BOUND = 10.0  # ms
_URL = urlsplit("https://shop.example/")


def measure(size: Size) -> list[Figure]:
    """Save, idle, work, and save again; medians of the rounds."""
    return asyncio.run(_measure(size))


async def _measure(size: Size) -> list[Figure]:
    saving: list[list[float]] = []
    idling: list[list[float]] = []
    working: list[list[float]] = []
    longest: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = SessionsSettings(save_interval=3600, history_limit=ACTIONS, idle_timeout=0, cache_size=0)
        manager = SessionManager(Path(folder) / "sessions.db", namespace=NAMESPACE, settings=settings)
        async with manager:
            sessions = [await registry_of(manager).get(f"s{number}") for number in range(size.changed)]
            for session in sessions:
                for number in range(ACTIONS):
                    session.record(f"GET https://shop.example/p/{number} 200")
                for number in range(COOKIES):
                    _set_cookie(session, number, "0")
            await manager.flush()
            for number in range(size.rounds):
                for session in sessions:
                    session.record(f"GET https://shop.example/p/{number} 200")
                    _set_cookie(session, number % COOKIES, str(number + 1))
                gc.collect()  # what the changes above left behind: in a crawl they don't come all at once
                steps: list[float] = []
                began = time.perf_counter()
                saving.append(await _beats_during(_timed(manager.flush(), steps)))
                took = time.perf_counter() - began
                longest.append(max(steps))
                idling.append(await _beats_during(asyncio.sleep(took)))
                working.append(await _beats_during(_work(took)))
    name = f"event loop held by a save of {size.changed} sessions"
    other = "the idle loop"
    late, idle, work = ([_per_mille(beats) for beats in rounds] for rounds in (saving, idling, working))
    return [
        compare(f"{name}, p99.9", late, idle, "ms", other)._replace(bound=_BOUND, absolute=True),
        compare(f"{name}, against work", late, work, "ms", f"a loop working in slices of {_SLICE * 1e3:g} ms"),
        compare(f"{name}, longest", list(map(max, saving)), list(map(max, idling)), "ms", other),
        compare(f"{name}, CPU of its longest step", longest, idle, "ms", f"{other}, p99.9"),
    ]


def _set_cookie(session: SessionRuntime, number: int, value: str) -> None:
    header = f"c{number}=value-{value}-{'v' * 16}; Path=/; Max-Age=3600; HttpOnly"
    session.jar.store([header], _URL)


def _per_mille(delays: list[float]) -> float:
    """The 99.9th percentile, by nearest rank."""
    return sorted(delays)[math.ceil(len(delays) * 0.999) - 1]


async def _beats_during(work: Coroutine[Any, Any, None]) -> list[float]:
    """Await *work*, and return by how many milliseconds each beat meanwhile was late."""
    late: list[float] = []
    heart = asyncio.ensure_future(_beat(late))
    await asyncio.sleep(_PERIOD)  # it beats before the work begins
    await work
    await asyncio.sleep(2 * _PERIOD)  # the beats that the last step held up
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)
    return late


async def _work(seconds: float) -> None:
    """Work for *seconds*, and let the loop have its turn after each slice."""
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        while time.perf_counter() < now + _SLICE:
            pass
        await asyncio.sleep(0)


async def _beat(late: list[float]) -> None:
    due = time.perf_counter() + _PERIOD
    while True:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        while due <= now:  # all that fell into one hold come at its end
            late.append((now - due) * 1e3)
            due += _PERIOD


async def _timed(work: Coroutine[Any, Any, None], steps: list[float]) -> None:
    """Await *work*, and add to *steps* the milliseconds of CPU between two waits, of it or of a task begun in it."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda _, coroutine, **options: asyncio.Task(_stepwise(coroutine, steps), **options))
    try:
        await asyncio.ensure_future(work)
    finally:
        loop.set_task_factory(None)


async def _stepwise(coroutine: Any, steps: list[float]) -> Any:
    return await _steps(coroutine, steps)


@types.coroutine
def _steps(coroutine: Any, steps: list[float]) -> Generator[Any, None, Any]:
    while True:
        began = time.thread_time()
        try:
            waits_for = coroutine.send(None)
        except StopIteration as done:
            return done.value
        finally:
            steps.append((time.thread_time() - began) * 1e3)
        yield waits_for
