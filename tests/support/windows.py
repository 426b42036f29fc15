"""``scrapy sessions login`` and ``open``, with a real Chromium, as a person would use them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from scrapy_sessions import PersistentSession, SessionManager
from tests.support.browser import ARGUMENTS, CHROMIUM
from tests.support.command_line import PROGRAM, environment, make_project
from tests.support.waiting import HANG

__all__ = [
    "XVFB",
    "browsers_of",
    "close_pages",
    "launching",
    "project",
    "stored",
    "terminal",
    "wait_until_shown",
    "window",
]

XVFB = shutil.which("xvfb-run")


def launching(*arguments: str) -> dict[str, Any]:
    """PLAYWRIGHT_LAUNCH_OPTIONS, with more *arguments* of Chromium."""
    return {"executable_path": CHROMIUM, "args": [*ARGUMENTS, *arguments]}


def project(folder: Path, spider: str = "", *arguments: str, **settings: Any) -> Path:
    """A project whose browser has *arguments*, and whose store is the file s.db."""
    options = {"SESSIONS_STORE": f"sqlite:///{folder / 's.db'}", "PLAYWRIGHT_LAUNCH_OPTIONS": launching(*arguments)}
    return make_project(folder, spider, **{**options, **settings})


def stored(folder: Path, session_id: str = "alice", namespace: str = "shop") -> PersistentSession | None:
    """The record in the store of :func:`project`."""

    async def load() -> PersistentSession | None:
        async with SessionManager(folder / "s.db", namespace=namespace) as manager:
            return await manager.load_session(session_id)

    return asyncio.run(load())


@contextmanager
def window(
    folder: Path, *arguments: str, visible: bool = False, terminal: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run the command with *arguments*, its window on a display of its own if it is *visible*.

    Its standard input is a pipe, or *terminal*. It is killed at the end, if it hasn't ended.
    """
    display = [str(XVFB), "-a"] if visible else []
    process = subprocess.Popen(
        [*display, *PROGRAM, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE if terminal is None else terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_shown(process: subprocess.Popen[str]) -> None:
    """Return when the command says that the window is there."""
    assert process.stderr is not None
    assert any("close the window" in line or "Waiting for the page" in line for line in process.stderr)


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal: where a person types, and where a command reads that."""
    leader, follower = pty.openpty()
    try:
        yield leader, follower
    finally:
        os.close(leader)
        os.close(follower)


def close_pages(port: int) -> None:
    """Close the pages of the browser whose debugging port is *port*, as a person does."""
    opener = build_opener(ProxyHandler({}))
    address = f"http://127.0.0.1:{port}/json"
    for page in json.load(opener.open(address, timeout=HANG)):
        if page["type"] == "page":
            opener.open(f"{address}/close/{page['id']}", timeout=HANG).close()


def browsers_of(mark: str) -> list[int]:
    """The processes of browsers that have *mark* among their arguments."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in arguments:
            found.append(int(place.parent.name))
    return found
