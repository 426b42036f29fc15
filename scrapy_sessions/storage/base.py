"""The interface of a session store. :class:`~scrapy_sessions.testing.StoreContract` tests it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from scrapy_sessions.safe_repr import safe_repr
from scrapy_sessions.storage.encryption import Cipher, check_key

if TYPE_CHECKING:
    # It loads pydantic, which a store does without.
    from scrapy_sessions.models import ExpiryReason, SessionInfo, Status

_Page: TypeAlias = "list[tuple[SessionInfo, float | None]]"

_STAMP = 8  # characters
_STAMPS = 6  # stamps in a row
_DRAWN = 200  # stamps


_unused: list[str] = []  # drawn together, because a call of the system for each would take longer than the rest
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unused.clear)


def next_stamps(stamps: str) -> str:
    """Return the ``stamps`` of a row that is encoded now, to replace one with *stamps* (``""`` for a new session)."""
    if not _unused:
        drawn = urlsafe_b64encode(os.urandom(_DRAWN * _STAMP * 3 // 4)).decode()
        _unused.extend(drawn[start : start + _STAMP] for start in range(0, len(drawn), _STAMP))
    stamp = _unused.pop()
    return f"{stamp} {stamps}"[: _STAMPS * (_STAMP + 1) - 1] if stamps else stamp


class Key(NamedTuple):
    """The address of a session in a store."""

    namespace: str
    session_id: str


class Row(NamedTuple):
    """An encoded record, and the columns that listing and expiry need.

    ``revision`` is the revision of the record in ``body``. ``expires_at`` is UNIX seconds, or ``None`` for never.
    ``stamps`` are random words, separated by spaces: that of this encoding, :attr:`stamp`, and those of up to five rows
    that it replaces, the newest first. They show a process whether a save whose answer it didn't get took place, and
    whether the store went back in time.
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
    stamps: str
    body: bytes

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.session_id)

    @property
    def stamp(self) -> str:
        """The stamp of this encoding of the session. No other row has it."""
        return self.stamps[:_STAMP]

    @property
    def replaces(self) -> str:
        """The stamp of the row that this one is to replace, or ``""``."""
        return self.stamps[_STAMP + 1 : 2 * _STAMP + 1]

    def __repr__(self) -> str:  # without the body, which contains cookies
        return safe_repr(self, "namespace", "session_id", "revision")


class Outcome(Enum):
    """The result of :meth:`SessionStore.save` or :meth:`SessionStore.replace` for one row."""

    SAVED = "saved"
    CONFLICT = "conflict"
    """Another process saved the session meanwhile: load, merge, save again."""
    DELETED = "deleted"
    """The session was deleted meanwhile, and possibly created again: it must not come back."""
    FENCED = "fenced"
    """The token of the row is no longer valid: the session was claimed by another process since, or given back."""
    FAULT = "fault"
    """This row can't be written, whatever is tried: for example, its text contains half a character."""


class Expired(NamedTuple):
    """A stored session past its expiry. It is deleted only if it still has this ``revision`` and ``start_time``."""

    key: Key
    revision: int
    start_time: float
    reason: ExpiryReason


class SessionStore(ABC):
    """Stores the records of sessions. One instance serves one process; several processes may use the same store.

    When the store fails, every method raises :exc:`~scrapy_sessions.exceptions.StoreError` with the driver's error
    chained. The store reads the columns of a row, never its body.
    """

    lasting: bool = True
    """Whether the rows are kept after the process has ended. If not, they are not encrypted."""

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
        taking it for deleted. It should contain random characters that are stored with the data. By default it never
        changes.
        """
        return ""

    async def incarnation(self) -> str:
        """Return a text that changes when the store may have gone back in time, as after a restart of its server.

        The caller then saves what it has in memory, and doesn't take what is missing for deleted. By default it never
        changes.
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
    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        """Save *rows* in their order, and return the outcome of each. Each row is saved as a whole or not at all; the
        batch need not be.

        A row of revision 1 is new: it is saved if its key is free, otherwise it is a ``CONFLICT``. A row of revision
        N is saved if the stored row has revision N - 1, the same ``start_time``, and the stamp that the row
        :attr:`~Row.replaces`, if both have one. It is ``DELETED`` if there is no stored row, or one of another
        ``start_time``; otherwise it is a ``CONFLICT``. A row that isn't saved changes nothing.

        A row that is stored already, with this revision and stamp, is ``SAVED``: a call may be repeated.

        *tokens* are the tokens of the claims under which the sessions are saved, ``None`` for a session that isn't
        claimed; only a :class:`~scrapy_sessions.storage.ClaimStore` is given tokens. A row is ``FENCED``, before
        anything else, if the store has a newer token of its session. It is saved under a claim that has expired, as
        long as nobody else has taken the session.

        A row that can't be written is a ``FAULT``, and the others are saved. Text with a lone surrogate is one.
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
    async def delete(
        self,
        keys: Sequence[Key],
        revisions: Sequence[int] | None = None,
        start_times: Sequence[float] | None = None,
    ) -> list[bool]:
        """Delete *keys*, and return for each whether it was there. No byte of a deleted row stays in the store.

        With *revisions*, a row is deleted only if it still has the revision beside its key, and with *start_times* only
        if it also has that ``start_time``: another session may have been created under its key, and have the same
        revision. Without *revisions*, what is in the quarantine under these keys is deleted, too.
        """

    @abstractmethod
    async def find(self, session_id: str, *, now: float) -> list[SessionInfo]:
        """Return the sessions with the id *session_id* of all namespaces, ordered by namespace. Reads no record."""

    @abstractmethod
    async def expired(self, namespace: str | None, *, now: float, limit: int) -> list[Expired]:
        """Return up to *limit* sessions with ``expires_at <= now``, the earliest first. Reads no record."""

    @abstractmethod
    async def quarantine(self, key: Key, revision: int | None, reason: str) -> bool:
        """Move the row of *key* to the quarantine, with *reason*, if it still has *revision*.

        ``None`` is for a row whose revision isn't an integer, because another program has written it. No other method
        reads it in the quarantine. Returns whether it was moved.
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
