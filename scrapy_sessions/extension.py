"""The extension that owns the manager in a crawl: opens, saves, cleans up and closes with the spider."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import ValidationError
from scrapy import Request, signals
from scrapy.exceptions import NotConfigured
from scrapy.http import Headers, Response
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.reactor import is_asyncio_reactor_installed, is_reactor_installed

from scrapy_sessions.browser_session import BrowserSession
from scrapy_sessions.exceptions import SessionConfigurationError, SessionError, StoreError
from scrapy_sessions.manager import SessionManager, store_for
from scrapy_sessions.models import Profile
from scrapy_sessions.pool import PICKED, Claim, read_claim
from scrapy_sessions.settings import SessionsSettings, setting_name
from scrapy_sessions.visits import Visit

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

    # typing.Self requires Python 3.11
    from typing_extensions import Self

__all__ = ["SessionsExtension", "SpiderSessions"]

logger = logging.getLogger(__name__)

_IDLE_CLEANUP = 1.0  # seconds between two clean-ups on spider_idle, a signal that comes again and again


class SpiderSessions:
    """What a spider has as ``self.sessions``."""

    def __init__(self, extension: SessionsExtension) -> None:
        self._extension = extension

    def of(self, response: Response) -> BrowserSession:
        """Return the session that *response* came in.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` for a response that came in none.
        """
        session = self._extension.session_of(response)
        if session is None:
            raise SessionError(f"{response} came in no session")
        return session

    async def get(self, session_id: str) -> BrowserSession:
        """Return the session *session_id*: the live one, else the stored one, else a new one."""
        return await self._extension.manager.get(session_id)


class SessionsExtension:
    """Owns the :class:`~scrapy_sessions.SessionManager` of a crawl.

    All settings are checked, and the store is tried, when it is made: a fault stops the crawl before its first
    request. It needs no engine then, and looks at the spider and its name at first use only: in ``scrapy shell`` there
    is none yet.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.settings = SessionsSettings.from_settings(crawler.settings)
        if not self.settings.enabled:
            raise NotConfigured
        _check_asyncio()
        self.visits: WeakKeyDictionary[Request, Visit] = WeakKeyDictionary()
        """The last visit of each request that is still somewhere, with its session."""
        self._cleaning: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._cleaned_at = 0.0
        self._warned = False
        self.store = store_for(url=self.settings.store)
        self.store.prepare()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        extension = cls(crawler)
        if crawler.spider is not None:
            extension._give_facade(crawler.spider)
        for handler, signal in (
            (extension._spider_opened, signals.spider_opened),
            (extension._spider_idle, signals.spider_idle),
            (extension._spider_closed, signals.spider_closed),
            (extension._engine_stopped, signals.engine_stopped),
        ):
            crawler.signals.connect(handler, signal=signal)
        return extension

    @classmethod
    def of(cls, crawler: Crawler) -> SessionsExtension:
        """Return the extension of *crawler*, for its other components. Raises NotConfigured if sessions are off."""
        if not crawler.settings.getbool(setting_name("enabled"), True):
            raise NotConfigured
        extension = crawler.get_extension(cls)
        if extension is None:
            raise SessionConfigurationError(
                "The session middlewares need scrapy_sessions.extension.SessionsExtension in EXTENSIONS. "
                'ADDONS = {"scrapy_sessions.SessionsAddon": 300} sets up all of them'
            )
        return extension

    @cached_property
    def manager(self) -> SessionManager:
        """The manager, in the namespace of the setting or spider."""
        spider = self.crawler.spider
        name = spider.name if spider is not None else getattr(self.crawler.spidercls, "name", None)
        manager = SessionManager(
            store=self.store,
            namespace=self.settings.namespace or name or "default",
            settings=self.settings,
            default_profile=self._project_identity(),
            on_event=self.count,
        )
        manager.fetcher = self.fetch
        return manager

    def count(self, event: str, n: int = 1) -> None:
        """Count *event* in the stats, as ``sessions/<event>``."""
        self.crawler.stats.inc_value(f"sessions/{event}", n)

    def claim_of(self, request: Request) -> Claim | None:
        """Return what *request* asks for; ``None``: no session (Scrapy's own robots.txt fetch, and what isn't HTTP)."""
        if not request.url.startswith(("http:", "https:")) or _is_robots_fetch(request):
            return None
        return read_claim(request.meta, self.settings.default_id)

    def begin(self, request: Request, claim: Claim, session: BrowserSession) -> Visit:
        """Begin the visit of *request* in *session*, and say so in its meta."""
        meta = request.meta
        if claim.before is not None and claim.before != session.id:
            self.count("switched")
        if meta.get("session_id") != session.id or claim.before == session.id:
            meta["session_id"] = meta[PICKED] = session.id
            if claim.pool is not None:
                meta["session_pool"] = claim.pool
        elif meta.pop(PICKED, None) is not None:  # copied from a request of another session
            meta.pop("session_pool", None)
        visit = self.visits[request] = Visit(session)
        return visit

    def visit_of(self, request: Request) -> Visit | None:
        """Return the visit of *request*; one that has none yet, as without the middleware at 75, begins one now."""
        visit = self.visits.get(request)
        if visit is None:
            claim = self.claim_of(request)
            if claim is not None:
                claim = self.manager.settle(claim)
                visit = self.begin(request, claim, self.manager.obtain_now(claim))
        return visit

    def session_of(self, response: Response) -> BrowserSession | None:
        """Return the session that *response* came in, if it came in one."""
        visit = self.visits.get(response.request) if response.request is not None else None
        if visit is not None:
            return visit.session
        session_id = response.meta.get("session_id") if response.request is not None else None
        return self.manager.ready(session_id) if isinstance(session_id, str) else None

    async def fetch(self, session: BrowserSession, request: Request) -> Response:
        """Download *request* in *session*."""
        meta = {**request.meta, "session_id": session.id}
        meta.pop(PICKED, None)
        if session.pool is not None:
            meta["session_pool"] = session.pool
        return await self.crawler.engine.download_async(request.replace(meta=meta))

    def _project_identity(self) -> Profile:
        settings = self.crawler.settings
        headers = Headers(
            {name: value for name, value in settings["DEFAULT_REQUEST_HEADERS"].items() if value is not None}
        )
        language = headers.get("Accept-Language")
        agent = getattr(self.crawler.spider, "user_agent", None) or settings["USER_AGENT"]
        try:
            return Profile(
                user_agent=agent.decode() if isinstance(agent, bytes) else agent or None,
                language=language.decode() if language else None,
            )
        except ValidationError as e:
            faults = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in e.errors())
            raise SessionConfigurationError(
                f"USER_AGENT or DEFAULT_REQUEST_HEADERS can't be sent by a session: {faults}"
            ) from None

    def _give_facade(self, spider: Spider) -> None:
        current = getattr(spider, "sessions", None)
        if current is None:
            spider.sessions = SpiderSessions(self)  # type: ignore[attr-defined]
        elif not isinstance(current, SpiderSessions) and not self._warned:
            self._warned = True  # a crawl's spider is met here and when it opens, that of the shell only then
            logger.warning(
                "The spider has an attribute 'sessions' of its own, which is left alone: the session API is not there",
                extra={"spider": spider},
            )

    async def _spider_opened(self, spider: Spider) -> None:
        self._give_facade(spider)
        try:
            await self.manager.open()
            self._report_expired(await self.manager.cleanup())
        except StoreError as e:
            logger.critical("Sessions can't be used, so the spider is closed: %s", e, extra={"spider": spider})
            # Apart from the tasks that engine_stopped ends: it waits for that signal itself.
            self._closing = asyncio.ensure_future(self.crawler.engine.close_spider_async(reason="session_store_error"))
            return
        self._cleaned_at = time.monotonic()
        if self.settings.cleanup_interval:
            self._timer = asyncio.ensure_future(self._clean_up_forever())

    def _report_expired(self, reasons: Counter[str]) -> None:
        if not reasons:
            return
        policy = self.manager.pool("default")
        parts = (
            f"{n} by {setting_name(reason)}, now {getattr(policy, reason):g}" for reason, n in sorted(reasons.items())
        )
        logger.info(
            "Removed %d expired sessions of %r (%s). To keep sessions longer, raise the setting or the option of "
            "their pool; 0 means for ever",
            sum(reasons.values()),
            self.manager.namespace,
            "; ".join(parts),
            extra={"spider": self.crawler.spider},
        )

    def _spider_idle(self) -> None:
        now = time.monotonic()
        if now - self._cleaned_at >= _IDLE_CLEANUP and (self._cleaning is None or self._cleaning.done()):
            self._cleaned_at = now
            self._cleaning = asyncio.ensure_future(self._clean_up())

    async def _clean_up_forever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.cleanup_interval)
            await self._clean_up()

    async def _clean_up(self) -> None:
        try:
            await self.manager.cleanup()
        except SessionError as e:
            self.count("cleanup_errors")
            logger.error("Expired sessions could not be removed: %s", e, extra={"spider": self.crawler.spider})

    async def _spider_closed(self) -> None:
        try:
            await self.manager.flush()
        except SessionError as e:
            self.count("save_errors")
            logger.error("Sessions could not be saved: %s", e, extra={"spider": self.crawler.spider})

    async def _engine_stopped(self) -> None:
        tasks = [task for task in (self._timer, self._cleaning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.manager.close()  # saves what spider.closed() did, which runs beside spider_closed
        except SessionError as e:
            self.count("save_errors")
            logger.error("Sessions could not be saved, their last changes are lost: %s", e)
        finally:
            await self.store.close()


def _is_robots_fetch(request: Request) -> bool:
    return (
        request.callback is NO_CALLBACK
        and bool(request.meta.get("dont_obey_robotstxt"))
        and request.url.endswith("/robots.txt")
        and "session_id" not in request.meta
    )


def _check_asyncio() -> None:
    if is_reactor_installed() and not is_asyncio_reactor_installed():
        raise SessionConfigurationError(
            "Sessions need Scrapy's asyncio reactor: remove TWISTED_REACTOR from the settings, or set it to "
            "'twisted.internet.asyncioreactor.AsyncioSelectorReactor'"
        )
