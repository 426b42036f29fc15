"""``cookiejar`` keys as fresh visitors, over two runs: what the documentation says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.crawl import sqlite_url
from tests.support.shop import Shop, buy

SET = "/page?set=seen%3Dyes%3B+Path%3D/%3B+Max-Age%3D3600"


@pytest.mark.parametrize(
    ("key", "store", "fresh"),
    [(lambda: 1, "sqlite", False), (lambda: 1, "memory", True), (object, "sqlite", True)],
    ids=["number", "number in memory", "object"],
)
async def test_a_number_is_the_visitor_of_the_run_before(
    shop: Shop, tmp_path: Path, key: Any, store: str, fresh: bool
) -> None:
    """Unless nothing is saved, or the key can't be known again: the two ways to a fresh visitor."""
    settings = {"SESSIONS_STORE": "memory://" if store == "memory" else sqlite_url(tmp_path / "s.db")}
    for _ in range(2):
        await buy(shop, settings, [{"path": SET, "tagged": False, "meta": {"cookiejar": key()}}], None)
    first, second = shop.came("/page")
    assert first.cookies == {}
    assert second.cookies == ({} if fresh else {"seen": "yes"})
