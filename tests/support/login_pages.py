"""Logging in at pages that a test gives, without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from scrapy import Request
from scrapy.http import HtmlResponse, Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession
from scrapy_sessions.logins import LoginConfig

__all__ = ["LOGIN", "Pages", "config_of", "html"]

LOGIN = "https://shop.test/login"


def config_of(cls: Callable[..., Any], **settings: Any) -> Any:
    """Return a config of the class *cls* in a crawler with *settings*."""
    return cls(get_crawler(settings_dict=settings))


def html(body: str, url: str = LOGIN, status: int = 200) -> HtmlResponse:
    """Return a page."""
    return HtmlResponse(url, status=status, body=f"<!DOCTYPE html><body>{body}".encode())


class Pages:
    """Answers each request of a login with the next page, and keeps the requests."""

    def __init__(self, *pages: Response) -> None:
        self._pages = list(pages)
        self.requests: list[Request] = []

    async def fetch(self, request: Request) -> Any:
        self.requests.append(request)
        return self._pages.pop(0)

    async def log_in(self, config: LoginConfig, session_id: str = "alice", pool: str | None = None) -> BrowserSession:
        """Let *config* log a session in, and return it."""
        session = BrowserSession(session_id, pool=pool)
        await config.login(session, self.fetch)
        return session

    @property
    def posted(self) -> list[dict[str, str]]:
        """The fields of each form that was posted."""
        return [dict(parse_qsl(request.body.decode(), True)) for request in self.requests if request.method == "POST"]
