"""A spider whose items have files and images to download."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from tests.support.spiders.base import SiteSpider

__all__ = ["Media"]


class Media(SiteSpider):
    """Gets ``page`` in each of ``metas``, and yields an item that wants the file and the image at ``media``."""

    name = "media"
    page: str
    media: str
    field: str
    metas: Any

    async def start(self) -> AsyncIterator[Any]:
        for case, meta in self.metas.items():
            url = f"{self.page}?case={case}"
            yield Request(url, meta=meta, cb_kwargs={"case": case})

    def parse(self, response: Response, case: str = "", **kwargs: Any) -> Any:
        """Yield an item; without SESSIONS_ITEM_FIELD it isn't stamped."""
        media = f"{self.media}{'&' if '?' in self.media else '?'}case={case}"
        yield {"case": case, self.field: [media, self.media]}
