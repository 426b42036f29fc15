"""Random worlds, played by the simulator: nobody is blamed without evidence.

``SIMULATED_WORLDS`` is how many worlds are played in all; ``tox -e long`` plays 100,000. A world that fails is printed
as a short script.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from tests.support.simulator import Totals, World, play
from tests.support.simulator.worlds import FAMILIES, Drawn, Seeded

WORLDS = int(os.environ.get("SIMULATED_WORLDS", "2000"))
SHARES = {"lasting": 0.4, "short": 0.15, "visitors": 0.25, "sticky": 0.1, "banned": 0.1}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Nobody reads the log of thousands of crawls."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def simulate(family: str) -> Totals:
    """Play the worlds of *family*, and return the sums. Raises for the first world in which something must not be."""
    totals = Totals()

    @settings(
        max_examples=round(WORLDS * SHARES[family]),
        derandomize=WORLDS <= 2000,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        outcome = play(FAMILIES[family](Drawn(data)))
        totals.add(outcome)
        note(str(outcome))
        assert outcome.faults() == [], f"\n{outcome}"

    check()
    print(f"{family}: {totals}")
    return totals


@pytest.mark.heavy
@pytest.mark.parametrize("family", FAMILIES)
def test_worlds(family: str) -> None:
    """In every world: no page under a wrong user, nobody wrongly ended, no page lost while a witness is known, and
    logins, tries and requests within their bounds. Over all: one good page in 10,000 is lost at the most where a login
    lasts for at least 50 requests, and a refusal costs 1.3 questions at the most.
    """
    totals = simulate(family)
    assert totals["questions"] <= 1.3 * totals["refusals"]
    if family == "lasting":
        assert totals["lost"] <= max(totals["pages"] / 10_000, 1)
    elif family != "short":
        assert totals["lost"] == 0


@pytest.mark.parametrize(
    ("family", "seed"),
    [
        ("lasting", 2004),  # refusals of one inquiry counted as a row, though other pages were good while they came
        ("lasting", 3308),
        ("lasting", 206655),  # a page that an account refused before it logged in again was not sent to it again
        ("visitors", 1272),  # a page was sent again each time it didn't wait for its inquiry
        ("banned", 355),  # a new session sent many requests at once, before the site had accepted it
    ],
)
def test_a_world_that_went_wrong(family: str, seed: int) -> None:
    """These worlds once lost pages, or cost too many requests."""
    outcome = play(FAMILIES[family](Seeded(seed)))
    assert outcome.faults() == [], f"\n{outcome}"
    assert outcome.lost == []


def test_a_world_is_played_the_same_way_twice() -> None:
    """A world is its own script: what comes of it depends on nothing else."""
    world = World(kind="accounts", size=2, closed=frozenset({3}), uses=9, chance=0.1, pages=40)
    first, second = play(world), play(world)
    assert first.story(1000) == second.story(1000)
    assert str(first) == str(second)


def test_the_truth_finds_faults() -> None:
    """What must not be is found: the simulator can fail."""
    outcome = play(World(closed=frozenset({3})))
    assert outcome.faults() == []
    outcome.site.login_posts[0] += 9
    outcome.site.sent["http://shop.test/p/3"] += 30
    outcome.lost_with_witness.append("7/1")
    outcome.ended.append("a0")
    outcome.wrong.append("8/1")
    assert len(outcome.faults()) == 5
