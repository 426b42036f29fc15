"""CPU per request of all session middlewares, saving to SQLite included, against Scrapy's ``CookiesMiddleware`` alone.

Chains of all downloader middlewares, each in its own process, in turns: with cookies off, with Scrapy's cookies, with
sessions, with what others made. What cookies cost is a chain less the one with cookies off, of the same turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.chains import COOKIES, OFF, OURS, PEERS, SCRAPY, Job, Times, available, run
from benchmarks.figures import Figure, Missing, Row, Size, compare

__all__ = ["measure", "times_of"]

_MIDDLEWARE = "CookiesMiddleware"
_PAGES_A_SECOND = 400


def measure(size: Size) -> list[Row]:
    """Measure the downloader middlewares, the same with one cookie, with many sessions, and all that is ours."""
    return [*_downloader_middlewares(size), *_more(size)]


def _downloader_middlewares(size: Size) -> list[Row]:
    peers, faults = available(PEERS) if size.peers else ({}, dict.fromkeys(PEERS, "left out"))
    few = OURS._replace(cookies=1, bears=1)
    (took,) = run({"off": OFF, "scrapy": SCRAPY, "ours": OURS, "few": few, **peers}, size, Job(every=(10, 1)))
    rows: list[Row] = []
    for every, bound in ((10, 0.6), (1, 0.9)):
        name = f"CPU per request, Set-Cookie on 1 of {every}"
        rows.append(times_of(name, took, every, bound=bound))
        rows += [
            times_of(name, took, every, other=peer, against=peer)
            if peer in peers
            else Missing(name, peer, faults[peer])
            for peer in PEERS
        ]
    name = f"CPU per request, {COOKIES} cookies in the jar"
    rows.append(times_of(name, took, 10, other="few", against="1 cookie in the jar", bound=1.2))
    return rows


def _more(size: Size) -> list[Row]:
    # As many sessions as a second has requests: no two requests share a save.
    many = min(_PAGES_A_SECOND, size.requests)
    sides = {"off": OFF, "scrapy": SCRAPY, "ours": OURS}
    by_many, by_page = run(sides, size, Job(sessions=many), Job(whole_page=True))
    page = "CPU per page, spider middleware and fingerprinter too, Set-Cookie on 1 of 10"
    return [
        times_of(f"CPU per request, Set-Cookie on 1 of 10, {many} sessions", by_many),
        times_of(page, by_page, against=f"{_MIDDLEWARE}, Scrapy's fingerprinter"),
    ]


def times_of(
    name: str,
    took: Times,
    every: int = 10,
    *,
    other: str = "scrapy",
    against: str = _MIDDLEWARE,
    bound: float | None = None,
) -> Figure:
    """Return the row of ours and *other* in *took*, both less what the chain without cookies took."""
    sides: list[Sequence[float]] = [took[side, every] for side in ("ours", other, "off")]
    return compare(name, sides[0], sides[1], "us", against, less=sides[2], bound=bound, paired=True)
