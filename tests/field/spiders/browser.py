"""Pages by scrapy-playwright, as people use it: its handler, and ``playwright`` in the meta."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["Copies", "InBrowser"]


class Login(SessionConfig):
    """Logs in by the browser. A secret header is bound to the site."""

    login_url = "/login"

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        site = self.crawler.settings["FIELD_SITE"]
        session.headers.set("X-Secret", f"of {session.id}", url=site)
        response = await fetch(Request(f"{site}/login/{session.id}", meta={"playwright": True}))
        return "welcome" in response.text


class InBrowser(FieldSpider):
    session_config = Login

    def request(self, user: str, path: str, **options: Any) -> Request:
        request = super().request(user, path, **options)
        request.meta["playwright"] = True
        return request

    def user_of(self, response: Response) -> str | None:
        return response.css("#user::text").get()


class Copies(InBrowser):
    """Copies alice's request, with its page in the browser, for bob; and then asks for a page without the browser."""

    async def start(self) -> AsyncIterator[Request]:
        request = self.request("alice", "/page/1")
        request.meta["playwright_include_page"] = True
        yield request.replace(callback=self.copy)

    async def copy(self, response: Response, path: str) -> AsyncIterator[Any]:
        page = response.meta["playwright_page"]
        for item in self.parse(response, path):
            yield {**item, "headers": sorted(response.request.headers.to_unicode_dict())}  # type: ignore[union-attr]
        assert response.request is not None
        for number, meta in enumerate(({**response.meta, "session_id": "bob"}, {**response.meta}), 2):
            yield response.request.replace(
                url=response.urljoin(f"/page/{number}"),
                meta=meta,
                callback=self.finish if number == 3 else self.parse,
                cb_kwargs={"path": f"/page/{number}"},
                priority=-number,
            )
        self.page = page

    async def finish(self, response: Response, path: str) -> AsyncIterator[Any]:
        """The copy for alice went to her page."""
        for item in self.parse(response, path):
            yield {**item, "same page": response.meta["playwright_page"] is self.page}
        await self.page.close()
        plain = self.request("alice", "/page/4")
        del plain.meta["playwright"]
        yield plain
