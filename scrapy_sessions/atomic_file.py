"""Writing a file so that nobody sees it half written."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_PREFIX = ".scrapy-sessions-"
# Descriptors that whoever started this process has given it.
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
_MAX_LINKS = 40  # Linux follows as many


@contextmanager
def atomic_write(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Open *path* for writing. At the end the whole file appears at once, with *mode*; after an error, nothing.

    By default only the owner can read it. Links are followed. A pipe of this user, a character device and
    ``/dev/stdout`` are written directly. The file or pipe of another user, a link that another user has made, and any
    other kind of file are refused with :exc:`PermissionError`. Raises :exc:`OSError` that names *path*.
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
    path, there = check_target(path)
    if (descriptor := _descriptor(path)) is not None:
        # Opened by its name, a file behind it would be overwritten from its beginning, or the link in /dev be replaced.
        with open(os.dup(descriptor), "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            yield file
        return
    if there is not None and not stat.S_ISREG(there.st_mode):
        # Without O_TRUNC: by now a file may have taken the place of the pipe.
        with open(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            _check(path, os.fstat(file.fileno()))
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


def _descriptor(path: Path) -> int | None:
    """Return the number of the open descriptor that *path* names."""
    name = str(path)
    if numbered := _NUMBERED.fullmatch(name):
        return int(numbered[1])
    return _STANDARD.get(name)


def check_target(path: Path) -> tuple[Path, os.stat_result | None]:
    """Follow links from *path*. Return the file or open descriptor at their end, and what is there now.

    Raises :exc:`PermissionError` if another user could choose where it is written, or read it.
    """
    file = path
    for _ in range(_MAX_LINKS):
        if _descriptor(file) is not None:
            return file, None
        try:
            there = file.lstat()
        except FileNotFoundError:
            return file, None
        _check(path, there)
        if not stat.S_ISLNK(there.st_mode):
            return file, there
        file = file.parent / file.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _check(path: Path, there: os.stat_result) -> None:
    if stat.S_ISCHR(there.st_mode):
        return
    if not any(kind(there.st_mode) for kind in (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISLNK, stat.S_ISDIR)):
        raise PermissionError(errno.EPERM, "It is neither a file nor a pipe: name another file", str(path))
    ours = {os.geteuid()} if hasattr(os, "geteuid") else {there.st_uid}
    if stat.S_ISLNK(there.st_mode):
        ours.add(0)  # a link of the system, such as /var/run
    if there.st_uid not in ours and not stat.S_ISDIR(there.st_mode):
        fault = "It belongs to another user, who could read what is written: name another file"
        raise PermissionError(errno.EPERM, fault, str(path))
