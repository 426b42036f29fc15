"""The manager without a crawl."""

from __future__ import annotations

from typing_extensions import assert_type

from scrapy_sessions import PersistentSession, SessionInfo, SessionManager


async def report() -> list[SessionInfo]:
    async with SessionManager(namespace="shop") as manager:
        record = assert_type(await manager.load_session("alice"), PersistentSession | None)
        if record is not None:
            print(record.last_url, len(record.cookies))
        return await manager.list_sessions(pool="readers", limit=10)
