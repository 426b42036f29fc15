"""Saving many changed sessions against one raw ``executemany`` of the same bytes, and how long a slice is."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from benchmarks.chains import ACTIONS, COOKIES
from benchmarks.figures import Figure, Row, Size, compare
from benchmarks.processes import Worker

__all__ = ["measure", "opened", "per_mille"]

_W = TypeVar("_W", bound=Worker)
_HELD = 2.0  # ms


def measure(size: Size) -> list[Row]:
    """Save as many sessions as ``size.changed``, and write the same into a twin of the file, in turns."""
    ours: dict[str, list[float]] = {"wall": [], "cpu": []}
    raw: dict[str, list[float]] = {"wall": [], "cpu": []}
    held: dict[str, list[list[float]]] = {"held": [], "busy": []}
    for _ in range(size.sets):
        with opened(Worker, size.changed) as worker:
            for number in range(size.rounds + 1):
                saved = worker.ask("save", n=size.changed, mark=number)
                written = worker.ask("raw", n=size.changed)
                if number:  # the first round warms up
                    for kind, times in raw.items():
                        ours[kind].append(saved[kind])
                        times.append(written[kind])
                    for kind, turns in held.items():
                        turns.append(saved[kind])
    name = f"saving {size.changed} changed sessions"
    against = "one executemany of the same bytes"
    return [
        compare(name, ours["wall"], raw["wall"], "ms", against, bound=1.5),
        compare(f"{name}, CPU of all threads", ours["cpu"], raw["cpu"], "ms", against),
        _turns(f"reactor held by a slice of saving {size.changed} sessions, p99.9", held["held"], bound=_HELD),
        _turns(f"reactor held by a slice of saving {size.changed} sessions, CPU, p99.9", held["busy"]),
        *_encrypted(size),
    ]


def _encrypted(size: Size) -> list[Row]:
    """Save with a key and without, in turns."""
    sides: dict[bool, dict[str, list[float]]] = {encrypted: {"wall": [], "cpu": []} for encrypted in (True, False)}
    for _ in range(size.sets):
        with opened(Worker, size.changed, encrypted=True) as one, opened(Worker, size.changed) as other:
            for number in range(size.rounds + 1):
                for encrypted, worker in ((True, one), (False, other)):
                    saved = worker.ask("save", n=size.changed, mark=number)
                    for kind, times in sides[encrypted].items() if number else ():
                        times.append(saved[kind])
    name, against = f"saving {size.changed} changed sessions with an encryption key", "without a key"
    return [
        compare(name, sides[True]["wall"], sides[False]["wall"], "ms", against, bound=1.5),
        compare(f"{name}, CPU of all threads", sides[True]["cpu"], sides[False]["cpu"], "ms", against),
    ]


@contextmanager
def opened(kind: Callable[..., _W], sessions: int, *, encrypted: bool = False) -> Iterator[_W]:
    """Give a worker with as many *sessions* in memory and in its store."""
    with tempfile.TemporaryDirectory() as folder, kind("ours_save.py") as worker:
        worker.ask(
            "open",
            file=f"{folder}/sessions.db",
            sessions=sessions,
            cookies=COOKIES,
            actions=ACTIONS,
            encrypted=encrypted,
        )
        yield worker
        worker.ask("close")


def _turns(name: str, rounds: Sequence[Sequence[float]], *, bound: float | None = None) -> Figure:
    late = statistics.median(per_mille(turns) for turns in rounds)
    usual = statistics.median(statistics.median(turns) for turns in rounds)
    return Figure(name, late, usual, "ms", "the median slice", bound, absolute=True)


def per_mille(values: Sequence[float]) -> float:
    """Return the 99.9th percentile, by nearest rank."""
    return sorted(values)[math.ceil(len(values) * 0.999) - 1]
