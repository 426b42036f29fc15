"""Jupyter Server: each request that isn't a navigation needs the token against cross-site requests in a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request

from scrapy_sessions import BrowserSession
from scrapy_sessions.logins import FormLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["Jupyter"]


class Login(AtSite, FormLogin):
    path = "/login?next=/api/me"

    def process_request(self, request: Request, session: BrowserSession) -> None:
        token = next((cookie.value for cookie in session.cookies if cookie.name == "_xsrf"), None)
        if token is not None:
            request.headers["X-XSRFToken"] = token


class Jupyter(FieldSpider):
    session_config = Login

    async def start(self) -> AsyncIterator[Request]:
        async for request in super().start():
            yield request
        for user in self.settings.getlist("FIELD_USERS"):
            for number in range(self.settings.getint("FIELD_NEW_FILES")):
                yield self.request(user, f"/api/contents?new={user}-{number}", method="POST", body='{"type": "file"}')

    def user_of(self, response: Any) -> str | None:
        if not response.headers.get("Content-Type", b"").startswith(b"application/json"):
            return None
        user: str | None = response.json().get("identity", {}).get("username")
        return user
