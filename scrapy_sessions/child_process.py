"""Running a command of the user, without a shell, while the crawl goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["run"]


async def run(arguments: Sequence[str], data: bytes = b"", *, read: bool = True) -> tuple[int, bytes]:
    """Run *arguments* with *data* as standard input, and return the exit status and the standard output.

    When the caller is cancelled, the process is killed, with those that it has started. Its standard error is ours.
    Raises :exc:`OSError` for a program that can't be started.

    :param read: whether its output is wanted: else it isn't waited for what it leaves in the background
    """
    # Not asyncio's own: on Windows, the event loop that Scrapy uses there has no processes.
    process = subprocess.Popen(  # noqa: S603, ASYNC220
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if read else subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.to_thread(process.communicate, data)
    except BaseException:
        _kill(process)
        raise
    return process.returncode, output or b""


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
