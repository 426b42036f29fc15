"""What a session store can do. :class:`~scrapy_sessions.testing.StoreContract` tests it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from scrapy_sessions.analytics.model import Event, HourCounts, PoolCounts
from scrapy_sessions.models import ExpiryReason, SessionInfo, Status

__all__ = [
    "AnalyticsStore",
    "Expired",
    "ExpiryStore",
    "Key",
    "Lease",
    "LeaseStore",
    "Outcome",
    "ReplaceStore",
    "Row",
    "SessionStore",
    "SharedStore",
]


class Key(NamedTuple):
    """Where a session stands."""

    namespace: str
    session_id: str


class Row(NamedTuple):
    """A record as a store keeps it: encoded, and beside it the columns that listing and expiry need.

    ``revision`` is that of the record in ``body``. ``expires_at`` is UNIX seconds, ``None``: never.
    """

    namespace: str
    session_id: str
    pool: str | None
    profile_name: str | None
    status: Status
    start_time: float
    last_activity: float
    expires_at: float | None
    expires_by: ExpiryReason | None
    pages_visited: int
    actions_count: int
    revision: int
    body: bytes

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.session_id)

    def __repr__(self) -> str:  # without the body: it holds cookies
        return f"Row(namespace={self.namespace!r}, session_id={self.session_id!r}, revision={self.revision})"


class Outcome(Enum):
    """What became of a row given to :meth:`SessionStore.save` or :meth:`ReplaceStore.replace`."""

    SAVED = "saved"
    CONFLICT = "conflict"
    """Another holder saved meanwhile: load, merge, save again."""
    DELETED = "deleted"
    """The session was deleted (and maybe made anew) meanwhile: it must not come back."""


class Expired(NamedTuple):
    """A stored session past its expiry. ``revision`` guards its deletion."""

    key: Key
    revision: int
    reason: ExpiryReason


class Lease(NamedTuple):
    """A lease that is held. ``token`` grows with every new holder of the name: the fencing token.

    ``expires_at`` is UNIX seconds.
    """

    name: str
    token: int
    expires_at: float


class SessionStore(ABC):
    """Where records last. One instance serves one process; several processes may hold the same store.

    Every method raises :exc:`~scrapy_sessions.exceptions.StoreError`, with the driver's error chained, when the store
    fails; none turns a fault into ``None`` or an empty list. Rows are opaque to the store but for their columns.
    """

    location: str
    """Where it is, for people: a path or URL without a password."""

    def prepare(self) -> None:
        """Check what can be checked before the event loop runs, so that a bad store stops a crawl at its start.

        Called at most once, before :meth:`open`. Raises :exc:`~scrapy_sessions.exceptions.StoreError`.
        """

    @abstractmethod
    async def open(self) -> None:
        """Open the store. Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Close what :meth:`open` opened, after the operations under way. Idempotent."""

    @abstractmethod
    async def load(self, key: Key) -> Row | None:
        """Return the row of *key*, ``None`` if there is none."""

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        """Return the row of each of *keys*, in order, ``None`` where there is none. Not all need be of one moment.

        Calls :meth:`load` for each. A store for which a hundred at once cost less than one by one overrides it.
        """
        return [await self.load(key) for key in keys]

    @abstractmethod
    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        """Save *rows*, all in one transaction, and say what became of each, in order.

        A row of revision 1 is new: it is saved if its key is free, otherwise it is a ``CONFLICT``. A row of revision
        N is saved if the stored one has revision N - 1 and the same ``start_time``; it is ``DELETED`` if there is none
        or one of another ``start_time``, and a ``CONFLICT`` otherwise. A row that isn't saved changes nothing.
        """

    @abstractmethod
    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        """Delete *keys* and say for each whether it was there. Given *revisions*, only rows that still have those."""

    @abstractmethod
    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        """Return what stands under *session_id* in every namespace, ordered by namespace. Reads no record."""

    @abstractmethod
    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        """Return up to *limit* sessions with ``expires_at <= now``, longest expired first. Reads no record."""

    @abstractmethod
    async def quarantine(self, key: Key, revision: int, reason: str) -> bool:
        """Set the row of *key* aside with *reason*, where nothing reads it again, if it still has *revision*."""

    @abstractmethod
    async def quarantined(self) -> list[tuple[Key, str]]:
        """Return what was set aside, and why, oldest first."""

    # The last method: below it, `list` means this one to type checkers.
    @abstractmethod
    async def list(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | None = None,
    ) -> list[SessionInfo]:
        """Return sessions by falling ``last_activity``, then rising namespace and id. Reads no record.

        ``None`` filters nothing. *after* is the last entry of the page before. *now* (UNIX seconds) settles
        ``is_active``.
        """


class ReplaceStore(ABC):
    """The ability to put a session in the place of another one, with no moment at which neither is there."""

    @abstractmethod
    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        """Put each of *rows* in the place of what *stored* has beside it, and say what became of each, in order.

        All in one transaction. A row is saved, whatever its own revision and ``start_time``, if the stored one still
        has the revision and the ``start_time`` of that in *stored*, which is of the same key; beside ``None``, if its
        key is free. Otherwise it changes nothing: it is ``DELETED`` if there is none or one of another
        ``start_time``, and a ``CONFLICT`` if there is one of another revision, or one where none should be.
        """


class LeaseStore(ABC):
    """The ability to lend a name to one holder at a time, across processes."""

    @abstractmethod
    async def lease(self, name: str, ttl: float) -> Lease | None:
        """Take the lease of *name* for *ttl* seconds; ``None`` while another holds it. It expires by itself."""

    @abstractmethod
    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Hold *lease* for *ttl* seconds from now; ``None`` if it is no longer held under its token."""

    @abstractmethod
    async def release(self, lease: Lease) -> bool:
        """Give *lease* back; False if it was no longer held under its token."""


class ExpiryStore(ABC):
    """The ability to say, in a list of sessions, when each of them expires."""

    @abstractmethod
    async def list_with_expiry(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        limit: int | None = None,
        after: SessionInfo | None = None,
    ) -> list[tuple[SessionInfo, float | None]]:
        """As :meth:`SessionStore.list`; beside each, when it expires (UNIX seconds), ``None``: never."""


class SharedStore(ABC):
    """The ability to keep one JSON object per namespace, changed by compare and set."""

    @abstractmethod
    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        """Return the object of *namespace*, encoded, and its version; ``(None, 0)`` if there is none."""

    @abstractmethod
    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        """Put *body* in place of *version*, as the next one. Returns False, changing nothing, if it is another now."""


class AnalyticsStore(ABC):
    """The ability to keep counters by the hour and events, for a bounded time and in a bounded number."""

    hours_retention: float = 30 * 86400.0
    """Seconds after which the counters of an hour are dropped."""

    events_retention: float = 90 * 86400.0
    """Seconds after which an event is dropped."""

    max_hour_rows: int = 200_000
    """Beyond it, the rows of the oldest hours are folded into one row for each hour and pool, whose ``session_id`` is
    :data:`~scrapy_sessions.analytics.model.FOLDED`: details of sessions are lost, totals are kept."""

    max_events: int = 10_000
    """How many events a namespace keeps: the newest."""

    @abstractmethod
    async def add_analytics(self, hours: Sequence[HourCounts], events: Sequence[Event]) -> None:
        """Add the numbers of *hours* to those under the same namespace, hour, pool and session, and keep *events*.

        All in one transaction: of what raises, nothing is kept. Several processes may do so at once. What is beyond
        the bounds is dropped from time to time, and at the latest when it is a twentieth.
        """

    @abstractmethod
    async def hour_counts(
        self,
        namespace: str | None,
        since: float | None = None,
        until: float | None = None,
        *,
        by_session: bool = True,
    ) -> list[HourCounts]:
        """Return the counters of the hours that begin at *since* or later, and before *until* (UNIX seconds).

        Ordered by hour, namespace, pool (none first) and session id. ``None``: all namespaces, no limit. Without
        *by_session*, which takes much less time, there is one row for each hour and pool.
        """

    @abstractmethod
    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        """Return the events at *since* (UNIX seconds) or later, the newest first, up to *limit* of them."""

    @abstractmethod
    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        """Return what stands in the store at *now*, ordered by namespace and pool (none first). Reads no record."""
