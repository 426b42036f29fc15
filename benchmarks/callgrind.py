"""Instructions instead of time: callgrind counts those of a worker, and they are the same in every run.

The worker calls ``getsid`` where a measured block begins and ends, and callgrind sets its count down at each such
call. What a block of N operations and one of 2N differ by is what N cost; so nothing of the start, and no part of a
block that comes once, is counted.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import Worker

__all__ = ["WITHOUT_VALGRIND", "CountedWorker", "has_valgrind", "read_total"]

WITHOUT_VALGRIND = "valgrind not installed: apt install valgrind"

_MARK = "getsid"
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def has_valgrind() -> bool:
    """Whether instructions can be counted here."""
    return shutil.which("valgrind") is not None


class CountedWorker(Worker):
    """A worker under callgrind."""

    def __init__(self, script: str, *, python: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._counts = Path(self._folder.name) / "counts"
        self._marks = 0
        tool = ("valgrind", "--tool=callgrind", f"--dump-before={_MARK}", f"--callgrind-out-file={self._counts}")
        super().__init__(script, python=python, prefix=tool)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    def warm_up(self, command: str, **arguments: Any) -> None:
        """Let the worker do *command*, which has a measured block, uncounted."""
        self.count(command, **arguments)

    def count(self, command: str, **arguments: Any) -> int:
        """Return how many instructions the measured block of *command* takes, those of all threads."""
        self.ask(command, **arguments)
        self._marks += 2
        return read_total(Path(f"{self._counts}.{self._marks}").read_text(encoding="utf-8", errors="replace"))

    def per_operation(self, command: str, n: int, **arguments: Any) -> float:
        """Return what each further of *n* operations takes, in instructions."""
        once, twice = (self.count(command, n=times * n, **arguments) for times in (1, 2))
        return (twice - once) / n


def read_total(dump: str) -> int:
    """Return the instructions of a *dump* of callgrind. Raises :exc:`ValueError` if it holds none."""
    found = _TOTAL.search(dump)
    if found is None:
        raise ValueError("callgrind has set down no total")
    return int(found[1])
