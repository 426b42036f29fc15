"""The contract of a store with shared data."""

from __future__ import annotations

import asyncio
from typing import Any

from scrapy_sessions.storage.abilities import SharedStore
from scrapy_sessions.storage.base import Key, Outcome
from scrapy_sessions.testing._base import BaseContract, make_row


class SharedContract(BaseContract, ability=SharedStore):
    """The tests of :class:`~scrapy_sessions.storage.SharedStore`. They are skipped for other stores."""

    async def test_shared_is_empty_at_first(self, store: SharedStore) -> None:
        """Before the first write a namespace has no object, and version 0."""
        assert await store.read_shared("shop") == (None, 0)

    async def test_shared_is_kept_as_it_is(self, store: SharedStore) -> None:
        """An object is read as it was written, byte for byte, and each write is the next version."""
        assert await store.write_shared("shop", 0, b"\x00\xff first")
        assert await store.read_shared("shop") == (b"\x00\xff first", 1)
        assert await store.write_shared("shop", 1, b"second")
        assert await store.read_shared("shop") == (b"second", 2)

    async def test_shared_write_needs_the_version(self, store: SharedStore) -> None:
        """A write that isn't based on the stored version changes nothing."""
        assert not await store.write_shared("shop", 1, b"early")
        assert await store.read_shared("shop") == (None, 0)
        assert await store.write_shared("shop", 0, b"first")
        assert await store.write_shared("shop", 1, b"second")
        for version in (0, 1, 3):
            assert not await store.write_shared("shop", version, b"wrong")
        assert await store.read_shared("shop") == (b"second", 2)

    async def test_shared_by_namespace(self, store: SharedStore) -> None:
        """Each namespace has its own object."""
        assert await store.write_shared("shop", 0, b"shop")
        assert await store.read_shared("other") == (None, 0)
        assert await store.write_shared("other", 0, b"other")
        assert await store.read_shared("shop") == (b"shop", 1)

    async def test_shared_has_one_winner(self, store: SharedStore) -> None:
        """Of a hundred writes at once, based on one version, one succeeds: for the first version and for the next."""
        for version in (0, 1):
            writes = (store.write_shared("shop", version, str(number).encode()) for number in range(100))
            won = [number for number, written in enumerate(await asyncio.gather(*writes)) if written]
            assert len(won) == 1
            assert await store.read_shared("shop") == (str(won[0]).encode(), version + 1)

    async def test_shared_is_apart_from_sessions(self, store: Any) -> None:
        """Saving and deleting a session with the name of the namespace leaves the shared data unchanged."""
        assert await store.save([make_row("shop", namespace="shop")]) == [Outcome.SAVED]
        assert await store.write_shared("shop", 0, b"shared")
        assert await store.delete([Key("shop", "shop")]) == [True]
        assert await store.read_shared("shop") == (b"shared", 1)
