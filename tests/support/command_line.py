"""``scrapy sessions`` as a process of its own, in a real project."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import scrapy_sessions
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage.codec import encode
from scrapy_sessions.storage.encryption import Cipher
from scrapy_sessions.storage.sqlite.store import SQLiteStore
from tests.support import launcher
from tests.support.waiting import HANG

__all__ = ["PROGRAM", "Done", "environment", "fill", "make_project", "on_terminal", "run", "sessions"]

PROGRAM = [sys.executable, "-m", "scrapy", "sessions"]
_COLOURS = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"}


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment(**more: str) -> Mapping[str, str]:
    """The environment of a command: that of the tests, but for what changes the look of its output, and *more*."""
    kept = {name: value for name, value in os.environ.items() if name not in _COLOURS}
    return {**kept, "PYTHONPATH": str(Path(scrapy_sessions.__file__).parents[1]), **more}


def sessions(folder: Path, *arguments: str, **more: str) -> Done:
    """Run ``scrapy sessions`` with *arguments* in *folder*, its output in pipes, its input at its end."""
    return run(folder, [*PROGRAM, *arguments], **more)


def run(folder: Path, command: Sequence[str], **more: str) -> Done:
    """As :func:`sessions`, for any *command*."""
    done = launcher.run(command, cwd=folder, env=environment(**more), timeout=HANG)
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def on_terminal(folder: Path, *arguments: str, typed: str = "", **more: str) -> Done:
    """As :func:`sessions`, on a terminal where *typed* was typed; ``out`` is all that it showed."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=folder,
            env=environment(TERM="xterm-256color", COLUMNS="120", **more),
            stdin=follower,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        os.write(leader, typed.encode())
        shown = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody holds the other end any more
            while part := os.read(leader, 65536):
                shown += part
        return Done(process.wait(timeout=HANG), shown.decode(), "")
    finally:
        os.close(leader)


def fill(file: Path, *records: PersistentSession, keys: Sequence[str] = (), plain: bool = False) -> None:
    """Save *records* as new ones into the store *file*, with the first of its *keys* if any, or in *plain*."""
    cipher = Cipher(keys) if keys else None

    async def save() -> None:
        store = SQLiteStore(file)
        store.cipher = cipher
        await store.open()
        try:
            new = (record.model_copy(update={"revision": 1}) for record in records)
            await store.save([encode(record, None if plain else cipher) for record in new])
        finally:
            await store.close()

    asyncio.run(save())


def make_project(folder: Path, spider: str = "", **settings: Any) -> Path:
    """Make a Scrapy project in *folder*, with the add-on, *settings*, and a module of the source *spider*."""
    package = folder / "shop"
    (package / "spiders").mkdir(parents=True)
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")
    values = {
        "BOT_NAME": "shop",
        "SPIDER_MODULES": ["shop.spiders"],
        "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
        "TELNETCONSOLE_ENABLED": False,
        **settings,
    }
    (package / "settings.py").write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
    for file in (package / "__init__.py", package / "spiders" / "__init__.py"):
        file.write_text("")
    (package / "spiders" / "shop.py").write_text(spider)
    return folder
