"""Asking the site who is still logged in, in a crawl that does nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.crawl.asking import probe_of
from scrapy_sessions.crawl.blame import Answer, may_ask
from scrapy_sessions.crawl.checked_sites import CheckedSites, good_pages, may_be_logged_in, pause_at, rest_of
from scrapy_sessions.crawl.configs import must_log_in
from scrapy_sessions.crawl.rests import Resting
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.crawl.single_attempts import SingleAttempts
from scrapy_sessions.exceptions import CrawlClosing, LoginFailed, LoginRejected, UnknownPool
from scrapy_sessions.sessions.runtime import ANY_SITE
from scrapy_sessions.settings import setting_name
from scrapy_sessions.signals import session_expired, session_login_failed

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.crawl.asking import Reply
    from scrapy_sessions.models import SessionInfo
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["Checker", "Finding", "State"]

_WHERE = " (its sites are those of its session_config, start_urls and allowed_domains)"
_CANDIDATES = 3  # pages of its history that are asked for, if there is no probe_url


class State(Enum):
    """What is found out about a session."""

    LOGGED_IN = "logged in"
    NOT_LOGGED_IN = "not logged in"
    LOGIN_FAILED = "login failed"
    EXPIRED = "expired"
    RETIRED = "retired"
    UNKNOWN = "unknown"
    """The site didn't say, or no page is known that only a logged-in session gets."""
    IN_USE = "in use"
    """Another process has claimed the session, of an exclusive pool."""
    NO_LOGIN = "no login"
    """An anonymous session of a site where nobody logs in."""

    @property
    def is_dead(self) -> bool:
        """Whether a crawl that needs the session logged in can't use it as it is."""
        return self in {State.NOT_LOGGED_IN, State.LOGIN_FAILED, State.EXPIRED, State.RETIRED}


class Finding(NamedTuple):
    """What was found out about a session, at one site. ``site`` is empty for one that isn't known by name."""

    session_id: str
    pool: str | None
    site: str
    state: State
    reason: str = ""


class Checker:
    """Asks about sessions, and logs in those that aren't logged in, each once at the most.

    Created before the crawl begins: what expires at its start is reported, too.

    :param log_in: whether to log in
    """

    def __init__(self, crawler: Crawler, *, log_in: bool) -> None:
        self.found: dict[str, list[Finding]] = {}
        """By session id, in the order of the selection. Empty for those that were not asked about yet."""
        self._crawler = crawler
        self._log_in = log_in
        self._expired: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._attempts = SingleAttempts()
        self._places: dict[str, asyncio.Semaphore] = {}
        """By site, for the logins there."""
        self._anonymous: dict[str, asyncio.Task[Answer]] = {}
        crawler.signals.connect(self._note_expired, signal=session_expired)
        crawler.signals.connect(self._note_failure, signal=session_login_failed)

    def _note_expired(self, session_id: str, reason: str) -> None:
        self._expired[session_id] = reason

    def _note_failure(self, session_id: str, reason: str) -> None:
        self._failures[session_id] = reason

    async def run(self, session_ids: Sequence[str] = (), *, pool: str | None = None) -> None:
        """Ask about *session_ids*, else about the sessions of *pool*, else about all of the namespace.

        Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`.
        """
        self._router = SessionRouter.of(self._crawler)
        self._router.logs_in = self._log_in
        self._router.posts_once = True
        self._router.logins.patient = self._router.rests.patient = False
        self._registry = self._router.registry
        self._sites = CheckedSites(self._router.configs, self._crawler.spider)
        await self._router.manager.open()
        infos = await self._select(session_ids, pool)
        self.found = {session_id: [] for session_id in infos}
        if self._router.exclusive is not None:
            await self._router.exclusive.take_free()
        places = asyncio.Semaphore(max(self._crawler.settings.getint("CONCURRENT_REQUESTS"), 1))

        async def check(session_id: str, info: SessionInfo | None) -> None:
            async with places:
                self.found[session_id] = await self._check(session_id, info)

        tasks = [asyncio.ensure_future(check(*each)) for each in infos.items()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, *self._anonymous.values()):
                task.cancel()
            await asyncio.gather(*tasks, *self._anonymous.values(), return_exceptions=True)

    @property
    def unsaved(self) -> list[str]:
        """After the crawl, the sessions whose changes could not be saved."""
        live = map(self._registry.cache.get, self.found)
        return [session.id for session in live if session is not None and session.dirty and not session.closed]

    # Which sessions

    async def _select(self, session_ids: Sequence[str], pool: str | None) -> dict[str, SessionInfo | None]:
        """Return the selected sessions, with ``None`` for those without a record."""
        manager = self._router.manager
        if session_ids:
            return {each: await manager.get_session_info(each) for each in session_ids}
        if pool is not None:
            try:
                self._registry.pool(pool)
            except UnknownPool:
                if not await manager.list_sessions(pool=pool, limit=1):
                    raise
        found: dict[str, SessionInfo | None] = {}
        async for info in manager.iter_sessions():
            if pool in (None, info["pool"], self._pool_of(info["session_id"])):
                found[info["session_id"]] = info
        named = [each for options in self._pools().values() for each in options.sessions or ()]
        for session_id in (*named, *self._expired):
            if pool in (None, self._pool_of(session_id)) and not self._is_unused(session_id):
                found.setdefault(session_id, None)
        return found

    def _pools(self) -> dict[str, Any]:
        return dict(self._registry.settings.pools)

    def _pool_of(self, session_id: str) -> str | None:
        """Return the pool that the settings give *session_id*."""
        pools = self._pools()
        for name, options in pools.items():
            if session_id in (options.sessions or ()):
                return name
        name, _, number = session_id.rpartition("#")
        is_anonymous = name == "default" if name not in pools else pools[name].sessions is None
        return name if is_anonymous and number.isdecimal() else None

    def _is_unused(self, session_id: str) -> bool:
        """Whether *session_id* is an expired anonymous session, in whose place a crawl creates another."""
        pool = self._pool_of(session_id)
        return pool is not None and not self._registry.pool(pool).named

    # One session

    async def _check(self, session_id: str, info: SessionInfo | None) -> list[Finding]:
        pool = self._pool_of(session_id) if info is None else info["pool"]

        def found(state: State, reason: str = "") -> list[Finding]:
            return [Finding(session_id, pool, "", state, reason)]

        if info is not None and info["status"] == "retired":
            # Not get(), which replaces one that has expired.
            record = await self._router.manager.load_session(session_id)
            return found(State.RETIRED, (record and record.retired_reason) or "")
        exclusive = self._router.exclusive
        if exclusive is not None and not exclusive.has(session_id):
            return found(State.IN_USE, "another process uses it")
        session = await self._registry.get(session_id, pool=pool)  # a new one isn't saved until something changes it
        configs, doubt = self._sites.of(session, anonymous=self._is_anonymous(session))
        if info is None or session_id in self._expired:
            state, reason = State.NOT_LOGGED_IN, "there is no such session yet"
            if session_id in self._expired:
                state, reason = State.EXPIRED, f"by {setting_name(self._expired[session_id])}"
            if not self._log_in:
                return found(state, reason)
            if doubt:
                return found(state, f"{reason}, and {doubt}")
            if not any(config.can_log_in for config in configs):
                return found(state, f"{reason}, and no SessionConfig of this spider has a login(){_WHERE}")
        if not configs:
            if doubt:
                return found(State.UNKNOWN, doubt)
            if self._is_anonymous(session):
                return found(State.NO_LOGIN)
            return found(
                State.UNKNOWN, f"no SessionConfig of this spider has a login() or a probe_url: set one{_WHERE}"
            )
        findings = []
        for config in configs:
            try:
                state, reason = await self._at(session, config, configs, doubt)
            except CrawlClosing:
                state, reason = State.UNKNOWN, "the spider was closed before the site answered"
            if exclusive is not None and state is State.UNKNOWN and not exclusive.has(session_id):
                state, reason = State.IN_USE, "another process uses it"
            findings.append(Finding(session_id, session.pool, config.site, state, reason))
        return findings

    def _is_anonymous(self, session: SessionRuntime) -> bool:
        pool = self._registry.pool_of(session)
        return pool is not None and not pool.named

    async def _at(
        self, session: SessionRuntime, config: SessionConfig, configs: list[SessionConfig], doubt: str
    ) -> tuple[State, str]:
        """Return the state of *session* at the site of *config*, after a login if it needs one and may.

        :param configs: of all sites that it is asked about
        """
        if not must_log_in(session, config):
            state, reason = await self._ask(session, config)
            if state is State.NOT_LOGGED_IN:
                self._lose(session, config, reason, configs)
        else:
            state, reason = State.NOT_LOGGED_IN, _why_not(session, config)
            if config.site not in session.logged_in and may_be_logged_in(session):
                asked, answer = await self._ask(session, config)
                if asked is State.LOGGED_IN or pause_at(session, config) or rest_of(session):
                    state, reason = asked, answer
        if state is State.LOGGED_IN and not session.is_logged_in(config.site):
            session.log_in(config.site, time.time(), ())
        if state is not State.NOT_LOGGED_IN or not self._log_in:
            return state, reason
        if not config.can_log_in:
            return state, f"{reason}; {type(config).__qualname__} has no login()"
        if doubt:
            return state, f"{reason}; {doubt}"
        if rest := rest_of(session):
            return State.UNKNOWN, f"{reason}, and it can't log in{rest}"
        return await self._login(session, config)

    def _lose(
        self, session: SessionRuntime, config: SessionConfig, reason: str, configs: Iterable[SessionConfig] = ()
    ) -> None:
        """*session* is not logged in at the site of *config*. That says nothing of the sites of other *configs*."""
        anywhere = session.logged_in.get(ANY_SITE)
        if anywhere is not None:
            session.logged_in = {**{each.site: anywhere for each in configs}, **session.logged_in}
        session.lose_login(reason, config.site)

    def _places_at(self, site: str) -> asyncio.Semaphore:
        """Return how many sessions log in at *site* at once: one, if requests wait there, which counts as its time."""
        if site not in self._places:
            settings = self._crawler.settings
            delay = getattr(self._crawler.spider, "download_delay", settings.getfloat("DOWNLOAD_DELAY"))
            waits = delay or settings.getbool("AUTOTHROTTLE_ENABLED") or settings.getdict("DOWNLOAD_SLOTS")
            places = 1 if waits else max(settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN"), 1)
            self._places[site] = asyncio.Semaphore(places)
        return self._places[site]

    async def _login(self, session: SessionRuntime, config: SessionConfig) -> tuple[State, str]:
        self._failures.pop(session.id, None)  # of another site
        try:
            async with (
                self._places_at(config.site),
                self._attempts.attempt(session, config, shared=self._is_anonymous(session)),
            ):
                await self._router.logins.ensure(session, config)
                await self._confirm(session, config)
        except Resting as e:
            return State.UNKNOWN, f"its login is not done: {e}"
        except LoginFailed as e:
            if session.status == "retired":
                return State.RETIRED, session.retired_reason or ""
            reason = None if isinstance(e, LoginRejected) else self._failures.get(session.id)
            return State.LOGIN_FAILED, (reason or str(e)) + pause_at(session, config)
        return State.LOGGED_IN, ""

    async def _confirm(self, session: SessionRuntime, config: SessionConfig) -> None:
        """Raise :exc:`~scrapy_sessions.exceptions.LoginRejected` if *session* isn't logged in after its login."""
        if must_log_in(session, config):
            raise LoginRejected("it expired before its login was done")
        if config.probe_url:
            state, reason = await self._ask(session, config)
            if state is State.NOT_LOGGED_IN:
                self._lose(session, config, reason)
                raise LoginRejected(f"login() has worked, but the login is lost {reason}")

    # The site

    async def _ask(self, session: SessionRuntime, config: SessionConfig) -> tuple[State, str]:
        """Ask the site of *config* whether *session* is logged in."""
        url = probe_of(config)
        if url is not None:
            state, reason = await self._page(session, url, config)
            if state is State.LOGGED_IN and await self._visitor_gets(session, url, config) is Answer.GOOD:
                return State.UNKNOWN, f"probe_url {safe_url(url)} proves nothing: anonymous visitors get it, too"
            return state, reason
        if rest := rest_of(session):
            return State.UNKNOWN, f"the site was not asked{rest}"
        for url in self._candidates(session, config):
            if await self._visitor_gets(session, url, config) is not Answer.REFUSED:
                continue
            state, reason = await self._page(session, url, config)
            if state is not State.UNKNOWN or pause_at(session, config) or rest_of(session):
                return state, reason
        return State.UNKNOWN, (
            f"no page is known that only a logged-in session gets: set probe_url of {type(config).__qualname__}"
        )

    async def _page(self, session: SessionRuntime, url: str, config: SessionConfig) -> tuple[State, str]:
        """Return what the answer for *url* proves about *session*."""
        pause = rest_of(session) or pause_at(session, config)
        if pause:  # at another page, or another site of the same host
            return State.UNKNOWN, f"{safe_url(url)} was not asked for{pause}"
        reply = await self._look(session, url, config)
        if reply.answer is Answer.GOOD:
            return State.LOGGED_IN, ""
        reason = f"at {safe_url(url)}: {reply.words}{pause_at(session, config)}"
        if reply.answer is not Answer.REFUSED:
            return State.UNKNOWN, reason
        return State.NOT_LOGGED_IN if reply.proved else State.UNKNOWN, reason

    def _candidates(self, session: SessionRuntime, config: SessionConfig) -> list[str]:
        """Return the pages that the session got last, whose URLs are stored as a whole."""
        pages = dict.fromkeys(good_pages(session.history.texts()))
        return [
            url
            for url in pages
            if may_ask(url) and not config.is_login_page(url) and self._router.configs.of(url) is config
        ][:_CANDIDATES]

    async def _look(self, session: SessionRuntime, url: str, config: SessionConfig) -> Reply:
        """Ask for *url* in *session*: twice, if another process has changed its cookies since they were read."""
        questions = self._router.verdicts.questions
        reply = await questions.look(session, url, config, anonymous=False)
        if reply.answer is Answer.REFUSED:
            before = session.generation, session.jar.version
            await self._registry.refresh_record(session)
            if before != (session.generation, session.jar.version) and not rest_of(session):
                reply = await questions.look(session, url, config, anonymous=False)
        return reply

    async def _visitor_gets(self, session: SessionRuntime, url: str, config: SessionConfig) -> Answer:
        """Return what an anonymous visitor gets at *url*, which is asked for once."""
        asking = self._anonymous.get(url)
        if asking is None:
            asking = self._anonymous[url] = asyncio.ensure_future(
                self._router.verdicts.questions.ask(session, url, config, anonymous=True)
            )
        return await asyncio.shield(asking)


def _why_not(session: SessionRuntime, config: SessionConfig) -> str:
    if config.site in session.logged_in:
        return "its login has to be renewed"
    return "its login was lost" if session.logins else "it has not logged in yet"
