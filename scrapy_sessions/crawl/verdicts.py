"""What follows from a response: for its session, and for the request.

The decisions are made in :mod:`~scrapy_sessions.crawl.blame`; here they are put into effect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias

from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.cookies.hosts import canonical_host, site_of
from scrapy_sessions.crawl.asking import is_question, probe_of
from scrapy_sessions.crawl.blame import NO_BLAME, Answer, Decision, Inquiries, NoBlame, Refusal, status_note
from scrapy_sessions.crawl.blame_anonymous import TRIES, AnonymousBlame, PoolBlame
from scrapy_sessions.crawl.blame_login import LoginBlame
from scrapy_sessions.crawl.scrapy_internals import forget_cached_response
from scrapy_sessions.pools.claim import FLOW, PICKED, REFUSED_BY
from scrapy_sessions.sessions.runtime import SessionRuntime

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.crawl.asking import Questions
    from scrapy_sessions.crawl.in_flight import InFlight
    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.pools.claim import Claim
    from scrapy_sessions.pools.pool import Pool
    from scrapy_sessions.sessions.registry import SessionRegistry

logger = logging.getLogger(__name__)

Blame: TypeAlias = LoginBlame | AnonymousBlame | NoBlame

_TRIES = "_session_tries"
"""The meta key that counts the tries of a request in its session: after a pause, or where nothing can be proved."""

_REFUSED_IN = "_session_refused_in"
"""The meta key that lists in which sessions and generations a request was refused."""

_REFEREE = "_session_referee"
"""The meta key of a request that is sent to a new session, as the sessions it was sent to may be banned."""

PAUSES = frozenset({429, 503})
"""The statuses by which a site may ask for a pause."""

_BY_PROXY = frozenset({0, 407})
"""The statuses that come from the session's proxy; 0: it refused the connection."""

_MOST_CLOSED = 100  # events of closed pages in a run: they must not push out the other events of the store

_LONGEST_PAUSE = 3600.0  # seconds; a site that asks for more is left alone for an hour, and then asked again


class VerdictHandler:
    """Applies verdicts. Where a method returns a request, that one is sent instead of handing the response on.

    It is a copy with callback, errback, ``cb_kwargs`` and priority, and ``dont_filter`` set.
    """

    def __init__(
        self, registry: SessionRegistry, questions: Questions, guard: ShutdownGuard, count: Callable[[str, int], None]
    ) -> None:
        self._registry = registry
        self.questions = questions
        self.guard = guard
        self.count = count
        self._settings = registry.settings
        self._began = time.time()
        self._pools: dict[str, PoolBlame] = {}
        self._unblamed: dict[str, dict[str, NoBlame]] = {}  # by site
        self._closed_pages: set[tuple[str, str]] = set()
        self.banned: set[str] = set()
        """The pools that the site turns away as a whole."""

    # Good responses: the hot path

    def good(self, inflight: InFlight, request: Request, response: Response) -> None:
        """*response* got the verdict OK."""
        if inflight.is_stale:
            return
        session, config = inflight.session, inflight.config
        session.ok_count += 1
        status = response.status
        meta = request.meta
        if status < 400 and not ("redirect_times" in meta and config.is_login_page(request.url)):
            blame = session.blames.get(config.site)
            if blame is None:
                blame = self._blame_of(session, config)
            blame.good(request.url, get=status < 300 and request.method == "GET")
            if REFUSED_BY in meta:
                self._opened_elsewhere(session, request, config)
        if session.status == "new" and not config.can_log_in:
            session.mark_ready()

    def _opened_elsewhere(self, session: SessionRuntime, request: Request, config: SessionConfig) -> None:
        for session_id, _ in request.meta[REFUSED_BY]:
            other = self._registry.ready(session_id)
            blame = None if other is None else other.blames.get(config.site)
            if isinstance(blame, AnonymousBlame) and other is not session:
                blame.opened(_page(request), by_referee=_REFEREE in request.meta)

    # Pauses

    def handle_pause(self, session: SessionRuntime, request: Request, seconds: float) -> Request | None:
        """The site asks *session* to come back in *seconds*."""
        session.pause(urlparse_cached(request).netloc, seconds)
        self.count("paused", 1)
        return None if is_question(request) else self._try_again(request)

    # Refusals

    async def refused(
        self, verdict: Verdict, inflight: InFlight, request: Request, *, status: int = 0
    ) -> Request | None:
        """*request* got a *verdict* that isn't OK.

        :param status: of the response; 0: the session's proxy refused the connection
        """
        session = inflight.session
        self.count(f"verdicts/{verdict.value}", 1)
        if verdict is not Verdict.EXPIRED:
            session.failures += 1
            session.changed()
        if verdict is Verdict.SUSPECT:
            self._registry.analytics.suspected(session)
        decision = await self._decide(verdict, inflight, request, status)
        if request.meta.get("dont_retry") or not self._settings.retry_times:
            return None
        return self._apply(decision, inflight, request, status)

    async def _decide(self, verdict: Verdict, inflight: InFlight, request: Request, status: int) -> Decision:
        session = inflight.session
        blame = self._blame_of(session, inflight.config)
        by_status = status in self._settings.blocked_statuses
        if verdict is Verdict.BLOCKED and not by_status:  # the user's check() says so
            if session.status != "retired":
                if isinstance(blame, AnonymousBlame):
                    blame.blocked()
                self.retire(session, f"blocked at {safe_url(request.url)}{status_note(status)}")
            return Decision.MOVE
        if isinstance(blame, AnonymousBlame):
            refused_by = request.meta.get(REFUSED_BY, ())
            tries = sum(1 for session_id, proved in refused_by if proved or self._is_used(session_id))
            return await blame.refused(Refusal(_page(request), blocked=by_status, status=status), tries=tries)
        if isinstance(blame, LoginBlame) and status not in _BY_PROXY:
            return await blame.refused(self._refusal(inflight, request, status))
        return Decision.HAND_ON if verdict is Verdict.EXPIRED else Decision.TRY_AGAIN

    def _refusal(self, inflight: InFlight, request: Request, status: int) -> Refusal:
        before = request.meta.get(_REFUSED_IN, ())
        again = any(
            session_id == inflight.session.id and generation != inflight.generation for session_id, generation in before
        )
        host = urlparse_cached(request).hostname or ""
        return Refusal(
            _page(request),
            inflight.generation,
            host,
            again=again,
            elsewhere=REFUSED_BY in request.meta,
            status=status,
        )

    def _apply(self, decision: Decision, inflight: InFlight, request: Request, status: int) -> Request | None:
        session = inflight.session
        retired = session.status == "retired"
        pool = self._registry.pool_of(session)
        if decision in {Decision.CLOSED, Decision.CLOSED_TO_ALL}:
            self.count("closed_pages", 1)
            self._record_closed_page(session, request, status)
        if decision in {Decision.HAND_ON, Decision.CLOSED_TO_ALL}:
            return None
        if decision is Decision.AGAIN and not retired:
            return self.send_again(inflight, request)
        if pool is not None and _may_move(request, retired=retired):
            return self._move(decision, inflight, request, pool)
        if retired:
            return self._copied(request) if FLOW in request.meta else None  # the copy fails with SessionLost
        if decision in {Decision.TRIED, Decision.UNPROVED}:
            replay = self._copied(request)
            replay.meta[REFUSED_BY] = _with(request, session, decision)
            return replay
        return self._try_again(request) if decision is Decision.TRY_AGAIN else None

    def _record_closed_page(self, session: SessionRuntime, request: Request, status: int) -> None:
        page = session.id, safe_url(request.url)
        if len(self._closed_pages) < _MOST_CLOSED and page not in self._closed_pages:
            self._closed_pages.add(page)
            self._registry.analytics.record_event("closed_page", session, f"{page[1]}{status_note(status)}")

    def _move(self, decision: Decision, inflight: InFlight, request: Request, pool: Pool) -> Request | None:
        """Send *request* to another session of *pool*, if there is one that it wasn't sent to.

        What an account refused may be open to it once it has logged in again.
        """
        refused_by = _with(request, inflight.session, decision)
        refused_in = _with_generation(request, inflight)
        if decision is Decision.CLOSED and len(refused_in) <= self._settings.retry_times + 1:
            latest = dict(refused_in)
            refused_by = [
                (session_id, proved)
                for session_id, proved in refused_by
                if (other := self._registry.ready(session_id)) is None
                or other.generation_at(inflight.config.site) == latest.get(session_id)
            ]
        ids = {session_id for session_id, _ in refused_by}
        if decision in {Decision.CLOSED, Decision.TRY_AGAIN} and len(ids) > self._settings.retry_times:
            return None
        if pool.named and not pool.others(ids):
            return None
        replay = self._copied(request)
        replay.meta[REFUSED_BY] = refused_by
        if decision is Decision.CLOSED:
            replay.meta[_REFUSED_IN] = refused_in
        del replay.meta["session_id"]
        tried = decision in {Decision.TRIED, Decision.UNPROVED, Decision.CLOSED}
        if decision is Decision.REFEREE or (tried and not pool.named and 1 < pool.size <= len(ids)):
            fresh = next((each for each in map(pool.successor, ids) if each is not None), None)
            if fresh is not None:
                replay.meta["session_id"] = replay.meta[PICKED] = fresh
        if decision is Decision.REFEREE:
            replay.meta[_REFEREE] = True
        return replay

    def _is_used(self, session_id: str) -> bool:
        session = self._registry.ready(session_id)
        return session is not None and session.status != "retired"

    def is_last_try(self, request: Request) -> bool:
        """Whether *request* is handed on if it is refused once more, unless that proves something."""
        return len(request.meta.get(REFUSED_BY, ())) + 1 >= TRIES

    def note_unresolved(self, inflight: InFlight, replay: Request) -> None:
        """The request of *inflight* was refused, and *replay* doesn't wait for the inquiry: that was a try."""
        if isinstance(inflight.session.blames.get(inflight.config.site), AnonymousBlame):
            replay.meta[REFUSED_BY] = _with(replay, inflight.session, Decision.UNPROVED)

    async def wait_for_inquiry(self, session: SessionRuntime, config: SessionConfig) -> None:
        """Wait until no inquiry of *session* is running at the site of *config*."""
        blame = session.blames.get(config.site)
        if isinstance(blame, Inquiries) and blame.inquiry is not None:
            await self.guard.wait(asyncio.wait([blame.inquiry]))

    # A pool that is turned away as a whole

    async def admit(self, claim: Claim) -> Claim:
        """Wait until a request of a pool that is turned away may be sent, and return its *claim* of a session."""
        if claim.pool not in self.banned:
            return claim
        blame, pool = self._pools[claim.pool], self._registry.pool(claim.pool)
        while (ban := blame.ban) is not None:
            if ban.take_trial():
                last = self._registry.ready(ban.session_id)
                ban.session_id = pool.successor(ban.session_id) or pool.pick()
                if last is not None:
                    self.retire(last, "the site turns everybody away")
                return claim._replace(session_id=ban.session_id)
            if ban.is_final:
                return claim._replace(session_id=ban.session_id)
            await self.guard.wait(asyncio.wait([ban.ended], timeout=ban.trial_at - time.monotonic()))
        return claim

    def _change_ban(self, pool: Pool, banned: bool) -> None:
        if banned:
            self.banned.add(pool.name)
            logger.error(
                "The site turns away every session of the pool %r, new ones too: one request a minute is tried in a "
                "new session",
                pool.name,
            )
        else:
            self.banned.discard(pool.name)
            logger.info("The site lets sessions of the pool %r in again", pool.name)

    # What is known of a session

    def logged_in(self, session: SessionRuntime, config: SessionConfig) -> None:
        """*session* has logged in at the site of *config*."""
        blame = self._blame_of(session, config)
        if isinstance(blame, LoginBlame):
            blame.begin(session.generation_at(config.site))
        pool = self._registry.pool_of(session)
        if pool is not None:
            pool.resume(session.id)

    def _blame_of(self, session: SessionRuntime, config: SessionConfig) -> Blame:
        found: Blame | None = session.blames.get(config.site)
        if found is None:
            found = self._new_blame(session, config)
            if not session.blames and found is NO_BLAME:  # one mapping for all such sessions: it is never changed
                session.blames = self._unblamed.setdefault(config.site, {config.site: found})
            else:
                session.blames = {**session.blames, config.site: found}
        return found

    def _new_blame(self, session: SessionRuntime, config: SessionConfig) -> Blame:
        actions = _Actions(self, session, config)
        if config.can_log_in:
            return LoginBlame(self._settings, actions, clock=time.monotonic, probe=probe_of(config))
        pool = self._registry.pool_of(session)
        if pool is None or pool.named:
            return NO_BLAME
        blame = self._pools.get(pool.name)
        if blame is None:
            blame = self._pools[pool.name] = PoolBlame(
                self._settings, pool.size, time.monotonic, lambda banned: self._change_ban(pool, banned)
            )
        return AnonymousBlame(blame, actions, new=session.start_time >= self._began)

    def retire(self, session: SessionRuntime, reason: str) -> None:
        """Take *session* out of use, as it is banned."""
        self._registry.analytics.record_event("blocked", session, reason)
        session.retire(reason)
        logger.info("Retired the session %r: %s", session.id, reason)

    # Copies

    def send_again(self, inflight: InFlight, request: Request) -> Request | None:
        """Send *request* again in its session. That is no try, but bounded by the generations it was refused in."""
        before = request.meta.get(_REFUSED_IN, [])
        generations = {generation for session_id, generation in before if session_id == inflight.session.id}
        bound = 2 * self._settings.retry_times + 3 if self._settings.retry_times else 0
        if request.meta.get("dont_retry") or len(generations) >= bound:
            return None
        replay = self._copied(request)
        replay.meta[_REFUSED_IN] = _with_generation(request, inflight)
        return replay

    def _try_again(self, request: Request) -> Request | None:
        """Send *request* again in its session, RETRY_TIMES times at the most."""
        tries = request.meta.get(_TRIES, 0)
        if tries >= self._settings.retry_times or request.meta.get("dont_retry"):
            return None
        replay = self._copied(request)
        replay.meta[_TRIES] = tries + 1
        return replay

    def _copied(self, request: Request) -> Request:
        self.count("replays", 1)
        replay: Request = request.replace(dont_filter=True)
        forget_cached_response(replay)
        return replay


class _Actions:
    """What a decision about *session* may do, at the site of *config*."""

    def __init__(self, handler: VerdictHandler, session: SessionRuntime, config: SessionConfig) -> None:
        self.session_id = session.id
        self._handler = handler
        self._session = session
        self._config = config

    def generation(self) -> int:
        return self._session.generation_at(self._config.site)

    def is_logging_in(self) -> bool:
        return not self._session.is_logged_in(self._config.site)

    def is_retired(self) -> bool:
        return self._session.status == "retired"

    def in_site(self, host: str, good: set[str]) -> bool:
        login = self._session.logged_in.get(self._config.site)
        hosts = [] if login is None else login["hosts"]
        domains = {_domain_of(each) for each in hosts} | self._config.domains
        return host in good or _domain_of(host) in domains or not (domains or good)

    def lose_login(self, url: str, status: int) -> None:
        self._session.lose_login(f"at {safe_url(url)}{status_note(status)}", self._config.site)

    def retire(self, reason: str) -> None:
        self._handler.retire(self._session, reason)

    def doubt(self, doubted: bool) -> None:
        self._session.in_doubt = doubted

    def limit(self, window: int) -> None:
        self._session.window = window
        self._session.wake_first()

    async def ask(self, url: str, *, anonymous: bool = False) -> Answer:
        self._handler.count("questions", 1)
        return await self._handler.questions.ask(self._session, url, self._config, anonymous=anonymous)

    async def sleep(self, seconds: float) -> None:
        await self._handler.guard.sleep(seconds)

    def warn(self, message: str) -> None:
        logger.warning("The session %r %s", self.session_id, message)


def _page(request: Request) -> str:
    return f"{request.method} {request.url}"


def _with(request: Request, session: SessionRuntime, decision: Decision) -> list[tuple[str, bool]]:
    """Return the sessions that refused *request*, with *session* unless it was retired."""
    before = request.meta.get(REFUSED_BY, ())
    if decision in {Decision.MOVE, Decision.AGAIN}:
        return [*before]
    return [*before, (session.id, decision is not Decision.UNPROVED)]


def _with_generation(request: Request, inflight: InFlight) -> list[tuple[str, int]]:
    """Return the sessions and generations that refused *request*, with this one."""
    return [*request.meta.get(_REFUSED_IN, ()), (inflight.session.id, inflight.generation)]


def _may_move(request: Request, *, retired: bool) -> bool:
    """Whether *request* asks for a pool, and not for this session of it."""
    meta = request.meta
    return meta.get("session_pool") is not None and FLOW not in meta and (PICKED in meta or retired)


def _domain_of(host: str) -> str:
    return site_of(canonical_host(host) or host)


def pause_of(response: Response, request: Request) -> float | None:
    """Return for how many seconds the site asks to be left alone, if it does: by 429, or by 503 with ``Retry-After``.

    ``Retry-After`` is seconds or an HTTP date (RFC 9110, section 10.2.3). A 429 without it means a second, doubled
    each time.
    """
    if response.status not in PAUSES:
        return None
    value = response.headers.get("Retry-After")
    if value is None:
        return None if response.status == 503 else min(2.0 ** request.meta.get(_TRIES, 0), _LONGEST_PAUSE)
    text = value.decode("latin-1").strip()
    if text.isdecimal():
        return min(float(text), _LONGEST_PAUSE)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 1.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    seconds = (date - datetime.now(timezone.utc)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_PAUSE)
