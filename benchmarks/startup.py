"""What sessions add to the start of a process: of a crawl without a request, and of the command line."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import Row, Size, compare
from benchmarks.processes import WORKERS, WorkerFailed, environment
from benchmarks.records import NAMESPACE, fill_store

__all__ = ["measure"]

_ADDONS = {"scrapy_sessions.SessionsAddon": 300}
_STORED = 10
_BOUND = 1.2


def measure(size: Size) -> list[Row]:
    """Start the processes of each comparison in turns."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill_store(Path(folder) / "sessions.db", _STORED))
        stock, added, validated = ({}, {"ADDONS": _ADDONS}, {"ADDONS": _ADDONS, "SESSIONS_POOL_SIZE": 4})
        listing = [*_scrapy("sessions", "list"), "--store", "sessions.db", "--namespace", NAMESPACE]
        crawls = _in_turns(Path(folder), size.starts, *map(_crawl, (added, stock, validated)))
        commands = _in_turns(Path(folder), size.starts, listing, _scrapy("version"))
    name = "start and end of a crawl without a request, CPU"
    return [
        compare(name, crawls[0], crawls[1], "ms", "stock Scrapy", bound=_BOUND, paired=True),
        compare(f"{name}, with a setting to validate", crawls[2], crawls[1], "ms", "stock Scrapy", paired=True),
        compare(
            f"scrapy sessions list, {_STORED} stored, CPU",
            *commands,
            "ms",
            "scrapy version",
            bound=_BOUND,
            paired=True,
        ),
    ]


def _crawl(settings: dict[str, Any]) -> list[str]:
    return [sys.executable, str(WORKERS / "empty.py"), json.dumps(settings)]


def _scrapy(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scrapy", *arguments]


def _in_turns(folder: Path, rounds: int, *commands: list[str]) -> list[list[float]]:
    """Return the milliseconds of CPU that each of *commands* took, by round. A first round compiles and caches."""
    took = [[_cpu(folder, command) for command in commands] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*took[1:], strict=True)]


def _cpu(folder: Path, command: list[str]) -> float:
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise WorkerFailed(f"{' '.join(command[1:3])} ended with status {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * 1e3
