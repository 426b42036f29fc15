"""Persistent sessions for Scrapy: saved across runs, with one identity each, shared by processes."""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy_sessions.addon import SessionsAddon
    from scrapy_sessions.config import Fetch, SessionConfig, Verdict, session_config
    from scrapy_sessions.crawl.facade import SpiderSessions
    from scrapy_sessions.exceptions import (
        AmbiguousSession,
        ConfigFailed,
        CookieConflict,
        CorruptRecord,
        CrawlClosing,
        EncryptionKeyError,
        FormatError,
        InvalidCookie,
        InvalidData,
        InvalidSessionId,
        LoginFailed,
        LoginImpossible,
        LoginRejected,
        NewerSchema,
        PoolBusy,
        PoolExhausted,
        RequestNotSent,
        SessionConfigurationError,
        SessionError,
        SessionLost,
        SessionRetired,
        StoreError,
        StoreUnavailable,
        UnknownPool,
        UnknownProfile,
    )
    from scrapy_sessions.models import Cookie, PersistentSession, Profile, SessionInfo
    from scrapy_sessions.sessions.browser_session import BrowserSession
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.storage import SessionStore

__all__ = [
    "AmbiguousSession",
    "BrowserSession",
    "ConfigFailed",
    "Cookie",
    "CookieConflict",
    "CorruptRecord",
    "CrawlClosing",
    "EncryptionKeyError",
    "Fetch",
    "FormatError",
    "InvalidCookie",
    "InvalidData",
    "InvalidSessionId",
    "LoginFailed",
    "LoginImpossible",
    "LoginRejected",
    "NewerSchema",
    "PersistentSession",
    "PoolBusy",
    "PoolExhausted",
    "Profile",
    "RequestNotSent",
    "SessionConfig",
    "SessionConfigurationError",
    "SessionError",
    "SessionInfo",
    "SessionLost",
    "SessionManager",
    "SessionRetired",
    "SessionStore",
    "SessionsAddon",
    "SpiderSessions",
    "StoreError",
    "StoreUnavailable",
    "UnknownPool",
    "UnknownProfile",
    "Verdict",
    "session_config",
]

# The modules of the names that are not in `exceptions`. Each is imported at first use: every `scrapy` call imports this
# package, for the command `sessions`, and a program that uses the manager alone needs none of Scrapy's components.
_MODULES = {
    "BrowserSession": "sessions.browser_session",
    "Cookie": "models",
    "Fetch": "config",
    "PersistentSession": "models",
    "Profile": "models",
    "SessionConfig": "config",
    "SessionInfo": "models",
    "SessionManager": "sessions.manager",
    "SessionStore": "storage",
    "SessionsAddon": "addon",
    "SpiderSessions": "crawl.facade",
    "Verdict": "config",
    "session_config": "config",
}

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelled name for Any

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Importing makes hardly any garbage, and looking for it again and again costs time at the start of each crawl.
        collecting = gc.isenabled()
        gc.disable()
        try:
            value = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'exceptions')}"), name)
        finally:
            if collecting:
                gc.enable()
        globals()[name] = value  # the next access doesn't come here
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
