"""A store with no ability beyond those that every store has."""

from __future__ import annotations

from typing import Any

from scrapy_sessions.storage import MemoryStore, SessionStore

__all__ = ["PlainStore"]

_names = (*SessionStore.__abstractmethods__, "__init__", "_save", "_replace", "_take")

PlainStore: Any = type(
    "PlainStore", (SessionStore,), {"__module__": __name__, **{name: getattr(MemoryStore, name) for name in _names}}
)
