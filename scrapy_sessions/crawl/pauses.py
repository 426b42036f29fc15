"""Sessions whose login was given up, and whose requests wait until a person has logged them in."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from scrapy.settings import SETTINGS_PRIORITIES

from scrapy_sessions.exceptions import CrawlClosing, LoginFailed, SessionError
from scrapy_sessions.pools.claim import FLOW

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.pools.claim import Claim
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime

logger = logging.getLogger(__name__)

_INTERVAL = 2.0  # seconds between two looks at the store: it has no signal
_REMINDER = 3600.0  # seconds after which it is said again what is waited for


class LoginPaused(LoginFailed):
    """The login of a session was given up, and its requests wait until a person has logged it in."""


class LoginPauses:
    """The sessions that wait for a person. The store is asked for each of them until one has logged it in.

    :param succeeded: called with each session that somebody has logged in
    """

    def __init__(
        self,
        crawler: Crawler,
        registry: SessionRegistry,
        guard: ShutdownGuard,
        *,
        succeeded: Callable[[SessionRuntime, SessionConfig], None],
    ) -> None:
        self._crawler = crawler
        self._registry = registry
        self._guard = guard
        self._succeeded = succeeded
        self._paused: dict[tuple[SessionRuntime, str], asyncio.Task[None]] = {}

    def allows(self, session: SessionRuntime) -> bool:
        """Whether *session* can wait: a person has to find it in the store, and no other process may wait for it."""
        pool = self._registry.pool_of(session)
        return not session.transient and (pool is None or not pool.exclusive)

    def begin(self, session: SessionRuntime, config: SessionConfig, reason: str) -> None:
        """Let the requests of *session* wait, because its login was given up for *reason*."""
        self._registry.count("login_pauses", 1)
        self._say(session, config, reason)
        session.awaits_login |= {config.site}
        self._paused[session, config.site] = asyncio.ensure_future(self._watch(session, config, reason))

    def is_paused(self, session: SessionRuntime, site: str) -> bool:
        """Whether *session* waits for a person at *site*."""
        return (session, site) in self._paused

    async def endure(self, request: Request, claim: Claim, session: SessionRuntime, site: str) -> Claim:
        """Return the claim of another session of the pool for *request*, or wait until *session*, or one of its pool
        that will do as well, need not wait any more at *site*. A request with a key waits for the session of its key.

        Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
        """
        if not claim.picked or FLOW in request.meta:
            await self._wait(lambda each: each is session, site)
            return claim
        paused = frozenset(each.id for each, where in self._paused if where == site)
        again = claim.anew(request.meta)
        found = self._registry.settle(again._replace(avoid=again.avoid | paused), request)
        if found.session_id in paused and again.avoid and again.key is None:
            found = self._registry.settle(again._replace(avoid=paused), request)  # it needs no person
        if found.session_id in paused:
            await self._wait(lambda each: each.pool == session.pool, site)
        return found._replace(avoid=again.avoid)

    async def _wait(self, will_do: Callable[[SessionRuntime], bool], site: str) -> None:
        tasks = [task for (session, where), task in self._paused.items() if where == site and will_do(session)]
        if tasks:
            await self._guard.wait(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))

    def end(self, session: SessionRuntime) -> None:
        """Let the requests of *session* try to log in again."""
        for (each, site), task in list(self._paused.items()):
            if each is session:
                self._forget(session, site)
                task.cancel()

    async def close(self) -> None:
        """End all looks at the store."""
        tasks = list(self._paused.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _say(self, session: SessionRuntime, config: SessionConfig, reason: str) -> None:
        logger.error(
            "The session %r %s. Its requests wait until somebody logs it in. Type: %s",
            session.id,
            reason,
            self._command(session, config),
        )

    async def _watch(self, session: SessionRuntime, config: SessionConfig, reason: str) -> None:
        """Return when somebody has logged *session* in, or it is out of use. Say once an hour that it waits."""
        registry, key = self._registry, (session, config.site)
        said = registry.clock()
        try:
            while registry.usable(session):
                await self._guard.sleep(_INTERVAL)
                with suppress(SessionError):  # the store's outage is reported where it matters
                    await registry.refresh_record(session)
                if session.is_logged_in(config.site):
                    logger.info("The session %r was logged in: its requests go on", session.id)
                    self._succeeded(session, config)
                    return
                now = registry.clock()
                if now - said >= _REMINDER:
                    said = now
                    self._say(session, config, reason)
                if session.idle_timeout and now - session.last_activity > session.idle_timeout / 3:
                    session.last_activity = now  # it isn't idle: neither this process nor another may delete it
                    session.changed()
        except CrawlClosing:
            return  # the waits of its requests end themselves
        finally:
            if self._paused.get(key) is asyncio.current_task():
                self._forget(*key)

    def _forget(self, session: SessionRuntime, site: str) -> None:
        self._paused.pop((session, site), None)
        session.awaits_login -= {site}

    def _command(self, session: SessionRuntime, config: SessionConfig) -> str:
        """Return the command with which a person logs *session* in."""
        crawler = self._crawler
        settings, spider = crawler.settings, crawler.spider
        words = ["scrapy", "sessions", "login", session.id]
        if config.login_url and config.login_url.startswith(("http://", "https://")):
            words.append(config.login_url)
        modules = settings.getlist("SPIDER_MODULES")
        module = type(spider).__module__
        in_project = any(module == each or module.startswith(f"{each}.") for each in modules)
        if spider is not None and in_project:
            words += ["--spider", spider.name]
        if spider is None or not in_project or session.namespace != (self._registry.settings.namespace or spider.name):
            words += ["--namespace", session.namespace]
        store = settings.get("SESSIONS_STORE")
        priority = settings.getpriority("SESSIONS_STORE") or 0
        known = SETTINGS_PRIORITIES["spider" if in_project else "project"]
        if isinstance(store, str) and "@" not in store and priority > known:  # a password is never logged
            words += ["--store", store]
        return shlex.join(words)
