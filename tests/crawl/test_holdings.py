"""What a process holds of an exclusive pool, step by step, without an engine: when it is used, and given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions.crawl.asking import QUESTION
from scrapy_sessions.crawl.claims import WAITED
from scrapy_sessions.exceptions import PoolBusy, SessionLost, StoreError
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware
from scrapy_sessions.sessions.browser_session import view_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode
from tests.support.crawl import ADDON, session_stats
from tests.support.waiting import at_once, until

TTL = 60.0


class Process:
    """A process with the pool ``staff``, whose sessions are *ids*. Its requests go through the middlewares."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: str | type[MemoryStore], ids: list[str]) -> None:
        settings = {"ADDONS": ADDON, "SESSIONS_STORE": store, "SESSIONS_LEASE_TTL": TTL}
        pools = {"staff": {"sessions": ids, "exclusive": True}}
        self.crawler = get_crawler(settings_dict={**settings, "SESSIONS_POOLS": pools})
        extension = self.crawler.get_extension(SessionsExtension)
        assert extension is not None
        self.extension = extension
        self.router = extension.router
        assert self.router.exclusive is not None
        self.holdings = self.router.exclusive.holdings["staff"]
        self.registry = self.router.registry
        assert isinstance(self.registry.store, MemoryStore)
        self.store = self.registry.store
        self.at_75 = SessionMiddleware(self.router)
        self.at_960 = SessionCookiesMiddleware.from_crawler(self.crawler)
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(self.router.guard, "_is_closing", lambda: False)  # there is no engine

    def begin(self, meta: dict[str, Any] | None = None) -> tuple[Request, asyncio.Future[Any]]:
        """Let a request begin that has to wait, and return it and its wait."""
        request = Request("http://shop.test/", meta={"session_pool": "staff"} if meta is None else meta)
        return request, asyncio.ensure_future(self.at_75.process_request(request))

    async def use(self) -> tuple[Request, SessionRuntime]:
        """Return a request that is in flight, and its session."""
        request, waiting = self.begin()
        assert await waiting is None
        session = self.registry.ready(request.meta["session_id"])
        assert session is not None
        return request, session

    def leave(self, session_id: str = "alice") -> None:
        """Give *session_id* back as soon as possible. The task of the pool doesn't take it again."""
        self.monkeypatch.setattr(self.holdings, "_endure", lambda call: asyncio.Future())
        self.holdings._leave(session_id)

    def end(self, request: Request) -> None:
        inflight = self.router.in_flight.get(request)
        assert inflight is not None
        inflight.end()

    async def stored(self) -> list[str]:
        """Return the actions of alice as they are stored."""
        row = await self.store.load(Key("default", "alice"))
        assert row is not None
        return decode(row).actions_performed

    async def others(self) -> list[str]:
        """Return what another process can take."""
        return [claim.session_id for claim in (await self.store.claim("default", "staff", "other", [], 1, TTL)).held]


@asynccontextmanager
async def process(
    monkeypatch: pytest.MonkeyPatch, store: str | type[MemoryStore] = "memory://", ids: Sequence[str] = ("alice",)
) -> AsyncIterator[Process]:
    one = Process(monkeypatch, store, list(ids))
    try:
        yield one
    finally:
        await one.extension.close()


class Late(MemoryStore):
    """Saves when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = asyncio.Event()
        self.saves = 0

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        self.saves += 1
        await self.allowed.wait()
        return await super().save(rows, tokens)


async def test_nothing_is_sent_under_an_expired_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a pause, a request that has its session already isn't sent, and others wait, until the claim is renewed. As
    nobody has taken it, the session goes on as it was."""
    passed = 0.0
    async with process(monkeypatch) as one:
        monkeypatch.setattr(one.holdings, "_clock", lambda: time.monotonic() + passed)
        first, session = await one.use()
        passed = TTL
        back = one.at_960.process_request(first)
        assert isinstance(back, Request)
        assert back.dont_filter
        second, waiting = one.begin()
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await one.holdings._claim()
        assert await waiting is None
        assert one.at_960.process_request(second) is None
        assert at_once(one.at_75.process_request(back)) is None
        assert one.registry.ready("alice") is session
    assert not one.holdings.held


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_session_given_back_without_an_answer_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, carried_out: bool
) -> None:
    """Another process may have it: it is used again when the store has said that it is still held, and nobody is told
    that it was taken."""
    async with process(monkeypatch) as one:
        request, _ = await one.use()
        one.end(request)
        give_back = one.store.give_back

        async def without_an_answer(*args: Any, **kwargs: Any) -> list[bool]:
            if carried_out:
                await give_back(*args, **kwargs)
            raise StoreError("no answer in time")

        monkeypatch.setattr(one.store, "give_back", without_an_answer)
        one.leave()
        await until(lambda: not one.holdings._leaving)
        monkeypatch.setattr(one.store, "give_back", give_back)
        if carried_out:
            assert await one.others() == ["alice"]
        sent = [one.begin(meta)[1] for meta in ({"session_pool": "staff"}, {"session_id": "alice"})]
        await asyncio.wait(sent, timeout=0.02)
        assert not any(each.done() for each in sent)
        await one.holdings._claim()
        await asyncio.wait(sent, timeout=0.02)
        assert all(each.done() is not carried_out for each in sent)
        for each in sent:
            each.cancel()
        assert "has taken the session" not in caplog.text
        assert "claims_lost" not in session_stats(one.crawler)


async def test_it_is_given_back_after_the_save_that_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that isn't dirty, as it is being saved, isn't stored yet."""
    async with process(monkeypatch, Late) as one:
        assert isinstance(one.store, Late)
        store = one.store
        request, session = await one.use()
        session.record("rotated the cookie")
        one.end(request)
        flushing = asyncio.ensure_future(one.registry.flush())
        await until(lambda: store.saves)
        assert not session.dirty
        one.leave()
        await asyncio.sleep(0.02)
        assert one.holdings.held
        store.allowed.set()
        await flushing
        await until(lambda: not one.holdings.held)
        assert await one.stored() == ["rotated the cookie"]
        assert "fenced" not in session_stats(one.crawler)


async def test_a_question_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is sent while the session is saved to be given back is answered first."""
    async with process(monkeypatch, Late) as one:
        assert isinstance(one.store, Late)
        store = one.store
        request, session = await one.use()
        session.record("came")
        one.end(request)
        one.leave()
        await until(lambda: store.saves)
        question = Request("http://shop.test/", meta={QUESTION: True, "session_id": "alice", "session_pool": "staff"})
        assert await one.at_75.process_request(question) is None
        assert one.at_960.process_request(question) is None
        store.allowed.set()
        await asyncio.sleep(0.02)
        assert await one.others() == []
        one.end(question)
        await until(lambda: not one.holdings.held)


async def test_an_alone_block_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't given back between two requests of a block, and the block goes on; a session that is gone ends it."""
    async with process(monkeypatch) as one:
        request, session = await one.use()
        one.end(request)
        sent: list[Request] = []

        async def download(request: Request) -> Any:
            sent.append(request)
            assert await one.at_75.process_request(request) is None
            one.end(request)

        monkeypatch.setattr(one.router, "_download", download)
        async with view_of(session).alone() as fetch:
            await fetch(Request("http://shop.test/form"))
            one.leave()
            await asyncio.sleep(0.02)
            assert one.holdings.held
            await fetch(Request("http://shop.test/send", method="POST"))
        assert [each.meta["session_id"] for each in sent] == ["alice"] * 2
        await until(lambda: not one.holdings.held)


async def test_a_session_that_is_gone_ends_an_alone_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the block isn't sent in the session that takes its place."""
    async with process(monkeypatch) as one:
        request, session = await one.use()
        one.end(request)
        async with view_of(session).alone() as fetch:
            one.registry.remover.close(session)
            with pytest.raises(SessionLost):
                await fetch(Request("http://shop.test/send", method="POST"))


async def test_a_pause_ends_before_it_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that the site has asked to pause is given back last, and after that; a retired one at once."""
    async with process(monkeypatch, ids=["alice", "bob"]) as one:
        request, session = await one.use()
        one.end(request)
        other = "bob" if session.id == "alice" else "alice"
        session.pause("shop.test", 3600.0)
        await one.store.enrol("default", "staff", "other", ["alice", "bob"], TTL)
        assert await one.others() == []
        await one.holdings._claim()
        await until(lambda: other not in one.holdings.held)
        assert await one.others() == [other]
        one.leave(session.id)
        await asyncio.sleep(0.02)
        assert session.id in one.holdings.held
        session.retire("banned")
        await until(lambda: not one.holdings.held)


async def test_an_open_page_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't given back while a callback works in a page of it, and what the browser has is saved before."""

    class Browser:
        page = asyncio.Event()

        def has_pages(self, session: SessionRuntime) -> bool:
            return not self.page.is_set()

        async def hand_over(self, session: SessionRuntime) -> None:
            await self.page.wait()
            session.record("renewed the token")

    async with process(monkeypatch) as one:
        request, session = await one.use()
        one.end(request)
        browser: Any = Browser()
        monkeypatch.setattr(one.router, "browser", browser)
        assert one.holdings._is_used(session)
        one.leave()
        await asyncio.sleep(0.02)
        assert await one.others() == []
        browser.page.set()
        await until(lambda: not one.holdings.held)
        assert await one.stored() == ["renewed the token"]


async def test_a_session_that_is_given_back_at_the_second_try_has_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store doesn't answer at first, and says then that it is still held. It is given back all the same."""
    async with process(monkeypatch) as one:
        request, _ = await one.use()
        one.end(request)
        give_back = one.store.give_back
        failing = [True]

        async def fails_once(*args: Any, **kwargs: Any) -> list[bool]:
            if failing:
                failing.pop()
                raise StoreError("no answer in time")
            return await give_back(*args, **kwargs)

        monkeypatch.setattr(one.store, "give_back", fails_once)
        monkeypatch.setattr(one.holdings, "_is_needed", lambda: False)
        one.holdings._poked.set()
        await until(lambda: not one.holdings.held)
        assert not one.holdings.pool.has_turns


async def test_a_session_of_another_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its settings name bob, who was used here before: he isn't used before it is known who holds him."""
    async with process(monkeypatch) as one:
        await one.store.enrol("default", "staff", "other", ["bob"], TTL)
        assert await one.others() == ["bob"]
        bob = await one.registry.get("bob", pool="staff")
        assert bob.pool == "staff"
        _, waiting = one.begin({"session_id": "bob"})
        await until(lambda: one.holdings.is_enrolled)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        waiting.cancel()


async def test_only_the_time_in_the_line_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was put off for long goes on waiting where it was; one that has waited for long is refused."""
    passed = 0.0
    async with process(monkeypatch) as one:
        monkeypatch.setattr(one.holdings, "_clock", lambda: time.monotonic() + passed)
        await one.store.enrol("default", "staff", "other", ["alice"], 10 * TTL)
        assert await one.others() == ["alice"]
        request, waiting = one.begin()
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        holder, waited = request.meta[WAITED]
        assert 0 < waited < one.holdings._timeout
        passed = 10 * one.holdings._timeout
        _, waiting = one.begin(request.meta)
        await asyncio.sleep(0.02)
        assert not waiting.done()
        waiting.cancel()
        _, waiting = one.begin({**request.meta, WAITED: [holder, one.holdings._timeout]})
        with pytest.raises(PoolBusy):
            await waiting
