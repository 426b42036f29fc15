"""The contract of replacing rows by others."""

from __future__ import annotations

import asyncio

from scrapy_sessions.storage.base import Outcome, SessionStore
from scrapy_sessions.testing._base import BaseContract, make_row

SAVED, CONFLICT, DELETED = Outcome.SAVED, Outcome.CONFLICT, Outcome.DELETED


class ReplaceContract(BaseContract, ability=SessionStore):
    """The tests of ``replace``."""

    async def test_replace_by_another_session(self, store: SessionStore) -> None:
        """A session with another start_time replaces all columns; a late save of the old one doesn't bring it back."""
        old = make_row("alice", pool="staff", profile_name="de", start_time=1000.0)
        new = make_row(
            "alice",
            status="retired",
            start_time=500.25,
            last_activity=3000.5,
            expires_at=4000.0,
            expires_by="max_age",
            pages_visited=7,
            actions_count=9,
        )
        await store.save([old])
        assert await store.replace([new], [old]) == [SAVED]
        assert await store.load(old.key) == new
        assert await store.save([make_row("alice", 2, start_time=1000.0)]) == [DELETED]
        assert await store.load(old.key) == new
        assert [info["start_time"] for info in await store.list(now=0.0)] == [500.25]
        assert [expired.revision for expired in await store.expired(None, now=5000.0, limit=9)] == [1]

    async def test_replace_by_the_next_revision(self, store: SessionStore) -> None:
        """The next revision of the same session is saved, and a save based on the old one is a conflict."""
        await store.save([make_row("alice")])
        second = make_row("alice", 2, pool="staff")
        assert await store.replace([second], [make_row("alice")]) == [SAVED]
        assert await store.load(second.key) == second
        assert await store.save([make_row("alice", 2)]) == [CONFLICT]

    async def test_replace_of_nothing(self, store: SessionStore) -> None:
        """Beside None a row is saved if its key is free, and never overwrites another one."""
        alice = make_row("alice")
        assert await store.replace([], []) == []
        assert await store.replace([alice], [None]) == [SAVED]
        assert await store.replace([make_row("alice", start_time=5000.0)], [None]) == [CONFLICT]
        assert await store.load(alice.key) == alice

    async def test_replace_of_what_has_changed(self, store: SessionStore) -> None:
        """A session that was saved, deleted or created again meanwhile is left unchanged."""
        saved, deleted, anew = rows = [make_row(name) for name in ("alice", "bob", "carol")]
        await store.save(rows)
        await store.save([saved._replace(revision=2)])
        await store.delete([deleted.key, anew.key])
        await store.save([anew._replace(start_time=5000.0)])
        late = [row._replace(start_time=9000.0) for row in rows]
        assert await store.replace(late, rows) == [CONFLICT, DELETED, DELETED]
        stored = [await store.load(row.key) for row in rows]
        assert stored == [saved._replace(revision=2), None, anew._replace(start_time=5000.0)]

    async def test_outcomes_of_replace_are_in_order(self, store: SessionStore) -> None:
        """In a batch each row has its own outcome, and other namespaces are left unchanged."""
        alice, bob = make_row("alice"), make_row("bob")
        others = [make_row("alice", namespace=name) for name in ("news", "zoo")]
        await store.save([alice, bob, *others])
        new = [
            make_row("bob", start_time=5000.0),
            others[0],
            make_row("carol"),
            make_row("alice", 4, start_time=6000.0),
        ]
        assert await store.replace(new, [bob, None, None, alice]) == [SAVED, CONFLICT, SAVED, SAVED]
        assert [await store.load(row.key) for row in new] == new
        assert [await store.load(row.key) for row in others] == others

    async def test_concurrent_replaces_have_one_winner(self, store: SessionStore) -> None:
        """Of many replacements of one row, one succeeds."""
        old = make_row("alice")
        await store.save([old])
        replaces = [store.replace([make_row("alice", start_time=float(number))], [old]) for number in range(20)]
        outcomes = [outcome for (outcome,) in await asyncio.gather(*replaces)]
        assert (outcomes.count(SAVED), outcomes.count(DELETED)) == (1, 19)
