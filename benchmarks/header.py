"""What thousands of cookies in one session cost: of one domain, where only our jar is bounded, and of many."""

from __future__ import annotations

from benchmarks.chains import OFF, OURS, SCRAPY, Job, run
from benchmarks.cost import times_of
from benchmarks.figures import Row, Size

__all__ = ["measure"]

_PER_HOST = 3
_SHARE = 40  # one in so many of the usual requests: Scrapy takes tens of milliseconds for each here


def measure(size: Size) -> list[Row]:
    """Measure as ``cost`` does, in one session that was set thousands of cookies."""
    return [_one_domain(size), _many_domains(size)]


def _one_domain(size: Size) -> Row:
    fewer = size._replace(requests=max(10, size.requests // _SHARE), sets=1)
    sides = {"off": OFF, "scrapy": SCRAPY, "ours": OURS}
    sides = {name: side._replace(cookies=size.cookies, bears=side.bears and None) for name, side in sides.items()}
    (took,) = run(sides, fewer, Job(sessions=1))
    return times_of(f"CPU per request, {size.cookies} cookies set on one domain", took)


def _many_domains(size: Size) -> Row:
    sides = {"off": OFF, "scrapy": SCRAPY, "ours": OURS}
    sides = {name: side._replace(cookies=_PER_HOST, bears=side.bears and _PER_HOST) for name, side in sides.items()}
    (took,) = run(sides, size._replace(sets=1), Job(every=(1,), sessions=1, hosts=size.hosts))
    cookies = size.hosts * (_PER_HOST + 1)
    name = f"CPU per request over http, Set-Cookie on 1 of 1, {cookies} cookies on {size.hosts} domains"
    return times_of(name, took, 1)
