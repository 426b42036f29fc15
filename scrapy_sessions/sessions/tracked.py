"""The jar and the headers of a live session, which report their changes to it.

Callbacks would cost 64 bytes each in every session; a weak reference to the session costs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from weakref import ref

from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.rules import Origin
from scrapy_sessions.cookies.stored import StoredCookie
from scrapy_sessions.sessions.headers import SessionHeaders


class Tracker(Protocol):
    """What a jar and headers report to: a live session."""

    owner: Any  # a SessionOwner, or None

    def changed(self) -> None: ...
    def forget_identity(self) -> None: ...


class TrackedJar(SessionCookieJar):
    """The jar of *session*. While a spider holds it, it keeps the session alive by :attr:`keeps_alive`."""

    __slots__ = ("_session", "keeps_alive")

    def __init__(self, session: Tracker, clock: Callable[[], float]) -> None:
        self._session = ref(session)
        self.keeps_alive: Any = None
        super().__init__(clock=clock)

    @property
    def clock(self) -> Callable[[], float]:
        """Returns UNIX seconds: the clock of the session."""
        return self._clock

    def _changed(self) -> None:
        super()._changed()
        session = self._session()
        if session is not None:
            session.changed()

    def _report_refused(self, reason: str) -> None:
        session = self._session()
        if session is not None and session.owner is not None:
            session.owner.refused(session, reason)

    def report_left_out(self, origin: Origin, entries: Sequence[StoredCookie]) -> None:
        session = self._session()
        if session is not None and session.owner is not None:
            session.owner.left_out(session, origin.host, [entry.name for entry in entries])


class TrackedHeaders(SessionHeaders):
    """The headers of *session*; for :attr:`keeps_alive` see :class:`TrackedJar`."""

    __slots__ = ("_session", "keeps_alive")

    def __init__(self, session: Tracker, by_origin: Mapping[str, Mapping[str, str]] | None) -> None:
        self._session = ref(session)
        self.keeps_alive: Any = None
        super().__init__(by_origin)

    def _changed(self) -> None:
        session = self._session()
        if session is not None:
            session.forget_identity()
            session.changed()
