"""``session.alone()``: a form and its single-use token, while other pages of the session are crawled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from scrapy import FormRequest, Request, Spider
from scrapy.http import Response

from scrapy_sessions import BrowserSession, SessionError, SpiderSessions
from tests.support.crawl import crawl, session_stats

FAST = {"SESSIONS_STORE": "memory://", "CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}
FORMS = 5


class TokenSite:
    """Every page gives the visitor a new token; a form is accepted with the newest one only."""

    def __init__(self) -> None:
        self.token = 0
        self.accepted = 0
        self.refused = 0
        self.paths: list[str] = []
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self._answer(site.handle(self.path, self.rfile.read(length).decode()))

            do_POST = do_GET  # noqa: N815  # the name that http.server looks for

            def _answer(self, body: str) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def handle(self, path: str, body: str) -> str:
        with self._lock:
            self.paths.append(path)
            if body:
                good = body == f"token={self.token}"
                self.accepted += good
                self.refused += not good
            self.token += 1
            return f"<p id=token>{self.token}</p>"


@pytest.fixture
def site() -> Iterator[TokenSite]:
    site = TokenSite()
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


class Orders(Spider):
    """Crawls pages, and posts forms meanwhile: in an ``alone()`` block, or not."""

    name = "orders"
    site: TokenSite
    alone: bool
    sessions: SpiderSessions
    error = ""

    async def start(self) -> AsyncIterator[Any]:
        for number in range(60):
            yield Request(self.site.url(f"/page/{number}"), meta={"session_id": "alice"})
        for number in range(FORMS):
            yield Request(self.site.url(f"/begin/{number}"), self.order, meta={"session_id": "alice"})

    def parse(self, response: Response) -> None:
        """Nothing to find."""

    async def order(self, response: Response) -> None:
        session = self.sessions.of(response)
        if not self.alone:
            await self.post(session.fetch)
            return
        async with session.alone() as fetch:
            await self.post(session.fetch if response.url.endswith("0") else fetch)
            if response.url.endswith("1"):
                try:
                    async with session.alone():
                        raise AssertionError("a block within a block")
                except SessionError as e:
                    self.error = str(e)
            if response.url.endswith("2"):
                raise ValueError("in a block")

    async def post(self, fetch: Any) -> None:
        form = await fetch(Request(self.site.url("/form"), dont_filter=True))
        await asyncio.sleep(0.02)  # while other pages are crawled
        data = {"token": form.css("#token::text").get()}
        await fetch(FormRequest(self.site.url("/form"), formdata=data, dont_filter=True))


async def test_forms_with_single_use_tokens(site: TokenSite) -> None:
    """All forms are accepted at concurrency 16, and every page arrives; an exception in a block ends the block."""
    crawler = await crawl(Orders, FAST, site=site, alone=True)
    assert (site.accepted, site.refused) == (FORMS, 0)
    assert len([path for path in site.paths if path.startswith("/page/")]) == 60
    assert isinstance(crawler.spider, Orders)
    assert "can't be nested" in crawler.spider.error


async def test_without_the_block_tokens_are_stale(site: TokenSite) -> None:
    """The site does what the test above says: without alone() forms are refused."""
    await crawl(Orders, FAST, site=site, alone=False)
    assert site.refused


async def test_a_login_in_a_block(site: TokenSite) -> None:
    """A session that has to log in within a block does so: its login is not held back."""

    class Late(Orders):
        async def start(self) -> AsyncIterator[Any]:
            yield Request(self.site.url("/begin/7"), self.order, meta={"session_id": "alice"})
            for number in range(5):
                yield Request(self.site.url(f"/page/{number}"), meta={"session_id": "alice"})

        async def order(self, response: Response) -> None:
            session = self.sessions.of(response)
            async with session.alone() as fetch:
                await self.sessions.login_again("alice")
                await self.post(fetch)

    from scrapy_sessions import SessionConfig  # noqa: PLC0415  # beside the class that needs it

    class LogsIn(SessionConfig):
        async def login(self, session: BrowserSession, fetch: Any) -> None:
            await fetch(Request(site.url("/login")))

    Late.session_config = LogsIn  # type: ignore[attr-defined]
    crawler = await crawl(Late, FAST, site=site, alone=True)
    assert (site.accepted, site.refused) == (1, 0)
    assert session_stats(crawler)["logins"] == 2


async def test_alone_needs_a_crawl() -> None:
    """A session of no crawl says that alone() needs one."""
    with pytest.raises(SessionError, match="needs a running spider"):
        BrowserSession("alice").alone()
