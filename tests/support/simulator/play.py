"""Plays a world, and measures what came of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

from scrapy import Request, Spider
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.http import Response, TextResponse

from scrapy_sessions import SessionConfig, Verdict
from scrapy_sessions.crawl.asking import is_question
from scrapy_sessions.crawl.blame_anonymous import AnonymousBlame
from scrapy_sessions.crawl.blame_login import LoginBlame
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware, SessionVerdictMiddleware
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of
from scrapy_sessions.signals import session_retired
from scrapy_sessions.spidermiddlewares import SessionSpiderMiddleware
from tests.support.simulator.clock import Stalled, run
from tests.support.simulator.engine import Crawler, Engine
from tests.support.simulator.outcome import Outcome
from tests.support.simulator.site import Asked, Site
from tests.support.simulator.world import HOST, LOGIN, World

__all__ = ["play"]

_LIMIT = 100 * 3600.0
_STEPS = 3


class _LogsIn(SessionConfig):
    login_url = LOGIN

    async def login(self, session: Any, fetch: Any) -> Verdict | None:
        spider: Any = self.crawler.spider
        account = spider.world.account_of(session.id)
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
    world: World


def play(world: World) -> Outcome:
    """Play *world* to its end."""
    state = random.getstate()
    random.seed(world.seed)
    try:
        return run(_Player(world).play, _LIMIT)
    finally:
        random.setstate(state)


class _Player:
    def __init__(self, world: World) -> None:
        self.world = world
        self.site = Site(world)
        self.outcome = Outcome(world, self.site)
        self.retired_good: set[str] = set()  # sessions that were retired after a good response

    async def play(self) -> Outcome:
        spider: Any = _Shopper()
        spider.world = self.world
        if self.world.logs_in:
            spider.session_config = _Probes if self.world.probe else _LogsIn
        crawler: Any = Crawler(spider, self._settings())
        extension = SessionsExtension.from_crawler(crawler)
        self.router = router = extension.router
        cookies = SessionCookiesMiddleware(False, router)
        cookies.crawler = crawler
        redirects = RedirectMiddleware.__new__(RedirectMiddleware)
        redirects.max_redirect_times, redirects.priority_adjust = 20, 2
        redirects.crawler = crawler
        redirects._referer_spider_middleware = None  # type: ignore[attr-defined]
        self.spider_middleware = SessionSpiderMiddleware(crawler)
        middlewares = [SessionMiddleware(router), redirects, SessionVerdictMiddleware(router), cookies]
        engine = crawler.engine = Engine(crawler, middlewares, self._download, places=self.world.concurrency)
        crawler.signals.connect(self._note_retired, session_retired)
        await extension.manager.open()
        await self._leave_logins()
        try:
            await engine.crawl_all(self._start())
        finally:
            self.outcome.seconds = asyncio.get_running_loop().time()
            self.outcome.stats = Counter(crawler.stats)
            self.outcome.reason = engine.finish_reason
        self._look_at_sessions()
        engine.running = False
        await extension.close()
        return self.outcome

    def _settings(self) -> dict[str, Any]:
        world = self.world
        pool: dict[str, Any] = {"size": world.size, "sticky": world.kind == "sticky"}
        if world.kind == "accounts":
            pool = {"sessions": [world.session_of(number) for number in range(world.size)]}
        pools = {} if world.pool is None else {world.pool: pool}
        return {
            "SESSIONS_STORE": "memory://",
            "SESSIONS_SAVE_INTERVAL": 60.0,
            "SESSIONS_IDLE_TIMEOUT": 0,
            "SESSIONS_POOLS": pools,
        }

    async def _leave_logins(self) -> None:
        """Leave the sessions of an earlier run behind."""
        if not self.world.saved:
            return
        for account in range(self.world.size):
            session = await self.router.registry.get(self.world.session_of(account), pool=self.world.pool)
            if self.site.can_log_in(account):
                token = self.site.give(account, dead=self.world.saved == "dead")
                session.jar.set("auth", token, domain="shop.test")
                session.log_in("shop.test", 0.0, [])

    # The spider

    async def _start(self) -> AsyncIterator[Request]:
        for page in range(self.world.pages):
            yield self._request(page)

    def _request(self, page: int, step: int = 1, **meta: Any) -> Request:
        world = self.world
        sticky = world.kind == "sticky"
        if step == 1:
            meta = {"session_id": "a0"} if world.kind == "named" else {"session_pool": world.pool}
        return Request(
            world.url(page) + (f"/{step}" if sticky else ""),
            lambda response: self._arrived(response, page, step),
            errback=lambda error: self._failed(error, page, step),
            method="POST" if page in world.posts else "GET",
            meta={**meta, "handle_httpstatus_all": world.refusal != 302},
            dont_filter=True,
        )

    def _arrived(self, response: Response, page: int, step: int) -> Iterator[Request | None]:
        assert response.request is not None
        asked = response.request.meta.get("redirect_urls", [response.url])[0]
        key = f"{page}/{step}"
        assert key not in {*self.outcome.got, *self.outcome.handed_on}, f"{key} was answered twice"
        if response.status == 200 and asked == response.url:
            body = json.loads(response.body)
            self.outcome.got[key] = body
            if self.world.logs_in and body and self.world.session_of(int(body)) != response.meta["session_id"]:
                self.outcome.wrong.append(key)
            if self.world.kind == "sticky" and step < _STEPS:
                yield self.spider_middleware.get_processed_request(self._request(page, step + 1), response)
        else:
            self.outcome.handed_on[key] = response.status
            self._judge(key, page)

    def _failed(self, error: Exception, page: int, step: int) -> Iterator[Request]:
        key = f"{page}/{step}"
        self.outcome.failed[key] = type(error).__name__
        if type(error).__name__ != "SessionLost":
            self._judge(key, page)
        return iter(())

    # The truth

    def _judge(self, key: str, page: int) -> None:
        """The page *key* was not got: note it if the site would have given it now."""
        world, site = self.world, self.site
        site.now = asyncio.get_running_loop().time()
        if page in world.foreign or page in world.gone or page in world.closed:
            return
        if not world.logs_in:
            if not site.all_banned:
                self.outcome.lost.append(key)
            return
        accounts = [number for number in range(world.size) if site.can_log_in(number)]
        opened = [number for number in accounts if page in world.public or site.is_open(page, number)]
        # A page is sent to four accounts at the most: it may be closed to all of these.
        if opened and len(accounts) - len(opened) <= 3:
            self.outcome.lost.append(key)
            if self._has_witness(opened):
                self.outcome.lost_with_witness.append(key)

    def _has_witness(self, accounts: list[int]) -> bool:
        for account in accounts:
            session = self.router.registry.ready(self.world.session_of(account))
            for blame in () if session is None else session.blames.values():
                assert isinstance(blame, LoginBlame)
                if any(witness.good_in == blame._generation for witness in blame._all_witnesses()):
                    return True
        return False

    def _note_retired(self, session: BrowserSession) -> None:
        if any(blame._was_good for blame in runtime_of(session).blames.values() if isinstance(blame, AnonymousBlame)):
            self.retired_good.add(session.id)

    def _look_at_sessions(self) -> None:
        """Note accounts that were given up, and visitors that were retired, though the site gives them pages."""
        world, registry = self.world, self.router.registry
        for session_id in registry.ids_in_memory():
            session = registry.in_memory(session_id)
            if session is None or (session.status != "retired" and not session.login_errors):
                continue
            if world.logs_in:
                wrongly = self.site.can_log_in(world.account_of(session_id))
            else:
                sid = next((cookie.value for cookie in session.jar.dump() if cookie.name == "sid"), "")
                wrongly = session_id in self.retired_good and bool(sid) and not self.site.is_banned(sid)
            if wrongly:
                self.outcome.ended.append(session_id)

    async def _download(self, request: Request) -> Response:
        seconds = self.site.latency()
        if request.url.startswith(LOGIN) and request.method == "POST":
            seconds = self.world.login_seconds
        await asyncio.sleep(seconds / 2)
        self.site.now = asyncio.get_running_loop().time()
        if self.site.requests > 100 * self.world.pages + 1000:
            raise Stalled(f"too many requests: {self.outcome}")
        pairs = (request.headers.get("Cookie") or b"").decode().split("; ")
        cookies = dict(pair.partition("=")[::2] for pair in pairs if pair)
        session_id = request.meta.get("session_id") or ""
        asked = Asked(request.method, request.url, cookies, request.body.decode(), is_question(request), session_id)
        reply = self.site.answer(asked)
        self.outcome.log.append((self.site.now, asked, reply))
        await asyncio.sleep(seconds / 2)
        body = json.dumps(reply.body)
        return TextResponse(request.url, reply.status, dict(reply.headers), body.encode(), encoding="utf-8")
