"""The jar and the headers of a live session, which tell it what happens to them.

The callbacks of a jar or headers that stand alone would take 64 bytes each, in every session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from weakref import ref

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.sessions.headers import SessionHeaders

if TYPE_CHECKING:
    from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["TrackedHeaders", "TrackedJar"]


class TrackedJar(SessionCookieJar):
    """The jar of *session*. While somebody else has it, it is to hold the session, too, in :attr:`held`."""

    __slots__ = ("_session", "keeps_alive")

    def __init__(self, session: BrowserSession, clock: Callable[[], float]) -> None:
        self._session = ref(session)
        self.keeps_alive: BrowserSession | None = None
        super().__init__(clock=clock)

    def _changed(self) -> None:
        super()._changed()
        session = self._session()
        if session is not None:
            session.changed()

    def _report_refused(self, reason: str) -> None:
        session = self._session()
        if session is not None:
            session.refused(reason)


class TrackedHeaders(SessionHeaders):
    """The headers of *session*; for :attr:`held` see :class:`BoundJar`."""

    __slots__ = ("_session", "keeps_alive")

    def __init__(self, session: BrowserSession, by_origin: Mapping[str, Mapping[str, str]] | None) -> None:
        self._session = ref(session)
        self.keeps_alive: BrowserSession | None = None
        super().__init__(by_origin)

    def _changed(self) -> None:
        session = self._session()
        if session is not None:
            session.forget_identity()
            session.changed()
