"""A session's concurrency, as the site counts it; its places are given back however a request ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.bans import BanningSite, ask
from tests.support.spiders.asking import Accounts, Inquiring, Suspended

pytestmark = pytest.mark.alone  # it measures time


def most(bans: BanningSite, path: str = "/") -> int:
    """How many requests of one visitor were in flight at once, at the most."""
    return max(seen.beside for seen in bans.journal(path))


@pytest.mark.parametrize("bound", [1, 3])
async def test_concurrency(bans: BanningSite, bound: int) -> None:
    """No session has more than CONCURRENCY requests in flight, and none is slower than it must be."""
    bans.reset(ms=20)
    names = ("alice", "bob")
    first = [(bans.url(f"/{name}/first"), {"session_id": name}) for name in names]
    # The site answers none of these before it has so many of a session at once: they come together on any machine.
    others = [(bans.url(f"/{name}/{n}", beside=bound), {"session_id": name}) for n in range(11) for name in names]
    asked = await ask(steps=[first, others], SESSIONS_CONCURRENCY=bound, concurrency=32)
    assert asked.statuses == {200: 24}
    assert (most(bans, "/alice"), most(bans, "/bob")) == (bound, bound)


async def test_the_concurrency_of_a_pool(bans: BanningSite) -> None:
    """A pool's concurrency goes before CONCURRENCY, 0 too, and holds for each of its sessions."""
    bans.reset(ms=20)
    pools = {"shop": {"size": 3, "concurrency": 2}, "wide": {"size": 1, "concurrency": 0}}
    # The first request of each session goes alone; the site answers the others once it has two of theirs.
    first = [(bans.url(f"/{name}/first"), {"session_pool": name}) for name in ("shop", "shop", "shop", "wide")]
    others = [(bans.url(f"/shop/{n}", beside=2), {"session_pool": "shop"}) for n in range(15)]
    others += [(bans.url(f"/wide/{n}", beside=3), {"session_pool": "wide"}) for n in range(17)]
    asked = await ask(steps=[first, others], SESSIONS_POOLS=pools, SESSIONS_CONCURRENCY=1, concurrency=36)
    assert asked.statuses == {200: 36}
    assert most(bans, "/shop/") == 2
    assert most(bans, "/wide/") > 2
    shares = [len(numbers) for name, numbers in asked.groups().items() if name.startswith("shop")]
    assert (len(shares), min(shares) >= 4) == (3, True)


async def test_those_who_wait_are_not_overtaken(bans: BanningSite) -> None:
    """Requests of a session that may send one at a time arrive in the order of the crawl."""
    await ask(
        *((bans.url(f"/{number:02}"), {"session_id": "alice"}) for number in range(40)),
        SESSIONS_CONCURRENCY=1,
        concurrency=4,
    )
    assert [seen.path for seen in bans.journal()] == [f"/{number:02}" for number in range(40)]


@pytest.mark.parametrize(
    ("query", "settings"),
    [
        ({"drop": 1}, {}),
        ({"drop": 1}, {"RETRY_ENABLED": True, "RETRY_TIMES": 1}),
        ({"status": 500}, {"RETRY_ENABLED": True, "RETRY_TIMES": 1}),
        ({"to": "/there"}, {}),
        ({"status": 403}, {}),
        ({}, {"DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.asking.Ignoring": 300}}),
        ({}, {"DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.asking.Replacing": 300}}),
        ({}, {"DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.asking.Answering": 300}}),
        ({}, {"DOWNLOADER_MIDDLEWARES": {"tests.support.spiders.asking.Returning": 300}}),
    ],
    ids=[
        "dropped",
        "dropped-retried",
        "failed-retried",
        "redirected",
        "suspect",
        "ignored",
        "replaced",
        "answered",
        "returned",
    ],
)
@pytest.mark.parametrize("meta", [{"session_id": "alice"}, {"session_pool": "shop"}], ids=["named", "pooled"])
async def test_places_are_given_back(
    bans: BanningSite, query: dict[str, Any], settings: dict[str, Any], meta: dict[str, Any]
) -> None:
    """A place is free again after an error, redirect or replay, and what a middleware ignores, replaces or answers."""
    # Good pages first: a pool that never had one takes six refusals for the site's, and waits minutes for another try.
    good = [(bans.url("/good"), dict(meta)) for _ in range(2)]
    tested = [(bans.url(f"/{number}", **query), dict(meta)) for number in range(6)]
    asked = await ask(steps=[good, tested], SESSIONS_CONCURRENCY=1, SESSIONS_POOLS={"shop": {"size": 2}}, **settings)
    assert len(asked.answers) + len(asked.failures) == 8
    assert not bans.journal() or most(bans) == 1


async def test_a_session_that_is_retired_while_others_wait_for_it(bans: BanningSite) -> None:
    """Requests that wait for a place in a session go on in others once it is retired: none is forgotten."""
    bans.reset(ms=20)
    asked = await ask(
        (bans.url("/suspended"), {"session_pool": "shop", "dont_retry": True}),
        *((bans.url(f"/{number}"), {"session_pool": "shop"}) for number in range(12)),
        SESSIONS_CONFIG=Suspended,
        SESSIONS_POOLS={"shop": {"size": 1, "concurrency": 1}},
    )
    assert asked.statuses == {200: 13}
    assert asked.groups() == {"shop#1": [0], "shop#2": list(range(1, 13))}
    assert most(bans) == 1


async def test_a_named_session_that_is_retired_while_others_wait_for_it(bans: BanningSite) -> None:
    """Requests that wait for a named session all fail once it is retired."""
    bans.reset(ms=20)
    asked = await ask(
        (bans.url("/suspended"), {"session_id": "alice"}),
        *((bans.url(f"/{number}"), {"session_id": "alice"}) for number in range(6)),
        SESSIONS_CONFIG=Suspended,
        SESSIONS_CONCURRENCY=1,
    )
    assert (asked.statuses, {type(error).__name__ for error in asked.failures.values()}) == (
        {200: 1},
        {"SessionRetired"},
    )
    assert len(asked.failures) == 6


async def test_a_login_while_others_wait(bans: BanningSite) -> None:
    """Requests that wait for a place in a session that has to log in again wait for that, then go."""
    bans.reset(ms=20, limit=4)  # the page of the login, and three others
    asked = await ask(
        *((bans.url(f"/{number}"), {"session_id": "alice"}) for number in range(6)),
        SESSIONS_CONFIG=Accounts,
        SESSIONS_CONCURRENCY=1,
        SITE=bans.url(),
    )
    assert (asked.statuses, asked.stats["logins"], most(bans)) == ({200: 6}, 2, 1)


@pytest.mark.parametrize("settings", [{"SESSIONS_CONCURRENCY": 1}, {"SESSIONS_POOLS": {"shop": {"size": 2}}}])
async def test_a_check_that_fetches(bans: BanningSite, settings: dict[str, Any]) -> None:
    """An async check() may send a request in the session: what it checks doesn't hold the place any more."""
    asked = await ask(
        *((bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(4)),
        SESSIONS_CONFIG=Inquiring,
        **{"SESSIONS_POOLS": {"shop": {"size": 1}}, **settings},
    )
    assert asked.statuses == {200: 4}
    assert len(bans.journal("/who")) == 4


@pytest.mark.parametrize(("size", "alone"), [(2, True), (1, False)])
async def test_the_first_request_of_a_pooled_session(bans: BanningSite, size: int, alone: bool) -> None:
    """The first request of one of several goes alone, so that the site gives it one cookie; in a pool of one not so."""
    bans.reset(ms=50)
    together = {} if alone else {"until": "8:/"}  # answered once all have come
    requests = [(bans.url(f"/{number}", **together), {}) for number in range(8)]
    await ask(*requests, SESSIONS_POOL_SIZE=size)
    newcomers = {seen.sid for seen in bans.journal()}
    assert len(newcomers) == (2 if alone else 8)


async def test_a_first_request_that_fails(bans: BanningSite) -> None:
    """When the first request of a session fails, the next one is the first, and goes alone again."""
    bans.reset(ms=20)
    first = [(bans.url("/drop", drop=1), {"session_pool": "shop"}) for _ in range(2)]
    asked = await ask(
        *first,
        *((bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(8)),
        SESSIONS_POOLS={"shop": {"size": 2}},
    )
    assert (len(asked.failures), asked.statuses) == (2, {200: 8})
    assert len({seen.sid for seen in bans.journal("/p/")}) == 2
