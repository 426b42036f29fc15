"""A store on a Redis server, and commands that no store sends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scrapy_sessions.storage.redis.store import RedisStore

__all__ = ["client_of", "open_store"]


@asynccontextmanager
async def open_store(server: Any, **options: Any) -> AsyncIterator[RedisStore]:
    """An open store at the URL, or with the client, *server*."""
    store = RedisStore(server, **options)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Any]:
    """A client of another program."""
    redis = pytest.importorskip("redis.asyncio")
    client = redis.Redis.from_url(url, **options)
    try:
        yield client
    finally:
        await client.aclose()
