"""Plays a world, and measures what came of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from scrapy import Request, Spider
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.http import Response, TextResponse

from scrapy_sessions import SessionConfig, Verdict
from scrapy_sessions.crawl.asking import is_question
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware, SessionVerdictMiddleware
from scrapy_sessions.sessions.manager import registry_of
from tests.support.simulator.clock import Stalled, run
from tests.support.simulator.engine import Crawler, Engine
from tests.support.simulator.requests import Asked
from tests.support.simulator.world import HOST, LOGIN, Site, World

__all__ = ["Outcome", "play"]

_LIMIT = 20 * 3600.0


@dataclass
class Outcome:
    """What came of a world."""

    world: World
    site: Site
    got: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What the page said whose it is, and the session, by page."""
    handed_on: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """Pages that were not got although the site would have given them."""
    ended: list[str] = field(default_factory=list)
    """Accounts given up, and sessions retired, that were good."""
    wrong: list[str] = field(default_factory=list)
    """Pages that came under another user than their session's."""
    stats: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""

    @property
    def pages(self) -> int:
        return len(self.got) + len(self.handed_on) + len(self.failed)

    def __str__(self) -> str:
        numbers = {
            "got": len(self.got),
            "handed on": len(self.handed_on),
            "failed": dict(Counter(self.failed.values())),
            "lost": len(self.lost),
            "ended": self.ended,
            "wrong": self.wrong,
            "logins": dict(self.site.login_posts),
            "expiries": dict(self.site.expiries),
            "requests": self.site.requests,
            "questions": self.site.questions,
            "refusals": self.site.refusals,
            "seconds": round(self.seconds, 1),
        }
        return f"{self.world!r}\n  {numbers}"


class _LogsIn(SessionConfig):
    login_url = LOGIN

    async def login(self, session: Any, fetch: Any) -> Verdict | None:
        site = self.crawler.spider.site  # type: ignore[union-attr]
        account = site.world.accounts_of(session.id)
        response = await fetch(Request(LOGIN, method="POST", body=str(account), dont_filter=True))
        if response.status == 423:
            return Verdict.BLOCKED
        if response.status != 200:
            raise ValueError(response.status)
        return None


class _Probes(_LogsIn):
    probe_url = f"{HOST}/p/0"


class _Shopper(Spider):
    name = "simulated"
    site: Site
    outcome: Outcome


class _Player:
    def __init__(self, world: World) -> None:
        self.world = world
        self.site = Site(world)
        self.outcome = Outcome(world, self.site)

    async def play(self) -> Outcome:
        loop = asyncio.get_running_loop()
        spider = _Shopper()
        spider.site = self.site
        settings: dict[str, Any] = {
            "SESSIONS_STORE": "memory://",
            "SESSIONS_SAVE_INTERVAL": 60.0,
            "SESSIONS_IDLE_TIMEOUT": 0,
        }
        world = self.world
        if world.kind == "accounts":
            settings["SESSIONS_POOLS"] = {"pool": {"sessions": [f"a{n}" for n in range(world.size)]}}
        elif world.kind != "named":
            settings["SESSIONS_POOLS"] = {"pool": {"size": world.size, "sticky": world.kind == "sticky"}}
        if world.logs_in:
            spider.session_config = _Probes if world.probe else _LogsIn  # type: ignore[attr-defined]
        self.crawler = crawler = Crawler(spider, settings)
        extension = SessionsExtension.from_crawler(crawler)  # type: ignore[arg-type]
        router = extension.router
        cookies = SessionCookiesMiddleware(False, router)
        cookies.crawler = crawler  # type: ignore[assignment]
        redirects = RedirectMiddleware.__new__(RedirectMiddleware)
        redirects.max_redirect_times, redirects.priority_adjust = 20, 2
        redirects.crawler = crawler  # type: ignore[assignment]
        redirects._referer_spider_middleware = None  # type: ignore[attr-defined]
        middlewares = [SessionMiddleware(router), redirects, SessionVerdictMiddleware(router), cookies]
        self.engine = crawler.engine = Engine(crawler, middlewares, self.download, places=world.concurrency)
        await extension.manager.open()
        await self.prepare(extension)
        try:
            await self.engine.crawl_all(self.start())
        finally:
            self.outcome.seconds = loop.time()
            self.outcome.stats = Counter(crawler.stats)
            self.outcome.reason = self.engine.finish_reason
        self.look_at_sessions(extension)
        self.engine.running = False
        await extension.close()
        return self.outcome

    async def prepare(self, extension: SessionsExtension) -> None:
        """Leave the sessions of an earlier run behind."""
        if not self.world.saved:
            return
        for account in range(self.world.size):
            session = await registry_of(extension.manager).get(self.world.session_of(account), pool=self.world.pool)
            if self.site.can_log_in(account):
                token = self.site.give(account, dead=self.world.saved == "dead")
                session.jar.set("auth", token, domain="shop.test")
                session.log_in("shop.test", 0.0, [])

    async def start(self) -> AsyncIterator[Request]:
        world = self.world
        meta = {"session_id": "a0"} if world.kind == "named" else {"session_pool": "pool"}
        for page in range(world.pages):
            yield Request(
                world.url(page),
                self.arrived,
                errback=None,
                method="POST" if page in world.posts else "GET",
                meta={**meta, "handle_httpstatus_all": world.refusal != 302},
                cb_kwargs={},
                dont_filter=True,
            ).replace(errback=lambda error, page=page: self.failed(page, error))

    def arrived(self, response: Response) -> None:
        url = response.request.meta.get("redirect_urls", [response.url])[0]  # type: ignore[union-attr]
        outcome = self.outcome
        assert url not in {*outcome.got, *outcome.handed_on}, f"{url} was answered twice"
        session_id = response.meta["session_id"]
        body = json.loads(response.body or b'""')
        if response.status == 200 and url == response.url:
            outcome.got[url] = body, session_id
            if self.world.logs_in and body and self.world.session_of(int(body)) != session_id:
                outcome.wrong.append(url)
        else:
            outcome.handed_on[url] = response.status
            self.judge(url)

    def failed(self, page: int, error: Exception) -> None:
        url = self.world.url(page)
        self.outcome.failed[url] = type(error).__name__
        self.judge(url)

    def judge(self, url: str) -> None:
        """*url* was not got: was it lost?"""
        page = int(url.rpartition("/")[2])
        self.site.now = asyncio.get_running_loop().time()
        if page in self.world.foreign or page in self.world.gone:
            return
        if not self.world.logs_in:
            if page not in self.world.closed and not self.site.all_banned:
                self.outcome.lost.append(url)
            return
        if (
            page in self.world.public
            and page not in self.world.closed
            and any(map(self.site.can_log_in, range(self.world.size)))
        ):
            self.outcome.lost.append(url)
            return
        closed = [n for n in range(self.world.size) if self.site.can_log_in(n) and not self.site.is_open(page, n)]
        opened = [n for n in range(self.world.size) if self.site.can_log_in(n) and self.site.is_open(page, n)]
        if opened and len(closed) <= 3:
            self.outcome.lost.append(url)

    def look_at_sessions(self, extension: SessionsExtension) -> None:
        world, manager = self.world, extension.manager
        if world.logs_in:
            for account in range(world.size):
                session = registry_of(manager).ready(world.session_of(account))
                ended = session is not None and (session.login_error is not None or session.status == "retired")
                if ended and self.site.can_log_in(account):
                    self.outcome.ended.append(world.session_of(account))
            return
        for session in list(registry_of(manager).cache._known.values()):
            sid = next((cookie.value for cookie in session.jar.dump() if cookie.name == "sid"), "")
            if session.status == "retired" and session.ok_count and sid and not self.site.is_banned(sid):
                self.outcome.ended.append(session.id)

    async def download(self, request: Request) -> Response:
        seconds = self.site.latency()
        if request.url.startswith(LOGIN) and request.method == "POST":
            seconds = self.world.login_seconds
        await asyncio.sleep(seconds / 2)
        self.site.now = asyncio.get_running_loop().time()
        if self.site.requests > 100 * self.world.pages + 1000:
            raise Stalled(f"too many requests\n{self.outcome}")
        cookies = dict(
            pair.partition("=")[::2] for pair in (request.headers.get("Cookie") or b"").decode().split("; ") if pair
        )
        session_id = request.meta.get("session_id") or ""
        asked = Asked(request.method, request.url, cookies, request.body.decode(), is_question(request), session_id)
        reply = self.site.answer(asked)
        kind = "question" if asked.question else "page"
        self.outcome.log.append(
            f"{self.site.now:8.2f} {kind:8} {session_id or '-':8} {request.method} {request.url} "
            f"{cookies.get('auth') or cookies.get('sid') or ''} -> {reply.status}"
        )
        await asyncio.sleep(seconds / 2)
        return TextResponse(
            request.url, status=reply.status, headers=dict(reply.headers), body=json.dumps(reply.body), encoding="utf-8"
        )


def play(world: World) -> Outcome:
    """Play *world* to its end."""
    state = random.getstate()
    random.seed(world.seed)
    try:
        return run(_Player(world).play, _LIMIT)
    finally:
        random.setstate(state)
