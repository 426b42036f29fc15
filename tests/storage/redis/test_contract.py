"""The store on Redis holds to the contract of every store, against a real server."""

from __future__ import annotations

import pytest

from scrapy_sessions.storage import SessionStore
from scrapy_sessions.storage.redis.store import RedisStore
from scrapy_sessions.testing import Clock, StoreContract
from tests.support.redis_server import RedisServer


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def make_store(self, clock: Clock) -> SessionStore:
        return RedisStore(self.server.url, clock=clock)

    async def restart(self) -> bool:
        self.server.restart()
        return True
