"""The extension that owns the manager in a crawl: opens, saves, cleans up and closes with the spider."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from functools import cached_property, partial
from typing import TYPE_CHECKING
from uuid import uuid4
from weakref import WeakValueDictionary

from pydantic import ValidationError
from scrapy import Request, signals
from scrapy.exceptions import NotConfigured
from scrapy.http import Headers, Response
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.python import to_unicode
from scrapy.utils.reactor import is_asyncio_reactor_installed, is_reactor_installed

from scrapy_sessions.analytics.prometheus import PrometheusFile
from scrapy_sessions.config import SessionConfig
from scrapy_sessions.crawl.configs import Configs
from scrapy_sessions.crawl.facade import SpiderSessions
from scrapy_sessions.crawl.in_flight import SLOT, InFlight, InFlightRequests
from scrapy_sessions.crawl.login import Logins, must_log_in
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.throttle import is_ready, postpone, wait_turn
from scrapy_sessions.crawl.verdicts import VerdictHandler
from scrapy_sessions.exceptions import (
    InvalidSessionId,
    LoginFailed,
    SessionConfigurationError,
    SessionError,
    StoreError,
)
from scrapy_sessions.models import Profile, check_session_id
from scrapy_sessions.pools.claim import PICKED, Claim, read_claim
from scrapy_sessions.sessions.browser_session import view_of
from scrapy_sessions.sessions.manager import SessionManager, retired
from scrapy_sessions.sessions.runtime import SessionRuntime, must_go_alone
from scrapy_sessions.settings import SessionsSettings, setting_name
from scrapy_sessions.storage.resolve import resolve_store

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

    # typing.Self requires Python 3.11
    from typing_extensions import Self

__all__ = ["LOGIN", "SessionsExtension", "is_login"]

logger = logging.getLogger(__name__)

LOGIN = "_session_login"
"""The meta key of requests that are part of a login."""

_IDLE_CLEANUP = 1.0  # seconds between two clean-ups on spider_idle, a signal that comes again and again


class SessionsExtension:
    """Owns the :class:`~scrapy_sessions.SessionManager` of a crawl.

    All settings are checked, and the store is tried, when it is made: a fault stops the crawl before its first
    request. It needs no engine then, and looks at the spider and its name at first use only: in ``scrapy shell`` there
    is none yet.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.settings = SessionsSettings.from_settings(crawler.settings)
        _check_asyncio()
        self._paced = bool(self.settings.delay)
        self.visits = InFlightRequests()
        self._places: WeakValueDictionary[str, InFlight] = WeakValueDictionary()
        self._cleaning: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._cleaned_at = 0.0
        self._warned = False
        self.store = resolve_store(url=self.settings.store)
        self.configs = Configs(crawler, self.settings.config, self.store)
        if crawler.spider is not None:
            self.configs.look_at_spider()
        self.closing = ShutdownGuard(self._is_closing)
        self._close_tasks: set[asyncio.Task[None]] = set()
        # The prompt of a shell must not overwrite the file of a crawl.
        path = self.settings.prometheus_file if crawler.spider is not None else None
        self._prometheus = None if path is None else PrometheusFile(path)
        self.store.prepare()
        self.in_shell = False
        self.facade: type[SpiderSessions] = SpiderSessions
        """The class of ``spider.sessions``."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured, which switches the extension off, only if ``SESSIONS_ENABLED`` is false."""
        if not crawler.settings.getbool(setting_name("enabled"), True):
            raise NotConfigured
        try:
            return cls._create(crawler)
        except NotConfigured as e:
            raise SessionConfigurationError(f"Sessions can't start: NotConfigured was raised ({e})") from e

    @classmethod
    def _create(cls, crawler: Crawler) -> Self:
        extension = cls(crawler)
        if crawler.spider is not None:
            _ = extension.manager  # made now, so that a bad name or identity stops the crawl
            extension._give_facade(crawler.spider)
        elif not crawler.settings.frozen:  # components are being made, of an engine that is to have no spider yet
            from scrapy_sessions.crawl.shell import set_up  # noqa: PLC0415  # what no crawl needs

            set_up(extension)
        for handler, signal in (
            (extension._spider_opened, signals.spider_opened),
            (extension._spider_idle, signals.spider_idle),
            (extension.save, signals.spider_closed),
            (extension.close, signals.engine_stopped),
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
        try:
            namespace = check_session_id(self.settings.namespace or name or "default")
        except InvalidSessionId as e:
            raise SessionConfigurationError(
                f"The spider's name can't be the namespace of its sessions: set SESSIONS_NAMESPACE. {e}"
            ) from None
        manager = SessionManager(
            store=self.store,
            namespace=namespace,
            settings=self.settings,
            default_profile=self._project_identity(),
            on_event=self.count,
        )
        manager.fetcher = self.fetch_for_session
        if self._prometheus is not None:
            manager.analytics.listen(partial(self._prometheus.write, namespace))
        return manager

    @cached_property
    def logins(self) -> Logins:
        """The logins under way."""
        manager = self.manager
        return Logins(
            self.settings,
            self.store,
            self.closing,
            fetch=self.fetch_for_login,
            save=manager.save,
            refresh=manager.refresh_record,
            close_spider=self.close_spider,
            count=self.count,
            analytics=manager.analytics,
        )

    @cached_property
    def judge(self) -> VerdictHandler:
        """What follows from verdicts."""
        return VerdictHandler(self.manager, self.count)

    def close_spider(self, reason: str) -> None:
        """Close the spider with *reason*, soon; that of a shell stays, whose ``fetch()`` would wait for ever."""
        if self.in_shell:
            return
        task = asyncio.ensure_future(self._close_spider(reason))
        self._close_tasks.add(task)
        task.add_done_callback(self._close_tasks.discard)

    async def _close_spider(self, reason: str) -> None:
        engine = self.crawler.engine
        if engine.spider is None:
            return
        try:
            await engine.close_spider_async(reason=reason)
        except Exception:
            logger.exception("The spider could not be closed (%s)", reason)

    def _is_closing(self) -> bool:
        engine = self.crawler.engine
        slot = engine._slot  # noqa: SLF001  # no public name says that the spider is being closed
        return slot is None or slot.closing is not None or not engine.running

    def count(self, event: str, n: int = 1) -> None:
        """Count *event* in the stats, as ``sessions/<event>``."""
        self.crawler.stats.inc_value(f"sessions/{event}", n)

    def claim_of(self, request: Request) -> Claim | None:
        """Return what *request* asks for; ``None``: no session (Scrapy's own robots.txt fetch, and what isn't HTTP)."""
        if not request.url.startswith(("http:", "https:")) or _is_robots_fetch(request):
            return None
        claim = read_claim(request.meta, self.settings.default_id)
        if claim is not None and claim.untagged and claim.pool is not None:
            pool = self.configs.of(request.url).pool(request)
            if pool is not None:
                return claim._replace(pool=pool)
        return claim

    def must_wait(self, session: SessionRuntime, config: SessionConfig) -> bool:
        """Whether a request of *session* can't go at once: for its login, its pace, or a pause the site asked for."""
        return (
            must_log_in(session, config)
            or config.sets_pace
            or bool(session.delay or session.concurrency or session.not_before)
            or (session.first_request_alone and must_go_alone(session))
            or (self._paced and session.delay is None)
        )

    async def take(self, request: Request, claim: Claim, config: SessionConfig) -> SessionRuntime:
        """Return the session for the settled *claim*, logged in, when its next request may go."""
        manager = self.manager
        logging_in = is_login(request)
        while True:
            session = await manager.obtain(claim)
            if not logging_in and must_log_in(session, config):
                try:
                    await self.logins.ensure(session, config)
                except LoginFailed:
                    pool = manager.pool_of(session)
                    if pool is not None and not pool.named:
                        session.retire("its login failed")
                    raise
                continue  # it may have been retired or replaced by another meanwhile
            if not is_ready(session, time.monotonic()):
                await wait_turn(session, self.closing)
                if not manager.usable(session) or (not logging_in and must_log_in(session, config)):
                    continue  # that has come about while it waited
            delay = config.delay(view_of(session))
            if delay:
                postpone(session, delay)
            return session  # as obtained: even a limit of no time at all lets a new one go

    def begin(self, request: Request, claim: Claim, session: SessionRuntime) -> InFlight:
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
        visit = self.visits.begin(request, session)
        if session.concurrency or (session.first_request_alone and must_go_alone(session)):
            place = meta[SLOT] = uuid4().hex  # a number could be that of another run, out of a disk queue
            self._places[place] = visit
        return visit

    def give_back(self, request: Request) -> None:
        """End the visit of the request that *request* has come in the place of: somebody may still hold that one."""
        visit = self._places.get(request.meta.pop(SLOT))
        if visit is not None:
            visit.end()

    def visit_of(self, request: Request) -> InFlight | None:
        """Return the visit of *request*; one that has none yet, as without the middleware at 75, begins one now."""
        visit = self.visits.get(request)
        if visit is None:
            claim = self.claim_of(request)
            if claim is not None:
                claim = self.manager.settle(claim)
                visit = self.begin(request, claim, self.manager.obtain_now(claim))
        return visit

    def session_of(self, response: Response) -> SessionRuntime | None:
        """Return the session that *response* came in, if it came in one."""
        visit = self.visits.get(response.request) if response.request is not None else None
        if visit is not None:
            return visit.session
        session_id = response.meta.get("session_id") if response.request is not None else None
        return self.manager.ready(session_id) if isinstance(session_id, str) else None

    async def fetch_for_login(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* as part of the login of *session*.

        It is not filtered as offsite (a login may be on another host), bypasses the HTTP cache, and gets no verdict.
        """
        if not self.manager.usable(session):
            raise LoginFailed(f"The session {session.id!r} expired or was retired before its login was done")
        meta = {"allow_offsite": True, **request.meta, LOGIN: True, "dont_cache": True}
        return await self.fetch(session, request.replace(meta=meta))

    async def fetch_for_session(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* for ``session.fetch()``, which in the login of *session* doesn't wait for that login."""
        fetch = self.fetch_for_login if self.logins.is_here(session) else self.fetch
        return await fetch(session, request)

    async def fetch(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* in *session*, and in no other.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired`.
        """
        if session.status == "retired":
            raise retired(session)
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
                # Stripped as Scrapy's download handlers do: an agent read from a file ends in a line break.
                user_agent=to_unicode(agent).strip() or None if agent else None,
                language=to_unicode(language).strip() or None if language else None,
            )
        except ValidationError as e:
            faults = "; ".join(f"{error['loc'][0]}: {error['msg']}" for error in e.errors())
            raise SessionConfigurationError(
                f"USER_AGENT or DEFAULT_REQUEST_HEADERS can't be sent by a session: {faults}"
            ) from None

    def _give_facade(self, spider: Spider) -> None:
        current = getattr(spider, "sessions", None)
        if current is None:
            spider.sessions = self.facade(self)  # type: ignore[attr-defined]
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
            so = "every fetch() fails" if self.in_shell else "the spider is closed"
            logger.critical("Sessions can't be used, so %s: %s", so, e, extra={"spider": spider})
            self.close_spider("session_store_error")
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

    async def save(self) -> None:
        """Save every session that has changed up to now. What can't be is logged, and tried again."""
        try:
            await self.manager.flush()
        except SessionError as e:
            self.count("save_errors")
            logger.error("Sessions could not be saved: %s", e, extra={"spider": self.crawler.spider})

    async def close(self) -> None:
        """End every wait, save what has changed, and close manager and store. Idempotent."""
        await self.closing.close()
        await self.logins.close()
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


def is_login(request: Request) -> bool:
    """Whether *request* is part of a login."""
    return LOGIN in request.meta


def _is_robots_fetch(request: Request) -> bool:
    return (
        request.callback is NO_CALLBACK
        and bool(request.meta.get("dont_obey_robotstxt"))
        and request.meta.get("redirect_urls", [request.url])[0].endswith("/robots.txt")
        and "session_id" not in request.meta
    )


def _check_asyncio() -> None:
    if is_reactor_installed() and not is_asyncio_reactor_installed():
        raise SessionConfigurationError(
            "Sessions need Scrapy's asyncio reactor: remove TWISTED_REACTOR from the settings, or set it to "
            "'twisted.internet.asyncioreactor.AsyncioSelectorReactor'"
        )
