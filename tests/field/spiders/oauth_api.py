"""An API with OAuth 2.0: a token for each user, or one for the service."""

from __future__ import annotations

from typing import Any

from scrapy_sessions.logins import TokenLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["AsService", "AsUser"]


class UserLogin(AtSite, TokenLogin):
    path = "/o/token/"
    grant = "password"


class ServiceLogin(AtSite, TokenLogin):
    path = "/o/token/"
    grant = "client_credentials"


class AsUser(FieldSpider):
    session_config = UserLogin

    def user_of(self, response: Any) -> str | None:
        user: str | None = response.json()["user"] if response.status == 200 else None
        return user


class AsService(AsUser):
    session_config = ServiceLogin
