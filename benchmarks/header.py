"""What a site costs that set thousands of cookies: our jar is bounded per domain, Scrapy's is not."""

from __future__ import annotations

from benchmarks.chains import OFF, OURS, SCRAPY, Job, run
from benchmarks.cost import times_of
from benchmarks.figures import Row, Size

__all__ = ["measure"]

_SHARE = 40  # one in so many of the usual requests: Scrapy takes tens of milliseconds for each here


def measure(size: Size) -> list[Row]:
    """Measure as ``cost`` does, in one session that was set ``size.cookies`` cookies on one domain."""
    fewer = size._replace(requests=max(10, size.requests // _SHARE), sets=1)
    sides = {"off": OFF, "scrapy": SCRAPY, "ours": OURS}
    sides = {name: side._replace(cookies=size.cookies, bears=side.bears and None) for name, side in sides.items()}
    (took,) = run(sides, fewer, Job(sessions=1))
    return [times_of(f"CPU per request, {size.cookies} cookies set on one domain", took)]
