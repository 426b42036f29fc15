"""A store that can't be written, as on a disk mounted read-only, for commands that only look."""

from __future__ import annotations

import os
from pathlib import Path

from scrapy_sessions.storage import SessionStore, SQLiteStore
from scrapy_sessions.storage.sqlite.file import open_to_read

__all__ = ["looking_store"]


def looking_store(store: SessionStore) -> SessionStore:
    """Return *store*, or one that only reads its file, if this user can read that and not write it."""
    if not isinstance(store, SQLiteStore):
        return store
    file = Path(store.location)
    readable = os.access(file, os.R_OK)
    writable = os.access(file, os.W_OK) and os.access(file.resolve().parent, os.W_OK | os.X_OK)
    return _ReadOnly(file) if readable and not writable else store


class _ReadOnly(SQLiteStore):
    """Reads the file, and makes none beside it. Whatever writes raises StoreError."""

    def _open(self) -> None:
        if self._connection is None:
            self._connection = open_to_read(Path(self.location).resolve(), busy_timeout=self._busy_timeout)
