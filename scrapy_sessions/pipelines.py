"""Media pipelines that download in the session that their item is stamped with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itemadapter import ItemAdapter
from scrapy.pipelines.files import FilesPipeline
from scrapy.pipelines.images import ImagesPipeline

from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.exceptions import SessionConfigurationError

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.pipelines.media import MediaPipeline

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    _Base = FilesPipeline
else:
    _Base = object

__all__ = ["SessionFilesPipeline", "SessionImagesPipeline"]


class _InItemSession(_Base):
    """Needs ``SESSIONS_ITEM_FIELD``, the field that names the session of an item."""

    router: SessionRouter

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        pipeline = super().from_crawler(crawler)
        pipeline.router = SessionRouter.of(crawler)
        if pipeline.router.settings.item_field is None:
            raise SessionConfigurationError(
                f"{cls.__name__} needs SESSIONS_ITEM_FIELD, the item field that says which session to download in"
            )
        return pipeline

    def get_media_requests(self, item: Any, info: MediaPipeline.SpiderInfo) -> list[Request]:
        requests = list(super().get_media_requests(item, info))
        field = self.router.settings.item_field
        session_id = ItemAdapter(item).get(field) if field is not None else None
        if session_id is None:
            return requests
        session = self.router.registry.ready(session_id)
        for request in requests:
            if "session_id" not in request.meta and "session_pool" not in request.meta:
                request.meta["session_id"] = session_id
                if session is not None and self.router.registry.pool_of(session) is not None:
                    request.meta["session_pool"] = session.pool  # one file of a pool is one file
        return requests


class SessionFilesPipeline(_InItemSession, FilesPipeline):
    """Scrapy's ``FilesPipeline``, in the item's session."""


class SessionImagesPipeline(_InItemSession, ImagesPipeline):
    """Scrapy's ``ImagesPipeline``, in the item's session. Needs Pillow, as Scrapy's does."""
