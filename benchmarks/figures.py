"""What a measure gives back, and the table of all of them."""

from __future__ import annotations

import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import NamedTuple, TypeAlias

__all__ = ["FULL", "TINY", "Curve", "Figure", "Missing", "Row", "Size", "compare", "environment", "table"]

_PACKAGES = ("scrapy", "twisted", "pydantic")


class Size(NamedTuple):
    """How much a run measures.

    :param sets: how often the processes of a comparison are started anew: each has its luck with memory
    :param rounds: how often each set of them alternates between its sides
    :param starts: how often a process is started whose start and end are measured
    :param requests: sent a round and side
    :param turn: of them, those that a side sends before another has its turn
    :param sessions: that requests go out in
    :param stored: sessions in the large store: the last of the powers of ten up from 10
    :param changed: sessions in one save, and in a pool
    :param cookies: cookies set on one domain
    :param hosts: whose cookies one session has
    :param pages: of a whole crawl
    :param crawled: sessions of the crawl whose memory is measured; the small one has a hundredth
    :param live: sessions in memory whose size is measured
    :param recorded: bytes of an imported HAR
    :param imported: cookies of an imported cookies.txt
    :param fleet: processes that share sessions on a server, simulated
    :param competing: seconds for which they compete
    :param counted: requests, picks or saves whose instructions are counted
    :param peers: whether packages that are installed for it take part
    :param counts: whether instructions are counted
    """

    sets: int
    rounds: int
    starts: int
    requests: int
    turn: int
    sessions: int
    stored: int
    changed: int
    cookies: int
    hosts: int
    pages: int
    crawled: int
    live: int
    recorded: int
    imported: int
    fleet: int
    competing: float
    counted: int
    peers: bool = True
    counts: bool = True

    @property
    def turns(self) -> int:
        """How many turns a side has in a round."""
        return max(self.requests // self.turn, 1)


FULL = Size(
    sets=3,
    rounds=5,
    starts=100,
    requests=2000,
    turn=400,
    sessions=50,
    stored=1_000_000,
    changed=10_000,
    cookies=5000,
    hosts=700,
    pages=1000,
    crawled=100_000,
    live=1000,
    recorded=50_000_000,
    imported=100_000,
    fleet=1000,
    competing=20.0,
    counted=400,
)
TINY = Size(
    sets=1,
    rounds=1,
    starts=1,
    requests=20,
    turn=20,
    sessions=5,
    stored=100,
    changed=30,
    cookies=200,
    hosts=100,
    pages=20,
    crawled=200,
    live=20,
    recorded=50_000,
    imported=100,
    fleet=20,
    competing=1.0,
    counted=20,
)


class Figure(NamedTuple):
    """A comparison: what ours and the *other* take, in *unit*, medians over the rounds.

    :param bound: what is allowed, of the ratio, or of ours if *absolute*; ``None``: nothing but to be told
    :param paired: the median of the ratios of the rounds, which is the ratio then, and not that of the medians
    """

    name: str
    ours: float
    other: float
    unit: str
    against: str
    bound: float | None = None
    absolute: bool = False
    paired: float | None = None

    @property
    def ratio(self) -> float:
        if self.paired is not None:
            return self.paired
        return self.ours / self.other if self.other else float("nan")

    @property
    def held(self) -> bool | None:
        if self.bound is None:
            return None
        return (self.ours if self.absolute else self.ratio) <= self.bound


class Missing(NamedTuple):
    """A comparison that could not be made here, and *why*."""

    name: str
    against: str
    why: str


class Curve(NamedTuple):
    """How a cost, in *unit*, goes with a number of sessions; *level* is one to look at it by, with its name."""

    name: str
    unit: str
    points: tuple[tuple[int, float], ...]
    level: tuple[str, float]


Row: TypeAlias = Figure | Missing


def compare(
    name: str,
    ours: Sequence[float],
    other: Sequence[float],
    unit: str,
    against: str,
    *,
    less: Sequence[float] | None = None,
    bound: float | None = None,
    paired: bool = False,
) -> Figure:
    """Compare what *ours* and *other* took, by round, each *less* what the same round took without either.

    :param paired: compare round by round: for a difference that is smaller than what the machine's speed changes by
    """
    if less is not None:
        ours = [mine - idle for mine, idle in zip(ours, less, strict=True)]
        other = [their - idle for their, idle in zip(other, less, strict=True)]
    figure = Figure(name, statistics.median(ours), statistics.median(other), unit, against, bound)
    if paired:
        ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
        figure = figure._replace(paired=statistics.median(ratios))
    return figure


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


def table(rows: Iterable[Row | Curve]) -> str:
    """Return *rows* as a table in Markdown; curves have no place in it."""
    rows = [row for row in rows if not isinstance(row, Curve)]
    lines = [("what", "ours", "the other", "ratio", "bound", "held", "the other is"), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in lines]
    text.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    if isinstance(row, Missing):
        return (row.name, "", "", "", "", "", f"{row.against}: {row.why}")
    bound = ""
    if row.bound is not None:
        bound = f"{row.bound:g} {row.unit if row.absolute else 'x'}"
    held = {None: "", True: "yes", False: "NO"}[row.held]
    ours, other = (f"{value:.{_digits(value)}f} {row.unit}" for value in (row.ours, row.other))
    ratio = f"{row.ratio:.2f} x" if abs(row.ratio) >= 0.1 else f"{row.ratio:.1g} x"
    return (row.name, ours, other, ratio, bound, held, row.against)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
