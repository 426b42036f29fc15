"""The data that the sessions of a namespace share: one JSON object in the store, safe across processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json, to_json

from scrapy_sessions.exceptions import CorruptRecord, InvalidData, SessionError, StoreError
from scrapy_sessions.json_limits import MAX_SIZE, fault_of
from scrapy_sessions.storage.abilities import SharedStore
from scrapy_sessions.storage.base import SessionStore
from scrapy_sessions.storage.encryption import Cipher, decrypt, encrypt

__all__ = ["SharedData"]

_TRIES = 100  # each failure means that another process succeeded


class SharedData:
    """The JSON object that the sessions of *namespace* share. Every call reads it from the store.

    Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a *store* that is no
    :class:`~scrapy_sessions.storage.SharedStore`.
    """

    def __init__(self, store: object, namespace: str, opened: Callable[[], Any]) -> None:
        self._store = SharedStore.of(store, "shared data")
        self._namespace = namespace
        self._opened = opened
        self._lock = asyncio.Lock()  # without it, many callbacks at once would make each other's writes fail too often

    async def get(self) -> dict[str, Any]:
        """Return a copy of the object; ``{}`` before the first update."""
        data, _ = await self._read()
        return data

    async def update(self, function: Callable[[dict[str, Any]], dict[str, Any] | None]) -> dict[str, Any]:
        """Change the object by *function*, save it, and return it.

        *function* gets a copy, and changes it or returns another dict. If another process has changed the object
        meanwhile (compare and set), *function* is called again with the new content, so it should have no other
        effects. Raises :exc:`~scrapy_sessions.exceptions.InvalidData` for a result that can't be saved, and
        :exc:`~scrapy_sessions.exceptions.StoreError`.
        """
        async with self._lock:
            for _ in range(_TRIES):
                data, version = await self._read()
                changed = function(data)
                if changed is None:
                    changed = data
                if not isinstance(changed, dict):
                    raise SessionError(
                        f"The shared data of {self._namespace!r} must be a dict, not {type(changed).__name__}"
                    )
                body = encrypt(self._encode(changed), self._cipher)
                if await self._store.write_shared(self._namespace, version, body):
                    return changed
        raise StoreError(f"The shared data of {self._namespace!r} changes elsewhere faster than it can be saved")

    def _encode(self, data: dict[str, Any]) -> bytes:
        fault = fault_of(data)
        if fault is None:
            body = to_json(data)
            if len(body) <= MAX_SIZE:
                return body
            fault = f"it has more than {MAX_SIZE // 2**20} MiB"
        raise InvalidData(f"The shared data of {self._namespace!r} must be JSON ({fault})")

    @property
    def _cipher(self) -> Cipher | None:
        return self._store.cipher if isinstance(self._store, SessionStore) else None

    async def _read(self) -> tuple[dict[str, Any], int]:
        await self._opened()
        body, version = await self._store.read_shared(self._namespace)
        if body is None:
            return {}, version
        body = decrypt(body, self._cipher, f"The shared data of {self._namespace!r}")
        try:
            data = from_json(body, allow_inf_nan=False)
        except ValueError:
            data = None
        if not isinstance(data, dict) or fault_of(data):
            raise CorruptRecord(
                f"The shared data of {self._namespace!r} can't be read: delete it, or restore the store"
            )
        return data, version
