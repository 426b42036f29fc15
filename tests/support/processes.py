"""The processes of this machine: who descends from whom, and who belongs to a folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "descendants", "of_folder", "waits"]


@dataclass(frozen=True)
class Process:
    """A running process, and the command line that it shows."""

    pid: int
    parent: int
    command: str

    def kill(self) -> None:
        """Send it SIGKILL, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if status[0] not in "ZX":
                    yield Process(int(folder.name), int(status[1]), command)


def descendants(pid: int) -> list[Process]:
    """Return the children of the process *pid*, and theirs."""
    everybody = list(_processes())
    found: list[Process] = []
    parents = {pid}
    while children := [each for each in everybody if each.parent in parents and each not in found]:
        found.extend(children)
        parents = {each.pid for each in children}
    return found


def of_folder(folder: Path) -> list[Process]:
    """Return the processes that have *folder* in their command line or their environment."""
    found = []
    for each in _processes():
        with suppress(OSError):
            if str(folder) in each.command or os.fsencode(folder) in Path(f"/proc/{each.pid}/environ").read_bytes():
                found.append(each)
    return found


def waits(pid: int) -> bool:
    """Return whether the process *pid* sleeps.

    A signal that arrives between a prompt and the call that reads the answer is seen only after the answer: Python
    looks for signals before the call, and the call isn't interrupted by one that came earlier.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
