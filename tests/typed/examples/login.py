"""A SessionConfig with annotations: what its documentation shows."""

from __future__ import annotations

from scrapy import FormRequest, Request
from scrapy.http import HtmlResponse, Response, TextResponse
from typing_extensions import assert_type

from scrapy_sessions import BrowserSession, Fetch, SessionConfig, Verdict, session_config


@session_config("shop.example")
class Shop(SessionConfig):
    login_url = "https://shop.example/login"

    def pool(self, request: Request) -> str | None:
        return "catalog" if "/catalog/" in request.url else None

    async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
        page = assert_type(await fetch(Request(self.login_url)), TextResponse)
        data = {"user": session.id, "password": self.crawler.settings["SHOP_PASSWORDS"][session.id]}
        page = await fetch(FormRequest.from_response(page, formid="login", formdata=data))
        return not page.css("form#login")

    def check(self, response: Response, request: Request) -> Verdict:
        if isinstance(response, HtmlResponse) and response.css("form#login"):
            return Verdict.EXPIRED
        return super().check(response, request)

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["X-CSRF-Token"] = session.cookies["csrf"]

    def delay(self, session: BrowserSession) -> float:
        return 2 * super().delay(session)


class Api(SessionConfig):
    login_url: str = "https://api.shop.example/token"

    async def login(self, session: BrowserSession, fetch: Fetch) -> None:
        answer = await fetch(Request(self.login_url, method="POST"))
        session.headers.set("Authorization", f"Bearer {answer.json()['token']}", url=self.login_url)

    async def check(self, response: Response, request: Request) -> Verdict:
        verdict = super().check(response, request)
        return Verdict.SUSPECT if verdict is Verdict.OK and not response.body else verdict
