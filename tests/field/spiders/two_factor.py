"""A site whose login has two pages: user name and password, then a one-time code."""

from __future__ import annotations

from scrapy.http import Response

from scrapy_sessions.logins import FormLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["TwoFactor"]


class Login(AtSite, FormLogin):
    path = "/account/login/"


class TwoFactor(FieldSpider):
    session_config = Login

    def user_of(self, response: Response) -> str | None:
        return response.css("#user::text").get()
