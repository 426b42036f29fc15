"""``self.sessions`` of a spider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.exceptions import SessionError, SessionRetired
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of, view_of
from scrapy_sessions.sessions.shared import SharedData

if TYPE_CHECKING:
    from scrapy.http import Response

    from scrapy_sessions.crawl.login import Logins
    from scrapy_sessions.models import SessionInfo
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.sessions.registry import SessionRegistry
    from scrapy_sessions.sessions.runtime import SessionRuntime


class Router(Protocol):
    """What is asked of the router of the crawl."""

    @property
    def manager(self) -> SessionManager: ...

    @property
    def registry(self) -> SessionRegistry: ...

    @property
    def logins(self) -> Logins: ...

    def session_of(self, response: Response) -> SessionRuntime | None: ...


class SpiderSessions:
    """``self.sessions`` of a spider, for callbacks and errbacks."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def of(self, response: Response) -> BrowserSession:
        """Return the session that *response* was received in.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` for a response without one.
        """
        session = self._router.session_of(response)
        if session is None:
            raise SessionError(f"<{response.status} {safe_url(response.url)}> was received in no session")
        return view_of(session)

    async def get(self, session_id: str) -> BrowserSession:
        """Return the session *session_id*: the live one, else the stored one, else a new one."""
        return await self._router.manager.get(session_id)

    async def pool(self, name: str) -> list[SessionInfo]:
        """Return the stored sessions of the pool *name*, newest activity first.

        Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`.
        """
        self._router.registry.pool(name)
        return await self._router.manager.list_sessions(pool=name)

    async def fork(self, session_id: str, new_id: str, *, replace: bool = False) -> BrowserSession:
        """Create *new_id* as a copy of *session_id*: identity, cookies, data and login. *replace* deletes it first.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` if *session_id* doesn't exist, or *new_id* does.
        """
        return await self._router.manager.fork_session(session_id, new_id, replace=replace)

    async def login_again(self, session_id: str) -> None:
        """Begin a new generation of *session_id*, which logs in again before its next request.

        A login that is under way already is the one: no second login follows it.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired` for a retired session.
        """
        session = runtime_of(await self.get(session_id))
        if session.status == "retired":
            raise SessionRetired(f"The session {session_id!r} is retired and can't log in: delete it, or fork it")
        session.login_errors = {}
        pauses = self._router.logins.pauses
        if pauses is not None:
            pauses.end(session)
        pool = self._router.registry.pool_of(session)
        if pool is not None:
            pool.resume(session_id)
        session.lose_login("login_again() was called")
        if not self._router.logins.is_running(session):  # what it gets would be outdated, and lost
            session.new_generation()

    async def retire(self, session_id: str, reason: str) -> None:
        """Take *session_id* out of use for good; in a pool another takes its place. Its record is kept."""
        (await self.get(session_id)).retire(reason)

    async def delete(self, session_id: str) -> bool:
        """Delete *session_id* and its record. Returns whether it existed."""
        return await self._router.manager.delete_session(session_id)

    @cached_property
    def shared(self) -> SharedData:
        """The JSON object that the sessions of the namespace share: ``await self.sessions.shared.update(function)``."""
        registry = self._router.registry
        return SharedData(registry.store, registry.namespace or "default", registry.open)
