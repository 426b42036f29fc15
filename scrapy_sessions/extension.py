"""The extension: the life cycle of the sessions in a crawl."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from functools import cached_property, partial
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured
from scrapy.http import Headers
from scrapy.utils.python import to_unicode
from scrapy.utils.reactor import is_asyncio_reactor_installed, is_reactor_installed

from scrapy_sessions.analytics.model import FOLDED, EventKind
from scrapy_sessions.analytics.runs import Run
from scrapy_sessions.crawl.facade import SpiderSessions
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.crawl.scrapy_internals import before_download
from scrapy_sessions.crawl.summary import CrawlSummary
from scrapy_sessions.exceptions import (
    InvalidSessionId,
    SessionConfigurationError,
    SessionError,
    StoreError,
    StoreUnavailable,
)
from scrapy_sessions.models import Profile, check_line, check_session_id
from scrapy_sessions.sessions.manager import SessionManager, registry_of
from scrapy_sessions.settings import SessionsSettings, is_enabled, setting_name
from scrapy_sessions.signals import session_logged_in, session_login_failed, session_login_lost, session_retired
from scrapy_sessions.storage.resolve import resolve_store

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from scrapy_sessions.analytics.prometheus import PrometheusFile
    from scrapy_sessions.crawl.notify import Notifier
    from scrapy_sessions.sessions.browser_session import BrowserSession
    from scrapy_sessions.storage.base import SessionStore

__all__ = ["SessionsExtension"]

logger = logging.getLogger(__name__)

_NOTIFIED = {session_login_lost: "login_lost", session_login_failed: "login_failed", session_retired: "retired"}
"""The signals that ``SESSIONS_NOTIFY_COMMAND`` is run for, and the names of their events."""

_IDLE_CLEANUP = 1.0  # seconds between two clean-ups on spider_idle, a signal that comes again and again


class SessionsExtension:
    """Owns the :class:`~scrapy_sessions.SessionManager` of a crawl: opens it, saves, cleans up, and closes it.

    ``from_crawler`` checks all settings and prepares the store: a fault stops the crawl before its first request. The
    engine and, in ``scrapy shell``, the spider are used later only.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.settings = SessionsSettings.from_settings(crawler.settings)
        if is_reactor_installed() and not is_asyncio_reactor_installed():
            raise SessionConfigurationError(
                "Sessions need Scrapy's asyncio reactor: remove TWISTED_REACTOR from the settings, or set it to "
                "'twisted.internet.asyncioreactor.AsyncioSelectorReactor'"
            )
        self.store = resolve_store(url=self.settings.store, key=self.settings.encryption_key)
        wanted = self.store
        if self.settings.store_fallback is not None:
            self.store = self._reachable_store()
        self.router = SessionRouter(crawler, self.settings, self.store, lambda: self.manager)
        if self.store is not wanted:
            self.router.count("store_fallbacks")
        if crawler.spider is not None:
            self.router.configs.look_at_spider()
        self._prometheus: PrometheusFile | None = None
        # The prompt of a shell must not overwrite the file of a crawl.
        if self.settings.prometheus_file is not None and crawler.spider is not None:
            from scrapy_sessions.analytics.prometheus import PrometheusFile  # noqa: PLC0415  # with this setting only

            self._prometheus = PrometheusFile(self.settings.prometheus_file)
        self._notifier: Notifier | None = None
        if self.settings.notify_command is not None:
            from scrapy_sessions.crawl.notify import Notifier  # noqa: PLC0415  # likewise

            self._notifier = Notifier(self.settings.notify_command, self.router.count)
        if self.settings.store_fallback is None:
            self.store.prepare()
        self._cleaning: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._cleaned_at = 0.0
        self._warned = False
        self._summary = CrawlSummary()
        self._run: Run | None = None  # recorded as soon as it uses a session
        self._started = time.time()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured, which switches the extension off, only if ``SESSIONS_ENABLED`` is false."""
        if not is_enabled(crawler.settings):
            raise NotConfigured
        try:
            return cls._create(crawler)
        except StoreError:
            crawler.spider = None  # otherwise the exit status is 0 before Scrapy 2.15
            raise
        except NotConfigured as e:
            raise SessionConfigurationError(f"Sessions can't start: NotConfigured was raised ({e})") from e

    @classmethod
    def _create(cls, crawler: Crawler) -> Self:
        extension = cls(crawler)
        if crawler.spider is not None:
            _ = extension.manager  # created now, so that a bad name or identity stops the crawl
            extension._give_facade(crawler.spider)
        elif not crawler.settings.frozen:  # the components of an engine that has no spider yet: a shell
            from scrapy_sessions.crawl.shell import set_up  # noqa: PLC0415  # no crawl needs it

            set_up(extension.router, save=extension.save, close=extension.close)
        for handler, signal in (
            (extension._spider_opened, signals.spider_opened),
            (extension._spider_idle, signals.spider_idle),
            (extension._spider_closed, signals.spider_closed),
            (extension.close, signals.engine_stopped),
        ):
            crawler.signals.connect(handler, signal=signal)
        return extension

    def _reachable_store(self) -> SessionStore:
        """Prepare the store of the settings, and return it; the fallback, if its server can't be reached."""
        try:
            self.store.prepare()
        except StoreUnavailable as e:
            fallback = resolve_store(url=self.settings.store_fallback, key=self.settings.encryption_key)
            logger.warning(
                "%s. Sessions of this crawl are stored in %s (SESSIONS_STORE_FALLBACK)", e, fallback.location
            )
            fallback.prepare()
            return fallback
        return self.store

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
            enforce_limits=True,
            on_event=self.router.count,
            on_signal=self._signal,
            clock=time.time,
        )
        registry = registry_of(manager)
        registry.downloader = self.router
        registry.analytics.keep_sums()
        if self._prometheus is not None:
            registry.analytics.listen(partial(self._prometheus.write, namespace))
        return manager

    def _signal(self, signal: object, session: BrowserSession | None, session_id: str, reason: str) -> None:
        """Log what happened to a session, if that matters to a reader of the log, and send the signal."""
        spider = self.crawler.spider
        if signal is session_logged_in:
            logger.info("%s logged in, %s", session_id, reason, extra={"spider": spider})
        elif signal is session_login_lost:
            then = ", logging in again" if self.router.logs_in else ""
            logger.info("%s: login lost %s%s", session_id, reason, then, extra={"spider": spider})
        if session is not None:
            self._summary.count(signal, session, reason)
            if self._run is None and spider is not None and not self.router.in_shell:
                self._record_run(Run(os.urandom(4).hex(), session.namespace, spider.name, self._started))
            if self._notifier is not None and signal in _NOTIFIED:
                self._notifier.notify(
                    event=_NOTIFIED[signal],
                    session_id=session_id,
                    namespace=session.namespace,
                    pool=session.pool,
                    spider=spider.name if spider is not None else None,
                    reason=reason,
                    time=time.time(),
                )
        self.crawler.signals.send_catch_log(
            signal, session=session, session_id=session_id, spider=spider, reason=reason
        )

    def _record_run(self, run: Run) -> None:
        self._run = run
        kind: EventKind = "run_started" if run.finished is None else "run_finished"
        self.router.registry.analytics.record_event_for(
            kind, run.namespace, FOLDED, None, run.detail, time=run.finished or run.started
        )

    def _project_identity(self) -> Profile:
        settings = self.crawler.settings
        headers = Headers(
            {name: value for name, value in settings["DEFAULT_REQUEST_HEADERS"].items() if value is not None}
        )
        language = headers.get("Accept-Language")
        agent = getattr(self.crawler.spider, "user_agent", None) or settings["USER_AGENT"]
        return Profile.model_construct(
            user_agent=_header_value("USER_AGENT", agent),
            language=_header_value("Accept-Language in DEFAULT_REQUEST_HEADERS", language),
        )

    def _give_facade(self, spider: Spider) -> None:
        current = getattr(spider, "sessions", None)
        if current is None:
            spider.sessions = self.router.facade(self.router)  # type: ignore[attr-defined]
        elif not isinstance(current, SpiderSessions) and not self._warned:
            self._warned = True  # a crawl's spider is met here and when it opens, that of the shell only then
            logger.warning(
                "The spider has an attribute 'sessions' of its own, which is left alone: the session API is not there",
                extra={"spider": spider},
            )

    async def _spider_opened(self, spider: Spider) -> None:
        self._give_facade(spider)
        if self.router.exclusive is not None:
            before_download(self.crawler, self.router.may_send)
        try:
            await self.manager.open()
            self._report_expired(await self.manager.cleanup())
        except StoreError as e:
            so = "every fetch() fails" if self.router.in_shell else "the spider is closed"
            logger.critical("Sessions can't be used, so %s: %s", so, e, extra={"spider": spider})
            self.router.close_spider("session_store_error", failed=True)
            return
        self._cleaned_at = time.monotonic()
        if self.settings.cleanup_interval:
            self._timer = asyncio.ensure_future(self._clean_up_forever())

    def _report_expired(self, reasons: Counter[str]) -> None:
        if not reasons:
            return
        policy = self.router.registry.pool("default")
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
            self.router.count("cleanup_errors")
            logger.error("Expired sessions could not be removed: %s", e, extra={"spider": self.crawler.spider})

    async def save(self) -> None:
        """Save every session that has changed up to now. What can't be is logged, and tried again."""
        try:
            await self.manager.flush()
        except SessionError as e:
            self.router.count("save_errors")
            logger.error("Sessions could not be saved: %s", e, extra={"spider": self.crawler.spider})

    async def _spider_closed(self, spider: Spider, reason: str) -> None:
        try:
            if self.router.browser is not None:
                await self.router.browser.capture()
        finally:
            await self.save()
        sums = self.router.registry.analytics.sums
        if self._run is not None:
            pages, requests = (sum(getattr(row, name) for row in sums.values()) for name in ("pages", "requests"))
            self._record_run(self._run._replace(finished=time.time(), reason=reason, pages=pages, requests=requests))
        table = self._summary.table(sums)
        if table:
            logger.info("What the sessions did:\n%s", table, extra={"spider": spider})

    async def close(self) -> None:
        """End every wait, save what has changed, and close manager and store. Idempotent."""
        await self.router.close()
        tasks = [task for task in (self._timer, self._cleaning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self.manager.close()  # saves what spider.closed() did, which runs beside spider_closed
        except SessionError as e:
            self.router.count("save_errors")
            logger.error("Sessions could not be saved, their last changes are lost: %s", e)
        finally:
            if self.router.exclusive is not None:
                await self.router.exclusive.close()
            await self.store.close()
            if self._notifier is not None:  # last: others may wait for the sessions, and nobody for the commands
                await self._notifier.close()


def _header_value(setting: str, value: str | bytes | None) -> str | None:
    """Return the *value* of *setting* stripped, as download handlers do: one read from a file ends in a line break."""
    try:
        return check_line(to_unicode(value).strip()) or None if value else None
    except ValueError as e:
        raise SessionConfigurationError(f"{setting} can't be sent by a session: {e}") from None
