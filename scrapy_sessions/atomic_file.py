"""Writing a file so that nobody sees it half written."""

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
    """Open *path* for writing. At the end the whole file appears at once, with *mode*; after an error, nothing.

    By default only the owner can read it. Anything but a regular file, such as a pipe, is written directly. Raises
    :exc:`OSError` that names *path*.
    """
    try:
        with _opened(path, mode) as file:
            yield file
    except OSError as error:
        # The error of a full disk names no file, and the name of the temporary file means nothing to the caller.
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
