"""Resolvers for crawls of the tests: every ``*.test`` name (RFC 6761, section 6.2), or every name, is 127.0.0.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scrapy.resolver import CachingThreadedResolver
from scrapy.settings import default_settings
from twisted.internet.defer import Deferred, succeed

__all__ = ["ANY_HOST", "RESOLVER_SETTINGS", "AnyHostResolver", "LoopbackResolver"]

# Scrapy 2.15 renamed it, and later versions warn about the old name.
_SETTING = "TWISTED_DNS_RESOLVER" if hasattr(default_settings, "TWISTED_DNS_RESOLVER") else "DNS_RESOLVER"


class LoopbackResolver(CachingThreadedResolver):
    """Answers ``*.test`` with 127.0.0.1, without a query, and leaves every other name to Scrapy's resolver."""

    def getHostByName(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        if name.rstrip(".").lower().endswith(".test"):
            return succeed("127.0.0.1")
        return super().getHostByName(name, timeout)


RESOLVER_SETTINGS = {_SETTING: f"{__name__}.LoopbackResolver"}
"""The settings that make a crawl in its own process use it (a :class:`~scrapy.crawler.CrawlerProcess` installs it)."""


class AnyHostResolver(LoopbackResolver):
    """Answers every name with 127.0.0.1: a crawl can then visit hosts under real public suffixes."""

    def getHostByName(self, name: str, timeout: Sequence[int] = ()) -> Deferred[str]:
        return succeed("127.0.0.1")


ANY_HOST: dict[str, Any] = {_SETTING: f"{__name__}.AnyHostResolver"}
