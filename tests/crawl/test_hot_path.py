"""The hot path: a request whose session is in memory passes our middlewares without waiting for anything."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware, SessionVerdictMiddleware
from tests.support.crawl import ADDON
from tests.support.waiting import at_once

URL = "http://shop.test/"
METAS: dict[str, dict[str, Any]] = {
    "named": {"session_id": "alice"},
    "pooled": {"session_pool": "shop"},
    "untagged": {},
    "cookiejar": {"cookiejar": 1},
}


@pytest.fixture
def extension() -> SessionsExtension:
    """The extension of a crawler that doesn't crawl, as the add-on makes it."""
    settings = {"ADDONS": ADDON, "SESSIONS_STORE": "memory://", "SESSIONS_POOLS": {"shop": {"size": 1}}}
    extension = get_crawler(settings_dict=settings).get_extension(SessionsExtension)
    assert extension is not None
    return extension


@pytest.mark.parametrize("meta", METAS.values(), ids=METAS)
async def test_75_waits_for_a_session_not_in_memory(extension: SessionsExtension, meta: dict[str, Any]) -> None:
    """The first request of a session waits for the store."""
    waiting = extension.router.begin(Request(URL, meta=dict(meta)))
    assert inspect.iscoroutine(waiting)
    await waiting
    await extension.manager.close()


@pytest.mark.parametrize("meta", METAS.values(), ids=METAS)
async def test_75_never_waits_for_a_session_in_memory(extension: SessionsExtension, meta: dict[str, Any]) -> None:
    """Every later request of a session that is in memory is done at once."""
    middleware = SessionMiddleware(extension.router)
    await middleware.process_request(Request(URL, meta=dict(meta)))
    request = Request(URL, meta=dict(meta))
    assert at_once(middleware.process_request(request)) is None
    assert isinstance(request.meta["session_id"], str)
    await extension.manager.close()


@pytest.mark.parametrize("meta", [{"session_id": None}, {"cookiejar": object()}], ids=["none", "object"])
async def test_75_never_waits_where_there_is_nothing_to_load(
    extension: SessionsExtension, meta: dict[str, Any]
) -> None:
    """A request without a session, or with one for this crawl only, waits for nothing from the start."""
    assert at_once(SessionMiddleware(extension.router).process_request(Request(URL, meta=dict(meta)))) is None


@pytest.mark.parametrize("prepared", [False, True], ids=["without 75", "after 75"])
@pytest.mark.parametrize("meta", METAS.values(), ids=METAS)
async def test_960_always_returns_none(extension: SessionsExtension, meta: dict[str, Any], prepared: bool) -> None:
    """The cookies middleware never waits, also where no session was picked before it: it makes one."""
    request = Request(URL, meta=dict(meta))
    if prepared:
        await SessionMiddleware(extension.router).process_request(request)
    middleware = SessionCookiesMiddleware(False, extension.router)
    middleware.crawler = extension.crawler
    assert middleware.process_request(request) is None  # type: ignore[func-returns-value]
    visit = extension.router.in_flight.get(request)
    assert visit is not None
    assert visit.session.id == request.meta["session_id"]
    assert visit.session.requests == 1
    await extension.manager.close()


def test_950_has_no_part_in_the_way_out(extension: SessionsExtension) -> None:
    """Scrapy calls each method of each middleware with each request: where 960 is, 950 has none for it."""
    assert not hasattr(SessionVerdictMiddleware(extension.router), "process_request")
