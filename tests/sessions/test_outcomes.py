"""What becomes of a session that the store refuses to save."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode


def manager_of(store: Any, counts: Counter[str]) -> SessionManager:
    def count(name: str, n: int) -> None:
        counts[name] += n

    settings = SessionsSettings(save_interval=3600)
    return SessionManager(store=store, namespace="shop", settings=settings, on_event=count)


async def test_a_session_that_another_process_has_claimed(caplog: pytest.LogCaptureFixture) -> None:
    """It is closed without being saved; what isn't claimed, and what is still held, is saved."""
    store, counts = MemoryStore(), Counter[str]()
    async with manager_of(store, counts) as manager:
        await store.enrol("shop", "staff", "p", ["alice", "bob"], 30.0)
        held = (await store.claim("shop", "staff", "p", [], 2, 30.0)).held
        tokens = registry_of(manager).writer.tokens
        tokens.update({claim.session_id: claim.token for claim in held})
        sessions = [await manager.get(name) for name in ("alice", "bob", "carol")]
        for session in sessions:
            session.record("before")
        await manager.flush()
        await store.give_back("shop", "staff", held[:1])
        for session in sessions:
            session.record("after")
        await manager.flush()
        assert [runtime_of(session).closed for session in sessions] == [True, False, False]
        rows = await store.load_many([Key("shop", name) for name in ("alice", "bob", "carol")])
        assert [decode(row).actions_performed for row in rows if row] == [["before"], *[["before", "after"]] * 2]
    assert (counts["fenced"], counts["saved"]) == (1, 5)
    assert "'alice' was not saved: another process has claimed it" in caplog.text


async def test_a_session_that_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    """It stays in memory, is logged once and counted each time, and costs no other session its save."""

    class Picky(MemoryStore):
        async def save(self, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> list[Outcome]:
            good = [row for row in rows if row.session_id != "alice"]
            outcomes = iter(await super().save(good, tokens))
            return [next(outcomes) if row in good else Outcome.FAULT for row in rows]

    store, counts = Picky(), Counter[str]()
    async with manager_of(store, counts) as manager:
        for _ in range(2):
            for name in ("alice", "bob"):
                (await manager.get(name)).record("came")
            await manager.flush()
        assert not runtime_of(await manager.get("alice")).closed
        assert [info["session_id"] for info in await store.list(now=0.0)] == ["bob"]
    assert (counts["save_errors"], counts["saved"]) == (2, 2)
    assert caplog.text.count("The session 'alice' can't be saved") == 1
