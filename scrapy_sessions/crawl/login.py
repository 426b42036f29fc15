"""Logging sessions in: one login at a time per session, in this process and in all that share the store."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy.exceptions import CloseSpider

from scrapy_sessions.analytics.redaction import describe_fault
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.exceptions import CrawlClosing, LoginFailed, StoreError
from scrapy_sessions.sessions.browser_session import view_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.signals import session_logged_in, session_login_failed
from scrapy_sessions.storage.base import Lease, LeaseStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.sessions.registry import SessionRegistry

logger = logging.getLogger(__name__)


def must_log_in(session: SessionRuntime, config: SessionConfig) -> bool:
    """Whether *session* has to log in at the site of *config* before a request is sent there."""
    return config.can_log_in and not session.is_logged_in(config.site)


class LoginForbidden(LoginFailed):
    """robots.txt forbids a request of the login: it isn't tried again."""


class _TooLong(Exception):
    """A login took longer than it may."""


class _Login:
    """A login that runs: its task, the hosts it sent requests to, and since when its time counts."""

    def __init__(self, task: asyncio.Future[Verdict | bool | None]) -> None:
        self.task = task
        self.hosts: set[str] = set()
        self.started = self.begun = time.monotonic()


class Logins:
    """Logs sessions in. However many requests wait for a session, one login runs.

    :param fetch: downloads a request in a session, as part of its login
    :param close_spider: closes the spider with a reason
    :param succeeded: called with each session that has logged in
    """

    def __init__(
        self,
        registry: SessionRegistry,
        closing: ShutdownGuard,
        *,
        fetch: Callable[[SessionRuntime, Request], Awaitable[Response]],
        close_spider: Callable[[str], None],
        succeeded: Callable[[SessionRuntime, SessionConfig], None],
    ) -> None:
        self._registry = registry
        self._settings = registry.settings
        self._closing = closing
        self._fetch = fetch
        self._close_spider = close_spider
        self._succeeded = succeeded
        self._running: dict[SessionRuntime, asyncio.Task[None]] = {}
        self._logins: dict[SessionRuntime, _Login] = {}

    def seconds(self, session: SessionRuntime) -> float:
        """Return for how long *session* has been logging in."""
        login = self._logins.get(session)
        return 0.0 if login is None else time.monotonic() - login.started

    def is_here(self, session: SessionRuntime) -> bool:
        """Whether the current task is the login of *session*."""
        login = self._logins.get(session)
        return login is not None and login.task is asyncio.current_task()

    def visited(self, session: SessionRuntime, host: str) -> None:
        """The login of *session* got a response from *host*."""
        if session in self._logins:
            self._logins[session].hosts.add(host)

    def paused(self, session: SessionRuntime, seconds: float) -> None:
        """The site asked the login of *session* to pause: its time begins anew after that."""
        if session in self._logins:
            self._logins[session].begun = time.monotonic() + seconds

    async def ensure(self, session: SessionRuntime, config: SessionConfig) -> None:
        """Log *session* in, or wait for the login that runs.

        Raises :exc:`~scrapy_sessions.exceptions.LoginFailed` when it is given up, and
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
        """
        if session.login_error is not None:
            raise LoginFailed(session.login_error)
        task = self._running.get(session)
        if task is None:
            task = asyncio.ensure_future(self._run(session, config))
            self._running[session] = task
            task.add_done_callback(lambda done: self._end(session, done))
        # Not shield(): Python 3.14 logs the exception of a shielded task whose waiters have gone.
        await self._closing.wait(asyncio.wait([task]))
        if task.cancelled():
            raise CrawlClosing(f"The login of session {session.id!r} was cancelled: the crawl is closing")
        task.result()

    async def close(self) -> None:
        """Cancel the logins that run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, session: SessionRuntime, task: asyncio.Task[None]) -> None:
        self._running.pop(session, None)
        if not task.cancelled():
            task.exception()  # read here, as its waiters may have gone

    async def _run(self, session: SessionRuntime, config: SessionConfig) -> None:
        async with self._alone(session):
            await self._registry.refresh_record(session)
            if session.is_logged_in(config.site):
                self._succeeded(session, config)
                return  # another process logged it in meanwhile
            await self._log_in(session, config)

    async def _log_in(self, session: SessionRuntime, config: SessionConfig) -> None:
        attempts = self._settings.login_attempts
        unused = not session.reserved_uses
        for attempt in range(1, attempts + 1):
            session.begin_login()
            reason = await self._attempt(session, config)
            if session.closed or session.expired(time.time()) is not None:
                if unused:
                    self._note_failure(session, "it expired before its login was done")
                    self._give_up(session, "expires before its login is done: see SESSIONS_MAX_USES and _MAX_AGE")
                return  # a new one takes its place, and logs in
            if reason is None:
                return
            self._note_failure(session, reason)
            if session.status == "retired":
                raise LoginFailed(f"The login of session {session.id!r} was refused for good, and it is retired")
            logger.warning("Login %d of %d of session %r failed: %s", attempt, attempts, session.id, reason)
            if attempt < attempts:
                pause = self._settings.login_backoff * 2 ** (attempt - 1)
                await self._closing.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  # jitter, no secret
        self._give_up(session, f"could not be logged in, in {attempts} attempts; at last: {reason}")

    async def _attempt(self, session: SessionRuntime, config: SessionConfig) -> str | None:
        """Try once, and return why it failed, ``None`` if it didn't."""

        def fetch(request: Request) -> Awaitable[Any]:  # the type of a page depends on its site
            return self._fetch(session, request)

        begun, timeout = time.monotonic(), self._settings.login_timeout
        login = self._logins[session] = _Login(asyncio.ensure_future(config.login(view_of(session), fetch)))
        closing: str | None = None
        forbidden: str | None = None
        verdict: Verdict | bool | None = None
        try:
            verdict = await self._result(login, timeout)
        except CrawlClosing:
            raise
        except CloseSpider as e:
            closing = e.reason
        except LoginForbidden as e:
            forbidden = str(e)
        except _TooLong:
            return f"it took longer than {timeout:g} s (SESSIONS_LOGIN_TIMEOUT)"
        except Exception as e:  # noqa: BLE001  # the spider's own code: whatever it raises, the login has failed
            return describe_fault(e)
        finally:
            if not login.task.done():
                login.task.cancel()
                await asyncio.wait([login.task])
            self._logins.pop(session, None)
        if closing is not None:  # raised outside of `except`, as the exceptions before it may contain secrets
            self._close_spider(closing)
            raise CrawlClosing(f"The login of session {session.id!r} closed the spider")
        if forbidden is not None:
            self._note_failure(session, forbidden)
            self._give_up(session, f"can't log in: {forbidden}")
        if verdict is False or (isinstance(verdict, Verdict) and verdict is not Verdict.OK):
            if verdict is Verdict.BLOCKED:
                session.retire("the site refused its login")
            return f"login() returned {verdict}"
        if session.status != "retired":  # by the spider, meanwhile
            session.log_in(config.site, time.time(), login.hosts)
        session.logins += 1
        session.changed()
        self._succeeded(session, config)
        self._registry.count("logins", 1)
        seconds = time.monotonic() - begun
        self._registry.analytics.record_event("login", session, f"{seconds:.1f} s", seconds=seconds)
        self._registry.signal(session_logged_in, session, f"{seconds:.1f} s")
        try:
            await self._registry.save(session)
        except StoreError as e:  # it stays in memory, to be saved later: the login itself has worked
            self._registry.count("save_errors", 1)
            logger.error("The login of session %r could not be saved yet: %s", session.id, e)
        return None

    async def _result(self, login: _Login, timeout: float) -> Verdict | bool | None:
        """Return what *login* returns, within *timeout* seconds (0: no limit)."""
        while not login.task.done():
            left = login.begun + timeout - time.monotonic() if timeout else None
            if left is not None and left <= 0:
                raise _TooLong
            await self._closing.wait(asyncio.wait([login.task], timeout=left))
        return login.task.result()

    def _note_failure(self, session: SessionRuntime, reason: str) -> None:
        self._registry.analytics.record_event("login_failed", session, reason)
        self._registry.signal(session_login_failed, session, reason)
        session.failures += 1
        session.changed()
        self._registry.count("login_failures", 1)

    def _give_up(self, session: SessionRuntime, reason: str) -> NoReturn:
        session.login_error = f"The session {session.id!r} {reason}. It isn't used any more in this crawl"
        self._registry.count("logins_given_up", 1)
        logger.error(session.login_error)
        raise LoginFailed(session.login_error)

    @asynccontextmanager
    async def _alone(self, session: SessionRuntime) -> AsyncIterator[None]:
        """Hold the lease of the session's login. Nobody else logs a transient session in."""
        if session.transient:
            yield
            return
        leases = LeaseStore.of(self._registry.store, "a login")
        name = f"login:{session.namespace}:{session.id}"
        ttl = self._settings.lease_ttl
        lease = await leases.lease(name, ttl)
        while lease is None:
            await self._closing.tick()
            lease = await leases.lease(name, ttl)
        renewing = asyncio.ensure_future(self._renew(leases, lease, ttl))
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            with suppress(StoreError):  # it expires by itself
                await leases.release(lease)

    @staticmethod
    async def _renew(leases: LeaseStore, lease: Lease, ttl: float) -> None:
        while True:
            await asyncio.sleep(ttl / 3)
            try:
                renewed = await leases.renew(lease, ttl)
            except StoreError as e:
                logger.warning("The lease %r could not be renewed: %s", lease.name, e)
                continue
            if renewed is None:
                logger.warning("The lease %r was lost: another process may log in beside this one", lease.name)
                return
