"""Which saves and deletions of sessions may run at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage.base import Key


class Turns:
    """Lets the save of one session pass the save of many, and keeps a deletion apart from every save of its sessions.

    A session whose save is passed is saved twice at the same time. The stamps of the rows distinguish the two.
    """

    def __init__(self) -> None:
        self._many: list[Collection[SessionRuntime]] = []
        self._single: set[SessionRuntime] = set()
        self._deleted: list[Collection[Key]] = []
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def singles(self) -> Collection[SessionRuntime]:
        """The sessions that are being saved alone."""
        return self._single

    def is_taken(self, session: SessionRuntime) -> bool:
        """Whether *session* is being saved or deleted."""
        return _key(session) in self._busy()

    @asynccontextmanager
    async def many(self, sessions: Collection[SessionRuntime]) -> AsyncIterator[None]:
        """Wait until none of *sessions* is being saved alone, or deleted."""
        await self._until(lambda: self._single.isdisjoint(sessions) and not self._is_deleted(sessions))
        self._many.append(sessions)
        try:
            yield
        finally:
            self._many = [each for each in self._many if each is not sessions]
            self._go_on()

    @asynccontextmanager
    async def single(self, session: SessionRuntime) -> AsyncIterator[None]:
        """Wait until *session* isn't being saved alone, or deleted."""
        await self._until(lambda: session not in self._single and not self._is_deleted([session]))
        self._single.add(session)
        try:
            yield
        finally:
            self._single.discard(session)
            self._go_on()

    @asynccontextmanager
    async def deletion(self, keys: Collection[Key]) -> AsyncIterator[None]:
        """Wait until none of *keys* is being saved or deleted."""
        wanted = set(keys)
        await self._until(lambda: wanted.isdisjoint(self._busy()))
        self._deleted.append(wanted)
        try:
            yield
        finally:
            self._deleted = [each for each in self._deleted if each is not wanted]
            self._go_on()

    def _is_deleted(self, sessions: Collection[SessionRuntime]) -> bool:
        return any(_key(session) in keys for keys in self._deleted for session in sessions)

    def _busy(self) -> set[Key]:
        saved = (_key(session) for sessions in (*self._many, self._single) for session in sessions)
        return set(saved).union(*self._deleted)

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():  # otherwise its task was cancelled
                waiter.set_result(None)


def _key(session: SessionRuntime) -> Key:
    return Key(session.namespace, session.id)
