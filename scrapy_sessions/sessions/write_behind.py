"""When a session is saved: in batches, some time after it has changed, merged with what other processes have saved.

The store runs in a thread of its own; the event loop only encodes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from threading import get_ident
from weakref import WeakSet

from scrapy_sessions.exceptions import SessionError
from scrapy_sessions.sessions.collector import Collector
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.sessions.saver import Saver
from scrapy_sessions.sessions.turns import Turns
from scrapy_sessions.storage.base import Key, SessionStore

logger = logging.getLogger(__name__)

# Rows in one transaction: enough to share its cost, few enough that other processes can write in between. Work on all
# of them without a pause (making values, reading outcomes) takes a fraction of a millisecond in either thread.
_BATCH = 200
_SLICE = 0.001  # seconds of looking for changes after which the event loop runs other tasks


class WriteBehind:
    """Collects changed sessions, and saves them *interval* seconds later in the order of their changes.

    A session is encoded in the event loop's thread, in one step, so that no partial change is saved. If a save fails,
    its sessions are saved with the next batch. A single session that is saved at once, such as after a login, doesn't
    wait for a batch.

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
        self._interval = interval
        self._count = count
        self._lost = lost
        self._dirty: dict[SessionRuntime, None] = {}
        self._saver = Saver(
            store, queue=self._dirty, clock=clock, count=count, lost=self._lose, live=live, analytics=analytics
        )
        self._turns = Turns()
        self._flushing = asyncio.Lock()
        self._watched: WeakSet[SessionRuntime] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._saving: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # the loop that it was started in, and its thread
        self._thread = 0
        self._stopped = False
        self._failing = False

    @property
    def tokens(self) -> dict[str, int]:
        """The tokens of claimed sessions by their ids, under which they are saved. The caller keeps them up to date."""
        return self._saver.tokens

    def add(self, session: SessionRuntime) -> None:
        """Save *session* within the interval."""
        if self._handed_over(self.add, session):
            return
        self._dirty[session] = None
        self._go_on()

    def watch(self, session: SessionRuntime) -> None:
        """Look for changes of the mutable data of *session* at every save, at least once within the interval."""
        if self._handed_over(self.watch, session):
            return
        self._watched.add(session)
        self._go_on()

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
        task.add_done_callback(self._finished)
        await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._saving.discard(task)
        if self._dirty:  # it has failed, or others have changed meanwhile
            self._go_on()

    async def look_at_store(self) -> None:
        """Have every live session saved again if the store was replaced."""
        await self._saver.look_at_store()

    def is_saving(self, session: SessionRuntime) -> bool:
        """Whether *session* is being saved at the moment."""
        return self._turns.is_taken(session)

    async def settled(self, session: SessionRuntime) -> None:
        """Wait until *session* isn't being saved. If that fails, it has changed again."""
        async with self._turns.deletion([Key(session.namespace, session.id)]):
            pass

    def deletion(self, keys: Collection[Key]) -> AbstractAsyncContextManager[None]:
        """Return a context in which none of *keys* is saved."""
        return self._turns.deletion(keys)

    async def _save_now(self, session: SessionRuntime) -> None:
        async with self._turns.single(session):
            await self.look_at_store()
            await self._saver.save([session])

    async def _flush(self) -> None:
        async with self._flushing:
            until = time.perf_counter() + _SLICE
            for session in list(self._watched):
                if not session.dirty and session.data_changed():
                    session.changed()
                if time.perf_counter() > until:
                    await asyncio.sleep(0)
                    until = time.perf_counter() + _SLICE
            await self.look_at_store()
            pending, under_way = list(self._dirty), list(self._turns.singles)
            for start in range(0, len(pending), _BATCH):
                if start:
                    await asyncio.sleep(0)  # noting what was saved, and encoding the next, are two slices
                await self._save_many(pending[start : start + _BATCH])
            for session in under_way:  # which may fail
                await self._save_many([session])
            self._failing = False

    async def _save_many(self, sessions: Collection[SessionRuntime]) -> None:
        async with self._turns.many(sessions):
            # Others were saved alone meanwhile.
            await self._saver.save([session for session in sessions if session in self._dirty])

    async def pull(self, session: SessionRuntime) -> None:
        """Merge into *session* what other processes have saved of it. Raises as :meth:`flush`."""
        async with self._turns.single(session):
            await self.look_at_store()
            await self._saver.pull(session)

    async def close(self) -> None:
        """Save what is left, and stop. Raises as :meth:`flush`, after the timer was stopped."""
        self._stopped = True  # changes from now on, also during the flush below, start no timer
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._saving, return_exceptions=True)
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

    def _go_on(self) -> None:
        if self._timer is None and (self._task is None or self._task.done()):
            self._schedule()

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

    def _lose(self, session: SessionRuntime) -> None:
        session.closed = True
        session.wake_first()
        self.discard(session)
        self._lost(session)
