"""The abilities that a store may lack. :class:`~scrapy_sessions.testing.StoreContract` tests those that it has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from scrapy_sessions.analytics.model import Event, HourCounts, PoolCounts
from scrapy_sessions.exceptions import SessionConfigurationError

if TYPE_CHECKING:
    # typing.Self requires Python 3.11
    from typing_extensions import Self


class Ability:
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


class Lease(NamedTuple):
    """A lease that is held.

    ``token`` is the fencing token: it grows with every new holder of the name. ``expires_at`` is UNIX seconds of the
    store's clock.
    """

    namespace: str
    name: str
    token: int
    expires_at: float


class LeaseStore(Ability, ABC):
    """The ability to lease a name to one holder at a time, across processes. Logins need it.

    Tokens are numbers below 2**53. Each is higher than all before in its namespace, also after the store lost its data
    or went back in time: it is at least the time of the store's clock in microseconds. A lease that was released leaves
    nothing in the store, and an expired one is forgotten after about a day.
    """

    @abstractmethod
    async def lease(self, namespace: str, name: str, ttl: float) -> Lease | None:
        """Take the lease of *name* for *ttl* seconds, after which it expires by itself.

        Returns ``None`` while another holder has it.
        """

    @abstractmethod
    async def renew(self, lease: Lease, ttl: float) -> Lease | None:
        """Renew *lease* for *ttl* seconds from now, or return ``None`` if it was released, or taken by another holder.

        A lease that has expired is renewed as long as nobody else has taken it.
        """

    @abstractmethod
    async def release(self, lease: Lease) -> bool:
        """Release *lease*. Returns False, and changes nothing, if it was released, or taken by another holder."""


class Claim(NamedTuple):
    """A session of an exclusive pool that a process holds.

    ``token`` is the fencing token, which saves are checked against. It is the same as long as the process holds the
    session. ``expires_at`` is UNIX seconds of the store's clock.
    """

    session_id: str
    token: int
    expires_at: float


class Claims(NamedTuple):
    """The answer of :meth:`ClaimStore.claim`: what a process holds now, and its share among the others.

    ``held`` are the sessions that it holds: those that were renewed, in the given order, and the new ones.
    ``share`` is its fair share: the sessions of the pool divided by the processes, rounded down. ``waiting`` is the
    number of other processes that wait in line. ``place`` is its own place in the line, 1 for the first one, or 0 if it
    doesn't wait.
    """

    held: list[Claim]
    share: int
    waiting: int
    place: int


class ClaimStore(Ability, ABC):
    """The ability to give each session of a pool to one process at a time. Exclusive pools need it.

    Sessions are *enrolled* in a pool, whether they are stored already or not. A process holds a set of them by claims,
    which it renews together. Its *holder* is a random text of the process, the same for all calls for that pool.

    While other processes wait, one that holds more than its share is expected to give back the difference; with fewer
    sessions than processes the share is 0, and each process gets a turn. The store doesn't enforce that.

    A claim that has expired stays valid until another process takes the session. A claim that was given back, or whose
    session was taken, is dead for good: it can't be renewed or given back, and nothing is saved under its token.
    Tokens are those of :class:`LeaseStore`. A session that has left its pool is remembered for about a day, for the
    saves of processes that held it.

    Each call takes place as a whole or not at all, and may be repeated after a fault. Namespaces are independent of
    each other. A session id belongs to one pool of its namespace.
    """

    @abstractmethod
    async def enrol(self, namespace: str, pool: str, holder: str, session_ids: Sequence[str], ttl: float) -> list[str]:
        """Enrol *session_ids* in *pool*, and return the ids of all sessions that are enrolled there now, ordered.

        If no process uses the pool, sessions that were enrolled before, and aren't in *session_ids*, leave it.
        Otherwise the pool has the union. A process uses the pool for *ttl* seconds after this call, and after each call
        of :meth:`claim` with which it holds or wants a session. A session that was enrolled in another pool moves to
        this one, and stays claimed.
        """

    @abstractmethod
    async def claim(
        self, namespace: str, pool: str, holder: str, held: Sequence[Claim], want: int, ttl: float
    ) -> Claims:
        """Renew the claims *held* for *ttl* seconds from now, and take more sessions, to have up to *want* in all.

        A claim that isn't in the result is dead: its session was taken by another process, or has left the pool. A
        claim that is missing in the store, because it lost its data or went back in time, is entered again under its
        token, unless the store has a newer token of the session.

        A process that holds fewer sessions than it wants, and fewer than its share or none at all, waits in line for
        more: from the call on that gave it less, for *ttl* seconds, which each further call prolongs. It takes free
        sessions, as many as it lacks to its share or to one, beyond those that are for the processes before it in the
        line, one for each. If it still lacks some, it waits at the end of the line. While no other process is in the
        line, a process takes as many free sessions as it wants. Of the free sessions, the one that has been free for
        longest is taken first.

        With nothing held and *want* 0 the process leaves the line and no longer uses the pool.
        """

    @abstractmethod
    async def wait(self, namespace: str, pool: str, holder: str, timeout: float) -> None:
        """Wait until :meth:`claim` may give *holder*, which is in the line, a session; for up to *timeout* seconds.

        It may return early. Several processes may wait at once, and each of them calls it once at a time.
        """

    @abstractmethod
    async def give_back(self, namespace: str, pool: str, held: Sequence[Claim], *, retire: bool = False) -> list[bool]:
        """Give back the claims *held*, for other processes to take. Save the sessions before.

        With *retire*, the sessions leave the pool. Returns for each whether it was given back; False, and nothing
        changed, for a dead claim.
        """


class SharedStore(Ability, ABC):
    """The ability to store one JSON object per namespace, changed by compare and set. Shared data needs it."""

    @abstractmethod
    async def read_shared(self, namespace: str) -> tuple[bytes | None, int]:
        """Return the encoded object of *namespace* and its version, or ``(None, 0)`` if there is none."""

    @abstractmethod
    async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
        """Store *body* as the version after *version*.

        Returns False, and changes nothing, if the stored version is no longer *version*.
        """


class Batch(NamedTuple):
    """The number of a call of :meth:`AnalyticsStore.add_analytics`. Those of one ``writer``, a random text, grow."""

    writer: str
    number: int


class AnalyticsStore(Ability, ABC):
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
    async def add_analytics(
        self, hours: Sequence[HourCounts], events: Sequence[Event], batch: Batch | None = None
    ) -> None:
        """Add *hours* to the counters of the same namespace, hour, pool and session, and store *events*.

        All in one transaction, so that a call that raises without being carried out stores nothing. Several processes
        may call it at once. A *batch* whose number isn't higher than the last one of its writer was added before, and
        is ignored: a call whose answer was lost may be repeated. A writer is forgotten a day after its last call. What
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
