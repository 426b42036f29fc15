"""The part of the site with a login, :mod:`tests.support.site.login`, and crawls of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from scrapy.crawler import Crawler

from scrapy_sessions import SessionConfig
from tests.support.crawl import Settings, crawl
from tests.support.login_configs import LogsIn
from tests.support.site import HOST, Arrival, Site
from tests.support.spiders.buyer import Buyer

__all__ = ["PARALLEL", "Shop", "buy", "failures", "pages", "spider_of", "stat"]

PARALLEL: dict[str, Any] = {"CONCURRENT_REQUESTS": 32, "CONCURRENT_REQUESTS_PER_DOMAIN": 32}

_PART = 2


class Shop:
    """A handle on that part of *site*."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def reset(self) -> None:
        """Forget everything."""
        self._call("POST", "/_reset")

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self._site.ports[_PART]}{path}"

    def rules(self, **rules: Any) -> None:
        """Go by *rules* from now on: ``denial``, ``hanging``, ``login_ms``, ``refusals``."""
        self._call("POST", "/_rules", json.dumps(rules).encode())

    def robots(self, body: str) -> None:
        """Answer ``/robots.txt`` with *body*."""
        self._call("POST", "/_robots", body.encode())

    def admit(self, user: str) -> str:
        """Log *user* in, without a request that counts, and return the value of the cookie ``auth``."""
        token: str = self._call("POST", "/_admit", user.encode())
        return token

    def expire(self) -> None:
        """Forget who is logged in."""
        self._call("POST", "/_expire")

    def forget(self) -> None:
        """Forget what came."""
        self._call("POST", "/_forget")

    @property
    def users(self) -> dict[str, str]:
        """Who is logged in, by the token that says so."""
        users: dict[str, str] = self._call("GET", "/_users")
        return users

    @property
    def arrivals(self) -> list[Arrival]:
        """What came, oldest first."""
        return [Arrival.of(entry) for entry in self._site.entries(_PART)]

    def came(self, prefix: str, method: str | None = None) -> list[Arrival]:
        """What came for paths that begin with *prefix*, oldest first."""
        return [each for each in self.arrivals if each.path.startswith(prefix) and method in (None, each.method)]

    @property
    def logins(self) -> int:
        """How often somebody tried to log in."""
        return sum(
            each.path.startswith("/token") or (each.path.startswith("/login") and each.method == "POST")
            for each in self.arrivals
        )

    def answered(self, prefix: str, status: int) -> set[str]:
        """The paths under *prefix* that were answered with *status*."""
        return {each.path for each in self.came(prefix) if each.status == status}

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        return self._site.call(method, path, body, part=_PART)


async def buy(
    shop: Shop,
    settings: Settings,
    requests: Sequence[Mapping[str, Any]],
    config: type[SessionConfig] | None = LogsIn,
    *,
    spider: type[Buyer] = Buyer,
    **arguments: Any,
) -> Crawler:
    """Crawl *requests* with *config*, with LOGIN_BACKOFF at next to nothing."""
    settings = {"SESSIONS_STORE": "memory://", "SESSIONS_LOGIN_BACKOFF": 0.01, **PARALLEL, **settings}
    if config is not None:
        arguments["session_config"] = config
    return await crawl(spider, settings, base=shop.url(""), requests=requests, **arguments)


def stat(crawler: Crawler, name: str) -> Any:
    """The stat ``sessions/<name>``."""
    assert crawler.stats is not None
    return crawler.stats.get_value(f"sessions/{name}")


def spider_of(crawler: Crawler) -> Buyer:
    """The spider, which keeps what came."""
    assert isinstance(crawler.spider, Buyer)
    return crawler.spider


def pages(crawler: Crawler) -> list[tuple[int, str]]:
    """Status and text of what the callback got, in its order."""
    return [(response.status, response.text) for response in spider_of(crawler).responses]


def failures(crawler: Crawler) -> list[str]:
    """The exceptions that the errback got, by name."""
    return [type(failure.value).__name__ for failure in spider_of(crawler).failures]
