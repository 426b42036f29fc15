"""Django's admin: a form with a hidden token against cross-site requests."""

from __future__ import annotations

from scrapy.http import Response

from scrapy_sessions.logins import FormLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["Admin", "AdminLogin"]


class AdminLogin(AtSite, FormLogin):
    path = "/admin/login/?next=/admin/"


class Admin(FieldSpider):
    session_config = AdminLogin

    def user_of(self, response: Response) -> str | None:
        return response.css("#user-tools strong::text").get()
