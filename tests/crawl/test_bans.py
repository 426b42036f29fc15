"""A site that bans a session after 30 pages: every page is fetched once, by as few sessions as it takes."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.support.bans import BanningSite, ask

pytestmark = [pytest.mark.alone, pytest.mark.heavy]

LIMIT = 30


@pytest.mark.parametrize(
    ("pages", "ms", "concurrency"),
    [(480, 0, 1), (2000, 0, 8), (2000, 20, 16), (2000, 200, 32)],
)
async def test_pages_of_a_site_that_bans(bans: BanningSite, pages: int, ms: int, concurrency: int) -> None:
    """A pool of 8 gets every page once, with at most a fifth more sessions than the least, and no more than its size,
    whatever the latency."""
    bans.reset(limit=LIMIT, ms=ms, random=1)
    asked = await ask(
        *((bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(pages)),
        concurrency=concurrency,
        SESSIONS_POOLS={"shop": {"size": 8}},
    )
    journal = bans.journal()
    fetched = Counter(seen.path for seen in journal if seen.status == 200)
    assert set(fetched.values()) == {1}
    assert (len(fetched), asked.statuses) == (pages, {200: pages})
    least = math.ceil(pages / LIMIT)
    used = {seen.sid for seen in journal}
    assert len(used) <= least * 1.2
    assert len(used) <= least + 8
    assert asked.stats["retired"] <= len(used) <= asked.stats["created"]
    refused = sum(seen.status == 403 for seen in journal)
    assert refused - asked.stats["questions"] <= asked.stats["verdicts/suspect"] <= refused
