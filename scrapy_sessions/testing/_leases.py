"""The contract of a store with leases."""

from __future__ import annotations

import asyncio

from scrapy_sessions.storage.abilities import Lease, LeaseStore
from scrapy_sessions.testing._base import BaseContract


class LeaseContract(BaseContract, ability=LeaseStore):
    """The tests of :class:`~scrapy_sessions.storage.LeaseStore`. They are skipped for other stores."""

    async def test_lease_has_one_winner(self, store: LeaseStore) -> None:
        """Of a hundred calls that want a lease at once, one gets it."""
        leases = await asyncio.gather(*(store.lease("shop", "login", 30.0) for _ in range(100)))
        assert len([lease for lease in leases if lease is not None]) == 1

    async def test_leases_by_name(self, store: LeaseStore) -> None:
        """Leases of different names are independent, and so are those of different namespaces."""
        assert await store.lease("shop", "alice", 30.0) is not None
        assert await store.lease("shop", "bob", 30.0) is not None
        assert await store.lease("news", "alice", 30.0) is not None

    async def test_lease_expires_by_itself(self, store: LeaseStore) -> None:
        """An expired lease can be taken by another holder, and not before it has expired."""
        first = await _taken(store, ttl=30.0)
        assert abs(first.expires_at - self.clock.now - 30.0) < 5.0
        await self.pass_time(25.0)
        assert await store.lease("shop", "login", 30.0) is None
        await self.pass_time(5.0)
        assert await store.lease("shop", "login", 30.0) is not None

    async def test_tokens_grow(self, store: LeaseStore) -> None:
        """Each holder of a name has a higher token than the one before, after an expiry and after a release."""
        first = await _taken(store, ttl=30.0)
        await self.pass_time(30.0)
        second = await _taken(store, ttl=30.0)
        assert await store.release(second)
        third = await _taken(store, ttl=30.0)
        assert first.token < second.token < third.token

    async def test_release_frees(self, store: LeaseStore) -> None:
        """A released lease can be taken at once, and is released only once."""
        lease = await _taken(store, ttl=30.0)
        assert await store.release(lease)
        assert not await store.release(lease)
        assert await store.lease("shop", "login", 30.0) is not None

    async def test_release_needs_the_token(self, store: LeaseStore) -> None:
        """A holder that lost its lease can't release the lease of the next holder."""
        lost = await _taken(store, ttl=30.0)
        await self.pass_time(30.0)
        await _taken(store, ttl=30.0)
        assert not await store.release(lost)
        assert await store.lease("shop", "login", 30.0) is None

    async def test_renew_prolongs(self, store: LeaseStore) -> None:
        """A renewed lease is held for the new time, under the same token."""
        lease = await _taken(store, ttl=30.0)
        await self.pass_time(20.0)
        renewed = await store.renew(lease, 30.0)
        assert renewed is not None
        assert renewed[:3] == lease[:3] == ("shop", "login", lease.token)
        assert renewed.expires_at > lease.expires_at
        await self.pass_time(20.0)
        assert await store.lease("shop", "login", 30.0) is None
        assert await store.release(lease)

    async def test_late_renewal(self, store: LeaseStore) -> None:
        """A lease that has expired is renewed, under its token, as long as nobody else has taken it."""
        lease = await _taken(store, ttl=30.0)
        await self.pass_time(40.0)
        renewed = await store.renew(lease, 30.0)
        assert renewed is not None
        assert renewed.token == lease.token
        assert await store.lease("shop", "login", 30.0) is None

    async def test_renew_of_a_lost_lease(self, store: LeaseStore) -> None:
        """A lease that was taken over, was released or never existed can't be renewed."""
        lost = await _taken(store, ttl=30.0)
        await self.pass_time(30.0)
        held = await _taken(store, ttl=30.0)
        assert await store.renew(lost, 30.0) is None
        assert await store.renew(held._replace(name="other"), 30.0) is None
        assert await store.renew(held._replace(namespace="news"), 30.0) is None
        assert await store.release(held)
        assert await store.renew(held, 30.0) is None
        assert await store.renew(lost, 30.0) is None

    async def test_tokens_are_times(self, store: LeaseStore) -> None:
        """A token is at least the time in microseconds, so that it is new in a store that has lost all tokens, too."""
        lease = await _taken(store, ttl=30.0)
        assert (self.clock.now - 5.0) * 1_000_000 <= lease.token < 2**53


async def _taken(store: LeaseStore, *, ttl: float) -> Lease:
    lease = await store.lease("shop", "login", ttl)
    assert lease is not None
    return lease
