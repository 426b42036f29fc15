"""Whose turn it is in a pool: in turn, the least used, or at random; in as many steps at any size."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from scrapy_sessions.pools.pool import Pool
from scrapy_sessions.pools.strategies import STRATEGIES, LeastUsed
from scrapy_sessions.settings import SessionsSettings

EACH = sorted(STRATEGIES)


def pool(strategy: str = "round_robin", **options: Any) -> Pool:
    return Pool.declared("p", SessionsSettings.model_validate({"pools": {"p": {"strategy": strategy, **options}}}))


def picks(shop: Pool, number: int, **wishes: Any) -> Counter[str]:
    return Counter(shop.pick(**wishes) for _ in range(number))


@pytest.mark.parametrize("strategy", ["round_robin", "least_used"])
@pytest.mark.parametrize("options", [{"size": 5}, {"sessions": list("abcde")}])
def test_even_strategies(strategy: str, options: Any) -> None:
    """In turn, and by least use, each session gets the same number of requests, to within one at any moment."""
    shop, counts = pool(strategy, **options), Counter[str]()
    for number in range(1, 41):
        counts[shop.pick()] += 1
        assert max(counts.values()) - (min(counts.values()) if number >= 5 else 0) <= 1
    assert set(counts.values()) == {8}


def test_random_is_fair(monkeypatch: pytest.MonkeyPatch) -> None:
    """At random, each session gets about the same number of requests, in no fixed order."""
    monkeypatch.setattr(random, "randrange", random.Random(5).randrange)
    shop = pool("random", size=5)
    order = [shop.pick() for _ in range(1000)]
    assert all(150 < count < 250 for count in Counter(order).values())
    assert len(Counter(order)) == 5
    assert order[:5] != order[5:10]


def test_least_used_counts_requests_that_name_their_session() -> None:
    """A session that is named by requests gets fewer of the pool's, until the others have caught up."""
    shop = pool("least_used", size=3)
    picks(shop, 3)
    for _ in range(4):
        shop.record_use("p#2")
    assert picks(shop, 8) == {"p#1": 4, "p#3": 4}
    assert picks(shop, 3) == {"p#1": 1, "p#2": 1, "p#3": 1}


def test_least_used_counts_no_look() -> None:
    """A session that was looked at, and passed over because it is busy, has not been used by that."""
    shop = pool("least_used", size=3)
    assert picks(shop, 4, backlog=lambda session_id: (float(session_id == "p#1"), 0)) == {"p#2": 2, "p#3": 2}
    assert picks(shop, 2) == {"p#1": 2}


def test_a_new_session_begins_level() -> None:
    """The successor of a retired session begins level with the least used one, and doesn't get all requests."""
    shop = pool("least_used", size=3)
    picks(shop, 300)
    shop.retire_slot("p#2")
    assert picks(shop, 30) == {"p#1": 10, "p#3": 10, "p#5": 10}


@pytest.mark.parametrize("strategy", EACH)
def test_retired_accounts_have_no_turn(strategy: str) -> None:
    """Accounts that are retired get no request, the others share them evenly."""
    shop = pool(strategy, sessions=[f"{number}" for number in range(12)])
    picks(shop, 12)
    for number in range(8):
        shop.retire_slot(f"{number}")
    counts = picks(shop, 400)
    assert set(counts) == {"8", "9", "10", "11"}
    assert all(60 < count < 140 for count in counts.values())


@pytest.mark.parametrize("strategy", EACH)
def test_sessions_are_made_when_needed(strategy: str) -> None:
    """A pool of a million knows of as many sessions as were picked."""
    shop = pool(strategy, size=1_000_000)
    used = {shop.pick() for _ in range(50)}
    assert set(shop._ids.values()) == used
    assert len(used) >= 49


class Looks:
    """Counts the slots that a pool looks at."""

    def __init__(self, shop: Pool) -> None:
        self.number = 0
        self._turns = shop._strategy.turns
        shop._strategy.turns = self.turns  # type: ignore[method-assign]

    def turns(self, size: int) -> Iterator[int]:
        for slot in self._turns(size):
            self.number += 1
            yield slot


@pytest.mark.parametrize("strategy", EACH)
@pytest.mark.parametrize("busy", [False, True])
def test_looks_per_pick(strategy: str, busy: bool) -> None:
    """In a pool of 100,000 a pick looks at one slot, at eight when all sessions are busy."""
    shop = pool(strategy, size=100_000)
    looks = Looks(shop)
    picks(shop, 1000, backlog=lambda session_id: (0.0, int(busy)))
    assert looks.number == (8000 if busy else 1000)


@pytest.mark.parametrize("strategy", EACH)
def test_looks_among_retired_accounts(strategy: str) -> None:
    """With all of 3,000 accounts retired but two, a pick looks at one slot; the last one needs no look."""
    shop = pool(strategy, sessions=[f"{number}" for number in range(3000)])
    for number in range(3000):
        if number not in (1500, 2000):
            shop.retire_slot(f"{number}")
    looks = Looks(shop)
    assert set(picks(shop, 100)) == {"1500", "2000"}
    assert looks.number == 100
    shop.retire_slot("2000")
    assert picks(shop, 100) == {"1500": 100}
    assert looks.number == 100


def test_steps_to_the_heir_of_a_key() -> None:
    """Of a long row of retired accounts, the first look of a key walks along it, later ones take a step."""

    class Steps(dict[int, int]):
        number = 0

        def __contains__(self, place: object) -> bool:
            self.number += 1
            return super().__contains__(place)

    shop = pool(sessions=[f"{number}" for number in range(3000)])
    shop._substitutes = steps = Steps()
    for number in range(2999):
        shop.retire_slot(f"{number}")
    key = next(f"{n}" for n in range(1000) if shop.pick(f"{n}") == "2999")
    steps.number = 0
    for _ in range(100):
        assert shop.pick(key) == "2999"
    assert steps.number <= 500


def test_least_used_keeps_no_empty_level() -> None:
    """What it keeps grows with the sessions, not with the requests."""
    strategy = LeastUsed()
    for _ in range(1000):
        strategy.record_use(next(strategy.turns(3)))
        strategy.record_use(2)
    assert len(strategy._slots) <= 3


@pytest.mark.parametrize("strategy", EACH)
def test_busy_sessions_are_passed_over(strategy: str) -> None:
    """The one of the pool that may go now gets the request, if it is among the next few."""
    shop = pool(strategy, size=2)
    picks(shop, 2)
    counts = picks(shop, 20, backlog=lambda session_id: (float(session_id == "p#1"), 0))
    assert counts == {"p#2": 20}


def test_the_shortest_queue() -> None:
    """When none may go now, the request waits in the session that may go the soonest: they all get their share."""
    shop, waiting = pool(size=5), Counter[str]()
    for _ in range(50):
        waiting[shop.pick(backlog=lambda session_id: (0.0, 1 + waiting[session_id]))] += 1
    assert set(waiting.values()) == {10}


@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_used"])
def test_sessions_to_avoid_hide_no_other(strategy: str) -> None:
    """However many sessions are to be avoided, the one that is left is found."""
    shop = pool(strategy, size=15)
    assert picks(shop, 20, avoid={f"p#{number}" for number in range(1, 15)}) == {"p#15": 20}


def test_sessions_to_avoid_come_last() -> None:
    """A session to avoid is picked only when no other is to be seen, the least busy of them then."""
    shop = pool(size=3)
    assert picks(shop, 6, avoid={"p#1", "p#3"}, backlog=lambda session_id: (5.0, 0)) == {"p#2": 6}
    assert picks(shop, 2, avoid={"p#1", "p#2", "p#3"}, backlog=lambda session_id: (float(session_id != "p#3"), 0)) == {
        "p#3": 2
    }
