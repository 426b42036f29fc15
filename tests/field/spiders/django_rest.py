"""Django REST framework, with a token in a header, and with the form and the cookies of its browsable pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession
from scrapy_sessions.logins import FormLogin, TokenLogin
from tests.field.spiders.base import AtSite, FieldSpider

__all__ = ["WithSession", "WithToken"]


def is_json(response: Any) -> bool:
    return bool(response.headers.get("Content-Type", b"").startswith(b"application/json"))


class ForToken(AtSite, TokenLogin):
    path = "/token/login/"
    scheme = "Token"


class ByForm(AtSite, FormLogin):
    path = "/session/login/?next=/session/notes/1/"

    def process_request(self, request: Request, session: BrowserSession) -> None:
        token = next((cookie.value for cookie in session.cookies if cookie.name == "csrftoken"), None)
        if token is not None and request.method == "POST":
            request.headers["X-CSRFToken"] = token


class Notes(FieldSpider):
    """Reads the notes, and then changes each of them with a POST."""

    custom_settings = {  # noqa: RUF012  # Scrapy's declaration
        **(FieldSpider.custom_settings or {}),
        "DEFAULT_REQUEST_HEADERS": {"Accept": "application/json"},
    }

    async def start(self) -> AsyncIterator[Request]:
        async for request in super().start():
            yield request
        for path in self.settings.getlist("FIELD_POSTS"):
            for user in self.settings.getlist("FIELD_USERS"):
                yield self.request(
                    user, path, method="POST", body='{"text": "new"}', headers={"Content-Type": "application/json"}
                )

    def user_of(self, response: Response) -> str | None:
        user: str | None = response.json().get("user") if is_json(response) else None
        return user


class WithToken(Notes):
    session_config = ForToken


class WithSession(Notes):
    session_config = ByForm
