"""How the tests crawl the shop in the reactor that runs, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scrapy.crawler import Crawler

from scrapy_sessions import SessionConfig
from tests.support.crawl import Settings, crawl
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop
from tests.support.spiders.buyer import Buyer

__all__ = ["PARALLEL", "buy", "failures", "pages", "spider_of", "stat"]

PARALLEL: dict[str, Any] = {"CONCURRENT_REQUESTS": 32, "CONCURRENT_REQUESTS_PER_DOMAIN": 32}


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
