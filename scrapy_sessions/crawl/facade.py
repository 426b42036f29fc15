"""``self.sessions`` of a spider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from scrapy_sessions.exceptions import SessionError, SessionRetired
from scrapy_sessions.sessions.browser_session import BrowserSession, runtime_of, view_of
from scrapy_sessions.sessions.shared import SharedData

if TYPE_CHECKING:
    from scrapy.http import Response

    from scrapy_sessions.models import SessionInfo
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.sessions.runtime import SessionRuntime

__all__ = ["SpiderSessions"]


class Router(Protocol):
    """What is asked of the router of the crawl."""

    @property
    def manager(self) -> SessionManager: ...

    def session_of(self, response: Response) -> SessionRuntime | None: ...


class SpiderSessions:
    """What a spider has as ``self.sessions``. All of it can be used from callbacks."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def of(self, response: Response) -> BrowserSession:
        """Return the session that *response* came in.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` for a response that came in none.
        """
        session = self._router.session_of(response)
        if session is None:
            raise SessionError(f"{response} came in no session")
        return view_of(session)

    async def get(self, session_id: str) -> BrowserSession:
        """Return the session *session_id*: the live one, else the stored one, else a new one."""
        return await self._router.manager.get(session_id)

    async def pool(self, name: str) -> list[SessionInfo]:
        """Return what is known of the sessions of the pool *name*, newest activity first.

        Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`.
        """
        manager = self._router.manager
        manager.pool(name)
        return await manager.list_sessions(pool=name)

    async def fork(self, session_id: str, new_id: str) -> BrowserSession:
        """Make *new_id* a copy of *session_id*, with a future of its own.

        Raises :exc:`~scrapy_sessions.exceptions.SessionError` if the one isn't there, or the other is.
        """
        return await self._router.manager.fork_session(session_id, new_id)

    async def login_again(self, session_id: str) -> None:
        """Let *session_id* log in again, before its next request: at once a new generation begins.

        Raises :exc:`~scrapy_sessions.exceptions.SessionRetired` for one that was retired: that is for good.
        """
        session = runtime_of(await self.get(session_id))
        if session.status == "retired":
            raise SessionRetired(f"The session {session_id!r} was retired: delete it to begin anew, or fork it")
        session.login_error = None
        session.logins_without_success = 0
        session.lose_login("login_again() was called")
        session.new_generation()

    async def retire(self, session_id: str, reason: str) -> None:
        """Take *session_id* out of use for good; in a pool another takes its place. Its record stays."""
        (await self.get(session_id)).retire(reason)

    async def delete(self, session_id: str) -> bool:
        """Delete *session_id* and its record. Returns whether it was there."""
        return await self._router.manager.delete_session(session_id)

    @cached_property
    def shared(self) -> SharedData:
        """The JSON object that the sessions of the namespace share: ``await self.sessions.shared.update(function)``."""
        manager = self._router.manager
        return SharedData(manager.store, manager.namespace or "default", manager.open)
