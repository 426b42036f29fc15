"""The configs that log in to the shop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from scrapy import FormRequest, Request
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionConfig, Verdict
from scrapy_sessions.config import Fetch

__all__ = ["Fails", "FormIsExpiry", "LogsIn", "SaysForm", "TakesToken", "base_of"]


def base_of(config: SessionConfig) -> str:
    """Where the spider's shop is."""
    spider: Any = config.crawler.spider
    return str(spider.base)


class LogsIn(SessionConfig):
    """Fetches the form, and posts it with its token."""

    login_url: str | None = "/login"

    async def login(self, session: BrowserSession, fetch: Fetch) -> Verdict | bool | None:
        url = base_of(self) + "/login"
        form = await fetch(Request(url))
        data = {"csrf": form.xpath("//input[@name='csrf']/@value").get(""), "user": session.id}
        response = await fetch(FormRequest(url, formdata=data))
        if response.status != 200:
            raise ValueError(f"hunter2 is no password, {response.status}")
        return None


class FormIsExpiry(LogsIn):
    """Knows an expiry by the form alone, in a page with status 200."""

    login_url = None

    def check(self, response: Response, request: Request) -> Verdict:
        return Verdict.EXPIRED if response.css("form[action='/login']") else Verdict.OK


class SaysForm(LogsIn):
    """Checks as a coroutine does."""

    async def check(self, response: Response, request: Request) -> Verdict:
        await asyncio.sleep(0)
        return Verdict.EXPIRED if response.css("form[action='/login']") else Verdict.OK


class TakesToken(SessionConfig):
    """Gets a token, and sends it as a header that goes to the shop alone."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        base = base_of(self)
        request = Request(base + "/token", method="POST", body=f'{{"user": "{session.id}"}}')
        token = json.loads((await fetch(request)).body)["token"]
        session.headers.set("Authorization", f"Bearer {token}", url=base)


class Fails(SessionConfig):
    """Never logs in."""

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        raise ValueError("hunter2 is no password")
