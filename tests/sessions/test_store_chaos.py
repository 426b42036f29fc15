"""Thousands of faults of the store, at random calls: what was saved isn't lost, and what was deleted doesn't come back.

``INJECTED_FAULTS`` is how many faults are injected; ``tox -e long`` injects more. The store fails before a call, or
after it (the answer is lost), and answers late. Processes are killed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from scrapy_sessions import SessionManager, StoreError
from scrapy_sessions.sessions import saver, write_behind
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Outcome, Row, base
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


class Fleet:
    """Processes that use one store at the same time, each with several tasks, and one after the other in each place."""

    def __init__(self, seed: int, store: type[Chaotic] = Chaotic) -> None:
        self.source = random.Random(seed)
        self.store = store(self.source)
        self.count = 0
        self.saved: dict[str, set[str]] = {name: set() for name in NAMES[:3]}  # what a save or flush has confirmed

    async def run(self) -> None:
        rate = self.source.choice((0.0001, 0.05, 0.3, 0.6))
        await asyncio.gather(*(self.place(rate) for _ in range(3)))
        self.store.rate = 0.0

    async def place(self, rate: float) -> None:
        for _ in range(3):
            settings = SessionsSettings(
                save_interval=self.source.choice((0.0, 3600.0)), cache_size=self.source.choice((0, 2)), idle_timeout=0.0
            )
            manager = SessionManager(store=self.store, namespace="shop", settings=settings)
            self.store.rate = 0.0
            await manager.open()
            self.store.rate = rate
            written: dict[str, set[str]] = {name: set() for name in self.saved}
            tasks = [asyncio.ensure_future(self.task(manager, written)) for _ in range(3)]
            if self.source.random() < 0.5:
                for _ in range(self.source.randint(5, 150)):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await Life.kill(manager)
                continue
            await asyncio.gather(*tasks)
            try:
                await manager.close()
            except StoreError:
                continue
            self.confirm(written)

    async def task(self, manager: SessionManager, written: dict[str, set[str]]) -> None:
        for _ in range(12):
            name = self.source.choice(list(written))
            action = self.source.choices(("use", "flush", "save", "pull", "wait"), (8, 2, 3, 1, 3))[0]
            before = {each: values.copy() for each, values in written.items()}
            try:
                session = await manager.get(name)
                if action == "use":
                    self.count += 1
                    runtime_of(session).pages_visited += 1
                    session.record(f"n{self.count}")
                    session.data[f"n{self.count}"] = True
                    written[name].add(f"n{self.count}")
                elif action == "flush":
                    await manager.flush()
                    self.confirm(before)
                elif action == "save":
                    if await manager.save_session(name, session):
                        self.confirm({name: before[name]})
                elif action == "pull":
                    await registry_of(manager).refresh_record(runtime_of(session))
                else:
                    await asyncio.sleep(0)
            except StoreError:
                pass

    def confirm(self, written: dict[str, set[str]]) -> None:
        for name, values in written.items():
            self.saved[name] |= values

    async def check(self) -> None:
        """Each change that was confirmed is there, and each that is there is counted once."""
        manager = SessionManager(store=self.store, namespace="shop", settings=SessionsSettings(idle_timeout=0.0))
        await manager.open()
        for name, values in self.saved.items():
            record = await manager.load_session(name)
            there = {} if record is None else record.data
            assert values <= set(there), f"{name}: lost {values - set(there)}"
            if record is not None:
                assert record.pages_visited == len(there)
                assert len(set(record.actions_performed)) == len(record.actions_performed)
        await manager.close()


async def test_faults_with_processes_at_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails, nothing that was confirmed is lost, and nothing is counted twice."""
    caplog.set_level("CRITICAL")
    # A save whose answer was lost is recognised by its stamp, unless more saves followed than a row remembers.
    monkeypatch.setattr(base, "_STAMPS", 60)
    monkeypatch.setattr(saver, "_UNANSWERED", 40)
    faults, seed = 0, 0
    while faults < FAULTS:
        seed += 1
        for module in (saver, write_behind):
            monkeypatch.setattr(module, "_SLICE", seed % 2 - 0.5)  # others' turn after each session, or never
        fleet = Fleet(seed)
        await fleet.run()
        await fleet.check()
        faults += sum(fleet.store.faults.values())


class Lying(Chaotic):
    """Says that it saved, and sometimes didn't."""

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        if self.rate and self.source.random() < 0.1:
            return [Outcome.SAVED] * len(rows)
        return await super().save(rows)


async def fails(check: Coroutine[Any, Any, None]) -> bool:
    try:
        await check
    except AssertionError:
        return True
    return False


async def test_a_loss_is_found() -> None:
    """A store that loses a save is found out: the tests above can fail."""
    losses: Counter[str] = Counter()
    for seed in range(40):
        life, fleet = Life(seed, Lying), Fleet(seed, Lying)
        await life.run(30)
        await fleet.run()
        losses["life"] += await fails(life.check())
        losses["fleet"] += await fails(fleet.check())
    assert losses["life"]
    assert losses["fleet"]


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
