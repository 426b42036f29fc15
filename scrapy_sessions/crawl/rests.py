"""What becomes of requests whose session has used its budget up: they go to another one, or wait; no shell waits.

When nothing else is left to do, the crawl waits, which is said once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.crawl.scrapy_internals import waiting_requests
from scrapy_sessions.crawl.throttle import wait_pause, wait_rest, wait_turn
from scrapy_sessions.exceptions import CrawlClosing, RequestNotSent, SessionLost
from scrapy_sessions.sessions.registry import retired

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.pools.claim import Claim
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime

logger = logging.getLogger(__name__)


def is_movable(claim: Claim, meta: Mapping[str, Any]) -> bool:
    """Whether the request with *meta* may go to another session of its pool.

    The target of a redirect belongs to the session that was redirected, which may have got a cookie for it.
    """
    return claim.picked and claim.pool is not None and "redirect_times" not in meta


class Resting(RequestNotSent):
    """A request isn't sent, as its session rests, and doesn't wait in its place either: in a shell, or as somebody else
    waits for it."""

    def __init__(self, request: Request, session: SessionRuntime) -> None:
        now = time.time()
        super().__init__(
            f"The session {session.id!r} has used up its budget (SESSIONS_BUDGET), and rests until "
            f"{_moment(now + session.rest(now))}"
        )
        self.request = request
        self.session = session


class Rests:
    """Tracks which requests wait in place, of sessions with a budget.

    :param deferred: returns the ids of the sessions that deferred requests wait for, and for how many seconds they rest
    """

    def __init__(
        self, crawler: Crawler, guard: ShutdownGuard, deferred: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        self._crawler = crawler
        self._guard = guard
        self._deferred = deferred
        self.patient = True
        """Whether requests wait for the end of a rest. If not, they fail with :exc:`Resting`."""
        self._waiting: dict[object, SessionRuntime] = {}
        self._outside = 0  # of these, those without a place
        self._looking: asyncio.Task[None] | None = None
        self._said = 0.0  # until when the crawl waits, as was said last

    async def move_or_wait(
        self, registry: SessionRegistry, claim: Claim, request: Request, session: SessionRuntime, *, movable: bool
    ) -> Claim:
        """The budget of *session* is used up: return the claim of another session of its pool, or wait for a while.

        :param movable: whether another session will do
        """
        if not movable:
            registry.note_rest(session)
            with self.waiting(session):
                await wait_turn(session, self._guard, urlparse_cached(request).netloc)
            return claim
        claim = self._pick(registry, claim, request, session)
        other = registry.ready(claim.session_id or "")
        if other is not None and other.status != "retired" and other.rest(time.time()):  # the one that may go soonest
            if not self.patient:
                raise Resting(request, other)
            registry.note_rest(other)
            with self.waiting(other):
                await wait_rest(other, self._guard)
        return claim

    async def wait_outside(self, session: SessionRuntime) -> None:
        """Wait as :func:`~scrapy_sessions.crawl.throttle.wait_rest`, for a request that holds no place."""
        self._outside += 1
        try:
            with self.waiting(session):
                await wait_rest(session, self._guard)
        finally:
            self._outside -= 1

    def move(self, registry: SessionRegistry, claim: Claim, request: Request, session: SessionRuntime) -> Claim:
        """Return the claim of the session of the pool that may go soonest, if *session* rests and another will do.

        For a copy of a request, as a retry: it begins with the session of the first.
        """
        resting = is_movable(claim, request.meta) and session.rest(time.time())
        return self._pick(registry, claim, request, session) if resting else claim

    def _pick(self, registry: SessionRegistry, claim: Claim, request: Request, session: SessionRuntime) -> Claim:
        registry.note_rest(session)
        return registry.settle(claim.anew(request.meta), request)

    async def logged_in(self, session: SessionRuntime, login: Coroutine[None, None, None], *, movable: bool) -> None:
        """Wait until *login* ends, or, if another session will do, until the budget of *session* is used up.

        Raises what *login* raises. The login itself goes on.
        """
        if session.budget is None or not movable:
            await login
            return
        waiting = asyncio.ensure_future(login)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # read, also if nobody waits
        try:
            await asyncio.wait([waiting, session.budget.used_up()], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()

    async def wait_in_block(self, session: SessionRuntime, host: str) -> None:
        """Wait as :func:`~scrapy_sessions.crawl.throttle.wait_pause`, for a request of an ``alone()`` block.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired` and :exc:`~scrapy_sessions.exceptions.SessionLost` if
        the session is out of use.
        """
        with self.waiting(session):
            await wait_pause(session, self._guard, host)
        if session.status == "retired":
            raise retired(session)
        if session.closed:
            raise SessionLost(f"The session {session.id!r} of this alone() block is gone: begin it again")

    @contextmanager
    def waiting(self, session: SessionRuntime) -> Iterator[None]:
        """Within the block, a request of *session* waits for its turn."""
        if session.budget is None:
            yield
            return
        token = object()
        self._waiting[token] = session
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            del self._waiting[token]

    def waits(self, session: SessionRuntime) -> bool:
        """Whether a request waits in place for *session*."""
        return any(each is session for each in self._waiting.values())

    async def _look(self) -> None:
        """While requests wait, look once a second whether nothing else is left to do."""
        with suppress(CrawlClosing):
            while self._waiting:
                await self._guard.tick()
                now = time.time()
                number = waiting_requests(self._crawler) if now >= self._said else None
                if number is not None:
                    self._say(number + self._outside, now)

    def _say(self, number: int, now: float) -> None:
        rests = {session.id: session.rest(now) for session in self._waiting.values()} | dict(self._deferred())
        first = min(rests, key=rests.__getitem__, default="")
        if not rests.get(first):  # a request will be sent soon
            return
        self._said = now + rests[first]
        logger.info(
            "Nothing else is left to do: %d requests wait for sessions whose budget (SESSIONS_BUDGET) is used up. The "
            "first of them, %r, rests until %s",
            number,
            first,
            _moment(self._said),
            extra={"spider": self._crawler.spider},
        )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
