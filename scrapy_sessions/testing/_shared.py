"""The contract of a store that keeps shared data."""

from __future__ import annotations

import asyncio
from typing import Any

from scrapy_sessions.storage.base import Key, Outcome, SharedStore
from scrapy_sessions.testing._base import BaseContract, make_row, with_ability

__all__ = ["SharedContract"]


class SharedContract(BaseContract):
    """The tests of :class:`~scrapy_sessions.storage.SharedStore`, skipped for a store that is none."""

    @with_ability(SharedStore)
    async def test_shared_is_empty_at_first(self, store: SharedStore) -> None:
        """A namespace that nobody has written to has no object, at version 0."""
        assert await store.read_shared("shop") == (None, 0)

    @with_ability(SharedStore)
    async def test_shared_is_kept_as_it_is(self, store: SharedStore) -> None:
        """What was written is read again, byte for byte, and each write is the next version."""
        assert await store.write_shared("shop", 0, b"\x00\xff first")
        assert await store.read_shared("shop") == (b"\x00\xff first", 1)
        assert await store.write_shared("shop", 1, b"second")
        assert await store.read_shared("shop") == (b"second", 2)

    @with_ability(SharedStore)
    async def test_shared_write_needs_the_version(self, store: SharedStore) -> None:
        """A write that is based on another version than the present one changes nothing."""
        assert not await store.write_shared("shop", 1, b"early")
        assert await store.read_shared("shop") == (None, 0)
        assert await store.write_shared("shop", 0, b"first")
        assert await store.write_shared("shop", 1, b"second")
        for version in (0, 1, 3):
            assert not await store.write_shared("shop", version, b"wrong")
        assert await store.read_shared("shop") == (b"second", 2)

    @with_ability(SharedStore)
    async def test_shared_by_namespace(self, store: SharedStore) -> None:
        """Namespaces don't see each other's objects."""
        assert await store.write_shared("shop", 0, b"shop")
        assert await store.read_shared("other") == (None, 0)
        assert await store.write_shared("other", 0, b"other")
        assert await store.read_shared("shop") == (b"shop", 1)

    @with_ability(SharedStore)
    async def test_shared_has_one_winner(self, store: SharedStore) -> None:
        """Of a hundred that write at once, based on one version, one succeeds: the first time, and the next."""
        for version in (0, 1):
            writes = (store.write_shared("shop", version, str(number).encode()) for number in range(100))
            won = [number for number, written in enumerate(await asyncio.gather(*writes)) if written]
            assert len(won) == 1
            assert await store.read_shared("shop") == (str(won[0]).encode(), version + 1)

    @with_ability(SharedStore)
    async def test_shared_is_apart_from_sessions(self, store: Any) -> None:
        """A session with the name of a namespace, and its end, leave the shared data alone."""
        assert await store.save([make_row("shop", namespace="shop")]) == [Outcome.SAVED]
        assert await store.write_shared("shop", 0, b"shared")
        assert await store.delete([Key("shop", "shop")]) == [True]
        assert await store.read_shared("shop") == (b"shared", 1)
