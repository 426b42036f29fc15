"""Pages on one host, the login on another: redirects lead there and back."""

from __future__ import annotations

from scrapy.http import Response

from scrapy_sessions.logins import FormLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["SingleSignOn"]


class Login(AtSite, FormLogin):
    path = "/login"
    trusted_hosts = ("127.0.0.1",)  # that of the provider; the service is on localhost


class SingleSignOn(FieldSpider):
    allowed_domains = ["localhost"]  # noqa: RUF012  # Scrapy's declaration
    session_config = Login

    def user_of(self, response: Response) -> str | None:
        return response.css("#user::text").get()
