"""Thousands of faults of the store, at random calls: what was saved isn't lost, and what was deleted doesn't come back.

``INJECTED_FAULTS`` is how many faults are injected; ``tox -e long`` injects more. The store fails before a call, or
after it (the answer is lost), and answers late. Processes are killed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from scrapy_sessions import SessionManager, StoreError
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Outcome, Row
from tests.support.shop import Shop, buy, failures, pages
from tests.support.stores import Chaotic

FAULTS = int(os.environ.get("INJECTED_FAULTS", "10000"))
NAMES = [f"s{number}" for number in range(12)]


class Life:
    """Processes that use one store, one after the other, and what must be in it."""

    def __init__(self, seed: int, store: type[Chaotic] = Chaotic) -> None:
        self.source = random.Random(seed)
        self.store = store(self.source)
        self.count = 0
        self.written: dict[str, int] = {}  # in memory, in the process of now
        self.saved: dict[str, int] = {}  # what a flush has confirmed
        self.deleted: dict[str, int] = {}  # the count at a confirmed deletion: nothing older may be there

    def manager(self) -> SessionManager:
        settings = SessionsSettings(save_interval=0.0, cache_size=4, idle_timeout=0.0)
        return SessionManager(store=self.store, namespace="shop", settings=settings)

    async def run(self, steps: int) -> None:
        while steps > 0:
            self.store.rate = 0.0  # a store that fails at the start is an error at once
            manager = self.manager()
            await manager.open()
            self.written = {}
            self.store.rate = self.source.choice((0.05, 0.3, 0.8))
            for _ in range(self.source.randint(5, 60)):
                steps -= 1
                await self.step(manager)
            if self.source.random() < 0.5:
                await self.kill(manager)
            else:
                self.store.rate /= 2
                try:
                    await manager.close()
                except StoreError:
                    continue
                self.saved.update(self.written)
        self.store.rate = 0.0

    async def step(self, manager: SessionManager) -> None:
        name = self.source.choice(NAMES)
        action = self.source.choices(("use", "flush", "delete", "cleanup", "wait"), (10, 3, 1, 1, 3))[0]
        try:
            if action == "use":
                session = await manager.get(name)
                self.count += 1
                session.cookies.set("n", str(self.count), domain="shop.test")
                session.record("came")
                self.written[name] = self.count
                if self.source.random() < 0.2 and await manager.save_session(name, session):
                    self.saved[name] = self.written[name]
            elif action == "flush":
                await manager.flush()
                live = {each for each in self.written if self.is_live(manager, each)}
                self.saved.update({each: self.written[each] for each in live})
            elif action == "delete":
                self.saved.pop(name, None)
                self.written.pop(name, None)
                if await manager.delete_session(name):
                    self.deleted[name] = self.count
            elif action == "cleanup":
                await manager.cleanup_expired_sessions()
            else:
                await asyncio.sleep(0)
        except StoreError:
            pass

    @staticmethod
    def is_live(manager: SessionManager, name: str) -> bool:
        session = registry_of(manager).ready(name)
        return session is not None and not session.closed

    @staticmethod
    async def kill(manager: SessionManager) -> None:
        """The process ends, and saves nothing any more."""
        writer = registry_of(manager).writer
        if writer._timer is not None:
            writer._timer.cancel()
        tasks = [*writer._saving, *([] if writer._task is None else [writer._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def check(self) -> None:
        """Each session is at least as new as its last confirmed save, and newer than its last deletion."""
        manager = self.manager()
        await manager.open()
        for name in NAMES:
            record = await manager.load_session(name)
            value = 0 if record is None else int(next((c.value for c in record.cookies if c.name == "n"), "0"))
            assert value >= self.saved.get(name, 0), f"{name}: {value}, saved {self.saved.get(name)}"
            assert record is None or value > self.deleted.get(name, 0), f"{name} came back"
        await manager.close()


@pytest.mark.parametrize("worker", range(4))
async def test_faults_of_the_store(worker: int, caplog: pytest.LogCaptureFixture) -> None:
    """No session that was saved is lost, none that was deleted comes back, and nothing but StoreError is raised."""
    caplog.set_level("CRITICAL")
    faults: Counter[str] = Counter()
    seed = worker * 1_000_000
    while sum(faults.values()) < FAULTS / 4:
        seed += 1
        life = Life(seed)
        await life.run(400)
        await life.check()
        faults += life.store.faults
    assert {"save failed", "save lost its answer", "delete lost its answer", "load failed"} <= set(faults)


class Lying(Chaotic):
    """Says that it saved, and sometimes didn't."""

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        if self.rate and self.source.random() < 0.1:
            return [Outcome.SAVED] * len(rows)
        return await super().save(rows)


async def test_a_loss_is_found() -> None:
    """A store that loses a save is found out: the test above can fail."""
    losses = 0
    for seed in range(40):
        life = Life(seed, Lying)
        await life.run(30)
        try:
            await life.check()
        except AssertionError:
            losses += 1
    assert losses


async def test_a_crawl_on_such_a_store(shop: Shop) -> None:
    """Every third call of the store fails: the crawl ends as usual, but for requests whose session can't be loaded."""
    requests = [{"path": f"/page/{number}", "meta": {"session_id": f"s{number % 20}"}} for number in range(300)]
    settings = {
        "SESSIONS_STORE": "tests.support.stores.Crumbling",
        "SESSIONS_SAVE_INTERVAL": 0.01,
        "SESSIONS_CACHE_SIZE": 30,
        "LOG_LEVEL": "CRITICAL",
    }
    crawler = await buy(shop, settings, requests, None)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "finished"
    failed = failures(crawler)
    assert set(failed) == {"StoreError"}
    assert len(failed) < 30
    assert [status for status, _ in pages(crawler)] == [200] * (300 - len(failed))
