"""Every store holds to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrapy_sessions.storage import MemoryStore, SessionStore, SQLiteStore
from scrapy_sessions.testing import Clock, StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, clock: Clock) -> SessionStore:
        return MemoryStore(clock=clock)


class TestSQLiteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_store(self, clock: Clock) -> SessionStore:
        return SQLiteStore(self.folder / "sessions.db", clock=clock)
