"""Standard input and output as bytes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["STANDARD", "interruptible", "read_input", "to_stdout"]

STANDARD = "-"
"""Names standard input or output instead of a file."""


def read_input(name: str) -> bytes:
    """Return the content of the file *name*, or of standard input. Raises :exc:`OSError`."""
    with interruptible():  # for a named file too: it may be a pipe
        return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C end a read in the block, by :exc:`KeyboardInterrupt`."""
    # asyncio's own handler only cancels the task, which takes effect after the read.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def to_stdout(content: bytes) -> None:
    """Write *content* to standard output unchanged."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
