"""Requests with ``session_id: None`` that bring cookies: one warning says that they are not sent."""

from __future__ import annotations

import pytest

from tests.support.shop import Shop, buy

WARNING = "are not sent: its session_id is None"


async def test_cookies_without_a_session_are_warned_of_once(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Cookies live in sessions: nothing sends those of a request that has none."""
    requests = [
        {"path": f"/page?n={number}", "meta": {"session_id": None}, "cookies": {"theme": "s3cret"}}
        for number in range(3)
    ]
    await buy(shop, {}, requests, None)
    assert [arrival.cookies for arrival in shop.came("/page")] == [{}, {}, {}]
    warnings = [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]
    assert len(warnings) == 1
    assert "s3cret" not in warnings[0]


async def test_others_are_not_warned_of(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a request in a session, nor one without cookies, nor one that merges none."""
    requests = [
        {"path": "/page?n=1", "cookies": {"theme": "dark"}},
        {"path": "/page?n=2", "meta": {"session_id": None}},
        {"path": "/page?n=3", "meta": {"dont_merge_cookies": True}, "cookies": {"theme": "dark"}},
    ]
    await buy(shop, {}, requests, None)
    assert WARNING not in caplog.text
