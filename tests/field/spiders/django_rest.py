"""Django REST framework, with a token in a header, and with the form and the cookies of its browsable pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import FormRequest, Request
from scrapy.http import JsonRequest, Response

from scrapy_sessions import BrowserSession, SessionConfig
from scrapy_sessions.config import Fetch
from tests.field.spiders.base import FieldSpider

__all__ = ["WithSession", "WithToken"]

PASSWORDS = {"alice": "wonderland", "boss": "corner office"}


def is_json(response: Any) -> bool:
    return bool(response.headers.get("Content-Type", b"").startswith(b"application/json"))


class TokenLogin(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        site = self.crawler.settings["FIELD_SITE"]
        session.headers.delete("Authorization")
        data = {"username": session.id, "password": PASSWORDS[session.id]}
        response = await fetch(JsonRequest(f"{site}/token/login/", data=data))
        if response.status != 200:
            return False
        session.headers.set("Authorization", f"Token {response.json()['token']}", url=site)
        return True


class FormLogin(SessionConfig):
    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        form = await fetch(Request(f"{self.crawler.settings['FIELD_SITE']}/session/login/?next=/session/notes/1/"))
        data = {
            "csrfmiddlewaretoken": form.css("[name=csrfmiddlewaretoken]::attr(value)").get(""),
            "next": "/session/notes/1/",
            "username": session.id,
            "password": PASSWORDS[session.id],
        }
        response = await fetch(FormRequest(form.url, formdata=data))
        return is_json(response) and response.json()["user"] == session.id

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
    session_config = TokenLogin


class WithSession(Notes):
    session_config = FormLogin
