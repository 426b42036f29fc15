"""Random worlds, by family, and where the randomness comes from: a seed, or hypothesis, which shrinks what fails."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from tests.support.simulator.world import World

__all__ = ["FAMILIES", "Drawn", "Seeded"]

_T = TypeVar("_T")
_CONCURRENCY = (1, 2, 4, 8, 16, 32)


class Source(Protocol):
    """Draws what a world is made of."""

    def choice(self, options: Sequence[_T]) -> _T:
        """One of *options*."""

    def number(self, low: int, high: int) -> int:
        """A number from *low* to *high*, both included."""

    def some(self, of: int, share: float) -> frozenset[int]:
        """About that *share* of the numbers below *of*."""


class Seeded:
    """Draws from *seed*."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choice(self, options: Sequence[_T]) -> _T:
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def some(self, of: int, share: float) -> frozenset[int]:
        return frozenset(n for n in range(of) if share and self._random.random() < share)


class Drawn:
    """Draws by hypothesis. :param data: what ``st.data()`` gives"""

    def __init__(self, data: Any) -> None:
        self._data = data

    def choice(self, options: Sequence[_T]) -> _T:
        return self._data.draw(st.sampled_from(options))  # type: ignore[no-any-return]

    def number(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))  # type: ignore[no-any-return]

    def some(self, of: int, share: float) -> frozenset[int]:
        if not share or not of:
            return frozenset()
        if share >= 1:
            return frozenset(range(of))
        most = min(of, _ceil(of * share * 1.5))
        return self._data.draw(st.frozensets(st.integers(0, of - 1), max_size=most))  # type: ignore[no-any-return]


def _ceil(value: float) -> int:
    return int(-(-value // 1))


def _with_login(source: Source, pages: int) -> dict[str, Any]:
    size = source.choice((1, 1, 1, 2, 3, 4, 6, 8))
    named = size == 1 and source.choice((True, True, True, False))
    bad = source.some(size, source.choice((0.0, 0.0, 0.3))) if size > 1 else frozenset()
    locked = frozenset(account for account in sorted(bad) if source.choice((True, False, False)))
    probe = source.choice((False,) * 6 + (True,))
    kept = frozenset({0}) if probe else frozenset()  # a page for logged-in sessions only
    closed_to = frozenset(
        (page, account)
        for account in range(size)
        for page in source.some(pages, source.choice((0.0, 0.0, 0.02, 0.2))) - kept
    )
    return {
        "kind": "named" if named else "accounts",
        "pages": pages,
        "size": size,
        "concurrency": source.choice(_CONCURRENCY),
        "closed": source.some(pages, source.choice((0.0, 0.0, 0.02, 0.1, 0.3))) - kept,
        "closed_to": closed_to,
        "public": source.some(pages, source.choice((0.0, 0.0, 0.3, 1.0))) - kept,
        "foreign": source.some(pages, source.choice((0.0, 0.0, 0.05))) - kept,
        "gone": source.some(pages, source.choice((0.0, 0.0, 0.05))) - kept,
        "vanishes": source.some(pages, source.choice((0.0, 0.0, 0.0, 0.1))) - kept,
        "posts": source.some(pages, source.choice((*(0.0,) * 16, *(0.1, 0.2) * 3, 1.0))) - kept,
        "refusal": source.choice((401, 401, 403, 302)),
        "wrong": bad - locked,
        "locked": locked,
        "saved": source.choice(("", "", "alive", "dead")),
        "login_seconds": source.choice((0.1, 0.5, 3.0, 30.0)),
        "busy": source.choice((0, 0, 0, 1, 2)),
        "faults": source.choice((0, 0, 0, 1, 2)),
        "latency": source.choice((0.01, 0.1, 1.0)),
        "probe": probe,
        "seed": source.number(0, 1 << 16),
    }


def lasting(source: Source) -> World:
    """A login lasts at least 50 requests."""
    pages = source.choice((5, 20, 30, 60, 120))
    given = _with_login(source, pages)
    given["least"] = 50
    how = source.choice(("", "uses", "lasts", "chance", "logouts", "logouts", "quota"))
    if how == "uses":
        given["uses"] = source.number(50, 90)
    elif how == "lasts":
        given["lasts"] = source.choice((1.0, 5.0, 20.0))
    elif how == "chance":
        given["chance"] = source.choice((0.01, 0.05))
    elif how == "logouts":
        count = source.number(1, 3)
        given["logouts"] = frozenset(source.number(1, 3 * pages) for _ in range(count))
        given["least"] = 0 if count == 1 else 50
    elif how == "quota":
        given["quota"] = source.number(5, 60)
    return World(**given)


def short(source: Source) -> World:
    """A login lasts 2 to 10 requests."""
    given = _with_login(source, source.choice((5, 20, 30, 60)))
    given["least"] = 2
    how = source.choice(("uses", "lasts", "chance"))
    if how == "uses":
        given["uses"] = source.number(2, 10)
    elif how == "lasts":
        given["lasts"] = given["latency"] * source.choice((2, 4, 8)) / given["concurrency"] ** 0.5
    else:
        given["chance"] = source.choice((0.1, 0.3))
    return World(**given)


def visitors(source: Source) -> World:
    """A pool of anonymous sessions."""
    pages = source.choice((20, 60, 120, 240))
    return World(
        kind="visitors",
        pages=pages,
        size=source.choice((1, 2, 3, 4, 8, 8, 16, 25)),
        concurrency=source.choice(_CONCURRENCY),
        closed=source.some(pages, source.choice((0.0, 0.0, 0.025, 0.1, 0.3))),
        gone=source.some(pages, source.choice((0.0, 0.0, 0.05))),
        posts=source.some(pages, source.choice((0.0, 0.0, 0.2))),
        refusal=source.choice((401, 403, 403)),
        limit=source.choice((0, 0, 5, 10, 30, 60)),
        latency=source.choice((0.01, 0.1, 1.0)),
        seed=source.number(0, 1 << 16),
    )


def sticky(source: Source) -> World:
    """A pool of anonymous sessions, and flows of three steps."""
    pages = source.choice((10, 30, 60))
    return World(
        kind="sticky",
        pages=pages,
        size=source.choice((2, 3, 4, 8)),
        concurrency=source.choice(_CONCURRENCY),
        closed=source.some(pages, source.choice((0.0, 0.0, 0.1))),
        refusal=source.choice((401, 403)),
        limit=source.choice((0, 10, 30)),
        latency=source.choice((0.01, 0.1, 1.0)),
        seed=source.number(0, 1 << 16),
    )


def banned(source: Source) -> World:
    """From some request on, the site turns everybody away."""
    pages = source.choice((20, 60, 150))
    return World(
        kind="visitors",
        pages=pages,
        size=source.choice((1, 2, 4, 8, 16, 25)),
        concurrency=source.choice(_CONCURRENCY),
        closed=source.some(pages, source.choice((0.0, 0.0, 0.1))),
        refusal=source.choice((401, 403, 403)),
        limit=source.choice((0, 0, 10)),
        banned_at=source.number(1, pages),
        latency=source.choice((0.01, 0.1, 1.0)),
        seed=source.number(0, 1 << 16),
    )


FAMILIES: dict[str, Callable[[Source], World]] = {
    "lasting": lasting,
    "short": short,
    "visitors": visitors,
    "sticky": sticky,
    "banned": banned,
}
