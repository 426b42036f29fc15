"""Commands of the user end when they must, with what they have started."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from scrapy_sessions import child_process
from tests.support.waiting import HANG

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")


async def test_input_and_output() -> None:
    """The input is passed on, the output and the status are returned."""
    assert await child_process.run(["sh", "-c", "cat; exit 3"], b"text") == (3, b"text")
    assert await child_process.run(["sh", "-c", "cat; exit 3"], b"text", read=False) == (3, b"")


async def test_a_command_that_is_cancelled() -> None:
    """A command that takes too long is killed, with what it has started: no thread waits for it."""
    for _ in range(40):  # more than the executor has threads
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(child_process.run(["sh", "-c", f"sleep {3 * HANG}; echo"]), 0.05)
    assert await asyncio.wait_for(child_process.run(["echo", "hi"]), HANG) == (0, b"hi\n")


async def test_what_stays_in_the_background() -> None:
    """Without its output, a command isn't waited for longer than it runs itself."""
    run = child_process.run(["sh", "-c", f"sleep {HANG} & exit 0"], read=False)
    assert await asyncio.wait_for(run, HANG / 2) == (0, b"")
