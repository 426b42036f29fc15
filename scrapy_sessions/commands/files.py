"""Reading what is imported, and writing to standard output: bytes."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["STANDARD", "read_input", "to_stdout"]

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
