"""Waiting for a condition, in place of a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["HANG", "until"]

HANG = 300
"""Seconds after which a test that hangs ends. No test measures it, and a slow machine doesn't reach it."""


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until *condition* holds."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), HANG)
