"""A cancelled call of RedisStore ends, also if the client swallows the cancellation."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("redis")

from scrapy_sessions.storage.redis.server import Server


class Swallows:
    """A client whose command is answered in the moment in which it is cancelled."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def execute_command(self, *words: object) -> bytes:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return b"PONG"
        raise AssertionError("It was not cancelled")


async def test_a_cancellation_is_not_swallowed() -> None:
    """A loop that calls the server ends when it is cancelled, as for example that which renews a lease."""
    client = Swallows()
    task = asyncio.ensure_future(Server(client, "redis://test").command("PING"))
    await client.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
