"""Starting an application of :mod:`tests.field.apps`, and asking it what it has counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Application", "Counts", "application"]

_ROOT = Path(__file__).parents[2]
_STOP_SECONDS = 10


@dataclass(frozen=True)
class Counts:
    """What the application counted since it was last asked: logins by user, and whom it showed which page."""

    logins: dict[str, int]
    pages: list[tuple[str, str]]


class Application:
    """An application that runs. ``url`` has no slash at its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._read()
        assert self.url.startswith("http"), self.url

    def counts(self) -> Counts:
        """Return what was counted, and begin anew."""
        counts = self._do("counts")
        return Counts(counts["logins"], [(user, path) for user, path in counts["pages"]])

    def log_out(self, users: Iterable[str] = (), *, after: int = 0) -> None:
        """End all logins on the side of the application: now, or once it has served each of *users* so many pages."""
        self._do("log_out", after=dict.fromkeys(users, after))

    def forget(self, users: Iterable[str] = (), *, after: int = 0) -> None:
        """End what the application can restore without a login, now or as :meth:`log_out`."""
        self._do("forget", after=dict.fromkeys(users, after))

    def _do(self, command: str, **options: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **options}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the application has ended: see its error above"
        return line.strip()


@contextmanager
def application(folder: Path, name: str, *arguments: str) -> Iterator[Application]:
    """Run the module *name* of :mod:`tests.field.apps` in a process of its own, with *folder* as its home."""
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", f"tests.field.apps.{name}", str(folder), *arguments],
        env={**os.environ, "HOME": str(folder), "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Application(process)
    finally:
        process.stdin.close()  # it ends then, so that it can't outlive the tests
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
