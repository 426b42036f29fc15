"""Django's admin: a form with a hidden token against cross-site requests."""

from __future__ import annotations

from scrapy import FormRequest, Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["Admin", "AdminLogin"]

PASSWORDS = {"alice": "wonderland", "boss": "corner office"}


class AdminLogin(SessionConfig):
    login_url = "/admin/login/"

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        site = self.crawler.settings["FIELD_SITE"]
        form = await fetch(Request(f"{site}/admin/login/?next=/admin/"))
        data = {
            "csrfmiddlewaretoken": form.css("[name=csrfmiddlewaretoken]::attr(value)").get(""),
            "next": "/admin/",
            "username": session.id,
            "password": PASSWORDS[session.id],
        }
        response = await fetch(FormRequest(form.url, formdata=data))
        return not response.css("[type=password]")


class Admin(FieldSpider):
    session_config = AdminLogin

    def user_of(self, response: Response) -> str | None:
        return response.css("#user-tools strong::text").get()
