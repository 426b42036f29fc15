"""How sessions are saved: encoded in slices, and merged with what other processes have saved."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, NewerSchema, StoreError
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.encoding import base_of, encode_parts, row_of
from scrapy_sessions.sessions.json_data import WATCHED
from scrapy_sessions.sessions.parts import Parts
from scrapy_sessions.sessions.record_fields import RECORD, Unencodable
from scrapy_sessions.sessions.runtime import ANY_SITE, SessionRuntime
from scrapy_sessions.storage.base import Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode, in_plain

logger = logging.getLogger(__name__)

_SLICE = 0.001  # seconds of encoding after which the event loop runs other tasks
_MERGES = 20  # how often a save is merged and tried again: each failure means that another process saved first
_UNANSWERED = 4  # saves without an answer that are remembered of a session


_Encoded: TypeAlias = "tuple[SessionRuntime, Row, Parts | Row]"  # a session, its row, and the next base of a merge


class Saver:
    """Saves sessions, merged with what other processes have saved of them.

    It may save the same session twice at the same time, but not while it is deleted.

    :param queue: the sessions that have changed: those that are saved are removed, and others come back
    :param lost: called with a session that must not be saved any more, because it was deleted, for example
    :param live: returns the sessions in memory, which are saved again if the store has lost them
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        queue: dict[SessionRuntime, None],
        clock: Callable[[], float],
        count: Callable[[str, int], None],
        lost: Callable[[SessionRuntime], None],
        live: Callable[[], Iterable[SessionRuntime]],
        analytics: Collector,
    ) -> None:
        self.tokens: dict[str, int] = {}
        """The tokens of the claims of this process, by session id: a save under a token that is outdated is refused."""
        self._store = store
        self._queue = queue
        self._clock = clock
        self._count = count
        self._lost = lost
        self._live = live
        self._analytics = analytics
        self._epoch: str | None = None
        self._incarnation: str | None = None
        self._doubted: WeakSet[SessionRuntime] = WeakSet()  # that the store may have lost by going back in time
        self._replaced = 0  # how often the store was
        self._again: WeakSet[SessionRuntime] = WeakSet()  # that are saved again because of it
        self._sent: dict[int, list[_Encoded]] = {}
        self._unanswered: WeakKeyDictionary[SessionRuntime, deque[Parts | Row]] = WeakKeyDictionary()
        self._reported: WeakSet[SessionRuntime] = WeakSet()  # sessions that were reported not to be savable

    async def save(self, sessions: Iterable[SessionRuntime]) -> None:
        """Save *sessions* now. What couldn't be saved stays in the queue.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError`.
        """
        unsaved = {session: None for session in sessions if not session.closed and not session.transient}
        try:
            # First it is found out what became of saves without an answer, so that there are never more of them than
            # answers to this.
            if self._unanswered:
                await self._rebase_all([session for session in unsaved if session in self._unanswered], unsaved)
            for _ in range(_MERGES):
                await self._rebase_all(await self._save_once(unsaved), unsaved)
                if not unsaved:
                    return
        finally:  # sessions that weren't saved stay in the queue
            for session in unsaved:
                if not session.closed:
                    session.dirty = True
                    self._queue[session] = None
        raise StoreError(
            f"{len(unsaved)} sessions in {self._store.location} change elsewhere faster than they can be saved, for "
            f"example {next(iter(unsaved)).id!r}: let fewer processes share a session"
        )

    async def _save_once(self, unsaved: dict[SessionRuntime, None]) -> list[SessionRuntime]:
        """Save the sessions of *unsaved*, and remove each that is done. Returns those that others saved meanwhile."""
        batch = await self._encrypted(await self._encode(list(unsaved), unsaved))
        if not batch:
            return []
        replaced = self._replaced
        outcomes = await self._send(batch)
        if Outcome.DELETED in outcomes:
            await self.look_at_store()  # it may have lost all sessions since the last look
        again: list[SessionRuntime] = []
        saved = 0
        in_doubt = bool(self._doubted or self._unanswered)  # once: asking a weak set is slow
        for (session, row, base), outcome in zip(batch, outcomes, strict=True):
            if outcome is Outcome.SAVED and session.revision < row.revision and replaced == self._replaced:
                del unsaved[session]
                saved += 1
                self._settle(session, base, row.revision, in_doubt=in_doubt)
                continue
            if not session.closed and replaced != self._replaced:
                again.append(session)
                continue
            # What came first may be another save of this process, and older than this one.
            if outcome in (Outcome.CONFLICT, Outcome.DELETED) and not session.closed:
                # A store that sends a call again, as its answer was lost, finds what others saved on top of the first.
                self._note_unanswered(session, base)
                again.append(session)
                continue
            del unsaved[session]
            if outcome is Outcome.SAVED:
                saved += 1
            elif not session.closed:
                self._fail(session, outcome)
        if saved:
            self._count("saved", saved)
        return again

    async def _send(self, batch: list[_Encoded]) -> list[Outcome]:
        """Have the store save *batch*, and remember it as long as the answer isn't known."""
        rows = [row for _, row, _ in batch]
        tokens = [self.tokens.get(row.session_id) for row in rows] if self.tokens else None
        self._sent[id(batch)] = batch
        try:
            return await (self._store.save(rows) if tokens is None else self._store.save(rows, tokens))
        except BaseException:
            for session, _, base in batch:
                self._note_unanswered(session, base)
            raise
        finally:
            del self._sent[id(batch)]

    def _note_unanswered(self, session: SessionRuntime, base: Parts | Row) -> None:
        self._unanswered.setdefault(session, deque(maxlen=_UNANSWERED)).append(base)

    def _settle(self, session: SessionRuntime, base: Parts | Row, revision: int, *, in_doubt: bool = True) -> None:
        """Note that *base* is stored as *revision* of *session*, which may have been in doubt."""
        if session.merge_base is None:
            self._analytics.record_event_for(
                "created", session.namespace, session.id, session.pool, time=session.start_time
            )
        session.revision, session.merge_base = revision, base
        if in_doubt:
            self._doubted.discard(session)
            self._unanswered.pop(session, None)

    def _fail(self, session: SessionRuntime, outcome: Outcome) -> None:
        """Report that *session* can't be saved, whatever is tried."""
        if outcome is Outcome.FENCED:
            self._count("fenced", 1)
            logger.warning(
                "The session %r was not saved: another process has claimed it since, and goes on with it", session.id
            )
            self._lost(session)
        elif outcome is Outcome.FAULT:
            self._count("save_errors", 1)
            if session not in self._reported:
                self._reported.add(session)
                logger.error(
                    "The session %r can't be saved in %s: it stays in memory", session.id, self._store.location
                )

    async def look_at_store(self) -> None:
        """Have every live session saved again if the store was replaced."""
        epoch, incarnation = await self._store.epoch(), await self._store.incarnation()
        before, self._epoch = self._epoch, epoch
        known, self._incarnation = self._incarnation, incarnation
        if before not in (None, epoch):
            self._save_all_again("was deleted or replaced while it was in use")
        elif known not in (None, incarnation):
            for session in self._saved():
                self._doubted.add(session)
                session.changed()

    def _save_all_again(self, what: str) -> None:
        self._count("store_replaced", 1)
        self._replaced += 1
        self._again = WeakSet(self._saved())
        for session in self._again:
            session.revision = 0  # it is new there; what is there of it is merged
            session.changed()
        logger.error(
            "The session store %s %s. The %d sessions in memory are saved again; those that were only in the store are "
            "lost, unless it contains them now",
            self._store.location,
            what,
            len(self._again),
        )

    def _saved(self) -> list[SessionRuntime]:
        """Return the sessions in memory that have been saved."""
        return [each for each in self._live() if each.revision and not each.transient and not each.closed]

    async def _encode(self, sessions: Iterable[SessionRuntime], unsaved: dict[SessionRuntime, None]) -> list[_Encoded]:
        """Encode *sessions* in slices. A session that can't be encoded is removed from *unsaved*."""
        batch: list[_Encoded] = []
        seen = self._analytics.collect
        until = time.perf_counter() + _SLICE
        for session in sessions:
            self._queue.pop(session, None)
            if session.closed:  # meanwhile
                del unsaved[session]
                continue
            session.data_changed()  # its present data is saved now, so it is no change any more
            session.dirty = False
            seen(session)
            try:
                parts = encode_parts(session)
                row = row_of(session, parts)
            except Unencodable:
                reduced = self._encode_what_can_be(session)
                if reduced is None:
                    del unsaved[session]
                    continue
                base = reduced._replace(actions_count=session.history.total)  # as in Parts, which base_of() relies on
                batch.append((session, reduced, base))
            else:
                batch.append((session, row, parts))
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _SLICE
        return batch

    async def _encrypted(self, batch: list[_Encoded]) -> list[_Encoded]:
        """Return *batch* with encrypted rows, if there is a key. The bases of later merges stay plain.

        In a loop of its own: in turns with the encoding, it would take half as long again.
        """
        cipher = self._store.cipher
        if cipher is None:
            return batch
        encrypted: list[_Encoded] = []
        until = time.perf_counter() + _SLICE
        for session, row, base in batch:
            encrypted.append((session, row._replace(body=cipher.encrypt(row.body)), base))
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _SLICE
        return encrypted

    def _encode_what_can_be(self, session: SessionRuntime) -> Row | None:
        """Return the row of *session*, which can't be encoded as it is, with as few fields as possible as last saved.

        Returns ``None`` if that doesn't help.
        """
        record = session.snapshot()
        record.revision += 1
        stamps = "" if session.merge_base is None else session.merge_base.stamps
        try:
            return encode(record, stamps=stamps)
        except StoreError as e:
            # The spider put something there that isn't JSON. The rest of the session must not be lost because of it.
            self._count("save_errors", 1)
            if session not in self._reported:
                self._reported.add(session)
                logger.error("%s. The rest of the session is saved, with its data as last saved", e)
        base = base_of(session) or PersistentSession(session_id=session.id)
        for names in (WATCHED, RECORD.resettable):
            for name in names:
                setattr(record, name, getattr(base, name))
            with suppress(StoreError):
                return encode(record, stamps=stamps)
        # The other sessions must be saved all the same.
        logger.error("The session %r contains something else that can't be saved: it is not saved", session.id)
        return None

    async def pull(self, session: SessionRuntime) -> None:
        """Merge into *session* what other processes have saved of it."""
        before = session.revision
        row = await self._store.load(Key(session.namespace, session.id))
        if row is not None and not session.closed and before == session.revision != row.revision:
            await self._rebase(session, row)

    async def _rebase_all(self, sessions: Sequence[SessionRuntime], unsaved: dict[SessionRuntime, None]) -> None:
        """Merge into each of *sessions* what is stored. Removes from *unsaved* those that aren't to be saved again."""
        if not sessions:
            return
        before = [session.revision for session in sessions]
        rows = await self._store.load_many([Key(session.namespace, session.id) for session in sessions])
        # Those that are missing come last: that the store has lost them may show at the others.
        for session, revision, row in sorted(
            zip(sessions, before, rows, strict=True), key=lambda each: each[2] is None
        ):
            # If it was saved by another save of this process meanwhile, the row may be older than that.
            if session.revision == revision and not await self._rebase(session, row):
                del unsaved[session]

    async def _rebase(self, session: SessionRuntime, row: Row | None) -> bool:
        """Merge into *session* what is stored, *row*. Returns whether to save it again."""
        if row is None:
            if session.revision and session in self._doubted:
                self._note_rollback()
            if session.revision:
                self._lost(session)
                return False
            return True
        key, stamps = row.key, row.stamps.split()
        for attempt in self._attempts(session):
            stamp = attempt.stamps.split()[0]
            if stamp in stamps and stamp not in _stamps(session):  # it was saved after all
                self._settle(session, attempt, session.revision)
                break
        try:
            row = in_plain(row, self._store.cipher)
            theirs = decode(row)
        except CorruptRecord as e:
            await set_aside(self._store, row, e, self._count)
            session.revision = 0
            return True
        except (EncryptionKeyError, NewerSchema) as e:
            self._count("save_errors", 1)
            logger.error("The session %r was not saved: %s", session.id, e)
            self._lost(session)
            return False
        known = _stamps(session)
        if stamps and known[:1] == stamps[:1]:  # what this process has saved last, or read
            session.revision = row.revision
            return True
        if session.revision and theirs.start_time != session.start_time:  # deleted and created again: another session
            self._lost(session)
            return False
        base, expiry = base_of(session), theirs.expiry
        expired = expiry is not None and expiry[0] <= self._clock()
        if not session.revision and (expired or (base is not None and theirs.start_time < session.start_time)):
            await self._store.delete([key], [row.revision], [row.start_time])  # a new session takes its place
            return True
        if base is not None and theirs.start_time > session.start_time:  # created by another process in a new store
            base = None
        elif base is not None and _went_back(known, stamps, theirs, base):
            base = theirs  # nothing of it is newer
            self._note_rollback()
        if session.awaits_login and _was_logged_in(session.awaits_login, base, theirs):
            # The generations of its own attempts, which may not have been saved, mean nothing beside that login.
            session.generation = min(session.generation, theirs.generation - 1)
        session.restore(RECORD.merge(base, session.snapshot(), theirs))
        session.merge_base, session.revision = row, row.revision
        return True

    def _attempts(self, session: SessionRuntime) -> list[Parts | Row]:
        """Return what was sent of *session* without an answer: as it was lost, or is still on its way."""
        lost = self._unanswered.get(session, ())
        return [*lost, *(base for batch in self._sent.values() for each, _, base in batch if each is session)]

    def _note_rollback(self) -> None:
        if all(each.revision or each.closed for each in self._again):  # otherwise it has been said
            self._save_all_again("went back in time: it contains older sessions than this process has saved")


def _stamps(session: SessionRuntime) -> list[str]:
    """Return the stamps of what *session* is based on, and of what that replaced."""
    return [] if session.merge_base is None else session.merge_base.stamps.split()


def _went_back(known: list[str], stamps: list[str], theirs: PersistentSession, base: PersistentSession) -> bool:
    """Whether the store went back in time: whether *theirs*, with *stamps*, is older than *base*, with the stamps
    *known*.

    Where neither remembers the other, counters show it. Times don't: other processes may have other clocks.
    """
    if known and known[0] in stamps:
        return False
    return bool(set(known) & set(stamps[:1])) or RECORD.is_older(theirs, base)


def _was_logged_in(sites: Iterable[str], base: PersistentSession | None, theirs: PersistentSession) -> bool:
    """Whether *theirs*, which is stored now, has a login for one of *sites* that *base*, stored before, has not."""
    if theirs.status == "ready" and not theirs.logged_in:  # it was imported
        return base is None or base.status != "ready"
    before = {} if base is None else base.logged_in
    return any(theirs.logged_in.get(site) not in (None, before.get(site)) for site in (*sites, ANY_SITE))


async def set_aside(store: SessionStore, row: Row, error: CorruptRecord, count: Callable[[str, int], None]) -> None:
    """Move *row*, which can't be decoded because of *error*, to the quarantine, and log it."""
    if await store.quarantine(row.key, row.revision, str(error)):
        count("quarantined", 1)
        logger.error("%s It was moved to the quarantine of %s; other sessions are not affected", error, store.location)
