"""Spiders and middlewares of the tests of the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions.sessions.browser_session import runtime_of
from tests.support.spiders.base import Listed, SiteSpider

__all__ = ["CookieOnRobots", "Detour", "LateDetour", "Refreshing", "Reseeding", "Secretive", "Switching"]


class Secretive(Listed):
    """Binds a secret header to the origin ``origin``, in alice's session, before its requests."""

    name = "secretive"
    origin: str

    async def start(self) -> AsyncIterator[Any]:
        alice = await self.sessions.get("alice")
        alice.headers.set("Authorization", "Bearer alices-token", url=self.origin)
        alice.headers.set("X-Token", "alices-token", url=self.origin)
        async for request in super().start():
            yield request


class Reseeding(SiteSpider):
    """Sends a request with cookies, then copies of it: in another session, generation, and for another URL."""

    name = "reseeding"
    url: str
    other_url: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.url, self.again, cookies={"seed": "planted"}, meta={"session_id": "alice"})
        yield Request(self.url, self.elsewhere, cookies={"seed": "planted"}, meta={"session_id": "carol"})

    def again(self, response: Response) -> Any:
        alice = self.sessions.of(response)
        assert response.request is not None
        for step, meta in (("session", {**response.meta, "session_id": "bob"}), ("generation", response.meta)):
            if step == "generation":
                alice.cookies.clear()
                alice.new_generation()
            yield response.request.replace(
                meta=dict(meta), headers={"X-Step": step}, dont_filter=True, callback=self.parse
            )

    def elsewhere(self, response: Response) -> Any:
        yield Request(self.other_url, cookies={"seed": "planted"}, meta=dict(response.meta))


class Refreshing(SiteSpider):
    """Begins a new generation of alice's session while a slow response is on its way."""

    name = "refreshing"
    slow: str
    quick: str
    after: str

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.slow, self.late, meta={"session_id": "alice"})
        yield Request(self.quick, self.refresh, meta={"session_id": "alice"})

    def refresh(self, response: Response) -> Any:
        alice = self.sessions.of(response)
        alice.cookies.set("token", "new", domain=self.slow.split("/")[2].split(":")[0])
        alice.new_generation()
        self.before = self.state(alice)
        yield {"step": "refreshed", "in_flight": runtime_of(alice).in_flight, "requests": runtime_of(alice).requests}

    def late(self, response: Response) -> Any:
        alice = self.sessions.of(response)
        yield {"step": "late", "before": self.before, "after": self.state(alice), "status": response.status}
        yield Request(self.after, meta={"session_id": "alice"})

    @staticmethod
    def state(session: Any) -> dict[str, Any]:
        return {
            "cookies": {cookie.name: cookie.value for cookie in session.cookies},
            "pages": session.pages_visited,
            "actions": session.actions,
            "responses": {str(status): n for status, n in runtime_of(session).responses.items()},
            "failures": runtime_of(session).failures,
            "last_activity": session.last_activity,
            "bytes": runtime_of(session).bytes,
        }


class Switching(SiteSpider):
    """Fetches ``first`` in the session ``frm``, then ``second`` with a copy of that request, in the session ``to``."""

    name = "switching"
    first: str
    second: str
    frm: str = "alice"
    to: str | None = "bob"

    async def start(self) -> AsyncIterator[Any]:
        yield Request(self.first, self.switch, meta={"session_id": self.frm, "session_profile": self.frm})

    def switch(self, response: Response) -> Any:
        assert response.request is not None
        yield {
            "session": self.frm,
            "step": "worn",
            "meta": dict(response.request.meta),
            "headers": _text(response.request),
        }
        meta = {**response.meta, "session_id": self.to}
        if self.to is not None:
            meta["session_profile"] = self.to
        yield response.request.replace(url=self.second, meta=meta, callback=self.parse, dont_filter=True)


class Detour:
    """A downloader middleware that answers a request with a copy for the URL, and with the changes, in its meta."""

    key = "detour"

    def process_request(self, request: Request) -> Request | None:
        detour = request.meta.get(self.key)
        if detour is None:
            return None
        meta = {**request.meta, **request.meta.get("detour_meta", {})}
        del meta[self.key]
        return request.replace(url=detour, meta=meta)


class LateDetour(Detour):
    """The same behind Scrapy's proxy middleware, for another key of the meta."""

    key = "late_detour"


class CookieOnRobots:
    """A downloader middleware nearest the wire that makes the site set a cookie with its robots.txt."""

    def process_response(self, request: Request, response: Response) -> Response:
        if request.url.endswith("/robots.txt"):
            response.headers.appendlist("Set-Cookie", "robots=1; Path=/")
        return response


def _text(request: Request) -> dict[str, str]:
    return {name.decode(): b", ".join(request.headers.getlist(name)).decode() for name in request.headers}
