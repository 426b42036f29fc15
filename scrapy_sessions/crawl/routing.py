"""Which session a request gets, and when it may go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.crawl.asking import QUESTION, Questions
from scrapy_sessions.crawl.configs import Configs, must_log_in
from scrapy_sessions.crawl.deferral import DEFERRED, PATIENCE, Deferral, Wanted
from scrapy_sessions.crawl.facade import SpiderSessions
from scrapy_sessions.crawl.in_flight import SLOT, InFlight, InFlightRequests
from scrapy_sessions.crawl.outage import StoreOutage
from scrapy_sessions.crawl.rests import Resting, Rests, is_movable
from scrapy_sessions.crawl.scrapy_internals import engine_of, is_closing, is_robots_fetch, is_robots_refusal
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.throttle import is_ready, postpone, wait_turn
from scrapy_sessions.crawl.user_code import UserCode
from scrapy_sessions.crawl.verdicts import VerdictHandler
from scrapy_sessions.exceptions import (
    CrawlClosing,
    LoginFailed,
    LoginImpossible,
    SessionConfigurationError,
    SessionError,
    SessionLost,
)
from scrapy_sessions.pools.claim import FLOW, PICKED, Claim, read_claim, take_alias
from scrapy_sessions.sessions.browser_session import view_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.registry import SessionRegistry, retired
from scrapy_sessions.sessions.runtime import Fetch, SessionRuntime, expected_wait, must_go_alone
from scrapy_sessions.settings import SessionsSettings, is_enabled

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.crawl.exclusive import ExclusivePools
    from scrapy_sessions.crawl.login import Logins
    from scrapy_sessions.crawl.shared_browser import SharedBrowser
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.storage.base import SessionStore

logger = logging.getLogger(__name__)

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")

LOGIN = "_session_login"
"""The meta key of requests that are part of a login."""

_ALONE = "_session_alone"
"""The meta key of requests of an ``alone()`` block; its value is the block's token."""

_block: ContextVar[str | None] = ContextVar("scrapy_sessions_alone", default=None)  # the block that the code is in

_FETCHED = "_session_fetched"
"""The meta key of requests whose responses somebody waits for; its value is the token of that wait, as a request that
the spider makes of such a response may have a copy."""

UNRESOLVED = "_session_unresolved"
"""The meta key of a refused request that was deferred during the inquiry, whose end it waits for before it is sent."""

_PUT_BACK = "_session_put_back"
"""The meta key that names the run that returned a waiting request to its job's queue, when it was asked to stop."""

_routers: WeakKeyDictionary[Crawler, ref[SessionRouter]] = WeakKeyDictionary()  # the extension keeps each alive


class SessionRouter:
    """Routes the requests of one crawl: finds the session of each, and waits for its login and its turn.

    :param manager: returns the manager; called at first use, as ``scrapy shell`` has no spider before
    """

    def __init__(
        self,
        crawler: Crawler,
        settings: SessionsSettings,
        store: SessionStore,
        manager: Callable[[], SessionManager],
    ) -> None:
        self.crawler = crawler
        self.settings = settings
        self.in_flight = InFlightRequests()
        self.configs = Configs(crawler, settings.config, store)
        self.guard = ShutdownGuard(lambda: is_closing(engine_of(crawler)))
        self.deferral = Deferral(crawler, self.guard, self._expected_wait)
        self.rests = Rests(crawler, self.guard, self._deferred_rests)
        self.outage = StoreOutage(self.guard, settings.claim_timeout, self.count)
        self.browser: SharedBrowser | None = None
        self.exclusive: ExclusivePools | None = None
        if settings.exclusive_pools:
            from scrapy_sessions.crawl.exclusive import ExclusivePools, check_store  # noqa: PLC0415  # for few crawls

            check_store(store, settings.exclusive_pools)
            self.exclusive = ExclusivePools(
                lambda: self.registry,
                lambda: self.logins,
                lambda: self.browser,
                self.rests.waits,
                self.guard,
                self.outage,
            )
        self.user_code = UserCode(crawler, self.close_spider, self.count)
        self.in_shell = False
        self.logs_in = True
        """Whether a session whose login is lost logs in before its next request."""
        self.posts_once = False
        """Whether what a login sends, beside GET requests, is sent once, whatever the site answers."""
        self.facade: Callable[[SessionRouter], SpiderSessions] = SpiderSessions  # makes ``spider.sessions``
        self._manager = manager
        self._paced = bool(settings.delay)
        self._alias = hasattr(crawler, "sessions")  # Scrapy has sessions, and with them the meta key "session"
        self._slots: WeakValueDictionary[str, InFlight] = WeakValueDictionary()
        self._run = time.time() if crawler.settings.get("JOBDIR") else None
        self._close_tasks: set[asyncio.Task[None]] = set()
        self._fetching: set[str] = set()  # the tokens of the requests that somebody waits for
        _routers[crawler] = ref(self)

    @classmethod
    def of(cls, crawler: Crawler) -> SessionRouter:
        """Return the router of *crawler*.

        Raises :exc:`~scrapy.exceptions.NotConfigured` if sessions are switched off, and
        :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` without the extension.
        """
        if not is_enabled(crawler.settings):
            raise NotConfigured
        found = _routers.get(crawler)
        router = None if found is None else found()
        if router is None:
            raise SessionConfigurationError(
                "The session middlewares need scrapy_sessions.extension.SessionsExtension in EXTENSIONS. "
                'ADDONS = {"scrapy_sessions.SessionsAddon": 300} sets up all of them'
            )
        return router

    @cached_property
    def manager(self) -> SessionManager:
        """The manager of the crawl."""
        return self._manager()

    @cached_property
    def registry(self) -> SessionRegistry:
        """The live sessions of the manager."""
        return registry_of(self.manager)

    @cached_property
    def logins(self) -> Logins:
        """The logins in progress."""
        # Here, as few crawls log in.
        from scrapy_sessions.crawl.login import Logins  # noqa: PLC0415
        from scrapy_sessions.crawl.pauses import LoginPauses  # noqa: PLC0415

        pauses = None
        if self.settings.on_login_failed == "pause":
            pauses = LoginPauses(self.crawler, self.registry, self.guard, succeeded=self.verdicts.logged_in)
        return Logins(
            self.registry,
            self.guard,
            fetch=self.fetch_for_login,
            close_spider=self.close_spider,
            succeeded=self.verdicts.logged_in,
            pauses=pauses,
        )

    @cached_property
    def verdicts(self) -> VerdictHandler:
        """What follows from verdicts."""
        questions = Questions(self._download, self.guard, self.user_code)
        return VerdictHandler(self.registry, questions, self.guard, self.count)

    def count(self, event: str, n: int = 1) -> None:
        """Count *event* in the stats, as ``sessions/<event>``."""
        self.crawler.stats.inc_value(f"sessions/{event}", n)

    # The session of a request

    def begin(self, request: Request) -> InFlight | Coroutine[Any, Any, InFlight | Request] | None:
        """Find the session of *request* and note that it is in flight in it.

        Returns ``None`` for a request without a session; a coroutine if its session has to be loaded, to log in, or to
        wait for its turn. The coroutine returns another request if that is to be scheduled instead.
        """
        meta = request.meta
        if SLOT in meta:  # end the request that this one replaces: something may still hold that one
            replaced = self._slots.get(meta.pop(SLOT))
            if replaced is not None:
                replaced.end()
        deferred_in = self.deferral.arrive(request) if DEFERRED in meta else 0
        claim = self._claim_of(request)
        if claim is None:
            self.in_flight.discard(request)
            return None
        if self.exclusive is None:
            claim = self.registry.settle(claim, request)
        else:
            settled = self.exclusive.settle(claim, request)
            if settled is None:
                return self._wait(request, claim, self.configs.of(request.url), None, deferred_in)
            claim = settled
        session = self.registry.ready_for(claim)
        config = self.configs.of(request.url)
        if session is None or self._must_wait(session, config) or FLOW in meta or UNRESOLVED in meta:
            return self._wait(request, claim, config, session, deferred_in)
        inflight = self._begin(request, claim, session, config)
        inflight.deferrable = deferred_in is not None
        return inflight

    def may_send(self, request: Request) -> bool:
        """Whether this process still holds the session of *request*, if that is of an exclusive pool."""
        inflight = self.in_flight.get(request)
        return inflight is None or self.exclusive is None or self.exclusive.may_send(inflight.session, own=True)

    def begin_now(self, request: Request) -> InFlight | None:
        """As :meth:`begin`, for a crawl without the middleware that calls it: finds a session without waiting."""
        claim = self._claim_of(request)
        if claim is None:
            return None
        claim = self.registry.settle(claim, request)
        config = self.configs.of(request.url)
        return self._begin(request, claim, self.registry.obtain_now(claim), config)

    def session_of(self, response: Response) -> SessionRuntime | None:
        """Return the session that *response* was received in, if any."""
        inflight = self.in_flight.get(response.request) if response.request is not None else None
        if inflight is not None:
            return inflight.session
        session_id = response.meta.get("session_id") if response.request is not None else None
        return self.registry.ready(session_id) if isinstance(session_id, str) else None

    def _claim_of(self, request: Request) -> Claim | None:
        """Return what *request* asks for; ``None``: no session (Scrapy's own robots.txt fetch, and what isn't HTTP)."""
        if not request.url.startswith(("http:", "https:")) or is_robots_fetch(request):
            return None
        meta = request.meta
        if self._alias:
            take_alias(meta)
        claim = read_claim(meta, self.settings.default_id)
        if claim is not None and claim.untagged and claim.pool is not None:
            pool = self._call("pool", self.configs.of(request.url).pool, request)
            if pool is not None:
                return claim._replace(pool=pool)
        return claim

    def _call(self, name: str, method: Callable[[_Argument], _Result], argument: _Argument) -> _Result:
        """Call *method* of a config. Raises the replacement of its exception."""
        try:
            return method(argument)
        except Exception as e:  # noqa: BLE001  # the spider's own code
            error = self.user_code.replacement_of(e, name)
        raise error

    def _begin(self, request: Request, claim: Claim, session: SessionRuntime, config: SessionConfig) -> InFlight:
        """Note that *request* is in flight in *session*, in its meta, too."""
        meta = request.meta
        if claim.before is not None and claim.before != session.id:
            self.count("switched")
        if meta.get("session_id") != session.id or claim.before == session.id:
            meta["session_id"] = meta[PICKED] = session.id
            if claim.pool is not None:
                meta["session_pool"] = claim.pool
        elif meta.pop(PICKED, None) is not None:  # copied from a request of another session
            meta.pop("session_pool", None)
        self.deferral.turn += 1
        inflight = self.in_flight.begin(request, session, config)
        if session.concurrency or (session.first_request_alone and must_go_alone(session)):
            slot = meta[SLOT] = uuid4().hex  # a number could be that of another run, from a disk queue
            self._slots[slot] = inflight
        return inflight

    # When it may go

    def _must_wait(self, session: SessionRuntime, config: SessionConfig) -> bool:
        """Whether a request of *session* can't go at once: for its login, pace or budget, or a pause of the site."""
        return (
            must_log_in(session, config)
            or config.sets_pace
            or bool(session.delay or session.concurrency or session.not_before or session.alone)
            or bool(session.pauses or session.window)
            or (session.budget is not None and session.budget.seconds(time.time()) > 0)
            or session.pool in self.verdicts.banned
            or (session.first_request_alone and must_go_alone(session))
            or (self._paced and session.delay is None)
        )

    async def _wait(
        self,
        request: Request,
        claim: Claim,
        config: SessionConfig,
        session: SessionRuntime | None,
        deferred_in: int | None,
    ) -> InFlight | Request:
        if session is not None and claim.before == session.id and not is_own(request):
            claim = self.rests.move(self.registry, claim, request, session)
            session = self.registry.ready_for(claim)
        wanted = None if session is None else Wanted(session.id, urlparse_cached(request).netloc, config.site)
        taking = self.outage.endure(lambda: self._take(request, claim, config))
        try:
            if deferred_in is None or is_own(request):
                return await taking
            found = await self.deferral.wait(request, taking, wanted, deferred_in)
        except CrawlClosing:
            # A request that a job has not sent yet returns to its queue, for the next run. Scheduled requests don't
            # come here twice in a crawl that closes; one that does comes from download_async(), and must fail.
            if self._run is None or request.meta.get(_PUT_BACK) == self._run:
                raise
            back: Request = request.replace(dont_filter=True)
            back.meta[_PUT_BACK] = self._run
            return back
        if isinstance(found, InFlight):
            found.deferrable = True
        return found

    def _expected_wait(self, wanted: Wanted) -> float:
        """Return for how many seconds a request will wait for what is *wanted*, as far as is known."""
        session = self.registry.in_memory(wanted.session_id)
        if session is None or not self.registry.usable(session):  # it is loaded or replaced
            return 0.0
        expected = expected_wait(session, time.monotonic(), wanted.host)
        pauses = self.logins.pauses
        if (
            session.pool in self.verdicts.banned
            or self.logins.seconds(session) > PATIENCE
            or (pauses is not None and pauses.is_paused(session, wanted.site))
        ):
            return max(expected, 2 * PATIENCE)
        return expected

    def _deferred_rests(self) -> Iterator[tuple[str, float]]:
        """Yield the ids of the sessions that deferred requests wait for, and for how many seconds they rest; 0: such a
        request may go. What waits for something else is left out."""
        for wanted in self.deferral.waited_for():
            session = self.registry.in_memory(wanted.session_id)
            rest = 0.0 if session is None else session.rest(time.time())
            if rest or self._expected_wait(wanted) <= PATIENCE:
                yield wanted.session_id, rest

    async def _take(self, request: Request, claim: Claim, config: SessionConfig) -> InFlight:
        """Wait until the session for the settled *claim* is logged in and *request* may go, and note it as in flight.

        No other request goes in between.
        """
        registry = self.registry
        own = is_own(request)  # sent whether the session is logged in or not
        host = urlparse_cached(request).netloc
        while True:
            if claim.picked and not own:
                claim = await self.verdicts.admit(claim)
            ours = own or self._is_in_block(request, claim)
            if self.exclusive is not None:
                claim = await self.exclusive.admit(claim, request, own=ours)
            session = await self._session_for(request, claim)
            if self._is_lost(session, ours):
                await asyncio.sleep(0)  # whatever the reason, the others go on
                continue
            if request.meta.pop(UNRESOLVED, False):
                await self.verdicts.wait_for_inquiry(session, config)
                continue
            in_block = session.alone is not None and (own or request.meta.get(_ALONE) == session.alone)
            movable = not own and is_movable(claim, request.meta)
            fetched = request.meta.get(_FETCHED) in self._fetching and (own or not in_block)
            leaves = fetched or not self.rests.patient
            if leaves and not movable and session.rest(time.time()):
                raise Resting(request, session)
            if (movable or (not (own or in_block) and must_log_in(session, config))) and session.rest(time.time()):
                claim = await self.rests.move_or_wait(registry, claim, request, session, movable=movable)
                continue
            if not own and must_log_in(session, config):
                from scrapy_sessions.crawl.pauses import LoginPaused  # noqa: PLC0415  # as in logins()

                try:
                    await self.rests.logged_in(session, self.logins.ensure(session, config), movable=movable)
                except LoginPaused:
                    assert self.logins.pauses is not None  # noqa: S101  # they have raised it
                    claim = await self.logins.pauses.endure(request, claim, session, config.site)
                except LoginFailed as e:
                    if self.exclusive is not None and session.closed:  # another process has it: that is no failure
                        continue
                    claim = self._after_failed_login(request, claim, session, e)
                continue  # another request may have retired or replaced it meanwhile
            if in_block:
                await self.rests.wait_in_block(session, host)
            elif not is_ready(session, time.monotonic(), host):
                with self.rests.waiting(session):
                    await wait_turn(session, self.guard, host, ahead=own, until_rest=movable or leaves)
                if not registry.usable(session) or (not own and must_log_in(session, config)):
                    continue  # while it waited
                if (movable or leaves) and session.rest(time.time()):
                    continue  # likewise
            if self._is_lost(session, ours):
                continue  # likewise
            delay = self._call("delay", config.delay, view_of(session))
            if delay:
                postpone(session, delay)
            return self._begin(request, claim, session, config)  # as obtained: a limit of no time lets a new one go

    def _is_in_block(self, request: Request, claim: Claim) -> bool:
        """Whether *request* is one of an ``alone()`` block that is open."""
        token = request.meta.get(_ALONE)
        session = None if token is None else self.registry.in_memory(claim.session_id)
        return session is not None and session.alone == token

    def _is_lost(self, session: SessionRuntime, own: bool) -> bool:
        """Whether *session*, of an exclusive pool, was given to another process, or is retired."""
        if self.exclusive is None:
            return False
        return (session.status == "retired" and not own) or not self.exclusive.may_send(session, own=own)

    async def _session_for(self, request: Request, claim: Claim) -> SessionRuntime:
        """Return the session for the settled *claim*.

        Raises :exc:`~scrapy_sessions.exceptions.SessionLost` if *request* continues a flow whose session is gone.
        """
        flow = request.meta.get(FLOW)
        if flow is None or claim.session_id is None:
            return await self.registry.obtain(claim)
        session = await self.registry.get(claim.session_id, pool=claim.pool, profile=claim.profile)
        if session.status == "retired" or session.start_time != flow:
            reason = session.retired_reason if session.status == "retired" else "it expired"
            raise SessionLost(f"The session {session.id!r} of this flow can't go on ({reason}): start the flow again")
        return session

    def _after_failed_login(self, request: Request, claim: Claim, session: SessionRuntime, error: LoginFailed) -> Claim:
        """The login of *session* was given up: return the claim of another account, or raise if there is none."""
        pool = self.registry.pool_of(session) if claim.pool is None else self.registry.pool(claim.pool)
        if pool is None:
            raise error
        if pool.give_up(session.id, str(error)):
            logger.error("No account of the pool %r is left, so the spider is closed: %s", pool.name, error)
            self.close_spider("session_login_failed")
        if not pool.named:
            session.retire("its login failed")
        if FLOW in request.meta:
            raise SessionLost(f"The session {session.id!r} of this flow can't log in: start the flow again") from error
        if not claim.picked or pool.is_given_up:
            raise error
        return self.registry.settle(claim.anew(request.meta), request)

    # Requests of our own

    async def fetch_for_login(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* as part of the login of *session*.

        It is not filtered as offsite (a login may be on another host), bypasses the HTTP cache, and gets no verdict.
        Raises :exc:`~scrapy_sessions.exceptions.LoginImpossible`.
        """
        self._check_login(session)
        meta = {"allow_offsite": True, **request.meta, LOGIN: True, "dont_cache": True}
        meta.pop("redirect_urls", None)  # of the page whose meta it was copied from: check_redirect() reads its own
        if self.posts_once and request.method != "GET":
            meta["dont_retry"] = True
        try:
            return await self._fetch(session, request.replace(meta=meta))
        except IgnoreRequest as e:
            if not is_robots_refusal(e):
                raise
            raise LoginImpossible(
                f"robots.txt forbids {safe_url(request.url)}, or a redirect of it. If the site lets you log in, set "
                f"dont_obey_robotstxt in the meta of that request, or log in with a browser and import its cookies "
                f"(scrapy sessions import)"
            ) from e

    def _check_login(self, session: SessionRuntime) -> None:
        if not self.registry.usable(session):
            raise LoginFailed(f"The session {session.id!r} expired or was retired before its login was done")

    async def fetch(self, session: SessionRuntime, request: Request) -> Response:
        """Download *request* in *session* and in no other, for ``session.fetch()``: within a login as part of it.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired`.
        """
        if self.logins.is_here(session):
            return await self.fetch_for_login(session, request)
        return await self._fetch(session, request)

    async def _fetch(self, session: SessionRuntime, request: Request) -> Response:
        if session.status == "retired":
            raise retired(session)
        meta = {**request.meta, "session_id": session.id}
        meta.pop(PICKED, None)
        if session.alone is not None and _block.get() == session.alone:
            if session.closed:
                raise _gone(session)
            meta[_ALONE] = session.alone
        if session.pool is not None:
            meta["session_pool"] = session.pool
        return await self._download(request.replace(meta=meta))

    async def _download(self, request: Request) -> Response:
        """Download *request*. It holds no place while its session rests, nor does a redirect of it."""
        token = request.meta[_FETCHED] = uuid4().hex
        self._fetching.add(token)
        try:
            while True:
                try:
                    return await self.crawler.engine.download_async(request)
                except Resting as e:
                    if not self.rests.patient:
                        raise
                    request, session = e.request, e.session
                await self._wait_outside(request, session)
        finally:
            self._fetching.discard(token)

    async def _wait_outside(self, request: Request, session: SessionRuntime) -> None:
        """Wait until *session* rests no more, for *request*, which holds no place."""
        while self.registry.usable(session) and (rest := session.rest(time.time())):
            if is_login(request):
                self.logins.paused(session, rest)
            await self.rests.wait_outside(session)
        if is_login(request):
            self._check_login(session)

    @asynccontextmanager
    async def alone(self, session: SessionRuntime) -> AsyncIterator[Fetch]:
        """Hold back the other requests of *session*, for ``session.alone()``."""
        if session.alone is not None and _block.get() == session.alone:
            raise SessionError(f"The session {session.id!r} is in an alone() block already: blocks can't be nested")
        await wait_turn(session, self.guard, alone=True)
        if session.status == "retired":
            raise retired(session)
        if session.closed:
            raise _gone(session)
        session.alone = uuid4().hex
        token = _block.set(session.alone)
        try:
            yield partial(self.fetch, session)
        finally:
            _block.reset(token)
            session.alone = None
            session.wake_first()

    # The end

    def close_spider(self, reason: str, *, failed: bool = False) -> None:
        """Close the spider soon, with *reason*; not the spider of a shell, whose ``fetch()`` would never return.

        If the crawl has *failed* to start, the exit status of its process is 1.
        """
        if self.in_shell:
            return
        task = asyncio.ensure_future(self._close_spider(reason, failed))
        self._close_tasks.add(task)
        task.add_done_callback(self._close_tasks.discard)

    async def _close_spider(self, reason: str, failed: bool) -> None:
        engine = self.crawler.engine
        if engine.spider is None:
            return
        await engine.close_spider_async(reason=reason)
        if failed:
            self.crawler.spider = None  # Scrapy reports a failed start for a crawl that has none at its end

    async def close(self) -> None:
        """End every wait and every login."""
        await self.guard.close()
        if "logins" in vars(self):  # it has been used
            await self.logins.close()


def _gone(session: SessionRuntime) -> SessionLost:
    return SessionLost(f"The session {session.id!r} is gone: it has expired, was deleted, or is used elsewhere")


def is_own(request: Request) -> bool:
    """Whether *request* is part of a login, or a question."""
    meta = request.meta
    return LOGIN in meta or QUESTION in meta


def is_login(request: Request) -> bool:
    """Whether *request* is part of a login."""
    return LOGIN in request.meta
