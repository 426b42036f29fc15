"""When a session is saved: in batches, some time after it has changed, merged with what other processes have saved.

The store runs in a thread of its own; the event loop only encodes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from threading import get_ident
from typing import TypeAlias
from weakref import WeakSet

from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, NewerSchema, SessionError, StoreError
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.encoding import base_of, encode_parts, row_of
from scrapy_sessions.sessions.json_data import WATCHED
from scrapy_sessions.sessions.parts import Parts
from scrapy_sessions.sessions.record_fields import RECORD, Unencodable
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage.base import Key, Outcome, Row, SessionStore
from scrapy_sessions.storage.codec import decode, encode, in_plain

logger = logging.getLogger(__name__)

# Rows in one transaction: enough to share its cost, few enough that other processes can write in between. Work on all
# of them without a pause (making values, reading outcomes) takes a fraction of a millisecond in either thread.
_BATCH = 200
_SLICE = 0.001  # seconds of encoding after which the event loop runs other tasks
_MERGES = 20  # how often a save is merged and tried again: each failure means that another process saved first


_Encoded: TypeAlias = "tuple[SessionRuntime, Row, Parts | Row]"  # a session, its row, and the next base of a merge


class WriteBehind:
    """Collects changed sessions, and saves them *interval* seconds later in the order of their changes.

    A session is encoded in the event loop's thread, in one step, so that no partial change is saved. If a save fails,
    its sessions are saved with the next batch.

    :param lost: called with a session that was deleted by another process
    :param live: returns the sessions in memory, which are saved again if the store has lost them
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        interval: float,
        clock: Callable[[], float],
        count: Callable[[str, int], None],
        lost: Callable[[SessionRuntime], None],
        live: Callable[[], Iterable[SessionRuntime]],
        analytics: Collector,
    ) -> None:
        self.lock = asyncio.Lock()
        """Held by a save, and while sessions are deleted."""
        self._store = store
        self._interval = interval
        self._clock = clock
        self._count = count
        self._lost = lost
        self._live = live
        self._epoch: str | None = None
        self._analytics = analytics
        self._dirty: dict[SessionRuntime, None] = {}
        self._watched: WeakSet[SessionRuntime] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop that it was started in, and its thread
        self._thread = 0
        self._stopped = False
        self._failing = False
        self._reported: WeakSet[SessionRuntime] = WeakSet()  # sessions whose data was reported not to be JSON

    def add(self, session: SessionRuntime) -> None:
        """Save *session* within the interval."""
        if self._handed_over(self.add, session):
            return
        self._dirty[session] = None
        if self._timer is None and (self._task is None or self._task.done()):
            self._schedule()

    def watch(self, session: SessionRuntime) -> None:
        """Look for changes of the mutable data of *session* at every save, at least once within the interval."""
        if self._handed_over(self.watch, session):
            return
        self._watched.add(session)
        if self._timer is None and (self._task is None or self._task.done()):
            self._schedule()

    def discard(self, session: SessionRuntime) -> None:
        """Forget *session* without saving it."""
        self._dirty.pop(session, None)
        self._watched.discard(session)

    async def flush(self) -> None:
        """Save every session that has changed up to now.

        Raises :exc:`~scrapy_sessions.exceptions.StoreError`; sessions that weren't saved are saved with the next batch.
        """
        await self._finish(self._flush())

    async def save(self, session: SessionRuntime) -> bool:
        """Save *session* now. Returns False if it was deleted meanwhile. Raises as :meth:`flush`."""
        await self._finish(self._save_now(session))
        return not session.closed

    async def _finish(self, saving: Coroutine[None, None, None]) -> None:
        # Cancelling the caller doesn't cancel the save. If a save took place unnoticed, the next one would be in
        # conflict with it, and count everything twice.
        task = asyncio.ensure_future(saving)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)
        await asyncio.shield(task)

    async def look_at_store(self) -> None:
        """Have every live session saved again if the store was replaced. Call it under the :attr:`lock`."""
        epoch = await self._store.epoch()
        before, self._epoch = self._epoch, epoch
        if before in (None, epoch):
            return
        self._count("store_replaced", 1)
        again = 0
        for session in self._live():
            if session.revision and not session.transient and not session.closed:
                session.revision = 0  # it is new there; what is there of it is merged
                session.changed()
                again += 1
        logger.error(
            "The session store %s was deleted or replaced while it was in use. The %d sessions in memory are saved "
            "again; those that were only in the store are lost, unless the new one contains them",
            self._store.location,
            again,
        )

    async def _save_now(self, session: SessionRuntime) -> None:
        async with self.lock:
            await self.look_at_store()
            await self._save([session])

    async def _flush(self) -> None:
        async with self.lock:
            until = time.perf_counter() + _SLICE
            for session in list(self._watched):
                if not session.dirty and session.data_changed():
                    session.changed()
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + _SLICE
            await self.look_at_store()
            pending = list(self._dirty)
            for start in range(0, len(pending), _BATCH):
                await self._save(pending[start : start + _BATCH])
            self._failing = False

    async def pull(self, session: SessionRuntime) -> None:
        """Merge into *session* what other processes have saved of it. Raises as :meth:`flush`."""
        async with self.lock:
            await self.look_at_store()
            row = await self._store.load(Key(session.namespace, session.id))
            if row is not None and not session.closed and row.revision != session.revision:
                await self._rebase(session)

    async def close(self) -> None:
        """Save what is left, and stop. Raises as :meth:`flush`, after the timer was stopped."""
        self._stopped = True  # changes from now on, also during the flush below, start no timer
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    def start(self) -> None:
        """Begin to save by itself, also after :meth:`close`."""
        self._stopped = False
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()
        if self._timer is None and (self._dirty or self._watched):
            self._schedule()

    def _handed_over(self, method: Callable[[SessionRuntime], None], session: SessionRuntime) -> bool:
        """Call *method* in the loop's thread if this is another one, of a thread pool or of a shell's prompt.

        Returns whether it did.
        """
        loop = self._loop
        if loop is None or self._thread == get_ident() or not loop.is_running():
            return False
        loop.call_soon_threadsafe(method, session)
        return True

    def _schedule(self) -> None:
        if self._stopped:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # no loop yet: the next change within a loop starts the timer, or close() saves
        self._timer = loop.call_later(self._interval, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await self.flush()
        except Exception as e:  # a custom store may raise anything, and saving must go on
            self._count("save_errors", 1)
            if not self._failing:  # logged once, until a save succeeds
                self._failing = True
                logger.error(
                    "Sessions could not be saved; they stay in memory and are tried again: %s",
                    e,
                    exc_info=None if isinstance(e, SessionError) else e,
                )
        if self._dirty or self._watched:  # watched data may be changed in place at any time
            self._schedule()

    async def _save(self, sessions: Iterable[SessionRuntime]) -> None:
        unsaved = {session: None for session in sessions if not session.closed and not session.transient}
        try:
            for _ in range(_MERGES):
                for session in await self._save_once(unsaved):
                    if not await self._rebase(session):
                        del unsaved[session]
                if not unsaved:
                    return
        finally:  # sessions that weren't saved stay in the queue
            for session in unsaved:
                if not session.closed:
                    session.dirty = True
                    self._dirty[session] = None
        raise StoreError(
            f"{len(unsaved)} sessions in {self._store.location} change elsewhere faster than they can be saved, for "
            f"example {next(iter(unsaved)).id!r}: let fewer processes share a session"
        )

    async def _save_once(self, unsaved: dict[SessionRuntime, None]) -> list[SessionRuntime]:
        """Save the sessions of *unsaved*, and remove each that is done. Returns those that others saved meanwhile."""
        batch = await self._encrypted(await self._encode(list(unsaved), unsaved))
        outcomes = await self._store.save([row for _, row, _ in batch]) if batch else []
        again: list[SessionRuntime] = []
        saved = 0
        for (session, row, base), outcome in zip(batch, outcomes, strict=True):
            if outcome is Outcome.CONFLICT and not session.closed:
                again.append(session)
                continue
            del unsaved[session]
            if outcome is Outcome.SAVED:
                if row.revision == 1 and session.merge_base is None:  # otherwise only the store is new
                    self._analytics.record_event_for("created", *row.key, session.pool, time=session.start_time)
                session.revision, session.merge_base = row.revision, base
                saved += 1
            else:
                self._lose(session)
        if saved:
            self._count("saved", saved)
        return again

    async def _encode(self, sessions: Iterable[SessionRuntime], unsaved: dict[SessionRuntime, None]) -> list[_Encoded]:
        """Encode *sessions* in slices. A session that can't be encoded is removed from *unsaved*."""
        batch: list[_Encoded] = []
        seen = self._analytics.collect
        until = time.perf_counter() + _SLICE
        for session in sessions:
            self._dirty.pop(session, None)
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
        try:
            return encode(record)
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
                return encode(record)
        # The other sessions must be saved all the same.
        logger.error("The session %r contains something else that can't be saved: it is not saved", session.id)
        return None

    async def _rebase(self, session: SessionRuntime) -> bool:
        """Merge into *session* what another process has saved. Returns whether to save it again."""
        key = Key(session.namespace, session.id)
        row = await self._store.load(key)
        if row is None:
            if session.revision:
                self._lose(session)
                return False
            return True
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
            self._lose(session)
            return False
        if session.revision and theirs.start_time != session.start_time:  # deleted and created again: another session
            self._lose(session)
            return False
        base, expiry = base_of(session), theirs.expiry
        expired = expiry is not None and expiry[0] <= self._clock()
        if not session.revision and (expired or (base is not None and theirs.start_time < session.start_time)):
            await self._store.delete([key], [row.revision])  # a new session takes its place
            return True
        if base is not None and theirs.start_time > session.start_time:  # created by another process in a new store
            base = None
        elif base is not None and RECORD.is_older(theirs, base):  # the store went back in time: nothing of it is newer
            base = theirs
        session.restore(RECORD.merge(base, session.snapshot(), theirs))
        session.merge_base, session.revision = row, row.revision
        return True

    def _lose(self, session: SessionRuntime) -> None:
        session.closed = True
        session.wake_first()
        self.discard(session)
        self._lost(session)


async def set_aside(store: SessionStore, row: Row, error: CorruptRecord, count: Callable[[str, int], None]) -> None:
    """Move *row*, which can't be decoded because of *error*, to the quarantine, and log it."""
    if await store.quarantine(row.key, row.revision, str(error)):
        count("quarantined", 1)
        logger.error("%s It was moved to the quarantine of %s; other sessions are not affected", error, store.location)
