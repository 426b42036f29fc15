"""Lasting sessions for Scrapy: they outlive the run, keep one identity, and are shared."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy_sessions.addon import SessionsAddon
    from scrapy_sessions.config import SessionConfig, Verdict, session_config
    from scrapy_sessions.exceptions import (
        AmbiguousSession,
        CookieConflict,
        CorruptRecord,
        CrawlClosing,
        FormatError,
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
    from scrapy_sessions.models import Cookie, PersistentSession, Profile
    from scrapy_sessions.sessions.browser_session import BrowserSession
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.storage import SessionStore

__all__ = [
    "AmbiguousSession",
    "BrowserSession",
    "Cookie",
    "CookieConflict",
    "CorruptRecord",
    "CrawlClosing",
    "FormatError",
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

# Where the names are that don't stand in `exceptions`. All are imported at first use: Scrapy imports this package at
# every call of `scrapy`, for the command, and whoever uses the manager alone doesn't pay for Scrapy's components.
_MODULES = {
    "BrowserSession": "sessions.browser_session",
    "Cookie": "models",
    "PersistentSession": "models",
    "Profile": "models",
    "SessionConfig": "config",
    "SessionManager": "sessions.manager",
    "SessionStore": "storage",
    "SessionsAddon": "addon",
    "Verdict": "config",
    "session_config": "config",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'exceptions')}"), name)
    globals()[name] = value  # asked for once only
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
