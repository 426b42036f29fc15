"""A save whose answer was lost is recognised: nothing of it is counted or merged twice, and nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from scrapy_sessions import PersistentSession, SessionManager, StoreError
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Outcome, Row
from tests.support.stores import Failing


class Deaf(Failing):
    """Saves, and loses the answer, as often as ``lost`` says; does ``meanwhile`` after that."""

    lost = 0

    async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
        outcomes = await super().save(rows, tokens)
        if self.lost:
            self.lost -= 1
            raise StoreError("the answer is lost")
        return outcomes


def manager_of(store: Any, counts: Counter[str] | None = None) -> SessionManager:
    def count(name: str, n: int) -> None:
        if counts is not None:
            counts[name] += n

    settings = SessionsSettings(save_interval=3600)
    return SessionManager(store=store, namespace="shop", settings=settings, on_event=count)


async def visit(manager: SessionManager, text: str) -> None:
    """Change the session alice: a counter, its actions and its data."""
    session = await manager.get("alice")
    runtime_of(session).pages_visited += 1
    session.record(text)
    session.data[text] = True


async def stored(store: Any) -> PersistentSession:
    async with manager_of(store) as manager:
        record = await manager.load_session("alice")
        assert record is not None
        return record


@pytest.mark.parametrize("saved_before", [0, 1, 3])
@pytest.mark.parametrize("lost", [1, 2, 5])
async def test_a_save_whose_answer_was_lost(saved_before: int, lost: int) -> None:
    """Whether it is the first save of a session or a later one, and however often: it takes place once."""
    store, counts = Deaf(), Counter[str]()
    async with manager_of(store, counts) as manager:
        texts = [f"before {number}" for number in range(saved_before)]
        for text in texts:
            await visit(manager, text)
            await manager.flush()
        store.lost = lost
        while store.lost:
            texts.append(f"lost {store.lost}")
            await visit(manager, texts[-1])
            with pytest.raises(StoreError, match="the answer is lost"):
                await manager.flush()
        await manager.flush()
        assert (await manager.get("alice")).actions == texts
        events = [event.kind for event in await store.events("shop")]
        assert events.count("created") == 1
    record = await stored(store)
    assert (record.pages_visited, record.actions_performed) == (len(texts), texts)
    assert record.data == dict.fromkeys(texts, True)


async def test_another_process_saved_on_top() -> None:
    """If another process has loaded and saved what was saved unnoticed, its part is merged, and ours is not again."""
    store = Deaf()
    async with manager_of(store) as one, manager_of(store) as two:
        await visit(one, "first")
        await one.flush()
        await visit(one, "lost")
        store.lost = 1
        with pytest.raises(StoreError):
            await one.flush()
        for number in range(3):
            await visit(two, f"theirs {number}")
            await two.flush()
        await visit(one, "mine")
        await one.flush()
    record = await stored(store)
    assert record.actions_performed == ["first", "lost", "theirs 0", "theirs 1", "theirs 2", "mine"]
    assert record.pages_visited == 6


async def test_a_call_that_the_store_repeats() -> None:
    """A store that sends a call again, as its answer was lost, answers with a conflict if another process has saved on
    top of it meanwhile: the first call is recognised."""

    class Repeating(Failing):
        lost = False

        async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
            outcomes = await super().save(rows, tokens)
            if self.lost:
                self.lost = False
                async with manager_of(self) as other:
                    await visit(other, "theirs")
                outcomes = await super().save(rows, tokens)
            return outcomes

    store = Repeating()
    async with manager_of(store) as one:
        await visit(one, "first")
        await one.flush()
        await visit(one, "mine")
        store.lost = True
        await one.flush()
    record = await stored(store)
    assert (record.pages_visited, record.actions_performed) == (3, ["first", "mine", "theirs"])


async def test_a_save_that_did_not_take_place() -> None:
    """A save that failed before it was carried out is done later, once, beside what others have saved meanwhile."""
    store = Deaf()
    async with manager_of(store) as one, manager_of(store) as two:
        await visit(one, "first")
        await one.flush()
        await visit(one, "second")
        store.broken.add("save")
        with pytest.raises(StoreError):
            await one.flush()
        store.broken.clear()
        await visit(two, "theirs")
        await two.flush()
        await one.flush()
    record = await stored(store)
    assert (record.pages_visited, record.actions_performed) == (3, ["first", "theirs", "second"])


async def test_a_late_save_is_recognised() -> None:
    """A save that is carried out after the process gave it up, and looked, is recognised by the next save."""
    late: list[Sequence[Row]] = []

    class Late(Failing):
        async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
            if not late:
                late.append(rows)
                raise StoreError("no answer in time")
            if len(late) == 1:
                late.append(rows)
                await super().save(late[0], tokens)
            return await super().save(rows, tokens)

    store = Late()
    async with manager_of(store) as manager:
        await visit(manager, "late")
        with pytest.raises(StoreError):
            await manager.flush()
        await visit(manager, "then")
        await manager.flush()
    record = await stored(store)
    assert (record.pages_visited, record.actions_performed) == (2, ["late", "then"])
