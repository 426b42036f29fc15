"""The workers, as the parent sees them: a process each, asked one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["WORKERS", "Worker", "WorkerFailed", "environment"]

WORKERS = Path(__file__).resolve().parent / "peers"


def environment() -> dict[str, str]:
    """Return the environment of a measured process: the path of this one, one hash seed, and no terminal's width."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    given["PYTHONHASHSEED"] = "0"  # else each run decides which dicts collide
    # What is installed is compiled. The package is imported from the checkout, and would be compiled each time.
    for name in ("COLUMNS", "PYTHONDONTWRITEBYTECODE"):
        given.pop(name, None)
    return given


class WorkerFailed(Exception):
    """A worker ended, or said that a command failed."""


class Worker:
    """One process of a side. While another is asked, it waits for its next line: it takes no time.

    :param script: a file of ``benchmarks/peers``
    :param python: of the side; by default ours, with the package under test
    :param prefix: what the Python is run by, such as valgrind
    """

    def __init__(self, script: str, *, python: Path | None = None, prefix: Iterable[str] = ()) -> None:
        self._name = script
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed with the worker
        self.process = subprocess.Popen(
            [*prefix, str(python or sys.executable), str(WORKERS / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment() if python is None else {**environment(), "PYTHONPATH": ""},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return what the worker answers to *command*. Raises :exc:`WorkerFailed`."""
        try:
            self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"it ended. {self._last_words()}"}
        if "error" in answer:
            raise WorkerFailed(f"{self._name}, {command}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        self.process.wait()
        self._errors.seek(0)
        return "".join(self._errors.readlines()[-5:])
