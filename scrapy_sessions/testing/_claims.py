"""The contract of a store with exclusive pools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from scrapy_sessions.storage.abilities import Claim, Claims, ClaimStore
from scrapy_sessions.storage.base import Outcome
from scrapy_sessions.testing._base import BaseContract, make_row

_TTL = 30.0


class ClaimContract(BaseContract, ability=ClaimStore):
    """The tests of :class:`~scrapy_sessions.storage.ClaimStore`. They are skipped for other stores."""

    async def test_enrolled_sessions_are_claimed(self, store: ClaimStore) -> None:
        """A process gets as many sessions as it wants, and no more than there are, each under its own token."""
        assert await _enrol(store, "p", "b", "a", "c") == ["a", "b", "c"]
        first = await _claim(store, "p", want=2)
        assert [claim.session_id for claim in first.held] == ["a", "b"]
        assert (first.share, first.waiting, first.place) == (3, 0, 0)
        more = await _claim(store, "p", first.held, want=9)
        assert more.held[:2] == first.held
        assert _ids(more) == ["a", "b", "c"]
        assert len({claim.token for claim in more.held}) == 3
        assert all(abs(claim.expires_at - self.clock.now - _TTL) < 5.0 for claim in more.held)

    async def test_pools_and_namespaces_are_apart(self, store: ClaimStore) -> None:
        """A session is claimed in its pool and namespace only; its id may be used in another namespace."""
        await store.enrol("shop", "staff", "p", ["alice"], _TTL)
        await store.enrol("news", "staff", "p", ["alice"], _TTL)
        await store.enrol("shop", "other", "p", [], _TTL)
        assert (await store.claim("shop", "other", "p", [], 1, _TTL)).held == []
        assert _ids(await store.claim("shop", "staff", "p", [], 1, _TTL)) == ["alice"]
        assert _ids(await store.claim("news", "staff", "q", [], 1, _TTL)) == ["alice"]

    async def test_a_session_has_one_holder(self, store: ClaimStore) -> None:
        """Of many processes that claim at once, each session goes to one."""
        await _enrol(store, "p0", *map(str, range(10)))
        answers = await asyncio.gather(*(_claim(store, f"p{number}") for number in range(50)))
        held = [claim.session_id for answer in answers for claim in answer.held]
        assert sorted(held) == sorted(map(str, range(10)))
        tokens = {claim.token for answer in answers for claim in answer.held}
        assert len(tokens) == 10

    async def test_claims_are_renewed(self, store: ClaimStore) -> None:
        """A renewed claim is held for the new time under the same token, also when it had expired untaken."""
        await _enrol(store, "p", "a")
        claims = (await _claim(store, "p")).held
        for seconds in (20.0, 40.0):
            await self.pass_time(seconds)
            renewed = (await _claim(store, "p", claims)).held
            assert [claim.token for claim in renewed] == [claim.token for claim in claims]
            assert renewed[0].expires_at > claims[0].expires_at
            await self.pass_time(20.0)
            assert (await _claim(store, "q")).held == []

    async def test_an_expired_claim_is_taken(self, store: ClaimStore) -> None:
        """After its time, and not before, a session goes to another process, and its old claim is dead."""
        await _enrol(store, "p", "a", "b")
        lost = (await _claim(store, "p", want=2)).held
        await self.pass_time(25.0)
        assert (await _claim(store, "q")).held == []
        await self.pass_time(5.0)
        (taken,) = (await _claim(store, "q")).held
        assert taken.token > max(claim.token for claim in lost)
        kept = (await _claim(store, "p", lost, want=1)).held
        assert kept == [claim._replace(expires_at=kept[0].expires_at) for claim in lost if claim.session_id != taken[0]]
        dead = [claim for claim in lost if claim.session_id == taken.session_id]
        assert await _give_back(store, dead) == [False]
        assert _ids(await _claim(store, "q", [taken])) == [taken.session_id]

    async def test_give_back_frees(self, store: ClaimStore) -> None:
        """What was given back is free at once. The claim is dead: it can't be given back again, nor be renewed."""
        await _enrol(store, "p", "a", "b")
        held = (await _claim(store, "p", want=2)).held
        assert await _give_back(store, held[:1]) == [True]
        assert await _give_back(store, held) == [False, True]
        assert (await _claim(store, "p", held, want=0)).held == []
        assert _ids(await _claim(store, "q", want=2)) == ["a", "b"]

    async def test_retired_sessions_leave_the_pool(self, store: ClaimStore) -> None:
        """A retired session is given to nobody, until it is enrolled again; only its holder can retire it."""
        await _enrol(store, "p", "a", "b")
        held = (await _claim(store, "p", want=2)).held
        forged = held[0]._replace(token=held[0].token - 1)
        assert await store.give_back("shop", "staff", [forged], retire=True) == [False]
        assert await store.give_back("shop", "staff", held[:1], retire=True) == [True]
        assert _ids(await _claim(store, "p", held, want=2)) == ["b"]
        assert (await _claim(store, "q", want=2)).held == []
        assert await _enrol(store, "q", "a") == ["a", "b"]
        (again,) = (await _claim(store, "q")).held
        assert (again.session_id, again.token > held[0].token) == ("a", True)

    async def test_longest_free_is_taken_first(self, store: ClaimStore) -> None:
        """Of the free sessions, the one that has been free for longest is taken."""
        await _enrol(store, "p", "a", "b", "c")
        turns = []
        for _ in range(6):
            held = (await _claim(store, "p")).held
            turns += [claim.session_id for claim in held]
            assert await _give_back(store, held) == [True]
        assert turns == ["a", "b", "c", "a", "b", "c"]

    async def test_waiting_in_line(self, store: ClaimStore) -> None:
        """Processes with nothing get the sessions in the order in which they came, each by its own call."""
        await _enrol(store, "p", "a")
        held = (await _claim(store, "p")).held
        assert [(await _claim(store, name)).place for name in "qrs"] == [1, 2, 3]
        assert [(await _claim(store, name)).waiting for name in "qrs"] == [2, 2, 2]
        renewed = await _claim(store, "p", held)
        assert (renewed.held[0].token, renewed.share, renewed.waiting, renewed.place) == (held[0].token, 0, 3, 0)
        for name in "qrs":
            await _give_back(store, held)
            for other in "srq":
                if other > name:
                    assert (await _claim(store, other)).held == []
            assert (await _claim(store, "t")).held == []  # it is at the end of the line
            held = (await _claim(store, name)).held
            assert _ids(held) == ["a"]

    async def test_a_dead_process_leaves_the_line(self, store: ClaimStore) -> None:
        """A process that no longer calls keeps its place for its *ttl*; one that wants nothing leaves at once."""
        await _enrol(store, "p", "a")
        held = (await _claim(store, "p")).held
        assert [(await _claim(store, name)).place for name in "qrs"] == [1, 2, 3]
        assert await _claim(store, "q", want=0) == Claims([], 0, 2, 0)
        await self.pass_time(20.0)
        assert (await _claim(store, "s")).place == 2
        await self.pass_time(15.0)
        assert (await _claim(store, "s")).held
        assert await _give_back(store, held) == [False]

    async def test_fair_shares(self, store: ClaimStore) -> None:
        """A newcomer waits until it has its share, and only then others get more than theirs."""
        await _enrol(store, "p", *map(str, range(10)))
        mine = (await _claim(store, "p", want=10)).held
        theirs = await _claim(store, "q", want=10)
        assert (len(mine), theirs.held, theirs.share, theirs.place) == (10, [], 5, 1)
        renewed = await _claim(store, "p", mine, want=10)
        assert (len(renewed.held), renewed.share, renewed.waiting) == (10, 5, 1)
        await _give_back(store, mine[:2])
        assert len((await _claim(store, "p", mine[2:], want=10)).held) == 8  # none of the two is for it
        theirs = await _claim(store, "q", want=10)
        assert (len(theirs.held), theirs.place) == (2, 1)
        await _give_back(store, mine[2:5])
        theirs = await _claim(store, "q", theirs.held, want=10)
        assert (len(theirs.held), theirs.place) == (5, 0)
        assert len((await _claim(store, "p", mine[5:], want=10)).held) == 5
        assert len((await _claim(store, "q", theirs.held, want=10)).held) == 5

    async def test_each_process_gets_a_turn(self, store: ClaimStore) -> None:
        """With fewer sessions than processes, each process that gives back after its turn gets as many turns."""
        names = [f"p{number:02}" for number in range(20)]
        await _enrol(store, "p00", *"abc")
        held: dict[str, Sequence[Claim]] = dict.fromkeys(names, ())
        turns = dict.fromkeys(names, 0)
        for _ in range(30):
            for name in names:
                answer = await _claim(store, name, held[name], want=2)
                turns[name] += len({claim.token for claim in answer.held} - {claim.token for claim in held[name]})
                held[name] = answer.held
                if len(answer.held) > answer.share and answer.waiting:
                    await _give_back(store, answer.held)
                    held[name] = ()
        assert min(turns.values()) >= 3
        assert max(turns.values()) - min(turns.values()) <= 2

    async def test_more_than_the_share(self, store: ClaimStore) -> None:
        """What others don't want is given to those that do."""
        await _enrol(store, "p", *map(str, range(10)))
        few = (await _claim(store, "p", want=2)).held
        many = (await _claim(store, "q", want=10)).held
        assert (len(few), len(many)) == (2, 8)
        answer = await _claim(store, "p", few, want=2)
        assert (len(answer.held), answer.share, answer.waiting) == (2, 5, 0)

    async def test_one_process_after_another_at_the_end_of_the_line(self, store: ClaimStore) -> None:
        """A process that got a part of its share lets those before it that have nothing."""
        await _enrol(store, "p", *"abcdef")
        held = (await _claim(store, "p", want=6)).held
        assert [(await _claim(store, name, want=2)).place for name in "qr"] == [1, 2]
        await _give_back(store, held[:1])
        first = await _claim(store, "q", want=2)
        assert (len(first.held), first.place) == (1, 2)
        await _give_back(store, held[1:2])
        assert len((await _claim(store, "q", first.held, want=2)).held) == 1
        assert len((await _claim(store, "r", want=2)).held) == 1

    async def test_wait_ends_with_a_free_session(self, store: ClaimStore) -> None:
        """A process that waits is woken soon after a session was given back, and then gets it."""
        await _enrol(store, "p", "a")
        held = (await _claim(store, "p")).held
        assert (await _claim(store, "q")).place == 1
        waiting = asyncio.ensure_future(store.wait("shop", "staff", "q", 20.0))
        await asyncio.sleep(0.05)  # so that it waits
        began = time.monotonic()
        await _give_back(store, held)
        await waiting
        assert time.monotonic() - began < 10.0
        assert (await _claim(store, "q")).held

    async def test_wait_ends_with_an_expired_claim(self, store: ClaimStore) -> None:
        """A process that waits is woken after the claim of a dead process has expired, and then gets its session."""
        await _enrol(store, "p", "a")
        await _claim(store, "p")
        await self.pass_time(20.0)
        assert (await _claim(store, "q")).place == 1
        waiting = asyncio.ensure_future(store.wait("shop", "staff", "q", 20.0))
        await asyncio.sleep(0.05)  # so that it waits
        await self.pass_time(15.0)
        began = time.monotonic()
        await waiting
        assert time.monotonic() - began < 10.0
        assert (await _claim(store, "q")).held

    async def test_wait_ends_by_itself(self, store: ClaimStore) -> None:
        """Waiting ends after the time that was given, with nothing free."""
        await _enrol(store, "p", "a")
        await _claim(store, "p")
        await _claim(store, "q")
        await asyncio.wait_for(store.wait("shop", "staff", "q", 0.3), 10.0)
        assert (await _claim(store, "q")).held == []

    async def test_union_of_enrolments(self, store: ClaimStore) -> None:
        """Processes that enrol different sessions get the union, as long as one of them uses the pool."""
        assert await _enrol(store, "p", "a", "b") == ["a", "b"]
        assert await _enrol(store, "q", "b", "c") == ["a", "b", "c"]
        claims = (await _claim(store, "q", want=9)).held
        assert _ids(claims) == ["a", "b", "c"]
        await self.pass_time(31.0)
        assert await _enrol(store, "r", "c", "d") == ["c", "d"]
        assert _ids(await _claim(store, "q", claims, want=0)) == ["c"]
        assert _ids(await _claim(store, "r", want=9)) == ["d"]

    async def test_enrolling_again_changes_nothing(self, store: ClaimStore) -> None:
        """A session that is enrolled again stays claimed; in another pool, too, where it is from then on."""
        await _enrol(store, "p", "a", "b")
        held = (await _claim(store, "p", want=2)).held
        assert await _enrol(store, "q", "a", "b") == ["a", "b"]
        assert (await _claim(store, "q", want=2)).held == []
        assert await store.enrol("shop", "other", "q", ["b"], _TTL) == ["b"]
        assert await _enrol(store, "q") == ["a"]
        assert (await store.claim("shop", "other", "q", [], 1, _TTL)).held == []
        assert await _give_back(store, held) == [True, True]
        assert _ids(await store.claim("shop", "other", "q", [], 1, _TTL)) == ["b"]

    async def test_a_call_may_be_repeated(self, store: ClaimStore) -> None:
        """A process that didn't get the answer gets the same claims with its next call, and takes no more for it."""
        await _enrol(store, "p", *"abcd")
        lost = await _claim(store, "p", want=2)
        again = await _claim(store, "p", want=2)
        assert sorted(again.held) == sorted(lost.held)
        assert len((await _claim(store, "q", want=4)).held) == 2

    async def test_claims_of_a_store_without_data(self, store: ClaimStore) -> None:
        """Claims that the store has lost are entered again, with their sessions; a newer token is not replaced."""
        now = int(self.clock.now * 1_000_000)
        unknown = [Claim("a", now - 5, self.clock.now), Claim("b", now - 4, self.clock.now)]
        await _enrol(store, "p", "b")
        (taken,) = (await _claim(store, "q")).held
        answer = await _claim(store, "p", unknown, want=2)
        assert [claim[:2] for claim in answer.held] == [("a", now - 5)]
        assert _ids(await _claim(store, "q", [taken])) == ["b"]
        assert await _enrol(store, "r") == ["a", "b"]

    async def test_saves_are_fenced(self, store: Any) -> None:
        """Nothing is saved under the token of a dead claim: taken by another process, given back or retired."""
        await _enrol(store, "p", "a", "b", "c", "d")
        held = (await _claim(store, "p", want=4)).held
        tokens = [claim.token for claim in held]
        rows = [make_row(claim.session_id) for claim in held]
        assert await store.save(rows, tokens) == [Outcome.SAVED] * 4
        await _give_back(store, held[:1])
        await store.give_back("shop", "staff", held[1:2], retire=True)
        await self.pass_time(31.0)
        (c,) = [claim for claim in (await _claim(store, "q")).held if claim.session_id == "c"]
        second = [row._replace(revision=2, body=b"2") for row in rows]
        assert await store.save(second, tokens) == [Outcome.FENCED] * 3 + [Outcome.SAVED]  # d has expired, untaken
        assert await store.load(rows[0].key) == rows[0]
        assert await store.save([second[2]], [c.token]) == [Outcome.SAVED]
        assert await store.save([make_row("a", 2), make_row("x")], [None, None]) == [Outcome.SAVED] * 2

    async def test_fenced_comes_first(self, store: Any) -> None:
        """A row is fenced whatever else is wrong with it; the token of an unknown session is not checked."""
        await _enrol(store, "p", "a")
        (old,) = (await _claim(store, "p")).held
        await _give_back(store, [old])
        assert await store.save([make_row("a", 7), make_row("a")], [old.token] * 2) == [Outcome.FENCED] * 2
        assert await store.save([make_row("b")], [1]) == [Outcome.SAVED]


async def _enrol(store: ClaimStore, holder: str, *session_ids: str) -> list[str]:
    return await store.enrol("shop", "staff", holder, session_ids, _TTL)


async def _claim(store: ClaimStore, holder: str, held: Sequence[Claim] = (), want: int = 1) -> Claims:
    return await store.claim("shop", "staff", holder, held, want, _TTL)


async def _give_back(store: ClaimStore, held: Sequence[Claim]) -> list[bool]:
    return await store.give_back("shop", "staff", held)


def _ids(found: Claims | Sequence[Claim]) -> list[str]:
    claims = found.held if isinstance(found, Claims) else found
    return sorted(claim.session_id for claim in claims)
