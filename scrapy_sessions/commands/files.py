"""Reading what is imported and writing what is exported: bytes, and files for nobody else's eyes."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["STANDARD", "private_file", "read_input", "to_stdout"]

STANDARD = "-"
"""In place of a file: standard input or output."""


def read_input(name: str) -> bytes:
    """Return the content of the file *name*, or of standard input. Raises :exc:`OSError`."""
    return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()


def to_stdout(content: bytes) -> None:
    """Write *content* to standard output as it is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


@contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """Open *path* to be written: all of it appears at once at the end, readable by its owner only (mode 0600), or
    nothing. What isn't an ordinary file, a pipe for one, is written to directly. Raises :exc:`OSError`."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file:
                yield file
            return
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".scrapy-sessions-")  # which has mode 0600
    temporary = Path(made)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            yield file
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
