"""The contract of the methods that read no record: find, list, expired."""

from __future__ import annotations

from typing import Any

from scrapy_sessions.models import SessionInfo, Status
from scrapy_sessions.storage.base import Expired, Key, SessionStore
from scrapy_sessions.testing._base import BaseContract, make_row


class ListingContract(BaseContract, ability=SessionStore):
    """The tests of ``find``, ``list`` and ``expired``."""

    async def test_find(self, store: SessionStore) -> None:
        """Find returns the sessions with an id of all namespaces, ordered by namespace."""
        await store.save([make_row("alice", namespace=name) for name in ("shop", "blog", "news")])
        await store.save([make_row("bob")])
        found = await store.find("alice", now=0.0)
        assert [(info["namespace"], info["session_id"]) for info in found] == [
            ("blog", "alice"),
            ("news", "alice"),
            ("shop", "alice"),
        ]
        assert await store.find("nobody", now=0.0) == []

    async def test_info(self, store: SessionStore) -> None:
        """An entry of find and of list contains the columns."""
        await store.save([make_row("alice", pool="staff", profile_name="de", pages_visited=3, actions_count=5)])
        info = SessionInfo(
            session_id="alice",
            namespace="shop",
            pool="staff",
            profile_name="de",
            status="ready",
            start_time=1000.0,
            last_activity=2000.0,
            pages_visited=3,
            actions_count=5,
            is_active=True,
            storage=store.location,
        )
        assert await store.find("alice", now=0.0) == [info]
        assert await store.list(now=0.0) == [info]

    async def test_is_active(self, store: SessionStore) -> None:
        """A session is active if it is neither retired nor expired at that moment."""
        ends: dict[str, Any] = {"expires_at": 3000.0, "expires_by": "max_age"}
        await store.save([make_row("a", **ends), make_row("b"), make_row("c", status="retired")])
        for now, active in ((2999.0, [True, True, False]), (3000.0, [False, True, False])):
            assert [info["is_active"] for info in await store.list(now=now)] == active
            assert [info["is_active"] for info in await store.find("a", now=now)] == active[:1]

    async def test_list_with_expiry(self, store: SessionStore) -> None:
        """The list with expiry has the same sessions, filtered and in pages, each with the time when it expires."""
        ends: dict[str, Any] = {"expires_at": 3000.0, "expires_by": "max_age", "pool": "staff"}
        await store.save([make_row("a", **ends), make_row("b", last_activity=2500.0), make_row("c", status="retired")])
        for options in ({}, {"pool": "staff"}, {"status": "ready"}, {"limit": 2}, {"namespace": "bank"}):
            listed = await store.list_with_expiry(now=2600.0, **options)
            infos = await store.list(now=2600.0, **options)
            assert listed == [(info, 3000.0 if info["session_id"] == "a" else None) for info in infos]
        first, *rest = await store.list_with_expiry(now=2600.0)
        assert await store.list_with_expiry(now=2600.0, after=first[0]) == rest

    async def test_list_order(self, store: SessionStore) -> None:
        """The newest activity comes first, then the namespaces in order, then the ids."""
        await store.save(
            [
                make_row("b", last_activity=2000.0),
                make_row("a", last_activity=2000.0, pool="staff"),
                make_row("c", last_activity=2000.0, namespace="blog"),
                make_row("old", last_activity=1999.5),
                make_row("new", last_activity=2000.5, pool="staff"),
            ]
        )
        assert _ids(await store.list(now=0.0)) == ["new", "c", "a", "b", "old"]

    async def test_list_follows_saves(self, store: SessionStore) -> None:
        """A save moves its session in the list."""
        await store.save([make_row("a", last_activity=1.0), make_row("b", last_activity=2.0)])
        await store.save([make_row("a", 2, last_activity=3.0, pool="staff")])
        assert _ids(await store.list(now=0.0)) == ["a", "b"]
        assert _ids(await store.list(now=0.0, pool="staff")) == ["a"]

    async def test_list_filters(self, store: SessionStore) -> None:
        """Namespace, pool and status filter, alone and together; None lets everything through."""
        rows = [
            make_row(f"{namespace} {pool} {status}", namespace=namespace, pool=pool, status=status)
            for namespace in ("blog", "shop")
            for pool in (None, "buyers", "staff")
            for status in ("new", "ready", "retired")
        ]
        await store.save(rows)
        statuses: tuple[Status | None, ...] = (None, "new", "ready", "retired")
        for namespace in (None, "blog", "shop", "nowhere"):
            for pool in (None, "buyers", "staff", "nobody"):
                for status in statuses:
                    listed = await store.list(now=0.0, namespace=namespace, pool=pool, status=status)
                    assert _ids(listed) == [
                        row.session_id
                        for row in sorted(rows, key=lambda row: row.key)
                        if namespace in (None, row.namespace)
                        and pool in (None, row.pool)
                        and status in (None, row.status)
                    ]

    async def test_list_limit(self, store: SessionStore) -> None:
        """A limit returns the first ones; 0 none; None all."""
        await store.save([make_row(f"s{number}", pool=("a", None)[number % 2]) for number in range(5)])
        listed = [_ids(await store.list(now=0.0, limit=limit)) for limit in (0, 2, 9, None)]
        everything = [f"s{number}" for number in range(5)]
        assert listed == [[], everything[:2], everything, everything]

    async def test_paging(self, store: SessionStore) -> None:
        """The pages of any size make up the whole listing, also if many sessions have the same last_activity."""
        await store.save(
            [
                make_row(
                    f"s{number}",
                    namespace=("blog", "shop", "news")[number % 3],
                    pool=("staff", None)[number % 2],
                    last_activity=(2000.0, 3000.0, 2000.0, 1000.0)[number % 4],
                )
                for number in range(24)
            ]
        )
        filters: list[dict[str, Any]] = [{}, {"namespace": "shop"}, {"pool": "staff"}, {"status": "ready"}]
        for chosen in filters:
            everything = await store.list(now=0.0, **chosen)
            for size in (1, 2, 5, 24):
                pages: list[SessionInfo] = []
                while page := await store.list(now=0.0, limit=size, after=pages[-1] if pages else None, **chosen):
                    pages += page
                assert pages == everything

    async def test_paging_goes_on_after_a_deleted_entry(self, store: SessionStore) -> None:
        """The next page is found even if the last entry of the page before was deleted."""
        await store.save([make_row(f"s{number}") for number in range(4)])
        page = await store.list(now=0.0, limit=2)
        await store.delete([Key("shop", "s1")])
        assert _ids(await store.list(now=0.0, after=page[-1])) == ["s2", "s3"]

    async def test_expired(self, store: SessionStore) -> None:
        """Expired sessions are found, the earliest first, with their revision, start time and reason."""
        await store.save(
            [
                make_row("later", expires_at=3000.1, expires_by="max_age"),
                make_row("just", expires_at=3000.0, expires_by="max_age"),
                make_row("long", start_time=1000.25, expires_at=10.0, expires_by="max_uses", status="retired"),
                make_row("never"),
            ]
        )
        await store.save([make_row("just", 2, expires_at=3000.0, expires_by="idle_timeout")])
        assert await store.expired("shop", now=3000.0, limit=10) == [
            Expired(Key("shop", "long"), 1, 1000.25, "max_uses"),
            Expired(Key("shop", "just"), 2, 1000.0, "idle_timeout"),
        ]

    async def test_expired_by_namespace(self, store: SessionStore) -> None:
        """Only the sessions of the namespace are found; None means all namespaces, in one order."""
        for moment, name in enumerate(("shop", "blog", "shop", "blog")):
            row = make_row(f"s{moment}", namespace=name, expires_at=float(moment), expires_by="max_age")
            await store.save([row])
        found = [await store.expired(name, now=9.0, limit=9) for name in ("shop", "nowhere", None)]
        assert [[expired.key.session_id for expired in each] for each in found] == [
            ["s0", "s2"],
            [],
            ["s0", "s1", "s2", "s3"],
        ]

    async def test_expired_limit(self, store: SessionStore) -> None:
        """At most the limit is returned: the earliest expired."""
        await store.save(
            [make_row(f"s{moment}", expires_at=float(moment), expires_by="max_age") for moment in range(5)]
        )
        for namespace in ("shop", None):
            found = await store.expired(namespace, now=9.0, limit=2)
            assert [expired.key.session_id for expired in found] == ["s0", "s1"]


def _ids(infos: list[SessionInfo]) -> list[str]:
    return [info["session_id"] for info in infos]
