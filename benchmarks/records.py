"""Stores full of sessions, as the measures need them."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.chain import ACTIONS, COOKIES, BenchSpider
from scrapy_sessions.models import Cookie, Metrics, PersistentSession
from scrapy_sessions.storage.codec import encode
from scrapy_sessions.storage.sqlite import SQLiteStore

__all__ = ["fill_store"]

_HOURS = 12  # over which the sessions were last active
_BATCH = 1000


def _record(number: int, age: float, now: float) -> PersistentSession:
    cookies = [
        Cookie(
            name=f"c{i}",
            value=f"value-{i}-{'v' * 16}",
            domain="shop.example",
            expires=now + 86400 * 30,
            http_only=True,
            created=now - age,
            updated=now - age,
        )
        for i in range(COOKIES)
    ]
    return PersistentSession(
        session_id=f"s{number}",
        namespace=BenchSpider.name,
        user_agent="Mozilla/5.0 (bench)",
        start_time=now - age,
        last_activity=now - age,
        pages_visited=ACTIONS,
        actions_performed=[f"GET https://shop.example/p/{i} 200" for i in range(ACTIONS)],
        last_url=f"https://shop.example/p/{ACTIONS}",
        cookies=cookies,
        status="ready",
        idle_timeout=86400,  # none expires, all of them stand in the index of those that will
        revision=1,
        metrics=Metrics(requests=ACTIONS, responses={"200": ACTIONS}),
    )


async def fill_store(path: Path, n: int) -> None:
    """Make the SQLite file *path* with *n* sessions, ``s0`` being the one of the newest activity."""
    now = time.time()
    store = SQLiteStore(path)
    await store.open()
    try:
        for start in range(0, n, _BATCH):
            numbers = range(start, min(n, start + _BATCH))
            await store.save([encode(_record(number, _HOURS * 3600 * number / n, now)) for number in numbers])
    finally:
        await store.close()
