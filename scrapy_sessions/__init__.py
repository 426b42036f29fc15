"""Lasting sessions for Scrapy: they outlive the run, keep one identity, and are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy_sessions.browser_session import BrowserSession
from scrapy_sessions.config import SessionConfig, Verdict, session_config
from scrapy_sessions.exceptions import (
    AmbiguousSession,
    CookieConflict,
    CorruptRecord,
    CrawlClosing,
    InvalidCookie,
    InvalidSessionId,
    LoginFailed,
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
    "CrawlClosing",
    "InvalidCookie",
    "InvalidSessionId",
    "LoginFailed",
    "NewerSchema",
    "PersistentSession",
    "PoolExhausted",
    "Profile",
    "SessionConfig",
    "SessionConfigurationError",
    "SessionError",
    "SessionManager",
    "SessionRetired",
    "SessionStore",
    "SessionsAddon",
    "StoreError",
    "UnknownPool",
    "UnknownProfile",
    "Verdict",
    "session_config",
]


def __getattr__(name: str) -> Any:
    # The add-on brings Scrapy's components: whoever uses the manager alone doesn't pay for them.
    if name == "SessionsAddon":
        from scrapy_sessions.addon import SessionsAddon  # noqa: PLC0415  # late: see above

        return SessionsAddon
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
