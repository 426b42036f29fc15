"""The spider middleware: what a callback yields stays in the session of its response, and says so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from itemadapter import ItemAdapter
from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.pools.claim import PICKED, is_named
from scrapy_sessions.settings import DEFAULT_POOL

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

__all__ = ["SessionSpiderMiddleware"]

logger = logging.getLogger(__name__)

_KEYS = ("session_id", "session_pool", "cookiejar")


class SessionSpiderMiddleware(BaseSpiderMiddleware):
    """Nearest the engine, so that it sees what the other spider middlewares yield, too."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._router = SessionRouter.of(crawler)
        self._field = self._router.settings.item_field
        self._warned = False

    def get_processed_request(self, request: Request, response: Response | None) -> Request | None:
        """Let *request*, if it has no session key of its own, inherit the session or the pool of *response*."""
        if response is None or response.request is None or any(key in request.meta for key in _KEYS):
            return request
        meta = response.meta
        if is_named(meta):
            request.meta["session_id"] = meta["session_id"]
            return request
        pool = meta.get("session_pool")
        if pool is None:  # none, the session of SESSIONS_DEFAULT_ID, or a cookiejar: as in Scrapy, not passed on
            return request
        if self._router.manager.pool(pool).sticky:
            request.meta["session_pool"] = pool
            request.meta["session_id"] = request.meta[PICKED] = meta["session_id"]
        elif pool != DEFAULT_POOL:
            request.meta["session_pool"] = pool
        return request

    def get_processed_item(self, item: Any, response: Response | None) -> Any:
        """Put the id of the session that *response* came in into the field ``SESSIONS_ITEM_FIELD`` of *item*."""
        if self._field is None or response is None or response.request is None:
            return item
        session_id = response.meta.get("session_id")
        if session_id is None or not ItemAdapter.is_item(item):
            return item
        adapter = ItemAdapter(item)
        try:
            if adapter.get(self._field) is None:
                adapter[self._field] = session_id
        except (KeyError, AttributeError, TypeError, ValueError):  # no such field, or a frozen or validating item
            self._router.count("items_without_field")
            if not self._warned:
                self._warned = True
                logger.warning(
                    "%s has no field %r that could be set, so its items don't tell their session: add the field, or "
                    "change SESSIONS_ITEM_FIELD",
                    type(item).__name__,
                    self._field,
                    extra={"spider": self.crawler.spider},
                )
        return item
