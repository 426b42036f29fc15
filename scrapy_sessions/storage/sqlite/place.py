"""Who may read and replace the SQLite file: the owner and mode of the file, of those beside it, and of its folder."""

from __future__ import annotations

import logging
import os
import shlex
import stat
from pathlib import Path

from scrapy_sessions.exceptions import StoreError

logger = logging.getLogger(__name__)

COMPANIONS = ("-wal", "-shm", ".lock")
"""The suffixes of the files beside the SQLite file."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The mode bits of the group and of all others."""

_IGNORE = "*\n"


def make_folder(folder: Path) -> None:
    """Create *folder*, unless it exists, for this user only and with its own ``.gitignore``."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return  # the user's folder, or one that another process has just created
    # So that a folder inside a repository doesn't get into its next commit: it contains cookies.
    (folder / ".gitignore").write_text(_IGNORE, encoding="ascii")


def make_file(path: Path) -> None:
    """Create the empty file *path*, unless it exists."""
    # Created before SQLite opens it: SQLite takes the mode from the umask, so that for a moment other users could open
    # the file. The -wal and -shm files get the mode of the file.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return


def is_our_folder(folder: Path) -> bool:
    """Whether *folder* was created by :func:`make_folder`. The user may open any other folder to others."""
    try:
        return (folder / ".gitignore").read_text(encoding="utf-8", errors="replace") == _IGNORE
    except OSError:
        return False


def refuse_foreign(path: Path) -> None:
    """Raise :exc:`~scrapy_sessions.exceptions.StoreError` if *path* or a file beside it belongs to another user.

    So does its folder, whose owner could replace it; that of the superuser is accepted, such as /tmp. *path* has no
    links in it. The owner of a file can read all that is written to it, and can have put anything into it.
    """
    if not hasattr(os, "geteuid"):
        return
    user = os.geteuid()
    foreign: list[Path] = []
    for file in _files(path):
        there = _look(file)
        if there is None:
            continue
        if file != path and not stat.S_ISREG(there.st_mode):
            raise StoreError(f"The session store {path} can't be used: {file} isn't a regular file. Remove it")
        if there.st_uid != user:
            foreign.append(file)
    folder = _look(path.parent)
    if folder is not None and folder.st_uid not in (user, 0):
        foreign.insert(0, path.parent)
    if foreign:
        owner = _name_of(os.lstat(foreign[0]).st_uid)
        listed = " ".join(shlex.quote(str(file)) for file in foreign)
        raise StoreError(
            f"The session store {path} is not used: {foreign[0]} belongs to {owner}, who could read and replace the "
            f"logins in it, and this process runs as {_name_of(user)}. Run it as {owner}, name another file, or, if "
            f"you trust what is in it, take it over: sudo chown {_name_of(user)} {listed}"
        )


def make_private(path: Path) -> None:
    """Take the rights of others off *path*, the files beside it, and its folder if we created that. Logs a WARNING."""
    if not hasattr(os, "geteuid"):  # where modes mean nothing
        return
    opened = []
    places = [*_files(path), *([path.parent] if is_our_folder(path.parent) else [])]
    for place in places:
        there = _look(place)
        if there is not None and there.st_mode & OTHERS:
            mode = stat.S_IMODE(there.st_mode)
            place.chmod(mode & ~OTHERS)
            opened.append(f"{place} ({mode:04o})")
    if opened:
        logger.warning(
            "Other users could read or write the session store, which has logins in it. It is private now: %s. If they "
            "may have read it, log in again",
            ", ".join(opened),
        )


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS)]


def _look(place: Path) -> os.stat_result | None:
    try:
        return place.lstat()
    except FileNotFoundError:
        return None


def _name_of(user: int) -> str:
    import pwd  # noqa: PLC0415  # not on Windows

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
