"""What the spiders have in common: each path for each user, and what arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.http import Response

from scrapy_sessions.logins import LoginConfig

__all__ = ["AtSite", "FieldSpider"]


class AtSite(LoginConfig):
    """A login at ``path`` of the site that the settings name: its address is known when the test runs."""

    path: str

    @property
    def login_url(self) -> str:  # type: ignore[override]  # a constant in a project
        return f"{self.crawler.settings['FIELD_SITE']}{self.path}"


class FieldSpider(Spider):
    """Yields an item for each request: the session, the path, the status, the user whom the page shows, or the failure.

    The settings ``FIELD_SITE``, ``FIELD_USERS`` and ``FIELD_PATHS`` say what to ask for.
    """

    name = "field"
    custom_settings: dict[Any, Any] | None = {"HTTPERROR_ALLOW_ALL": True}  # noqa: RUF012  # Scrapy's declaration

    async def start(self) -> AsyncIterator[Request]:
        for path in self.settings.getlist("FIELD_PATHS"):
            for user in self.settings.getlist("FIELD_USERS"):
                yield self.request(user, path)

    def request(self, user: str, path: str, **options: Any) -> Request:
        return Request(
            self.settings["FIELD_SITE"] + path,
            self.parse,
            errback=self.failed,
            meta={"session_id": user},
            cb_kwargs={"path": path},
            dont_filter=True,  # several closed pages are redirected to the same page
            **options,
        )

    def parse(self, response: Response, path: str) -> Iterator[dict[str, Any]]:
        shown = urlsplit(response.url)
        yield {
            "session": response.meta["session_id"],
            "path": path,
            "shown": f"{shown.path}?{shown.query}".rstrip("?"),
            "status": response.status,
            "user": self.user_of(response),
        }

    def failed(self, failure: Any) -> Iterator[dict[str, Any]]:
        request = failure.request
        yield {
            "session": request.meta["session_id"],
            "path": request.cb_kwargs["path"],
            "failure": failure.type.__name__,
        }

    def user_of(self, response: Response) -> str | None:
        """Return the name of the user whom the page shows."""
        raise NotImplementedError
