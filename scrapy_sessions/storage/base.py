"""The interface of a session store. :class:`~scrapy_sessions.testing.StoreContract` tests it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scrapy_sessions.analytics.model import Event, HourCounts, PoolCounts
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.safe_repr import safe_repr
from scrapy_sessions.storage.encryption import Cipher, check_key

if TYPE_CHECKING:
    # typing.Self requires Python 3.11
    from typing_extensions import Self

    # It loads pydantic, which a store does without.
    from scrapy_sessions.models import ExpiryReason, SessionInfo, Status

_Page: TypeAlias = "list[tuple[SessionInfo, float | None]]"


class Key(NamedTuple):
    """The address of a session in a store."""

    namespace: str
    session_id: str


class Row(NamedTuple):
    """An encoded record, and the columns that listing and expiry need.

    ``revision`` is the revision of the record in ``body``. ``expires_at`` is UNIX seconds, or ``None`` for never.
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

    def __repr__(self) -> str:  # without the body, which contains cookies
        return safe_repr(self, "namespace", "session_id", "revision")


class Outcome(Enum):
    """The result of :meth:`SessionStore.save` or :meth:`SessionStore.replace` for one row."""

    SAVED = "saved"
    CONFLICT = "conflict"
    """Another process saved the session meanwhile: load, merge, save again."""
    DELETED = "deleted"
    """The session was deleted meanwhile, and possibly created again: it must not come back."""


class Expired(NamedTuple):
    """A stored session past its expiry. It is deleted only if it still has this ``revision``."""

    key: Key
    revision: int
    reason: ExpiryReason


class Lease(NamedTuple):
    """A lease that is held.

    ``token`` is the fencing token: it grows with every new holder of the name. ``expires_at`` is UNIX seconds.
    """

    name: str
    token: int
    expires_at: float


class SessionStore(ABC):
    """Stores the records of sessions. One instance serves one process; several processes may use the same store.

    When the store fails, every method raises :exc:`~scrapy_sessions.exceptions.StoreError` with the driver's error
    chained. The store reads the columns of a row, never its body.
    """

    lasting: bool = True
    """Whether the rows outlive the process. If not, they are not encrypted."""

    cipher: Cipher | None = None
    """What the bodies of rows are encrypted with, by those who call the store; ``None``: they are plain."""

    location: str
    """The path or URL of the store, without a password, for messages."""

    def prepare(self) -> None:
        """Check the store before the event loop runs, so that a bad store stops a crawl at its start.

        Called at most once, before :meth:`open`. Raises :exc:`~scrapy_sessions.exceptions.StoreError`.
        """

    @abstractmethod
    async def open(self) -> None:
        """Open the store. Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for the operations in progress, then close what :meth:`open` opened. Idempotent."""

    async def check_key(self) -> None:
        """Raise :exc:`~scrapy_sessions.exceptions.EncryptionKeyError` if :attr:`cipher` has not the key of the store.

        Called after :meth:`open`, before anything is saved. By default it looks at the newest session.
        """
        for info in await self.list(now=0.0, limit=1) if self.lasting else ():
            row = await self.load(Key(info["namespace"], info["session_id"]))
            if row is not None:
                check_key(row.body, self.cipher, f"The session store {self.location}")

    async def encrypt_rest(self, encrypt: Callable[[bytes], bytes]) -> None:
        """Replace each body that isn't that of a session, such as in the quarantine, by *encrypt(body)*.

        By default there is none.
        """

    async def epoch(self) -> str:
        """Return a text that changes when the store was replaced, restored or lost its data while it was open.

        The store then works on the data that is there now. The caller saves what it has in memory again, instead of
        taking it for deleted. By default it never changes.
        """
        return ""

    @abstractmethod
    async def load(self, key: Key) -> Row | None:
        """Return the row of *key*, or ``None`` if there is none."""

    async def load_many(self, keys: Sequence[Key]) -> list[Row | None]:
        """Return the row of each of *keys*, in order, and ``None`` where there is none.

        The rows may be read at different moments. By default it calls :meth:`load` for each key; override it where
        one query costs less.
        """
        return [await self.load(key) for key in keys]

    @abstractmethod
    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        """Save *rows* in one transaction, and return the outcome of each, in order.

        A row of revision 1 is new: it is saved if its key is free, otherwise it is a ``CONFLICT``. A row of revision
        N is saved if the stored row has revision N - 1 and the same ``start_time``. It is ``DELETED`` if there is no
        stored row, or one of another ``start_time``; otherwise it is a ``CONFLICT``. A row that isn't saved changes
        nothing.
        """

    @abstractmethod
    async def replace(self, rows: Sequence[Row], stored: Sequence[Row | None]) -> list[Outcome]:
        """Replace each row of *stored* by the row of *rows* beside it, in one transaction; return the outcomes.

        A row is saved, whatever its revision and ``start_time``, if the store still has the revision and
        ``start_time`` of the row in *stored*, which has the same key. Beside ``None``, it is saved if its key is free.
        Otherwise it changes nothing: it is ``DELETED`` if there is no stored row, or one of another ``start_time``,
        and a ``CONFLICT`` if there is one of another revision, or one beside ``None``.
        """

    @abstractmethod
    async def delete(self, keys: Sequence[Key], revisions: Sequence[int] | None = None) -> list[bool]:
        """Delete *keys*, and return for each whether it was there. No byte of a deleted row stays in the store.

        With *revisions*, a row is deleted only if it still has the revision beside its key. Without, what is in the
        quarantine under these keys is deleted, too.
        """

    @abstractmethod
    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        """Return the sessions with the id *session_id* of all namespaces, ordered by namespace. Reads no record."""

    @abstractmethod
    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        """Return up to *limit* sessions with ``expires_at <= now``, the earliest first. Reads no record."""

    @abstractmethod
    async def quarantine(self, key: Key, revision: int, reason: str) -> bool:
        """Move the row of *key* to the quarantine, with *reason*, if it still has *revision*.

        No other method reads it there. Returns whether it was moved.
        """

    @abstractmethod
    async def quarantined(self) -> list[tuple[Key, str]]:
        """Return the keys in the quarantine and the reasons, the oldest first."""

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
    ) -> _Page:
        """Return sessions, the newest ``last_activity`` first, then by namespace and id. Reads no record.

        Beside each session is the time when it expires (UNIX seconds), or ``None`` for never. A filter that is
        ``None`` lets all sessions through. *after* is the last entry of the previous page. *now* (UNIX seconds)
        decides ``is_active``.
        """

    # Keep it last: to type checkers, `list` means this method from here on.
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
        """Return the sessions of :meth:`list_with_expiry`, without their expiry."""
        found = await self.list_with_expiry(
            now=now, namespace=namespace, pool=pool, status=status, limit=limit, after=after
        )
        return [info for info, _ in found]

    async def pages(
        self,
        *,
        now: float,
        namespace: str | None = None,
        pool: str | None = None,
        status: Status | None = None,
        after: SessionInfo | None = None,
        size: int = 2000,
    ) -> AsyncIterator[_Page]:
        """Yield the result of :meth:`list_with_expiry` in pages of *size*.

        A session that is saved meanwhile moves to the front of the list, and may be in no page.
        """
        while True:
            page = await self.list_with_expiry(
                now=now, namespace=namespace, pool=pool, status=status, limit=size, after=after
            )
            if page:
                yield page
            if len(page) < size:
                return
            after = page[-1][0]


class _Ability:
    """An ability that a store may lack."""

    @classmethod
    def of(cls, store: object, feature: str) -> Self:
        """Return *store* if it has this ability, which *feature* needs.

        Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` otherwise.
        """
        if not isinstance(store, cls):
            raise SessionConfigurationError(
                f"The session store {type(store).__name__} is no {cls.__name__}, and {feature} needs one: set "
                f"SESSIONS_STORE to another store, or add the methods of scrapy_sessions.storage.{cls.__name__} to it"
            )
        return store


class LeaseStore(_Ability, ABC):
    """The ability to lease a name to one holder at a time, across processes. Logins need it."""

    @abstractmethod
    async def lease(self, name: str, ttl: float) -> Lease | None:
        """Take the lease of *name* for *ttl* seconds, after which it expires by itself.

        Returns ``None`` while another holder has it.
        """

    @abstractmethod
    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Renew *lease* for *ttl* seconds from now, or return ``None`` if it is no longer held under its token."""

    @abstractmethod
    async def release(self, lease: Lease) -> bool:
        """Release *lease*. Returns False if it was no longer held under its token."""


class SharedStore(_Ability, ABC):
    """The ability to store one JSON object per namespace, changed by compare and set. Shared data needs it."""

    @abstractmethod
    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        """Return the encoded object of *namespace* and its version, or ``(None, 0)`` if there is none."""

    @abstractmethod
    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        """Store *body* as the version after *version*.

        Returns False, and changes nothing, if the stored version is no longer *version*.
        """


class AnalyticsStore(_Ability, ABC):
    """The ability to store counters by hour, and events, for a bounded time and in a bounded number.

    With a store that lacks it a crawl runs without analytics, and logs that.
    """

    hours_retention: float = 30 * 86400.0
    """Seconds after which the counters of an hour are deleted."""

    events_retention: float = 90 * 86400.0
    """Seconds after which an event is deleted."""

    max_hour_rows: int = 200_000
    """Beyond it, the rows of the oldest hours are summed into one row for each hour and pool, whose ``session_id`` is
    :data:`~scrapy_sessions.analytics.model.FOLDED`: the totals are kept."""

    max_events: int = 10_000
    """The number of events of a namespace that are kept: the newest."""

    @abstractmethod
    async def add_analytics(self, hours: Sequence[HourCounts], events: Sequence[Event]) -> None:
        """Add *hours* to the counters of the same namespace, hour, pool and session, and store *events*.

        All in one transaction, so that a call that raises stores nothing. Several processes may call it at once. What
        is beyond the bounds is deleted from time to time, at the latest when it exceeds a twentieth.
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

        Ordered by hour, namespace, pool (none first) and session id. ``None`` means all namespaces, or no limit.
        With ``by_session=False``, which is much faster, there is one row for each hour and pool.
        """

    @abstractmethod
    async def events(self, namespace: str | None, since: float | None = None, limit: int | None = None) -> list[Event]:
        """Return up to *limit* events at *since* (UNIX seconds) or later, the newest first."""

    @abstractmethod
    async def pool_counts(self, namespace: str | None, *, now: float) -> list[PoolCounts]:
        """Return the stored sessions counted by pool at *now*, ordered by namespace and pool (none first).

        Reads no record.
        """
