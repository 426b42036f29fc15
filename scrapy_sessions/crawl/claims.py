"""The sessions of an exclusive pool that this process holds: taken, renewed together, and given back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from scrapy_sessions.exceptions import (
    PoolBusy,
    SessionRetired,
    StoreError,
    StoreUnavailable,
)
from scrapy_sessions.storage.abilities import Claim, Claims, ClaimStore

if TYPE_CHECKING:
    from scrapy import Request

    from scrapy_sessions.crawl.login import Logins
    from scrapy_sessions.crawl.outage import StoreOutage
    from scrapy_sessions.crawl.shared_browser import SharedBrowser
    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.pools.claim import Claim as Wanted
    from scrapy_sessions.pools.pool import Pool
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

WAITED = "_session_claim_waited"
"""The meta key of a request that waits for a session of an exclusive pool: in which process, and for how many seconds
up to now. The time in which it is put off to the scheduler, and isn't in the line, doesn't count."""

_RETRY = 1.0  # seconds until a call that has failed is tried again: the store itself repeats it before


class Holdings:
    """What this process holds of one exclusive pool.

    One task renews all of it, takes more, and waits in the store's line when there is none. It begins with the first
    request of the pool, and ends when none has come for as long as a claim lasts.

    :param logins: the logins of the crawl: a session is kept while it logs in
    :param browser: returns the browser contexts, if there are any: a session with an open page is kept, too
    :param waits: returns whether requests wait for a session that rests
    :param clock: returns seconds
    """

    def __init__(
        self,
        pool: Pool,
        store: ClaimStore,
        registry: SessionRegistry,
        *,
        logins: Logins,
        browser: Callable[[], SharedBrowser | None],
        waits: Callable[[SessionRuntime], bool],
        guard: ShutdownGuard,
        outage: StoreOutage,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool = pool
        self.held: dict[str, Claim] = {}
        """By session id. The one that has been held for longest is the first."""
        self.is_enrolled = False
        """Whether it is known which sessions the settings of other processes name."""
        self._store = store
        self._registry = registry
        self._namespace = registry.namespace or "default"
        self._ttl = registry.settings.lease_ttl
        self._timeout = registry.settings.claim_timeout
        self._logins = logins
        self._browser = browser
        self._waits = waits
        self._guard = guard
        self._outage = outage
        self._clock = clock
        self._holder = uuid4().hex
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._doubted: set[str] = set()  # given back without an answer: another process may have them
        self._valid_until = float("-inf")  # of all claims, by our clock: counted from before they were renewed
        self._used = float("-inf")  # when a request last asked for a session
        # By id: when requests named a session that could not be claimed, first and last.
        self._missed: dict[str, tuple[float, float]] = {}
        self._only_free = False  # whether nothing is taken after the first call, and all is kept until the end
        self._pausing = False  # whether nothing is taken, so that another process can
        self._ending = False  # whether all is given back, as nothing is needed any more
        self._waiting = 0
        self._calling = asyncio.Lock()  # or a session could be renewed while it is given back
        self._changed: asyncio.Future[None] | None = None  # what requests wait for
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    # Requests

    def holds(self, session_id: str, *, own: bool = False) -> bool:
        """Whether a request may be sent in *session_id* now: one of our *own* also while it is to be given back."""
        staying = own or not (session_id in self._leaving or self.pool.is_out(session_id))
        ours = session_id in self.held and session_id not in self._doubted
        return staying and ours and self._clock() < self._valid_until

    def settle(self, wanted: Wanted, request: Request, *, own: bool = False) -> Wanted | None:
        """Return what *request* wants with the id of a session that is held; ``None`` if it has to wait for one.

        Raises :exc:`~scrapy_sessions.exceptions.PoolExhausted` and :exc:`~scrapy_sessions.exceptions.LoginFailed`.
        """
        self._used = self._clock()
        pool, session_id = self.pool, wanted.session_id
        if session_id is not None and self.holds(session_id, own=own):
            return wanted
        if wanted.pool is None and session_id is not None and pool.is_out(session_id):
            raise SessionRetired(f"The session {session_id!r} has left its exclusive pool {pool.name!r}")
        if session_id is not None and not own and (wanted.picked or (wanted.pool and pool.is_out(session_id))):
            wanted = wanted.anew(request.meta)
        if self._clock() >= self._valid_until:
            return None
        if wanted.session_id is None:
            if wanted.key is None and not (pool.has_turns or pool.is_exhausted):
                return None
            wanted = self._registry.settle(wanted, request)
        elif wanted.pool is not None:
            self._registry.settle(wanted, request)
        session_id = wanted.session_id or ""
        if self.holds(session_id, own=own):
            self._missed.pop(session_id, None)
            return wanted
        if session_id not in self.held:
            now = self._clock()
            self._missed[session_id] = self._missed.get(session_id, (now, now))[0], now
        return None

    async def wait(self, request: Request) -> None:
        """Wait until something has changed. Raises :exc:`~scrapy_sessions.exceptions.PoolBusy`."""
        began = self._clock()
        holder, waited = request.meta.get(WAITED, (None, 0.0))
        if holder != self._holder:
            waited = 0.0
        left = self._timeout - waited
        if left <= 0:
            raise PoolBusy(
                f"Other processes have the sessions of the exclusive pool {self.pool.name!r} for {self._timeout:g} s "
                "(SESSIONS_CLAIM_TIMEOUT): add sessions to it, or run fewer processes"
            )
        self._waiting += 1
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())
        elif self._ending:
            self._poked.set()
        try:
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await self._guard.wait(asyncio.wait([self._changed], timeout=left))
        finally:
            self._waiting -= 1
            request.meta[WAITED] = [self._holder, waited + self._clock() - began]

    async def take_free(self) -> None:
        """Take the sessions that no process holds, and keep them; never wait in line for the others.

        Raises :exc:`~scrapy_sessions.exceptions.CrawlClosing`.
        """
        self._only_free = True
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await self._guard.wait(asyncio.wait([self._changed]))

    # The one task

    async def _run(self) -> None:
        await self._endure(self._enrol)
        while True:
            self._ending = not self._is_needed()
            if self._ending:
                for session_id in list(self.held):
                    self._leave(session_id)
                if not self.held:
                    break
                self._pausing = True  # what is given back is renewed until it is, and nothing is taken
            answer = await self._endure(self._claim)
            if self._only_free and answer.place:  # leave the line
                answer = await self._endure(self._claim)
            if self.held or not self._ending:
                await self._until_next(answer)
        with suppress(StoreError):
            await self._store.claim(self._namespace, self.pool.name, self._holder, [], 0, self._ttl)
        self._task = None
        if self._waiting:  # meanwhile
            self._task = asyncio.ensure_future(self._run())

    def _is_needed(self) -> bool:
        live = (self._registry.cache.get(session_id) for session_id in self.held)
        return (
            self._only_free
            or self._waiting > 0
            or self._clock() - self._used < self._ttl
            or any(each is not None and self._is_used(each) for each in live)
        )

    def _is_used(self, session: SessionRuntime) -> bool:
        """Whether requests are sent in *session*, or wait for it, perhaps put off: for their turn, its login, the end
        of a pause or of a rest; or whether a page of it is open in a browser."""
        browser = self._browser()
        return bool(
            session.in_flight
            or (browser is not None and browser.has_pages(session))
            or session.queue
            or session.alone
            or self._pause_left(session.id)
            or self._logins.is_running(session)
            or self._waits(session)
        )

    def _pause_left(self, session_id: str) -> float:
        """Return for how many seconds a site has asked the session to pause; 0 if nothing is sent in it any more."""
        live = self._registry.cache.get(session_id)
        return 0.0 if live is None or live.closed or live.status == "retired" else live.pause_left()

    async def _endure(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of *call*, which is called again while the store fails."""
        while True:
            try:
                result = await call()
            except Exception as error:  # noqa: BLE001  # a custom store may raise anything
                if isinstance(error, StoreUnavailable):
                    self._outage.note(error)
                elif not self._failing:
                    logger.error("The sessions of the pool %r can't be claimed: %s", self.pool.name, error)
                self._failing = True
            else:
                self._failing = False
                return result
            await asyncio.sleep(min(_RETRY, self._ttl / 3))

    async def _enrol(self) -> None:
        """Enrol the sessions of the settings, and learn of those of the settings of other processes.

        Those that have left the pool are not enrolled again, as far as this process has seen them.
        """
        known = self.pool.session_ids
        own = [session_id for session_id in known if not self.pool.is_out(session_id)]
        ids = await self._store.enrol(self._namespace, self.pool.name, self._holder, own, self._ttl)
        others = sorted(set(ids).difference(known))
        if others:
            logger.warning(
                "Another process has other sessions for the exclusive pool %r in its settings: %s. Both are used",
                self.pool.name,
                ", ".join(others),
            )
            self.pool.set_accounts(sorted({*ids, *known}))
        self.is_enrolled = True

    async def _claim(self) -> Claims:
        """Renew what is held, and take more. Gives back what is beyond the share of this process."""
        async with self._calling:
            want = len(self.held) if self._pausing else self.pool.size
            self._pausing = False
            self._poked.clear()
            began, before = self._clock(), list(self.held)
            answer = await self._store.claim(
                self._namespace, self.pool.name, self._holder, list(self.held.values()), want, self._ttl
            )
            found = {claim.session_id: claim for claim in answer.held}
            for session_id, claim in list(self.held.items()):
                if session_id not in found or found[session_id].token != claim.token:
                    self._lose(session_id)
                elif session_id in self._doubted:
                    self._doubted.discard(session_id)
                    if session_id not in self._leaving:
                        self.pool.add_turn(session_id)
            for claim in answer.held:
                if claim.session_id not in self.held:
                    await self._take(claim)
                self.held[claim.session_id] = claim
            self._valid_until = began + self._ttl
        staying = [session_id for session_id in self.held if session_id not in self._leaving]
        if answer.place:  # the store may have lost its data, or another process names more sessions
            await self._enrol()
        surplus = len(staying) - answer.share if answer.waiting else int(self._must_swap(answer))
        for session_id in staying:
            if self.pool.is_out(session_id):
                self._leave(session_id, retire=True)
                surplus -= 1
        self._pausing = self._only_free or (surplus > 0 and not answer.waiting)
        before.sort(key=self._pause_left)  # a session that pauses is given back last: nobody could use it now
        for session_id in before:  # not those that were just taken: each has its turn
            if surplus > 0 and session_id in staying and session_id not in self._leaving:
                self._leave(session_id)
                surplus -= 1
        self._wake()
        return answer

    def _must_swap(self, answer: Claims) -> bool:
        """Whether to give one session back as requests wait for another: a process with its share isn't in the line.

        The process that holds the other one takes this, and is then over its share.
        """
        now = self._clock()
        self._missed = {each: times for each, times in self._missed.items() if now - times[1] < self._ttl}
        long = any(now - first >= self._ttl for first, _ in self._missed.values())
        return long and not answer.place and answer.share < self.pool.size

    async def _take(self, claim: Claim) -> None:
        registry, session_id = self._registry, claim.session_id
        if not self.pool.may_hold(session_id):
            await self._enrol()
        registry.writer.tokens[session_id] = claim.token
        live = registry.cache.get(session_id)
        if live is not None:  # of before: others have used it since
            await registry.refresh_record(live)
        self.pool.add_turn(session_id)

    def _lose(self, session_id: str) -> None:
        """The claim was taken from this process: whatever it did in the session since is not saved.

        Its token stays: it makes sure that a save on its way is refused.
        """
        del self.held[session_id]
        if session_id in self._doubted:  # it was given back after all
            self._doubted.discard(session_id)
            self._close(session_id)
            return
        self.pool.end_turn(session_id)
        self._registry.count("claims_lost", 1)
        logger.warning(
            "Another process has taken the session %r of the pool %r: this one was paused or cut off for longer than "
            "SESSIONS_LEASE_TTL (%g s). It is closed here without being saved",
            session_id,
            self.pool.name,
            self._ttl,
        )
        self._close(session_id)

    def _close(self, session_id: str) -> None:
        live = self._registry.cache.get(session_id)
        if live is not None:
            self._registry.remover.close(live)

    async def _until_next(self, answer: Claims) -> None:
        """Wait until the claims are to be renewed, or the store may have a session for this process."""
        seconds = self._ttl / 3
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._poked.wait())]
        if answer.place:
            waits.append(
                asyncio.ensure_future(self._store.wait(self._namespace, self.pool.name, self._holder, seconds))
            )
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.wait(waits)
        for each in waits:
            if not each.cancelled() and each.exception() is not None:  # the next call reports it
                await asyncio.sleep(min(_RETRY, seconds))

    # Giving back

    def _leave(self, session_id: str, *, retire: bool = False) -> None:
        """Give *session_id* back as soon as its requests are done, and a pause that the site has asked for is over."""
        if session_id not in self._leaving:
            self.pool.end_turn(session_id)
            self._leaving[session_id] = asyncio.ensure_future(self._give_back(session_id, retire))

    async def _give_back(self, session_id: str, retire: bool) -> None:
        try:
            while session_id in self.held:
                live = self._registry.cache.get(session_id)
                if live is not None:
                    await self._logins.wait(live)
                    await live.wait_until_idle()
                    if seconds := self._pause_left(session_id):  # whoever takes it would not wait for its end
                        await asyncio.wait([live.ended()], timeout=seconds)
                    browser = self._browser()
                    if browser is not None:
                        await browser.hand_over(live)
                    await self._registry.writer.settled(live)
                async with self._calling:
                    if session_id in self.held and await self._is_saved(session_id):
                        self._doubted.add(session_id)  # from here on nothing is sent in it, questions neither
                        claim = self.held[session_id]
                        await self._store.give_back(self._namespace, self.pool.name, [claim], retire=retire)
                        self._doubted.discard(session_id)
                        del self.held[session_id]
                        self._close(session_id)
        except Exception as error:  # noqa: BLE001  # as in _endure()
            logger.error("The session %r can't be given back for now: %s", session_id, error)
            if session_id in self.held and session_id not in self._doubted:
                self.pool.add_turn(session_id)
        finally:
            del self._leaving[session_id]
            self._wake()
            if session_id in self._doubted or (not self.held and (self._ending or not self._pausing)):
                self._poked.set()

    async def _is_saved(self, session_id: str) -> bool:
        """Save the session, and return whether nothing goes on in it: meanwhile a question may have been sent."""
        live = self._registry.cache.get(session_id)
        if live is None:
            return True
        writer = self._registry.writer
        if not writer.is_saving(live) and (live.dirty or live.data_changed()):
            await self._registry.save(live)
        busy = live.in_flight or live.alone or self._pause_left(session_id) or self._logins.is_running(live)
        return not (busy or live.dirty or writer.is_saving(live))

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def close(self) -> None:
        """Give everything back, which is saved already."""
        tasks = [*self._leaving.values(), *filter(None, [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not tasks and not self.held:
            return
        try:
            out = [claim for claim in self.held.values() if self.pool.is_out(claim.session_id)]
            rest = [claim for claim in self.held.values() if claim not in out]
            self.held.clear()
            await self._store.give_back(self._namespace, self.pool.name, rest)
            await self._store.give_back(self._namespace, self.pool.name, out, retire=True)
            await self._store.claim(self._namespace, self.pool.name, self._holder, [], 0, self._ttl)
        except StoreError as error:
            logger.error(
                "The sessions of the pool %r can't be given back, others can use them in %g s: %s",
                self.pool.name,
                self._ttl,
                error,
            )
