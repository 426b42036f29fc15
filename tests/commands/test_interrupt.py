"""Ctrl-C while a command of ``scrapy sessions`` waits for what somebody types."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from scrapy_sessions import BrowserSession, SessionManager
from tests.support.crawl import ENVIRONMENT, sqlite_url
from tests.support.processes import waits
from tests.support.waiting import HANG, wait_until


def test_ctrl_c_at_the_question_ends_the_command(tmp_path: Path) -> None:
    """The first Ctrl-C at "Delete …?" ends the command, with the status of an interrupted one, and deletes nothing."""

    async def prepare() -> None:
        async with SessionManager(tmp_path / "s.db", namespace="shop") as manager:
            await manager.save_session("alice", BrowserSession("alice"))

    async def is_there() -> bool:
        async with SessionManager(tmp_path / "s.db", namespace="shop") as manager:
            return await manager.load_session("alice") is not None

    asyncio.run(prepare())
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scrapy", "sessions", "--store", sqlite_url(tmp_path / "s.db"), "delete", "alice"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = b""
        while b"[y/N]" not in said:
            said += os.read(terminal, 1024)
        wait_until(lambda: waits(process.pid))
        process.send_signal(signal.SIGINT)  # as the terminal does
        assert process.wait(timeout=HANG) == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert asyncio.run(is_there())


def test_ctrl_c_ends_the_reading_of_what_is_imported(tmp_path: Path) -> None:
    """The first Ctrl-C ends a command that waits for its input, with the status of an interrupted one."""
    os.mkfifo(tmp_path / "typed")
    process = subprocess.Popen(
        [sys.executable, "-m", "scrapy", "sessions", "--store", "s.db", "import", "typed", "alice", "--namespace", "x"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with (tmp_path / "typed").open("w"):  # waits for its reader, which then waits for what is written
            wait_until(lambda: waits(process.pid))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=HANG)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (130, "scrapy sessions: Interrupted\n")
    assert [file.name for file in tmp_path.iterdir()] == ["typed"]
