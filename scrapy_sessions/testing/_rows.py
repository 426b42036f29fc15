"""The contract of saving, loading, deleting and quarantining rows."""

from __future__ import annotations

import asyncio

from scrapy_sessions.storage.base import Key, Outcome, SessionStore, next_stamps
from scrapy_sessions.testing._base import BaseContract, make_row, skip

SAVED, CONFLICT, DELETED = Outcome.SAVED, Outcome.CONFLICT, Outcome.DELETED


class RowContract(BaseContract, ability=SessionStore):
    """The tests of ``open``, ``close``, ``save``, ``load``, ``delete`` and ``quarantine``."""

    async def test_open_is_idempotent(self, store: SessionStore) -> None:
        """Opening an open store changes nothing."""
        await store.save([make_row("alice")])
        await store.open()
        assert await store.load(Key("shop", "alice")) is not None

    async def test_close_is_idempotent(self, store: SessionStore) -> None:
        """A store may be closed twice."""
        await store.close()
        await store.close()

    async def test_close_waits_for_operations(self, store: SessionStore) -> None:
        """A save in progress when the store closes takes place."""
        save = asyncio.ensure_future(store.save([make_row("alice")]))
        await asyncio.sleep(0)  # one turn of the loop, so that the save begins
        await store.close()
        assert await save == [SAVED]

    async def test_location_names_the_store(self, store: SessionStore) -> None:
        """The store has a location, and listings contain it."""
        await store.save([make_row("alice")])
        assert store.location
        assert [info["storage"] for info in await store.list(now=0.0)] == [store.location]

    async def test_load_of_nothing(self, store: SessionStore) -> None:
        """A key without a row loads as None."""
        assert await store.load(Key("shop", "alice")) is None

    async def test_load_returns_what_was_saved(self, store: SessionStore) -> None:
        """A loaded row equals the saved one in every column and every byte."""
        full = make_row(
            "ålice ☃",
            pool="staff",
            profile_name="de",
            status="retired",
            start_time=1_700_000_000.123456,
            last_activity=1_700_000_001.654321,
            expires_at=1_700_001_801.654321,
            expires_by="idle_timeout",
            pages_visited=7,
            actions_count=9,
            body=bytes(range(256)),
        )
        assert await store.save([full]) == [SAVED]
        assert await store.load(full.key) == full

    async def test_load_many(self, store: SessionStore) -> None:
        """Any number of keys, in any order, load as each of them does alone; a missing one as None."""
        rows = [make_row(f"s{number}", namespace=("shop", "news")[number % 2]) for number in range(1300)]
        await store.save(rows)
        assert await store.load_many([row.key for row in reversed(rows)]) == rows[::-1]
        alice, absent, elsewhere = Key("shop", "s0"), Key("shop", "nobody"), Key("news", "s0")
        assert await store.load_many([absent, alice, elsewhere, alice]) == [None, rows[0], None, rows[0]]
        assert await store.load_many([]) == []

    async def test_namespaces_are_apart(self, store: SessionStore) -> None:
        """One id in two namespaces names two sessions."""
        rows = [make_row("alice", namespace="shop", body=b"1"), make_row("alice", namespace="news", body=b"2")]
        assert await store.save(rows) == [SAVED, SAVED]
        assert [await store.load(row.key) for row in rows] == rows

    async def test_ids_are_case_sensitive(self, store: SessionStore) -> None:
        """Ids that differ in case, or in trailing space, are different sessions."""
        assert await store.save([make_row("a"), make_row("A"), make_row("a ")]) == [SAVED] * 3

    async def test_save_of_nothing(self, store: SessionStore) -> None:
        """Without rows there are no outcomes."""
        assert await store.save([]) == []

    async def test_save_of_the_next_revision(self, store: SessionStore) -> None:
        """A row of revision N replaces the row of revision N - 1, columns and body."""
        await store.save([make_row("alice")])
        second = make_row("alice", 2, pool="staff", status="retired", last_activity=3000.0, pages_visited=4)
        assert await store.save([second]) == [SAVED]
        assert await store.load(second.key) == second

    async def test_save_of_a_new_row_on_a_taken_key(self, store: SessionStore) -> None:
        """A new row never overwrites another one: it is a conflict."""
        first = make_row("alice")
        await store.save([first])
        assert await store.save([make_row("alice", body=b"other")]) == [CONFLICT]
        assert await store.load(first.key) == first

    async def test_save_of_an_old_revision(self, store: SessionStore) -> None:
        """A row based on an older revision than the stored one is a conflict and changes nothing."""
        rows = [make_row("alice", revision) for revision in (1, 2, 3)]
        for row in rows:
            await store.save([row])
        assert await store.save([make_row("alice", 2, body=b"late")]) == [CONFLICT]
        assert await store.save([make_row("alice", 3, body=b"late")]) == [CONFLICT]
        assert await store.load(rows[0].key) == rows[2]

    async def test_save_of_a_revision_too_far(self, store: SessionStore) -> None:
        """A row that skips a revision is a conflict."""
        await store.save([make_row("alice")])
        assert await store.save([make_row("alice", 3)]) == [CONFLICT]

    async def test_save_of_a_row_that_is_not_there(self, store: SessionStore) -> None:
        """A later revision of a session that isn't stored is reported as deleted, and isn't saved."""
        assert await store.save([make_row("alice", 2)]) == [DELETED]
        assert await store.load(Key("shop", "alice")) is None

    async def test_save_after_delete(self, store: SessionStore) -> None:
        """A late save doesn't bring back a deleted session."""
        await store.save([make_row("alice")])
        await store.delete([Key("shop", "alice")])
        assert await store.save([make_row("alice", 2)]) == [DELETED]
        assert await store.load(Key("shop", "alice")) is None

    async def test_save_after_delete_and_create(self, store: SessionStore) -> None:
        """A late save of a deleted session leaves a new session with its id unchanged."""
        await store.save([make_row("alice", start_time=1000.0)])
        await store.delete([Key("shop", "alice")])
        anew = make_row("alice", start_time=5000.0)
        assert await store.save([anew]) == [SAVED]
        assert await store.save([make_row("alice", 2, start_time=1000.0)]) == [DELETED]
        assert await store.load(anew.key) == anew

    async def test_outcomes_are_in_order(self, store: SessionStore) -> None:
        """In a batch each row has its own outcome, and each row that can be saved is saved."""
        await store.save([make_row("alice"), make_row("bob")])
        batch = [make_row("alice", 2), make_row("bob"), make_row("carol", 2), make_row("dave")]
        assert await store.save(batch) == [SAVED, CONFLICT, DELETED, SAVED]
        stored = [await store.load(row.key) for row in batch]
        assert [row and row.revision for row in stored] == [2, 1, None, 1]

    async def test_one_key_twice_in_a_batch(self, store: SessionStore) -> None:
        """The rows of a batch are saved in their order."""
        await store.save([make_row("alice")])
        batch = [make_row("carol", 2), make_row("carol"), make_row("carol", 2), make_row("alice", 2)]
        assert await store.save(batch) == [DELETED, SAVED, SAVED, SAVED]
        assert await store.save([make_row("dave", 2), make_row("dave")]) == [DELETED, SAVED]

    async def test_a_save_may_be_repeated(self, store: SessionStore) -> None:
        """A row that is stored already is saved, and changes nothing; another one of its revision is a conflict."""
        first, second = make_row("alice"), make_row("alice", 2)
        for row in (first, second):
            assert await store.save([row]) == [SAVED]
            assert await store.save([row]) == [SAVED]
            assert await store.load(row.key) == row
            other = make_row("alice", row.revision)
            assert await store.save([other, row]) == [CONFLICT, SAVED]
        assert await store.save([first]) == [CONFLICT]
        assert await store.load(first.key) == second

    async def test_save_on_another_row_of_the_revision(self, store: SessionStore) -> None:
        """A row that names the stamp of what it replaces replaces nothing else of the same revision."""
        first = make_row("alice")
        others = [make_row("alice", 2, stamps=next_stamps(make_row("alice").stamps)) for _ in range(2)]
        await store.save([first])
        assert await store.save(others) == [CONFLICT, CONFLICT]
        second = make_row("alice", 2, stamps=next_stamps(first.stamps))
        assert await store.save([second]) == [SAVED]
        assert await store.save([second]) == [SAVED]
        assert await store.load(first.key) == second

    async def test_a_row_that_cannot_be_written(self, store: SessionStore) -> None:
        """It is a fault of its own: the others of its batch are saved, and the store goes on."""
        await store.save([make_row("bob")])
        rows = [
            make_row("alice"),
            make_row("bob", 2, pool="\ud800"),
            make_row("c")._replace(session_id="\udfff"),
            make_row("d"),
        ]
        assert await store.save(rows) == [SAVED, Outcome.FAULT, Outcome.FAULT, SAVED]
        assert await _ids(store) == ["alice", "bob", "d"]
        assert await store.save([make_row("bob", 2)]) == [SAVED]

    async def test_large_batch(self, store: SessionStore) -> None:
        """A thousand new and stored rows are saved at once."""
        await store.save([make_row(f"s{number}") for number in range(500)])
        batch = [make_row(f"s{number}", 2 if number < 500 else 1) for number in range(1000)]
        assert await store.save(batch) == [SAVED] * 1000
        assert len(await store.list(now=0.0)) == 1000

    async def test_concurrent_saves_have_one_winner(self, store: SessionStore) -> None:
        """Of many saves based on one revision, one is saved; the others are conflicts."""
        await store.save([make_row("alice")])
        saves = [store.save([make_row("alice", 2, body=str(number).encode())]) for number in range(20)]
        outcomes = [outcome for (outcome,) in await asyncio.gather(*saves)]
        assert (outcomes.count(SAVED), outcomes.count(CONFLICT)) == (1, 19)

    async def test_delete(self, store: SessionStore) -> None:
        """Delete returns for each key whether it was there, and deletes nothing else."""
        await store.save([make_row("alice"), make_row("bob")])
        assert await store.delete([Key("shop", "alice"), Key("shop", "nobody"), Key("news", "bob")]) == [
            True,
            False,
            False,
        ]
        assert await _ids(store) == ["bob"]

    async def test_delete_by_revision(self, store: SessionStore) -> None:
        """With revisions, delete leaves a row that was saved meanwhile."""
        await store.save([make_row("alice"), make_row("bob")])
        await store.save([make_row("bob", 2)])
        assert await store.delete([Key("shop", "alice"), Key("shop", "bob")], [1, 1]) == [True, False]
        assert await _ids(store) == ["bob"]

    async def test_delete_of_another_session(self, store: SessionStore) -> None:
        """With start times, delete leaves a session that has replaced the one that is meant, in the same revision."""
        alice, bob = Key("shop", "alice"), Key("shop", "bob")
        await store.save([make_row("alice", start_time=1000.25, expires_at=1.0, expires_by="max_age")])
        (expired,) = await store.expired("shop", now=9.0, limit=9)
        await store.delete([alice])
        await store.save([make_row("alice", start_time=5000.125), make_row("bob", start_time=1000.25)])
        assert await store.delete([alice, bob], [1, 1], [expired.start_time] * 2) == [False, True]
        assert await store.delete([alice], [2], [5000.125]) == [False]
        assert await store.delete([alice], [1], [5000.125]) == [True]

    async def test_quarantine(self, store: SessionStore) -> None:
        """No method reads a quarantined row; it is listed with its reason, the oldest first."""
        await store.save([make_row("b", expires_at=1.0, expires_by="max_age"), make_row("a"), make_row("c")])
        assert await store.quarantine(Key("shop", "b"), 1, "not JSON")
        assert await store.quarantine(Key("shop", "a"), 1, "no version")
        assert await store.quarantined() == [(Key("shop", "b"), "not JSON"), (Key("shop", "a"), "no version")]
        assert await store.load(Key("shop", "b")) is None
        assert await _ids(store) == ["c"]
        assert await store.find("b", now=9.0) == []
        assert await store.expired(None, now=9.0, limit=9) == []

    async def test_quarantine_of_another_revision(self, store: SessionStore) -> None:
        """A row that was saved meanwhile, or is missing, isn't quarantined."""
        await store.save([make_row("alice")])
        await store.save([make_row("alice", 2)])
        assert not await store.quarantine(Key("shop", "alice"), 1, "not JSON")
        assert not await store.quarantine(Key("shop", "nobody"), 1, "not JSON")
        assert await store.load(Key("shop", "alice")) is not None
        assert await store.quarantined() == []

    async def test_quarantine_without_a_revision(self, store: SessionStore) -> None:
        """A row that has a revision isn't quarantined as one without."""
        await store.save([make_row("alice")])
        assert not await store.quarantine(Key("shop", "alice"), None, "not a row")
        assert not await store.quarantine(Key("shop", "nobody"), None, "not a row")
        assert await _ids(store) == ["alice"]

    async def test_quarantine_frees_the_key(self, store: SessionStore) -> None:
        """The id of a quarantined session can be used again, and quarantined again."""
        for _ in range(2):
            assert await store.save([make_row("alice")]) == [SAVED]
            assert await store.quarantine(Key("shop", "alice"), 1, "not JSON")
        assert len(await store.quarantined()) == 2

    async def test_delete_empties_the_quarantine_of_the_key(self, store: SessionStore) -> None:
        """A deleted key is in the quarantine no more; others are, and those of a key deleted by revision."""
        for session_id in ("alice", "bob"):
            await store.save([make_row(session_id)])
            await store.quarantine(Key("shop", session_id), 1, "not JSON")
            await store.save([make_row(session_id)])
        await store.delete([Key("shop", "bob")], [1])
        await store.delete([Key("shop", "alice")])
        assert await store.quarantined() == [(Key("shop", "bob"), "not JSON")]

    async def test_the_epoch_of_a_store_in_use(self, store: SessionStore) -> None:
        """The epoch stays the same while the store contains what was saved."""
        before = await store.epoch()
        await store.save([make_row("alice")])
        await store.delete([Key("shop", "alice")])
        assert await store.epoch() == before

    async def test_the_incarnation_of_a_store_in_use(self, store: SessionStore) -> None:
        """The incarnation stays the same while the store is in use."""
        before = await store.incarnation()
        await store.save([make_row("alice")])
        await store.delete([Key("shop", "alice")])
        assert await store.incarnation() == before

    async def test_a_restart_of_the_server(self, store: SessionStore) -> None:
        """The incarnation changes, because the server may have gone back in time; as it has its data, the epoch
        doesn't, and what was saved is there."""
        row = make_row("alice")
        assert await store.save([row]) == [SAVED]
        before, epoch = await store.incarnation(), await store.epoch()
        if not await self.restart():
            skip(f"{type(self).__name__} has no restart() of its own")
        assert await store.incarnation() != before
        assert await store.epoch() == epoch
        assert await store.load(row.key) == row


async def _ids(store: SessionStore) -> list[str]:
    return sorted(info["session_id"] for info in await store.list(now=0.0))
