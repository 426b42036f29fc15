"""The spider middleware: requests that a callback yields inherit the session of its response; items are stamped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scrapy.spidermiddlewares.base import BaseSpiderMiddleware

from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.pools.claim import FLOW, PICKED, is_named
from scrapy_sessions.settings import DEFAULT_POOL

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

__all__ = ["SessionSpiderMiddleware"]

logger = logging.getLogger(__name__)

_KEYS = ("session_id", "session_pool", "cookiejar")


class SessionSpiderMiddleware(BaseSpiderMiddleware):
    """Nearest to the engine, so that it also processes what other spider middlewares yield."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._router = SessionRouter.of(crawler)
        self._field = self._router.settings.item_field
        self._keys = (*_KEYS, "session") if hasattr(crawler, "sessions") else _KEYS
        self._warned = False

    def get_processed_request(self, request: Request, response: Response | None) -> Request | None:
        """Let *request* inherit the session or the pool of *response*, unless it has a session key of its own."""
        if response is None or response.request is None or any(key in request.meta for key in self._keys):
            return request
        meta = response.meta
        if is_named(meta):
            request.meta["session_id"] = meta["session_id"]
            return request
        pool = meta.get("session_pool")
        if pool is None:  # no session, that of SESSIONS_DEFAULT_ID, or a cookiejar: as in Scrapy, not inherited
            return request
        if self._router.registry.pool(pool).sticky:
            request.meta["session_pool"] = pool
            request.meta["session_id"] = request.meta[PICKED] = meta["session_id"]
            session = self._router.session_of(response)
            if session is not None:
                request.meta[FLOW] = session.start_time
        elif pool != DEFAULT_POOL:
            request.meta["session_pool"] = pool
        return request

    def get_processed_item(self, item: Any, response: Response | None) -> Any:
        """Set the field ``SESSIONS_ITEM_FIELD`` of *item* to the id of the session of *response*."""
        if self._field is None or response is None or response.request is None:
            return item
        # Not at the top: it imports pydantic.v1, which a crawl without item fields has no use for.
        from itemadapter import ItemAdapter  # noqa: PLC0415

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
                    "%s has no field %r that can be set, so its items are not stamped with their session: add the "
                    "field, or change SESSIONS_ITEM_FIELD",
                    type(item).__name__,
                    self._field,
                    extra={"spider": self.crawler.spider},
                )
        return item
