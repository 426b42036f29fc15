"""Lasting sessions for Scrapy: they outlive the run, keep one identity, and are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_sessions.browser_session import BrowserSession
from scrapy_sessions.exceptions import (
    AmbiguousSession,
    CookieConflict,
    CorruptRecord,
    InvalidCookie,
    InvalidSessionId,
    NewerSchema,
    PoolExhausted,
    SessionConfigurationError,
    SessionError,
    SessionRetired,
    StoreError,
    UnknownPool,
    UnknownProfile,
)
from scrapy_sessions.manager import SessionManager
from scrapy_sessions.models import Cookie, PersistentSession, Profile
from scrapy_sessions.storage import SessionStore

if TYPE_CHECKING:
    from scrapy_sessions.addon import SessionsAddon

__all__ = [
    "AmbiguousSession",
    "BrowserSession",
    "Cookie",
    "CookieConflict",
    "CorruptRecord",
    "InvalidCookie",
    "InvalidSessionId",
    "NewerSchema",
    "PersistentSession",
    "PoolExhausted",
    "Profile",
    "SessionConfigurationError",
    "SessionError",
    "SessionManager",
    "SessionRetired",
    "SessionStore",
    "SessionsAddon",
    "StoreError",
    "UnknownPool",
    "UnknownProfile",
]


def __getattr__(name: str) -> Any:
    # The add-on brings Scrapy's components: whoever uses the manager alone doesn't pay for them.
    if name == "SessionsAddon":
        from scrapy_sessions.addon import SessionsAddon  # noqa: PLC0415  # late: see above

        return SessionsAddon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
