"""Pages on one host, the login on another: redirects lead there and back."""

from __future__ import annotations

from scrapy import FormRequest, Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["SingleSignOn"]

PASSWORDS = {"alice": "wonderland", "boss": "corner office"}


class Login(SessionConfig):
    login_url = "/login"

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        response = await fetch(Request(f"{self.crawler.settings['FIELD_SITE']}/login"))
        if response.css("[type=password]"):  # the provider doesn't know this session, or not any more
            data = {
                "csrfmiddlewaretoken": response.css("[name=csrfmiddlewaretoken]::attr(value)").get(""),
                "next": response.css("[name=next]::attr(value)").get(""),
                "username": session.id,
                "password": PASSWORDS[session.id],
            }
            response = await fetch(FormRequest(response.url, formdata=data))
        return response.text == "welcome"


class SingleSignOn(FieldSpider):
    allowed_domains = ["localhost"]  # noqa: RUF012  # Scrapy's declaration
    session_config = Login

    def user_of(self, response: Response) -> str | None:
        return response.css("#user::text").get()
