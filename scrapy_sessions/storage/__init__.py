"""Where sessions are stored: the interface and the stores."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scrapy_sessions.storage.abilities import (
    AnalyticsStore,
    Batch,
    Claim,
    Claims,
    ClaimStore,
    Lease,
    LeaseStore,
    SharedStore,
)
from scrapy_sessions.storage.base import Expired, Key, Outcome, Row, SessionStore

if TYPE_CHECKING:
    from scrapy_sessions.storage.memory import MemoryStore
    from scrapy_sessions.storage.redis.store import RedisStore
    from scrapy_sessions.storage.resolve import store_from_url
    from scrapy_sessions.storage.sqlite.store import SQLiteStore

__all__ = [
    "AnalyticsStore",
    "Batch",
    "Claim",
    "ClaimStore",
    "Claims",
    "Expired",
    "Key",
    "Lease",
    "LeaseStore",
    "MemoryStore",
    "Outcome",
    "RedisStore",
    "Row",
    "SQLiteStore",
    "SessionStore",
    "SharedStore",
    "store_from_url",
]

# Imported at first use: a crawl needs one of the stores.
_MODULES = {
    "MemoryStore": "memory",
    "RedisStore": "redis.store",
    "SQLiteStore": "sqlite.store",
    "store_from_url": "resolve",
}

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelled name for Any

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value  # the next access doesn't come here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
