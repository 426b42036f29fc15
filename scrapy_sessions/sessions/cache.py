"""The sessions in memory: each once in a process, and a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from weakref import WeakValueDictionary

from scrapy_sessions.sessions.runtime import SessionRuntime

_UNUSED = 10_000  # sessions without a change that are remembered
_LOOK = 16  # the number of least recently used sessions among which one to evict is searched


class SessionCache:
    """Sessions by id. It keeps the recently used ones alive, and has weak references to the others.

    So a session that is still referenced or has requests in flight is never loaded a second time.

    :param limit: the number of sessions kept alive (0: all); only saved sessions are evicted
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._known: WeakValueDictionary[str, SessionRuntime] = WeakValueDictionary()
        self._recent: OrderedDict[str, SessionRuntime] = OrderedDict()
        self._unused: dict[str, str | None] = {}  # the profiles of sessions that nothing has changed yet

    def ready(self, session_id: str) -> SessionRuntime | None:
        """Return *session_id* if it is in memory and has not expired, and keep it alive."""
        session = self._recent.get(session_id)
        if session is not None:
            self._recent.move_to_end(session_id)
        else:
            session = self._known.get(session_id)
            if session is None:
                return None
            if not session.transient:
                self._keep(session)
        if session.closed or session.expired(self._clock()) is not None:
            return None
        return session

    def get(self, session_id: str) -> SessionRuntime | None:
        """Return *session_id* if it is in memory, expired or not."""
        session = self._known.get(session_id)
        return None if session is None or session.closed else session

    def add(self, session: SessionRuntime) -> None:
        """Add *session*, in place of one with its id."""
        self._known[session.id] = session
        if not session.transient:  # its creator keeps it alive
            self._keep(session)

    def add_new(self, session: SessionRuntime) -> bool:
        """As :meth:`add`, for a session that was just created. Returns whether that is the first time.

        It is not if the session left memory before anything changed it, so that it wasn't saved.
        """
        self.add(session)
        first = session.id not in self._unused
        if not session.transient:
            self._unused[session.id] = session.profile_name
            if len(self._unused) > _UNUSED:
                del self._unused[next(iter(self._unused))]
        return first

    def first_profile(self, session_id: str) -> str | None:
        """Return the profile of *session_id* if it left memory before anything changed it."""
        return self._unused.get(session_id)

    def changed(self, session: SessionRuntime) -> None:
        """*session* will be saved."""
        self._unused.pop(session.id, None)

    def remove(self, session: SessionRuntime) -> None:
        """Remove *session*, if it is still the one with its id."""
        self._unused.pop(session.id, None)
        if self._known.get(session.id) is session:
            del self._known[session.id]
        if self._recent.get(session.id) is session:
            del self._recent[session.id]

    def sessions(self) -> list[SessionRuntime]:
        """Return the sessions in memory."""
        return list(self._known.values())

    def __iter__(self) -> Iterator[str]:
        """Iterate over a copy of the ids."""
        return iter(list(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def _keep(self, session: SessionRuntime) -> None:
        self._recent[session.id] = session
        self._recent.move_to_end(session.id)
        if not self._limit or len(self._recent) <= self._limit:
            return
        for session_id in list(islice(self._recent, _LOOK)):
            old = self._recent[session_id]
            if old is session or old.dirty:
                continue
            if old.data_changed():  # it reports a change only once
                old.changed()
                continue
            del self._recent[session_id]
            if len(self._recent) <= self._limit:
                return
