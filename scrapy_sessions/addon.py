"""The add-on: ``ADDONS = {"scrapy_sessions.SessionsAddon": 300}`` is the whole set-up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from scrapy_sessions.settings import is_enabled, setting_name, setting_of

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

__all__ = ["SessionsAddon"]

# By their paths, so that Scrapy imports each when it needs it, as it does its own.
_EXTENSION = "scrapy_sessions.extension.SessionsExtension"
_SESSIONS = "scrapy_sessions.middlewares.SessionMiddleware"
_VERDICTS = "scrapy_sessions.middlewares.SessionVerdictMiddleware"
_COOKIES = "scrapy_sessions.middlewares.SessionCookiesMiddleware"
_SPIDER = "scrapy_sessions.spidermiddlewares.SessionSpiderMiddleware"
_FINGERPRINTER = "scrapy_sessions.fingerprint.SessionFingerprinter"
_DUPEFILTER = "scrapy_sessions.dupefilter.RedisDupeFilter"
_PLAYWRIGHT = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
_SCRAPYS_COOKIES = "scrapy.downloadermiddlewares.cookies.CookiesMiddleware"
_SCRAPY_REDIS_DUPEFILTER = "scrapy_redis.dupefilter.RFPDupeFilter"


class SessionsAddon:
    """Adds the components to the settings, each unless the project lists it itself.

    Does nothing if ``SESSIONS_ENABLED`` is false.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """Add the components to *settings*."""
        if not is_enabled(settings):
            return
        components = settings.getdict("DOWNLOADER_MIDDLEWARES")
        scrapys = [component for component in components if _is(component, _SCRAPYS_COOKIES)]
        cookies = {_COOKIES: 960}
        if any(components[component] is None for component in scrapys):  # the project has disabled cookies
            cookies = {}
        # Ours replaces Scrapy's, wherever the project lists that: both would send every cookie twice.
        for component in scrapys:
            del components[component]
        _add(components, {_SESSIONS: 75, _VERDICTS: 950, **cookies})
        _set(settings, "DOWNLOADER_MIDDLEWARES", {**components, _SCRAPYS_COOKIES: None})
        for name, ours in (("EXTENSIONS", {_EXTENSION: 0}), ("SPIDER_MIDDLEWARES", {_SPIDER: 25})):
            _set(settings, name, _add(settings.getdict(name), ours))
        handlers = settings.getdict("DOWNLOAD_HANDLERS")
        with_sessions = {scheme: _with_sessions(handler) for scheme, handler in handlers.items()}
        if with_sessions != handlers:
            _set(settings, "DOWNLOAD_HANDLERS", with_sessions)
        if settings.getbool("TWISTED_REACTOR_ENABLED", default=True):  # else Scrapy chooses other handlers later
            _import_handler(settings.getwithbase("DOWNLOAD_HANDLERS").get("https"))
        self._wrap_fingerprinter(settings)
        name = "DUPEFILTER_CLASS"
        if settings.getpriority(name) and _is(settings[name], _SCRAPY_REDIS_DUPEFILTER):  # it ignores our fingerprints
            _set(settings, name, _DUPEFILTER)

    @staticmethod
    def _wrap_fingerprinter(settings: BaseSettings) -> None:
        name, fallback = "REQUEST_FINGERPRINTER_CLASS", setting_name("fallback_fingerprinter")
        current = settings[name]
        if _is(current, _FINGERPRINTER):
            return
        priority = settings.getpriority(name) or 0
        if priority and setting_of(settings, "fallback_fingerprinter") is None:  # else both have the same default
            settings.set(fallback, current, priority=priority)
        settings.set(name, _FINGERPRINTER, priority=max(priority, settings.getpriority("ADDONS") or 0))


def _with_sessions(handler: Any) -> Any:
    """Return *handler*, or ours in place of scrapy-playwright's; of a subclass of that, what it overrides is kept."""
    if isinstance(handler, str):
        if handler.startswith("scrapy."):  # Scrapy's own, which it imports at first use
            return handler
        try:
            handler_class = load_object(handler)
        except (ImportError, NameError, ValueError):  # Scrapy reports it
            return handler
    else:
        handler_class = handler
    if not isinstance(handler_class, type) or not any(_is(each, _PLAYWRIGHT) for each in handler_class.__mro__):
        return handler
    from scrapy_sessions.browser.handler import with_sessions  # noqa: PLC0415  # an extra

    return with_sessions(handler_class)


def _import_handler(handler: Any) -> None:
    """Import *handler* if it is Scrapy's own, as each crawl does, but before the extension loads many modules.

    It calls :func:`inspect.stack`, whose cost grows with the number of modules.
    """
    if isinstance(handler, str) and handler.startswith("scrapy."):
        with suppress(ImportError, NameError, ValueError):  # Scrapy reports it
            load_object(handler)


def _is(component: type | str, path: str) -> bool:
    """Whether *component*, a class or its path, is the class at *path*. A path under the same name may be an alias."""
    if isinstance(component, str):
        if component == path or component.rpartition(".")[2] != path.rpartition(".")[2]:
            return component == path
        component = load_object(component)
    return global_object_name(component) == path


def _add(components: dict[type | str, int | None], ours: dict[str, int]) -> dict[type | str, int | None]:
    """Add each of *ours* to *components*, unless the project lists it itself."""
    missing = {path: place for path, place in ours.items() if not any(_is(each, path) for each in components)}
    components.update(missing)
    return components


def _set(settings: BaseSettings, name: str, value: object) -> None:
    settings.set(name, value, settings.getpriority(name) or 0)
