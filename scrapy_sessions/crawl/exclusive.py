"""The exclusive pools of a crawl: each of their sessions is used by one process at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from scrapy_sessions.crawl.claims import WAITED, Holdings
from scrapy_sessions.exceptions import SessionLost
from scrapy_sessions.storage.abilities import ClaimStore

if TYPE_CHECKING:
    from scrapy import Request

    from scrapy_sessions.crawl.login import Logins
    from scrapy_sessions.crawl.outage import StoreOutage
    from scrapy_sessions.crawl.shared_browser import SharedBrowser
    from scrapy_sessions.crawl.shutdown import ShutdownGuard
    from scrapy_sessions.pools.claim import Claim
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime


class ExclusivePools:
    """The exclusive pools of a crawl.

    :param registry: returns the live sessions; called at first use
    :param browser: returns the browser contexts, if there are any
    :param waits: returns whether requests wait for a session that rests
    """

    def __init__(
        self,
        registry: Callable[[], SessionRegistry],
        logins: Callable[[], Logins],
        browser: Callable[[], SharedBrowser | None],
        waits: Callable[[SessionRuntime], bool],
        guard: ShutdownGuard,
        outage: StoreOutage,
    ) -> None:
        self._registry = registry
        self._logins = logins
        self._browser = browser
        self._waits = waits
        self._guard = guard
        self._outage = outage
        self._holdings: dict[str, Holdings] | None = None
        self._of_session: dict[str, Holdings | None] = {}  # of the settings; ``None``: of a pool that isn't exclusive

    @property
    def holdings(self) -> dict[str, Holdings]:
        """What is held, by pool."""
        if self._holdings is None:
            registry = self._registry()
            store = ClaimStore.of(registry.store, "an exclusive pool")
            self._holdings = {}
            for options in registry.settings.pools.values():
                self._of_session.update(dict.fromkeys(options.sessions or ()))
            for name in registry.settings.exclusive_pools:
                pool = registry.pool(name)
                found = self._holdings[name] = Holdings(
                    pool,
                    store,
                    registry,
                    logins=self._logins(),
                    browser=self._browser,
                    waits=self._waits,
                    guard=self._guard,
                    outage=self._outage,
                )
                self._of_session.update(dict.fromkeys(pool.session_ids, found))
        return self._holdings

    def settle(self, wanted: Claim, request: Request) -> Claim | None:
        """Return what *request* wants with a session id; ``None`` if it has to wait until one is held. Raises as
        :meth:`Holdings.settle`."""
        found = self._of(wanted)
        return self._registry().settle(wanted, request) if found is None else found.settle(wanted, request)

    async def admit(self, wanted: Claim, request: Request, *, own: bool) -> Claim:
        """Wait until this process holds a session that *request* wants, and return what it wants with its id.

        Raises as :meth:`settle`, :exc:`~scrapy_sessions.exceptions.PoolBusy`,
        :exc:`~scrapy_sessions.exceptions.CrawlClosing`, and :exc:`~scrapy_sessions.exceptions.SessionLost` if it is one
        of our *own* requests, in a session that isn't held any more.
        """
        while True:
            found = self._of(wanted)
            if found is None:
                return wanted
            settled = found.settle(wanted, request, own=own)
            if settled is not None:
                break
            if own and wanted.session_id not in found.held:
                raise SessionLost(f"The session {wanted.session_id!r} is used by another process now")
            await found.wait(request)
        request.meta.pop(WAITED, None)
        return settled

    async def take_free(self) -> None:
        """Take all sessions that no process holds, and keep them, without waiting for others."""
        for each in self.holdings.values():
            await each.take_free()

    def has(self, session_id: str) -> bool:
        """Whether this process may use *session_id*, as far as claims are concerned."""
        found = self._of_id(session_id)
        return found is None or found.holds(session_id, own=True)

    def may_send(self, session: SessionRuntime, *, own: bool) -> bool:
        """Whether a request may be sent in *session* now, as far as claims are concerned."""
        found = self._of_id(session.id, session.pool)
        return found is None or (not session.closed and found.holds(session.id, own=own))

    def _of(self, wanted: Claim) -> Holdings | None:
        found = self.holdings.get(wanted.pool or "")
        if found is not None or wanted.session_id is None:
            return found
        live = self._registry().in_memory(wanted.session_id)
        return self._of_id(wanted.session_id, None if live is None else live.pool)

    def _of_id(self, session_id: str, pool: str | None = None) -> Holdings | None:
        """Return the holdings of the exclusive pool that *session_id* is of by the settings, also by those of other
        processes. The *pool* of its record may be one that it was in before: that counts until all are known."""
        holdings = self.holdings
        if session_id in self._of_session:
            return self._of_session[session_id]
        named = next((each for each in holdings.values() if each.pool.may_hold(session_id)), None)
        last = holdings.get(pool or "")
        return last if named is None and last is not None and not last.is_enrolled else named

    async def close(self) -> None:
        """Give all sessions back, which are saved already."""
        for each in (self._holdings or {}).values():
            await each.close()


def check_store(store: object, pools: list[str]) -> None:
    """Check that *store* can have the exclusive *pools*.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`.
    """
    for name in pools:
        ClaimStore.of(store, f"the exclusive pool {name!r}")
