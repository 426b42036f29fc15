"""The add-on: ``ADDONS = {"scrapy_sessions.SessionsAddon": 300}`` is the whole set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.fingerprint import SessionFingerprinter
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware, SessionVerdictMiddleware
from scrapy_sessions.settings import is_enabled, setting_name, setting_of
from scrapy_sessions.spidermiddlewares import SessionSpiderMiddleware

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

__all__ = ["SessionsAddon"]


class SessionsAddon:
    """Adds the components to the settings, each unless the project lists it itself.

    Does nothing if ``SESSIONS_ENABLED`` is false.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """Add the components to *settings*."""
        if not is_enabled(settings):
            return
        setdefault = settings.setdefault_in_component_priority_dict
        setdefault("EXTENSIONS", SessionsExtension, 0)
        setdefault("DOWNLOADER_MIDDLEWARES", SessionMiddleware, 75)
        setdefault("DOWNLOADER_MIDDLEWARES", SessionVerdictMiddleware, 950)
        if not self._without_cookies(settings):
            setdefault("DOWNLOADER_MIDDLEWARES", SessionCookiesMiddleware, 960)
        # Ours replaces Scrapy's, wherever the project lists that: both would send every cookie twice.
        settings.set_in_component_priority_dict("DOWNLOADER_MIDDLEWARES", CookiesMiddleware, None)
        # By its path, as in Scrapy's own list: in Scrapy 2.14 a class doesn't replace a path there.
        middlewares = settings.getdict("DOWNLOADER_MIDDLEWARES")
        middlewares[global_object_name(CookiesMiddleware)] = middlewares.pop(CookiesMiddleware)
        settings.set("DOWNLOADER_MIDDLEWARES", middlewares, settings.getpriority("DOWNLOADER_MIDDLEWARES") or 0)
        setdefault("SPIDER_MIDDLEWARES", SessionSpiderMiddleware, 25)
        self._wrap_fingerprinter(settings)

    @staticmethod
    def _without_cookies(settings: BaseSettings) -> bool:
        """Whether the project has disabled Scrapy's cookie middleware."""
        middlewares = settings.getdict("DOWNLOADER_MIDDLEWARES")
        return any(place is None and load_object(name) is CookiesMiddleware for name, place in middlewares.items())

    @staticmethod
    def _wrap_fingerprinter(settings: BaseSettings) -> None:
        name, fallback = "REQUEST_FINGERPRINTER_CLASS", setting_name("fallback_fingerprinter")
        current = settings[name]
        if load_object(current) is SessionFingerprinter:
            return
        priority = settings.getpriority(name) or 0
        if priority and setting_of(settings, "fallback_fingerprinter") is None:  # else both have the same default
            settings.set(fallback, current, priority=priority)
        settings.set(name, SessionFingerprinter, priority=max(priority, settings.getpriority("ADDONS") or 0))
