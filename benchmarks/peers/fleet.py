"""Worker: many simulated processes, which claim sessions on a Redis server: in line, by polling, or as sets."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from serve import serve

from scrapy_sessions.storage import Claim, Lease
from scrapy_sessions.storage.redis.store import RedisStore

NAMESPACE, POOL = "bench", "staff"
PLACE = (NAMESPACE, POOL)
TTL = 30.0  # seconds
_A_STORE = 50  # simulated processes; a store has a thousand connections, and 32 commands in progress


class Fleet:
    """The commands."""

    async def open(self, url: str, processes: int) -> None:
        """Have so many simulated *processes*, each with a holder of its own."""
        self._stores = [RedisStore(url) for _ in range(-(-processes // _A_STORE))]
        for store in self._stores:
            await store.open()
        self._holders = [f"{os.getpid()} {number}" for number in range(processes)]
        self._held: dict[str, list[Claim]] = {}

    async def enrol(self, sessions: list[str]) -> None:
        """Enrol *sessions* in the pool, for all processes."""
        await self._stores[0].enrol(*PLACE, self._holders[0], sessions, TTL)

    async def line(self, seconds: float, hold: float) -> dict[str, list[Any]]:
        """Claim a session, wait in line for it, give it back after *hold* seconds, and so on, for some *seconds*."""

        async def claim(store: RedisStore, holder: str, end: float) -> list[Claim]:
            while not (held := (await store.claim(*PLACE, holder, [], 1, TTL)).held):
                left = end - time.perf_counter()
                if left <= 0:
                    break
                await store.wait(*PLACE, holder, min(left, TTL / 3))
            return held

        async def give_back(store: RedisStore, held: list[Claim]) -> bool:
            return all(await store.give_back(*PLACE, held))

        return await self._compete(claim, give_back, seconds, hold)

    async def poll(self, sessions: list[str], seconds: float, hold: float) -> dict[str, list[Any]]:
        """Lease any of *sessions*, or try again after *hold* seconds, and so on."""

        async def lease(store: RedisStore, _: str, end: float) -> Lease | None:
            while True:
                found = await store.lease(NAMESPACE, random.choice(sessions), TTL)
                if found is not None or time.perf_counter() > end:
                    return found
                await asyncio.sleep(hold)

        async def release(store: RedisStore, lease: Lease) -> bool:
            return await store.release(lease)

        return await self._compete(lease, release, seconds, hold)

    async def _compete(
        self,
        take: Callable[[RedisStore, str, float], Awaitable[Any]],
        give_back: Callable[[RedisStore, Any], Awaitable[bool]],
        seconds: float,
        hold: float,
    ) -> dict[str, list[Any]]:
        """Return how many sessions each process got, and for how many milliseconds each was waited for."""
        claims = dict.fromkeys(self._holders, 0)
        waits: list[float] = []
        end = time.perf_counter() + seconds

        async def work(store: RedisStore, holder: str) -> None:
            while (began := time.perf_counter()) < end:
                held = await take(store, holder, end)
                if not held:
                    break
                if (got := time.perf_counter()) < end:
                    waits.append((got - began) * 1e3)
                    claims[holder] += 1
                    await asyncio.sleep(hold)
                if not await give_back(store, held):
                    raise AssertionError("A session was taken from its holder")

        await asyncio.gather(*(work(*process) for process in self._processes()))
        return {"claims": list(claims.values()), "waits": waits}

    async def hold(self, share: int) -> int:
        """Let each process hold *share* sessions of the pool, or renew those that it has. Return how many are held."""

        async def renew(store: RedisStore, holder: str) -> int:
            answer = await store.claim(*PLACE, holder, self._held.get(holder, []), share, TTL)
            self._held[holder] = answer.held
            return len(answer.held)

        return sum(await asyncio.gather(*(renew(*process) for process in self._processes())))

    async def lease(self, share: int) -> int:
        """Let each process lease *share* sessions of its own, and release each. Return how many."""

        async def lease(store: RedisStore, holder: str) -> int:
            for number in range(share):
                found = await store.lease(NAMESPACE, f"{holder} {number}", TTL)
                if found is None or not await store.release(found):
                    raise AssertionError("A lease was taken from its holder")
            return share

        return sum(await asyncio.gather(*(lease(*process) for process in self._processes())))

    async def close(self) -> None:
        """Close all stores."""
        for store in self._stores:
            await store.close()

    def _processes(self) -> list[tuple[RedisStore, str]]:
        return [(self._stores[number // _A_STORE], holder) for number, holder in enumerate(self._holders)]


if __name__ == "__main__":
    fleet = Fleet()
    serve({name: getattr(fleet, name) for name in ("open", "enrol", "line", "poll", "hold", "lease", "close")})
