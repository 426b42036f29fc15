"""What a site costs that set thousands of cookies: our jar is bounded per domain, Scrapy's is not."""

from __future__ import annotations

import asyncio

from benchmarks.cost import compare_chains
from benchmarks.figures import Figure, Size

__all__ = ["measure"]

_SHARE = 40  # one in so many of the usual requests: Scrapy takes tens of milliseconds for each here


def measure(size: Size) -> list[Figure]:
    """Measure as ``cost`` does, in one session that was set ``size.cookies`` cookies on one domain."""
    fewer = size._replace(requests=max(10, size.requests // _SHARE))
    name = f"CPU per request, {size.cookies} cookies set on one domain"
    return [asyncio.run(compare_chains(name, fewer, sessions=1, cookies=size.cookies))]
