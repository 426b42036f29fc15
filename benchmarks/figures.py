"""What a measure gives back, and the table of all of them."""

from __future__ import annotations

import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

__all__ = ["FULL", "TINY", "Figure", "Size", "compare", "environment", "table"]

_PACKAGES = ("scrapy", "twisted", "pydantic")


class Size(NamedTuple):
    """How much a run measures.

    :param rounds: how often each measure alternates between its two sides
    :param requests: sent a round and side
    :param stored: sessions in the large store
    :param changed: sessions in one save
    :param cookies: cookies set on one domain
    """

    rounds: int
    requests: int
    stored: int
    changed: int
    cookies: int


FULL = Size(rounds=5, requests=3000, stored=100_000, changed=10_000, cookies=5000)
TINY = Size(rounds=1, requests=20, stored=30, changed=30, cookies=200)


class Figure(NamedTuple):
    """A comparison: what ours and the *other* take, in *unit*, medians over the rounds.

    :param bound: what issue 2 allows, of the ratio, or of ours if *absolute*; ``None``: nothing but to be told
    """

    name: str
    ours: float
    other: float
    unit: str
    against: str
    bound: float | None = None
    absolute: bool = False

    @property
    def ratio(self) -> float:
        return self.ours / self.other

    @property
    def held(self) -> bool | None:
        if self.bound is None:
            return None
        return (self.ours if self.absolute else self.ratio) <= self.bound


def compare(
    name: str,
    ours: Sequence[float],
    other: Sequence[float],
    unit: str,
    against: str,
    *,
    less: Sequence[float] | None = None,
    bound: float | None = None,
) -> Figure:
    """Compare what *ours* and *other* took, by round, each *less* what the same round took without either."""
    if less is not None:
        ours = [mine - idle for mine, idle in zip(ours, less, strict=True)]
        other = [their - idle for their, idle in zip(other, less, strict=True)]
    return Figure(name, statistics.median(ours), statistics.median(other), unit, against, bound)


def environment() -> str:
    """Name the machine and the versions, without anything that tells whose it is."""
    versions = [f"{package} {version(package)}" for package in _PACKAGES]
    return (
        f"{_processor()}, {cpu_count()} cores, {platform.system()}; {platform.python_implementation()} "
        f"{platform.python_version()}, {', '.join(versions)}, SQLite {sqlite3.sqlite_version}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def table(figures: Iterable[Figure]) -> str:
    """Return *figures* as a table in Markdown."""
    rows = [("what", "ours", "the other", "ratio", "bound", "held", "the other is")]
    for figure in figures:
        bound = ""
        if figure.bound is not None:
            bound = f"{figure.bound:g} {figure.unit if figure.absolute else 'x'}"
        held = {None: "", True: "yes", False: "NO"}[figure.held]
        ours, other = (f"{value:.{_digits(value)}f} {figure.unit}" for value in (figure.ours, figure.other))
        rows.append(
            (
                figure.name,
                ours,
                other,
                f"{figure.ratio:.2f} x" if abs(figure.ratio) >= 0.1 else f"{figure.ratio:.1g} x",
                bound,
                held,
                figure.against,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
