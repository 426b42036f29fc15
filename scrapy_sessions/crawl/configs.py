"""The :class:`SessionConfig` of each URL in a crawl."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scrapy.utils.misc import load_object

from scrapy_sessions.config import SessionConfig, check_login, is_config, registered_config, registered_configs
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.storage.abilities import LeaseStore
from scrapy_sessions.storage.base import SessionStore

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from scrapy_sessions.sessions.runtime import SessionRuntime


def must_log_in(session: SessionRuntime, config: SessionConfig) -> bool:
    """Whether *session* has to log in at the site of *config* before a request is sent there."""
    return config.can_log_in and not session.is_logged_in(config.site)


def _defines_logins(config: SessionConfig) -> bool:
    return config.can_log_in or bool(config.probe_url)


class Configs:
    """The :class:`SessionConfig` of each URL in a crawl: one object of each class."""

    def __init__(self, crawler: Crawler, setting: Any, store: SessionStore) -> None:
        self._crawler = crawler
        self._store = store
        self._made: dict[type[SessionConfig], SessionConfig] = {}
        self._spider: SessionConfig | None = None
        self._looked_at_spider = False
        self._default = self._make(setting if setting is not None else SessionConfig, "SESSIONS_CONFIG")

    def of(self, url: str) -> SessionConfig:
        """Return the config for *url*.

        Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError` for a ``session_config`` of the spider that
        isn't one.
        """
        if not self._looked_at_spider:
            self.look_at_spider()
        if self._spider is not None:
            return self._spider
        registered = registered_config(url)
        if registered is not None:
            return self._make(registered, url)
        return self._default

    def that_define_logins(self, urls: Iterable[str], sites: Iterable[str]) -> list[SessionConfig]:
        """Return the configs that define what a login is, by a ``login()`` or a ``probe_url``.

        The spider's own, else those of *urls* and *sites*. Empty: none of them does.
        """
        if not self._looked_at_spider:
            self.look_at_spider()
        registered = [self._make(each, "@session_config") for each in registered_configs()]
        if self._spider is not None:
            found = [self._spider]
        else:
            wanted = set(sites)
            found = [*map(self.of, urls), *(each for each in (*registered, self._default) if each.site in wanted)]
        return [each for each in dict.fromkeys(found) if _defines_logins(each)]

    def default_login(self) -> list[SessionConfig]:
        """Return the config of all URLs that have no other, if it defines what a login is."""
        found = self._default if self._spider is None else self._spider
        return [found] if _defines_logins(found) else []

    def look_at_spider(self, spider: object = None) -> None:
        """Take the ``session_config`` of *spider*, by default of the crawler's, once there is one."""
        spider = self._crawler.spider if spider is None else spider
        self._looked_at_spider = spider is not None
        own = getattr(spider, "session_config", None)
        if own is not None:
            if isinstance(own, SessionConfig):
                self._spider = self._checked(own)
            else:
                self._spider = self._make(own, "session_config of the spider")

    def _make(self, value: Any, source: str) -> SessionConfig:
        try:
            cls = load_object(value)
        except (ImportError, NameError, ValueError, TypeError) as e:
            raise SessionConfigurationError(f"{source}: {value!r} can't be imported ({e})") from e
        if not is_config(cls):
            raise SessionConfigurationError(f"{source}: {value!r} is not a subclass of scrapy_sessions.SessionConfig")
        config = self._made.get(cls)
        if config is None:
            config = self._made[cls] = self._checked(cls.from_crawler(self._crawler))
        return config

    def _checked(self, config: SessionConfig) -> SessionConfig:
        check_login(config)
        if config.can_log_in:  # without leases, every process would log the same session in
            LeaseStore.of(self._store, f"{type(config).__name__}.login()")
        return config
