"""Random worlds, by family. *random* may be one of hypothesis, which then shrinks the world that fails."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.support.simulator.world import World

__all__ = ["FAMILIES", "banned", "lasting", "short", "visitors"]

_CONCURRENCY = (1, 2, 4, 8, 16, 32)


def _some(random: Random, of: int, shares: tuple[float, ...]) -> frozenset[int]:
    share = random.choice(shares)
    return frozenset(n for n in range(of) if random.random() < share) if share else frozenset()


def _with_login(random: Random, pages: int) -> dict[str, Any]:
    size = random.choice((1, 1, 1, 2, 3, 4, 6, 8))
    named = size == 1 and random.random() < 0.8
    closed_to = frozenset(
        (page, account) for account in range(size) for page in _some(random, pages, (0.0, 0.0, 0.02, 0.2))
    )
    bad = _some(random, size, (0.0, 0.0, 0.3)) if size > 1 else frozenset()
    locked = frozenset(n for n in bad if random.random() < 0.3)
    probe = random.random() < 0.15
    never = frozenset({0}) if probe else frozenset()
    return {
        "kind": "named" if named else "accounts",
        "pages": pages,
        "size": size,
        "concurrency": random.choice(_CONCURRENCY),
        "closed": _some(random, pages, (0.0, 0.0, 0.02, 0.1, 0.3)) - never,
        "closed_to": frozenset(pair for pair in closed_to if pair[0] not in never),
        "public": _some(random, pages, (0.0, 0.0, 0.3, 1.0)) - never,
        "foreign": _some(random, pages, (0.0, 0.0, 0.05)) - never,
        "gone": _some(random, pages, (0.0, 0.0, 0.05)) - never,
        "posts": _some(random, pages, (*(0.0,) * 16, *(0.1, 0.2) * 3, 1.0)),
        "refusal": random.choice((401, 401, 403, 302)),
        "wrong": bad - locked,
        "locked": locked,
        "saved": random.choice(("", "", "alive", "dead")),
        "login_seconds": random.choice((0.1, 0.5, 3.0, 30.0)),
        "busy": random.choice((0, 0, 0, 1, 2)),
        "faults": random.choice((0, 0, 0, 1, 2)),
        "latency": random.choice((0.01, 0.1, 1.0)),
        "probe": probe,
        "seed": random.randrange(1 << 16),
    }


def lasting(random: Random) -> World:
    """A login lasts at least 50 requests."""
    pages = random.choice((5, 20, 30, 60, 120))
    given = _with_login(random, pages)
    how = random.choice(("", "uses", "lasts", "chance", "logouts", "logouts", "quota"))
    given["least"] = 50
    if how == "uses":
        given["uses"] = random.randrange(50, 90)
    elif how == "lasts":
        given["lasts"] = random.choice((1.0, 5.0, 20.0))
    elif how == "chance":
        given["chance"] = random.choice((0.01, 0.05))
    elif how == "logouts":
        given["logouts"] = frozenset(random.randrange(3 * pages) for _ in range(random.randrange(1, 4)))
        given["least"] = 0 if len(given["logouts"]) == 1 else 50
    elif how == "quota":
        given["quota"] = random.randrange(5, 60)
    return World(**given)


def short(random: Random) -> World:
    """A login lasts 2 to 10 requests."""
    given = _with_login(random, random.choice((5, 20, 30, 60)))
    how = random.choice(("uses", "lasts", "chance"))
    given["least"] = 2
    if how == "uses":
        given["uses"] = random.randrange(2, 11)
    elif how == "lasts":
        given["lasts"] = given["latency"] * random.choice((2, 4, 8)) / given["concurrency"] ** 0.5
    else:
        given["chance"] = random.choice((0.1, 0.3))
    return World(**given)


def visitors(random: Random) -> World:
    """A pool of anonymous sessions."""
    pages = random.choice((20, 60, 120, 240))
    return World(
        kind="visitors",
        pages=pages,
        size=random.choice((1, 2, 3, 4, 8, 8, 16, 25)),
        concurrency=random.choice(_CONCURRENCY),
        closed=_some(random, pages, (0.0, 0.0, 0.025, 0.1, 0.3)),
        gone=_some(random, pages, (0.0, 0.0, 0.05)),
        posts=_some(random, pages, (0.0, 0.0, 0.2)),
        refusal=random.choice((401, 403, 403)),
        limit=random.choice((0, 0, 5, 10, 30, 60)),
        latency=random.choice((0.01, 0.1, 1.0)),
        seed=random.randrange(1 << 16),
    )


def banned(random: Random) -> World:
    """From some request on, the site turns everybody away."""
    pages = random.choice((20, 60, 150))
    return World(
        kind="visitors",
        pages=pages,
        size=random.choice((1, 2, 4, 8, 16, 25)),
        concurrency=random.choice(_CONCURRENCY),
        closed=_some(random, pages, (0.0, 0.0, 0.1)),
        refusal=random.choice((401, 403, 403)),
        limit=random.choice((0, 0, 10)),
        banned_at=random.randrange(1, pages),
        latency=random.choice((0.01, 0.1, 1.0)),
        seed=random.randrange(1 << 16),
    )


FAMILIES = {"lasting": lasting, "short": short, "visitors": visitors, "banned": banned}
