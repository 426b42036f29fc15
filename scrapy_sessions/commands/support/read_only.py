"""A store that this user can't write to, as on a disk that is mounted read-only."""

from __future__ import annotations

import os
from pathlib import Path

from scrapy_sessions.storage import SessionStore, SQLiteStore
from scrapy_sessions.storage.sqlite.file import open_to_read

__all__ = ["read_only_store"]


def read_only_store(store: SessionStore) -> SessionStore:
    """Return *store*; if this user can read its file but not write to it, a store that only reads the file."""
    if not isinstance(store, SQLiteStore):
        return store
    file = Path(store.location)
    readable = os.access(file, os.R_OK)
    writable = os.access(file, os.W_OK) and os.access(file.resolve().parent, os.W_OK | os.X_OK)
    return _ReadOnlyStore(file) if readable and not writable else store


class _ReadOnlyStore(SQLiteStore):
    """Reads the file and creates none beside it. Methods that write raise StoreError."""

    def _open(self) -> None:
        if self._connection is None:
            self._connection = open_to_read(Path(self.location).resolve(), busy_timeout=self._busy_timeout)
