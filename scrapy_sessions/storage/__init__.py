"""Where sessions are stored: the interface and the stores."""

from __future__ import annotations

from scrapy_sessions.storage.base import (
    AnalyticsStore,
    Expired,
    Key,
    Lease,
    LeaseStore,
    Outcome,
    Row,
    SessionStore,
    SharedStore,
)
from scrapy_sessions.storage.memory import MemoryStore
from scrapy_sessions.storage.resolve import store_from_url
from scrapy_sessions.storage.sqlite.store import SQLiteStore

__all__ = [
    "AnalyticsStore",
    "Expired",
    "Key",
    "Lease",
    "LeaseStore",
    "MemoryStore",
    "Outcome",
    "Row",
    "SQLiteStore",
    "SessionStore",
    "SharedStore",
    "store_from_url",
]
