"""Logging sessions in: one login at a time per session, in this process and in all that share the store."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from scrapy.exceptions import CloseSpider

from scrapy_sessions.analytics.redaction import describe_fault
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.crawl.pauses import LoginPaused, LoginPauses
from scrapy_sessions.crawl.rests import Resting
from scrapy_sessions.exceptions import CrawlClosing, LoginFailed, LoginImpossible, LoginRejected, StoreError
from scrapy_sessions.sessions.attended import login_lease
from scrapy_sessions.sessions.browser_session import view_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.signals import session_logged_in, session_login_failed
from scrapy_sessions.storage.abilities import Lease, LeaseStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.sessions.registry import SessionRegistry

logger = logging.getLogger(__name__)

_SHORTEST_LIFE = 1.0
"""Seconds. A login that has to be renewed sooner than that isn't, until the site refuses it."""


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
    :param pauses: where sessions wait for a person when their login is given up; ``None``: their requests fail
    """

    def __init__(
        self,
        registry: SessionRegistry,
        closing: ShutdownGuard,
        *,
        fetch: Callable[[SessionRuntime, Request], Awaitable[Response]],
        close_spider: Callable[[str], None],
        succeeded: Callable[[SessionRuntime, SessionConfig], None],
        pauses: LoginPauses | None = None,
    ) -> None:
        self.pauses = pauses
        self._registry = registry
        self._settings = registry.settings
        self._closing = closing
        self._fetch = fetch
        self._close_spider = close_spider
        self._succeeded = succeeded
        self._running: dict[SessionRuntime, asyncio.Task[None]] = {}
        self._sites: dict[SessionRuntime, str] = {}
        """Where each session of ``_running`` logs in."""
        self._logins: dict[SessionRuntime, _Login] = {}
        self.patient = True
        """Whether a login waits for a pause that is longer than it may take."""

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

    def paused(self, session: SessionRuntime, seconds: float) -> bool:
        """The site asked the login of *session* to pause: its time begins anew after that.

        Returns whether it waits for the end of the pause.
        """
        if session in self._logins:
            self._logins[session].begun = time.monotonic() + seconds
        return self.patient or seconds <= (self._settings.login_timeout or math.inf)

    def is_running(self, session: SessionRuntime) -> bool:
        """Whether *session* logs in at the moment."""
        return session in self._running

    async def wait(self, session: SessionRuntime) -> None:
        """Return when *session* isn't logging in."""
        while session in self._running:
            await asyncio.wait([self._running[session]])

    async def ensure(self, session: SessionRuntime, config: SessionConfig) -> None:
        """Log *session* in, or wait for the login that runs.

        Raises :exc:`~scrapy_sessions.exceptions.LoginFailed` when it is given up,
        :exc:`~scrapy_sessions.crawl.pauses.LoginPaused` if it then waits for a person,
        :exc:`~scrapy_sessions.crawl.rests.Resting` where nobody waits for the end of a rest, and
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
        """
        if self.pauses is not None and self.pauses.is_paused(session, config.site):
            raise LoginPaused(f"The session {session.id!r} waits for a person who logs it in")
        while session in self._running and self._sites[session] != config.site:
            await self._closing.wait(asyncio.wait([self._running[session]]))  # how it ends there says nothing here
        if config.site in session.login_errors:
            raise LoginFailed(session.login_errors[config.site])
        task = self._running.get(session)
        if task is None:
            task = asyncio.ensure_future(self._run(session, config))
            self._running[session] = task
            self._sites[session] = config.site
            task.add_done_callback(lambda done: self._end(session, done))
        # Not shield(): Python 3.14 logs the exception of a shielded task whose waiters have gone.
        await self._closing.wait(asyncio.wait([task]))
        if task.cancelled():
            raise CrawlClosing(f"The login of session {session.id!r} was cancelled: the crawl is closing")
        task.result()

    async def close(self) -> None:
        """Cancel the logins that run, and the waits for a person."""
        if self.pauses is not None:
            await self.pauses.close()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, session: SessionRuntime, task: asyncio.Task[None]) -> None:
        self._running.pop(session, None)
        self._sites.pop(session, None)
        if not task.cancelled():
            task.exception()  # read here, as its waiters may have gone

    async def _run(self, session: SessionRuntime, config: SessionConfig) -> None:
        async with self._alone(session):
            await self._registry.refresh_record(session)
            if session.is_logged_in(config.site):
                self._succeeded(session, config)
                return  # another process logged it in meanwhile
            try:
                await self._log_in(session, config)
            except (LoginFailed, CrawlClosing, Resting, asyncio.CancelledError):
                # Whoever logs it in next has to begin a generation above those of the attempts, or it would be lost.
                await self._save(session)
                raise

    async def _save(self, session: SessionRuntime) -> None:
        """Save *session*, whose login has failed."""
        if session.closed or session.transient:
            return
        try:
            await self._registry.save(session)
        except StoreError as e:  # it stays in memory, to be saved later
            self._registry.count("save_errors", 1)
            logger.warning("The failed login of session %r could not be saved yet: %s", session.id, e)

    async def _log_in(self, session: SessionRuntime, config: SessionConfig) -> None:
        attempts = self._settings.login_attempts
        unused = not session.reserved_uses
        for attempt in range(1, attempts + 1):
            session.begin_login()
            reason = await self._attempt(session, config)
            expired = session.expired(time.time()) is not None
            if session.closed or expired:
                if unused and expired:  # as would each session that takes its place
                    self._note_failure(session, "it expired before its login was done")
                    reason = "expires before its login is done: see SESSIONS_MAX_USES, _MAX_AGE and _IDLE_TIMEOUT"
                    self._give_up(session, config, reason, may_wait=False)
                return  # or it was deleted: a new one takes its place, and logs in
            if reason is None:
                return
            self._note_failure(session, reason)
            if session.status == "retired":
                raise LoginFailed(f"The login of session {session.id!r} was refused for good, and it is retired")
            logger.warning("Login %d of %d of session %r failed: %s", attempt, attempts, session.id, reason)
            if attempt < attempts:
                pause = self._settings.login_backoff * 2 ** (attempt - 1)
                await self._closing.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  # jitter, no secret
        self._give_up(session, config, f"could not be logged in, in {attempts} attempts; at last: {reason}")

    async def _attempt(self, session: SessionRuntime, config: SessionConfig) -> str | None:
        """Try once, and return why it failed, ``None`` if it didn't."""

        def fetch(request: Request) -> Awaitable[Any]:  # the type of a page depends on its site
            return self._fetch(session, request)

        begun, timeout = time.monotonic(), self._settings.login_timeout
        login = self._logins[session] = _Login(asyncio.ensure_future(config.login(view_of(session), fetch)))
        closing: str | None = None
        impossible: str | None = None
        verdict: Verdict | bool | None = None
        renew_at: float | None = None
        try:
            verdict = await self._result(login, timeout)
            if verdict in (None, True, Verdict.OK):
                renew_at = self._renew_at(session, config)
        except (CrawlClosing, Resting):
            raise
        except CloseSpider as e:
            closing = e.reason
        except LoginImpossible as e:
            impossible = str(e)
        except LoginRejected as e:
            return str(e)
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
        if impossible is not None:
            self._note_failure(session, impossible)
            self._give_up(session, config, f"can't log in: {impossible}")
        if verdict is False or (isinstance(verdict, Verdict) and verdict is not Verdict.OK):
            if verdict is Verdict.BLOCKED:
                if self.pauses is not None and self.pauses.allows(session):
                    self._note_failure(session, "login() returned Verdict.BLOCKED")
                    self._give_up(session, config, "was refused its login")
                session.retire("the site refused its login")
            return f"login() returned {verdict}"
        if session.status != "retired":  # by the spider, meanwhile
            session.log_in(config.site, time.time(), login.hosts, renew_at)
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

    @staticmethod
    def _renew_at(session: SessionRuntime, config: SessionConfig) -> float | None:
        """Return what the config says; ``None`` for a moment that is (nearly) past: it would log in without end."""
        moment: Any = config.renew_at(view_of(session))
        if moment is None:
            return None
        if not isinstance(moment, (int, float)) or math.isnan(moment):
            raise TypeError("renew_at() must return a number or None")
        if moment < time.time() + _SHORTEST_LIFE:
            logger.warning(
                "The login of session %r is not renewed in time: %s.renew_at() names a moment less than %g s ahead",
                session.id,
                type(config).__qualname__,
                _SHORTEST_LIFE,
            )
            return None
        return moment if math.isfinite(moment) else None

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

    def _give_up(
        self, session: SessionRuntime, config: SessionConfig, reason: str, *, may_wait: bool = True
    ) -> NoReturn:
        """Let the requests of *session* wait for a person at the site of *config*, if that may be, else fail."""
        self._registry.analytics.record_event("given_up", session, reason)
        if may_wait and self.pauses is not None and self.pauses.allows(session):
            self.pauses.begin(session, config, reason)
            raise LoginPaused(f"The session {session.id!r} {reason}")
        error = f"The session {session.id!r} {reason}. It isn't used any more in this crawl"
        session.login_errors = {**session.login_errors, config.site: error}
        self._registry.count("logins_given_up", 1)
        logger.error(error)
        raise LoginFailed(error)

    @asynccontextmanager
    async def _alone(self, session: SessionRuntime) -> AsyncIterator[None]:
        """Hold the lease of the session's login. Nobody else logs a transient session in."""
        if session.transient:
            yield
            return
        leases = LeaseStore.of(self._registry.store, "a login")
        namespace, name = session.namespace, login_lease(session.id)
        ttl = self._settings.lease_ttl
        lease = await leases.lease(namespace, name, ttl)
        while lease is None:
            await self._closing.tick()
            lease = await leases.lease(namespace, name, ttl)
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
