"""What stands between a client and a Redis server: TLS, and answers that get lost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tests.support.redis_server import RedisServer

__all__ = ["RedisProxy"]


class RedisProxy:
    """Forwards connections to *server*, within the event loop of the test.

    ``lose`` is how many of the next answers of scripts are lost: the server has carried out the script, and the
    connection ends, after what ``meanwhile`` does. ``drop`` is how many of the next scripts don't reach the server.

    :param tls: the context of its own side, if that is TLS
    """

    def __init__(self, server: RedisServer, tls: ssl.SSLContext | None = None) -> None:
        self.lose = 0
        self.lost = 0
        self.drop = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self._server = server
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> RedisProxy:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._listener.sockets[0].getsockname()[1]
        self.url = f"redis{'s' if self._tls else ''}://localhost:{self.port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._server.port)
        script = False

        async def requests() -> None:
            nonlocal script
            while data := await reader.read(1 << 20):
                if self.drop and b"EVAL" in data:
                    self.drop -= 1
                    break
                script = script or b"EVAL" in data
                to_server.write(data)
            to_server.close()

        forward = asyncio.ensure_future(requests())
        try:
            while data := await upstream.read(1 << 20):
                if self.lose and script and not data.startswith(b"-NOSCRIPT"):
                    self.lose -= 1
                    self.lost += 1
                    if self.meanwhile is not None:
                        await self.meanwhile()
                    break
                script = False
                writer.write(data)
        finally:
            forward.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await forward
            to_server.close()
            writer.close()
            self._tasks.discard(task)
