"""A Flask-Login site: a plain form, and a redirect to it for whoever isn't logged in."""

from __future__ import annotations

from scrapy import FormRequest
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["Remembered"]

PASSWORDS = {"alice": "wonderland", "bob": "builder"}


class Login(SessionConfig):
    login_url = "/login"

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        site = self.crawler.settings["FIELD_SITE"]
        data = {"user": session.id, "password": PASSWORDS[session.id]}
        response = await fetch(FormRequest(f"{site}/login", formdata=data))
        return response.css("#user::text").get() == session.id


class Remembered(FieldSpider):
    session_config = Login

    def user_of(self, response: Response) -> str | None:
        return response.css("#user::text").get()
