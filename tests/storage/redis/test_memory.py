"""What a session costs the server."""

from __future__ import annotations

from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage import Outcome
from scrapy_sessions.storage.codec import encode
from scrapy_sessions.storage.redis.store import RedisStore
from tests.support.redis_server import RedisServer

SESSIONS = 300
BOUND = 1700  # bytes


def record(number: int) -> PersistentSession:
    """A session of 10 cookies and 50 actions, no two of them alike."""
    now = 1_700_000_000.123456 + number
    return PersistentSession(
        session_id=f"shop-{number}",
        namespace="shop",
        pool="shop",
        profile_name="de",
        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537",
        language="de-DE,de;q=0.9,en;q=0.8",
        start_time=now,
        last_activity=now + 60,
        pages_visited=50,
        last_url=f"https://shop.example/products/{number}?page",
        actions_performed=[f"GET https://shop.example/products/{number * 50 + n}?page 200" for n in range(50)],
        cookies=[
            Cookie(
                name=f"cookie_{n}",
                value=f"{hash((number, n)) & 0xFFFFFFFFFFFFFFFF:016x}",
                domain="shop.example",
                path="/",
                expires=now + 86400 * n,
                created=now,
                updated=now + n,
            )
            for n in range(10)
        ],
        idle_timeout=1800,
        status="ready",
        revision=1,
    )


async def test_a_session_takes_less_than_the_bound(redis_server: RedisServer) -> None:
    """The hash of a session, and its share of the indexes, take at most 1.7 kB by ``MEMORY USAGE``."""
    store = RedisStore(redis_server.url)
    await store.open()
    rows = [encode(record(number)) for number in range(SESSIONS)]
    assert await store.save(rows) == [Outcome.SAVED] * SESSIONS
    await store.close()
    taken = [
        int(redis_server.tell(f"MEMORY USAGE {key} SAMPLES 0").strip().lstrip(":"))
        for key in (
            *(f"sessions:{{shop}}:s:{row.session_id}" for row in rows),
            "sessions:{shop}:list",
            "sessions:{shop}:expiry",
        )
    ]
    assert sum(taken) / SESSIONS <= BOUND, (
        f"{sum(taken[:SESSIONS]) / SESSIONS:.0f} + {sum(taken[SESSIONS:]) / SESSIONS:.0f}"
    )
    assert min(taken) > 0
