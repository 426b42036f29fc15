"""A pool and its cookies, against crawlee's ``SessionPool`` and ``SessionCookies``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.chains import COOKIES
from benchmarks.environments import CRAWLEE, PeerUnavailable, python_of
from benchmarks.figures import Missing, Row, Size, compare
from benchmarks.processes import Worker

__all__ = ["measure", "opened"]

_W = TypeVar("_W", bound=Worker)
_OURS, _CRAWLEE = "ours_pool.py", "crawlee_pool.py"


def measure(size: Size) -> list[Row]:
    """Measure picks, headers, ``Set-Cookie`` and saves; crawlee's pool saves as a whole, whatever has changed."""
    names = {
        "pick": f"picking a session from {size.changed}, CPU",
        "header": f"cookie header of a URL, {COOKIES} cookies, CPU",
        "take": "taking in a Set-Cookie, CPU",
        "all": f"saving a pool of {size.changed}, all changed, CPU a session",
        "few": f"saving a pool of {size.changed}, 1 of 100 changed, CPU a changed session",
    }
    try:
        if not size.peers:
            raise PeerUnavailable("left out")
        python = python_of(CRAWLEE)
    except PeerUnavailable as error:
        return [Missing(name, CRAWLEE.title, str(error)) for name in names.values()]
    took: dict[tuple[str, str], list[float]] = {(side, name): [] for side in (_OURS, _CRAWLEE) for name in names}
    few = max(size.changed // 100, 1)
    for _ in range(size.sets):
        for sessions, cookies in ((size.changed, 0), (1, COOKIES), (size.changed, COOKIES)):
            with (
                opened(Worker, _OURS, None, sessions, cookies) as ours,
                opened(Worker, _CRAWLEE, python, sessions, cookies) as crawlee,
            ):
                workers = {_OURS: ours, _CRAWLEE: crawlee}
                for number in range(size.rounds + 1):  # the first warms up
                    for side, worker in workers.items():
                        found: dict[str, float] = {}
                        if not cookies:
                            found["pick"] = worker.ask("pick", n=size.requests)
                        elif sessions == 1:
                            found["header"] = worker.ask("header", n=size.requests)
                            found["take"] = worker.ask("take", n=size.requests)
                        elif number < _SAVES:
                            found["all"] = worker.ask("save", n=sessions, mark=2 * number)
                            found["few"] = worker.ask("save", n=few, mark=2 * number + 1)
                        if number:
                            for name, time in found.items():
                                took[side, name].append(time)
    return [
        compare(
            title,
            took[_OURS, name],
            took[_CRAWLEE, name],
            "us",
            CRAWLEE.title,
            bound=0.1 if name == "pick" else None,
        )
        for name, title in names.items()
    ]


_SAVES = 3  # and one of them to warm up: crawlee takes seconds for each


@contextmanager
def opened(kind: Callable[..., _W], script: str, python: Path | None, sessions: int, cookies: int) -> Iterator[_W]:
    """Give a worker with a pool of so many *sessions*."""
    with tempfile.TemporaryDirectory() as folder, kind(script, python=python) as worker:
        worker.ask("open", file=f"{folder}/sessions.db", sessions=sessions, cookies=cookies)
        yield worker
        worker.ask("close")
