"""The scripts of the pools do what the store in memory does, whatever calls came before."""

from __future__ import annotations

import random

import pytest

from scrapy_sessions.storage import Claim, Claims, ClaimStore, MemoryStore
from scrapy_sessions.testing import Clock
from tests.support.redis_client import open_store
from tests.support.redis_server import RedisServer

POOL = ("shop", "staff")
TTL = 30.0
SESSIONS = [f"s{number}" for number in range(6)]


class Processes:
    """Processes on one store, each with the claims that it knows of."""

    def __init__(self, store: ClaimStore) -> None:
        self.store = store
        self.held: dict[str, list[Claim]] = {}

    async def enrol(self, holder: str) -> list[str]:
        return await self.store.enrol(*POOL, holder, SESSIONS, TTL)

    async def claim(self, holder: str, want: int, *, forget: bool) -> tuple[object, ...]:
        """Claim, without the claims that the process has if it is to *forget* them. Return what the answer says."""
        before = [] if forget else self.held.get(holder, [])
        found: Claims = await self.store.claim(*POOL, holder, before, want, TTL)
        self.held[holder] = sorted(found.held)
        return sorted(claim.session_id for claim in found.held), found.share, found.waiting, found.place

    async def give_back(self, holder: str, few: int, *, retire: bool) -> list[bool]:
        given = self.held.get(holder, [])[:few]
        self.held[holder] = self.held.get(holder, [])[few:]
        return await self.store.give_back(*POOL, given, retire=retire)


@pytest.mark.parametrize("seed", range(20))
async def test_random_calls(redis_server: RedisServer, seed: int) -> None:
    """Random calls of several processes, some of which pause, die or lose answers, have the same answers."""
    source, clock = random.Random(seed), Clock()
    holders = [f"p{number}" for number in range(source.choice((1, 2, 3, 8)))]
    memory = MemoryStore(clock=clock)
    await memory.open()
    async with open_store(redis_server.url, clock=clock) as redis:
        both = Processes(memory), Processes(redis)
        last: dict[str, float] = {}  # when a process claimed: a dead one may get other sessions than it had
        for step in range(150):
            holder, few = source.choice(holders), source.choice((0, 1, 1, 1, 2, 5))
            what = source.choices(("enrol", "claim", "give_back", "pass"), (1 if step else 1000, 10, 10, 4))[0]
            forget = source.random() < 0.1 and clock.now < last.get(holder, 0.0) + TTL
            retire = source.random() < 0.02
            answers: list[object] = []
            if what == "claim":
                last[holder] = clock.now
            if what == "pass":
                clock.now += source.choice((0.001, 1.0, 12.0, 31.0))
            for side in both:
                if what == "enrol":
                    answers.append(await side.enrol(holder))
                elif what == "claim":
                    answers.append(await side.claim(holder, few, forget=forget))
                elif what == "give_back":
                    answers.append(await side.give_back(holder, few, retire=retire))
            assert answers[:1] == answers[1:], (step, what, holder, few, forget, retire)
    await memory.close()
