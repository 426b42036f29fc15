"""The manager alone: what it knows of its sessions without reading their records, and their cleaning up."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scrapy_sessions import AmbiguousSession, BrowserSession, SessionError, SessionManager
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.testing import Clock
from tests.support.configs import CONFIG
from tests.support.stores import Failing


async def fill(store: Failing, clock: Clock, **options: object) -> None:
    """Save sessions of the namespaces shop and other, with a policy each."""
    async with SessionManager(store=store, namespace="shop", clock=clock) as manager:
        for name, policy in options.items():
            assert isinstance(policy, dict)
            session = BrowserSession(name, clock=clock, **{"idle_timeout": 0, **policy})
            await manager.save_session(name, session)


async def test_info_says_what_is_known() -> None:
    """get_session_info() holds every field of SessionInfo."""
    store, clock = Failing(), Clock(5000.0)
    async with SessionManager(store=store, namespace="shop", clock=clock) as manager:
        session = BrowserSession("alice", pool="staff", profile_name="desk", clock=clock)
        runtime_of(session).pages_visited = 3
        session.record("one")
        session.record("two")
        await manager.save_session("alice", session)
        assert await manager.get_session_info("alice") == {
            "session_id": "alice",
            "namespace": "shop",
            "pool": "staff",
            "profile_name": "desk",
            "status": "new",
            "start_time": 5000.0,
            "last_activity": 5000.0,
            "pages_visited": 3,
            "actions_count": 2,
            "is_active": True,
            "storage": "memory://",
        }


async def test_info_of_what_is_not_there() -> None:
    """get_session_info() of an unknown id is None."""
    async with SessionManager(store=Failing()) as manager:
        assert await manager.get_session_info("alice") is None


async def test_info_reads_no_record() -> None:
    """Neither get_session_info() nor list_sessions() loads a record."""
    store = Failing()
    await fill(store, Clock(), alice={})
    async with SessionManager(store=store) as manager:
        await manager.get_session_info("alice")
        await manager.list_sessions()
    assert store.loads == []


async def test_info_shows_what_is_not_saved_yet() -> None:
    """Live sessions are saved first, so that the info is of now."""
    async with SessionManager(store=Failing(), namespace="shop") as manager:
        (await manager.get("alice")).record("just now")
        info = await manager.get_session_info("alice")
        assert info is not None
        assert info["actions_count"] == 1


async def test_expired_and_retired_are_not_active() -> None:
    """is_active is false for a retired session and for an expired one."""
    store, clock = Failing(), Clock()
    await fill(store, clock, here={}, late={"idle_timeout": 10}, gone={})
    async with SessionManager(store=store, namespace="shop", clock=clock) as manager:
        (await manager.get("gone")).retire("blocked")
        clock.now += 10
        active = {info["session_id"]: info["is_active"] for info in await manager.list_sessions()}
        assert active == {"here": True, "late": False, "gone": False}


@pytest.mark.parametrize("method", ["load_session", "delete_session", "get_session_info"])
async def test_an_id_in_two_namespaces(tmp_path: Path, method: str) -> None:
    """Without a namespace, an id that stands in two of them is an error that names both; nothing is done."""
    for namespace in ("books", "shop"):
        async with SessionManager(tmp_path, namespace=namespace) as manager:
            await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(AmbiguousSession, match="'alice' exists in the namespaces 'books' and 'shop'"):
            await getattr(manager, method)("alice")
        assert len(await manager.list_sessions()) == 2


async def test_an_id_in_two_namespaces_is_not_restored(tmp_path: Path) -> None:
    """Nor can such an id be restored without a namespace."""
    for namespace in ("books", "shop"):
        async with SessionManager(tmp_path, namespace=namespace) as manager:
            await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(AmbiguousSession, match="'books' and 'shop'"):
            await manager.restore_session("alice", BrowserSession("alice"))


async def test_a_namespace_settles_which_one(tmp_path: Path) -> None:
    """With a namespace the same id is found there, and only there."""
    for namespace in ("books", "shop"):
        async with SessionManager(tmp_path, namespace=namespace) as manager:
            await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path, namespace="shop") as manager:
        info = await manager.get_session_info("alice")
        assert info is not None
        assert info["namespace"] == "shop"
        assert await manager.delete_session("alice") is True
    async with SessionManager(tmp_path) as manager:
        assert [info["namespace"] for info in await manager.list_sessions()] == ["books"]


async def test_without_namespace_the_only_one_is_found(tmp_path: Path) -> None:
    """Without a namespace an id is found, and deleted, in whichever namespace it stands."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path) as manager:
        record = await manager.load_session("alice")
        assert record is not None
        assert record.namespace == "shop"
        assert await manager.delete_session("alice") is True
        assert await manager.list_sessions() == []


async def test_without_namespace_a_restored_session_stays_in_its_own(tmp_path: Path) -> None:
    """What a manager without namespace restores and saves goes back to where it stood."""
    async with SessionManager(tmp_path, namespace="shop") as manager:
        await manager.save_session("alice", BrowserSession("alice"))
    async with SessionManager(tmp_path) as manager:
        session = BrowserSession("alice")
        await manager.restore_session("alice", session)
        session.record("done")
        assert await manager.save_session("alice", session) is True
        assert [(i["namespace"], i["actions_count"]) for i in await manager.list_sessions()] == [("shop", 1)]


@pytest.mark.parametrize("by", ["entry", "id"])
async def test_paging_through_a_thousand(tmp_path: Path, by: str) -> None:
    """Pages of list_sessions() hold each of 1,000 sessions once, newest activity first."""
    clock = Clock()
    async with SessionManager(tmp_path, namespace="shop", clock=clock) as manager:
        for number in range(1000):
            clock.now += number % 3 == 0  # three share a moment
            (await manager.get(f"s{number:04}")).record("came")
        seen: list[str] = []
        after = None
        while page := await manager.list_sessions(limit=150, after=after):
            assert len(page) <= 150
            seen += [info["session_id"] for info in page]
            after = page[-1] if by == "entry" else page[-1]["session_id"]
        everything = await manager.list_sessions()
        assert seen == [info["session_id"] for info in everything]
        assert len(set(seen)) == 1000
        activity = [info["last_activity"] for info in everything]
        assert activity == sorted(activity, reverse=True)


async def test_listing_after_one_that_is_gone(tmp_path: Path) -> None:
    """To go on after an id that isn't there is an error, not an empty page."""
    async with SessionManager(tmp_path) as manager:
        with pytest.raises(SessionError, match="no session 'gone'"):
            await manager.list_sessions(after="gone")


async def test_listing_by_pool_and_status() -> None:
    """list_sessions() filters by pool and status, within its namespace."""
    store = Failing()
    async with SessionManager(store=store, namespace="other") as manager:
        await manager.save_session("x", BrowserSession("x", pool="staff"))
    async with SessionManager(store=store, namespace="shop") as manager:
        for name, pool in (("a", "staff"), ("b", None), ("c", "staff")):
            await manager.save_session(name, BrowserSession(name, pool=pool))
        (await manager.get("c")).retire("blocked")
        assert {i["session_id"] for i in await manager.list_sessions()} == {"a", "b", "c"}
        assert {i["session_id"] for i in await manager.list_sessions(pool="staff")} == {"a", "c"}
        assert [i["session_id"] for i in await manager.list_sessions(pool="staff", status="retired")] == ["c"]


async def test_cleanup_goes_by_each_records_own_policy() -> None:
    """cleanup_expired_sessions() deletes by the policy a session was created under, and returns how many."""
    store, clock = Failing(), Clock()
    policies = {"idle": {"idle_timeout": 10}, "old": {"max_age": 20}, "never": {}, "long": {"idle_timeout": 1000}}
    await fill(store, clock, **policies)
    clock.now += 50
    settings = SessionsSettings(idle_timeout=1)
    async with SessionManager(store=store, namespace="shop", settings=settings, clock=clock) as manager:
        assert await manager.cleanup_expired_sessions() == 2
        assert {info["session_id"] for info in await manager.list_sessions()} == {"never", "long"}
        assert await manager.cleanup_expired_sessions() == 0


async def test_cleanup_keeps_to_its_namespace() -> None:
    """A manager with a namespace leaves the expired sessions of others; one without takes all."""
    store, clock = Failing(), Clock()
    await fill(store, clock, a={"idle_timeout": 10})
    clock.now += 10
    async with SessionManager(store=store, namespace="other", clock=clock) as manager:
        assert await manager.cleanup_expired_sessions() == 0
    async with SessionManager(store=store, clock=clock) as manager:
        assert await manager.cleanup_expired_sessions() == 1


async def test_cleanup_takes_more_than_a_page(tmp_path: Path) -> None:
    """However many have expired, one cleanup takes them all."""
    clock = Clock()
    async with SessionManager(tmp_path, namespace="shop", clock=clock) as manager:
        for number in range(1201):
            (await manager.get(str(number))).record("came")
        clock.now += 1800
        assert await manager.cleanup_expired_sessions() == 1201
        assert await manager.list_sessions() == []


async def test_cleanup_spares_sessions_in_flight() -> None:
    """An expired session with a request in flight stays until that has ended."""
    clock = Clock()
    async with SessionManager(store=Failing(), namespace="shop", clock=clock) as manager:
        session = await manager.get("alice")
        session.record("came")
        visit = InFlight(runtime_of(session), CONFIG)
        clock.now += 1800
        assert await manager.cleanup_expired_sessions() == 0
        visit.end()
        assert await manager.cleanup_expired_sessions() == 1
        assert await manager.get("alice") is not session


async def test_cleanup_counts_by_limit() -> None:
    """Each limit that ended a session is counted."""
    store, clock = Failing(), Clock()
    counts: Counter[str] = Counter()

    def count(name: str, n: int) -> None:
        counts[name] += n

    await fill(store, clock, a={"idle_timeout": 10}, b={"max_age": 10}, c={"max_age": 10})
    clock.now += 10
    async with SessionManager(store=store, namespace="shop", clock=clock, on_event=count) as manager:
        assert await manager.cleanup() == {"idle_timeout": 1, "max_age": 2}
    assert counts == {"expired": 3, "expired/idle_timeout": 1, "expired/max_age": 2}


async def test_cleanup_leaves_what_another_keeps_alive() -> None:
    """A session that another process saved after it was found expired is not deleted."""
    store, clock = Failing(), Clock()
    await fill(store, clock, alice={"idle_timeout": 10})
    clock.now += 10
    (key,) = store._rows

    def keep_alive() -> None:
        store._rows[key] = store._rows[key]._replace(revision=2, expires_at=clock.now + 10)

    store.before["delete"] = keep_alive
    async with SessionManager(store=store, namespace="shop", clock=clock) as manager:
        assert await manager.cleanup_expired_sessions() == 0
        assert len(await manager.list_sessions()) == 1
