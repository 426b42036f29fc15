"""A site whose session id is good for one request: one request at a time in each session."""

from __future__ import annotations

from scrapy import FormRequest
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["Rotating"]

PASSWORDS = {"alice": "wonderland", "bob": "builder"}


class Login(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        site = self.crawler.settings["FIELD_SITE"]
        data = {"user": session.id, "password": PASSWORDS[session.id]}
        response = await fetch(FormRequest(f"{site}/login", formdata=data))
        return response.status == 200


class Rotating(FieldSpider):
    session_config = Login
    custom_settings = {**(FieldSpider.custom_settings or {}), "SESSIONS_CONCURRENCY": 1}  # noqa: RUF012  # Scrapy's

    def user_of(self, response: Response) -> str | None:
        user: str | None = response.json().get("user")
        return user
