"""Writing a file that nobody sees half done."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["atomic_write"]

_PREFIX = ".scrapy-sessions-"


@contextmanager
def atomic_write(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open *path* to be written: all of it appears at once at the end, with *mode*, or nothing.

    By default nobody but its owner can read it. What isn't an ordinary file, a pipe for one, is written to directly.
    Raises :exc:`OSError`, which names *path*.
    """
    try:
        with _opened(path, mode) as file:
            yield file
    except OSError as error:
        # That of a full disk names nothing, and the name of the temporary file says nothing to whoever named this one.
        named = error.filename is not None and not Path(os.fsdecode(error.filename)).name.startswith(_PREFIX)
        if named or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _opened(path: Path, mode: int) -> Iterator[IO[bytes]]:
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file:
                yield file
            return
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX)
    temporary = Path(made)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            yield file
            file.flush()
            os.fsync(handle)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
