"""One attempt for each password: sessions that share an account don't send again what was refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from scrapy_sessions.exceptions import LoginRejected

if TYPE_CHECKING:
    from scrapy_sessions.config import SessionConfig
    from scrapy_sessions.sessions.browser_session import BrowserSession
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["SingleAttempts"]


class SingleAttempts:
    """Logins of sessions that share an account run one after the other, and none after one has failed.

    The sessions of an anonymous pool share one, and so do those for which a config with ``credentials()`` finds the
    same. Used for the logins of a whole process.
    """

    def __init__(self) -> None:
        self._locks: defaultdict[object, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failed: dict[object, str] = {}
        """By account, the session whose login has failed."""
        self._running: dict[str, tuple[AsyncExitStack, list[object]]] = {}
        self._watched: set[SessionConfig] = set()

    @asynccontextmanager
    async def attempt(self, session: SessionRuntime, config: SessionConfig, *, shared: bool) -> AsyncIterator[None]:
        """Let the block log *session* in, which fails if it raises. *shared*: it is one of an anonymous pool.

        Raises :exc:`~scrapy_sessions.exceptions.LoginRejected` if that failed with its account before.
        """
        if config not in self._watched:
            self._watched.add(config)
            self._watch(config)
        async with AsyncExitStack() as stack:
            accounts: list[object] = []
            self._running[session.id] = stack, accounts
            try:
                if shared:
                    await self._enter((config.site, session.pool), session.id)
                yield
            except BaseException:
                for account in accounts:
                    self._failed.setdefault(account, session.id)
                raise
            finally:
                del self._running[session.id]

    async def _enter(self, account: object, session_id: str) -> None:
        stack, accounts = self._running[session_id]
        if account in accounts:  # asked for again in the same login
            return
        await stack.enter_async_context(self._locks[account])
        if account in self._failed:
            raise LoginRejected(f"not tried: the login of {self._failed[account]!r} has failed, with the same account")
        accounts.append(account)

    def _watch(self, config: SessionConfig) -> None:
        """Have each login with *config* wait when it has found its credentials."""
        find: Any = getattr(config, "credentials", None)  # of a LoginConfig, which this package is beside
        if find is None:
            return

        async def credentials(session: BrowserSession) -> Any:
            found = await find(session)
            if session.id in self._running:
                text = repr((config.site, found.username, found.password)).encode(errors="surrogatepass")
                await self._enter(hashlib.sha256(text).digest(), session.id)
            return found

        config.credentials = credentials  # type: ignore[attr-defined]
