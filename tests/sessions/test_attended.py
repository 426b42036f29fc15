"""A session that a person logged in or used is saved beside what crawls do with it meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.sessions.attended import login_lease, save_login, save_visit
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.registry import SessionRegistry
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.base import Key
from tests.support.waiting import until

HOSTS = ("login.shop.example",)


def manager(store: MemoryStore, **settings: object) -> SessionManager:
    return SessionManager(store=store, namespace="shop", settings=SessionsSettings.model_validate(settings))


async def log_in(registry: SessionRegistry, session: SessionRuntime, site: str | None = None) -> bool:
    return await save_login(registry, session, hosts=HOSTS, site=site, waiting=lambda: None)


async def test_it_wins_over_the_failed_logins_of_a_crawl() -> None:
    """A crawl whose logins fail meanwhile takes over the person's cookies, and keeps its own data."""
    store = MemoryStore()
    async with manager(store) as crawl, manager(store) as command:
        alice = runtime_of(await crawl.get("alice"))
        alice.jar.set("auth", "stale", domain="shop.example")
        await crawl.flush()
        mine = await registry_of(command).detached("alice", "shop")
        mine.jar.set("auth", "good", domain="shop.example")
        for _ in range(3):
            alice.begin_login()
        alice.set_data("data", {"page": 7})
        await crawl.flush()
        assert await log_in(registry_of(command), mine)
        assert not alice.is_logged_in("shop.example")
        alice.jar.set("theme", "dark", domain="shop.example")
        await crawl.flush()
        assert (alice.jar["auth"], alice.generation, alice.status) == ("good", 4, "ready")
        assert alice.is_logged_in("shop.example")
        assert alice.data_of("data") == {"page": 7}


async def test_a_crawl_that_works_on_keeps_its_data() -> None:
    """What a spider has stored while the person logged in, in no new generation, is there after it, headers too."""
    async with manager(store := MemoryStore()) as crawl, manager(store) as command:
        alice = runtime_of(await crawl.get("alice"))
        alice.set_data("data", {"cursor": 1})
        await crawl.flush()
        mine = await registry_of(command).detached("alice", "shop")
        alice.set_data("data", {"cursor": 500})
        alice.bound_headers.set("X-Token", "new", url="https://shop.example/")
        await crawl.flush()
        mine.jar.set("auth", "good", domain="shop.example")
        assert await log_in(registry_of(command), mine)
        alice.jar.set("theme", "dark", domain="shop.example")
        await crawl.flush()
        assert (alice.jar["auth"], alice.data_of("data")) == ("good", {"cursor": 500})
        assert alice.bound_headers.get("X-Token", url="https://shop.example/") == "new"


@pytest.mark.parametrize("imported", [False, True])
async def test_it_wins_over_failed_logins_that_could_not_be_saved(imported: bool) -> None:
    """Generations of attempts that are only in memory don't matter for a session that waits for a person."""
    async with manager(store := MemoryStore()) as crawl, manager(store) as command:
        alice = runtime_of(await crawl.get("alice"))
        await crawl.flush()
        mine = await registry_of(command).detached("alice", "shop")
        for _ in range(3):
            alice.begin_login()
        alice.jar.set("auth", "stale", domain="shop.example")
        alice.awaits_login |= {"shop.example"}
        mine.jar.set("auth", "good", domain="shop.example")
        if imported:
            mine.mark_ready()
            assert await registry_of(command).save(mine)
        else:
            assert await log_in(registry_of(command), mine)
        await crawl.flush()
        assert (alice.jar["auth"], alice.status) == ("good", "ready")
        assert alice.is_logged_in("shop.example")
        await crawl.flush()
        stored = await crawl.load_session("alice")
        assert stored is not None
        assert ([each.value for each in stored.cookies], stored.generation) == (["good"], mine.generation)


async def test_nothing_is_saved_before_the_end() -> None:
    """What the browser has changed by then is no change of the stored session."""
    store = MemoryStore()
    async with manager(store) as command:
        await registry_of(command).save(runtime_of(await command.get("alice")))
        mine = await registry_of(command).detached("alice", "shop")
        mine.jar.set("auth", "half", domain="shop.example")
        new = await registry_of(command).detached("bob", "shop")
        new.jar.set("auth", "half", domain="shop.example")
    async with manager(store) as command:
        record = await command.load_session("alice")
        assert record is not None
        assert record.cookies == []
        assert await command.load_session("bob") is None


async def test_it_waits_for_the_login_of_a_crawl() -> None:
    """While a crawl logs the session in, the login waits; then it begins the next generation."""
    store = MemoryStore()
    async with manager(store) as command:
        mine = await registry_of(command).detached("alice", "shop")
        lease = await store.lease("shop", login_lease("alice"), 30)
        assert lease is not None
        waited: list[bool] = []
        saving = asyncio.ensure_future(
            save_login(registry_of(command), mine, hosts=HOSTS, site=None, waiting=lambda: waited.append(True))
        )
        await until(lambda: waited)
        assert not saving.done()
        assert await store.load(Key("shop", "alice")) is None
        await store.release(lease)
        assert await saving
        assert waited == [True]


async def test_a_deleted_session_does_not_come_back() -> None:
    """A session that was deleted while the window was open stays deleted."""
    store = MemoryStore()
    async with manager(store) as crawl, manager(store) as command:
        await registry_of(crawl).save(runtime_of(await crawl.get("alice")))
        mine = await registry_of(command).detached("alice", "shop")
        await crawl.delete_session("alice")
        assert not await log_in(registry_of(command), mine)
        assert await command.load_session("alice") is None


async def test_the_sites_it_is_for() -> None:
    """The login is that of the site of the config, else of the known sites at its hosts, else of any."""
    store = MemoryStore()
    async with manager(store) as command:
        registry = registry_of(command)
        for session_id, known, site, expected in (
            ("a", [], None, {"*"}),
            ("b", ["shop.example", "bank.example"], None, {"shop.example", "bank.example"}),
            ("c", ["bank.example"], None, {"bank.example", "*"}),
            ("d", ["bank.example"], "shop.example/account", {"bank.example", "shop.example/account"}),
        ):
            session = await registry.detached(session_id, "shop")
            for each in known:
                session.log_in(each, 1.0, [], renew_at=2.0)
            assert await log_in(registry, session, site)
            assert session.logged_in.keys() == expected
            renewed = {name for name, login in session.logged_in.items() if login["generation"] == 1}
            assert renewed == expected - {"bank.example"}


async def test_it_is_of_the_pool_that_names_it() -> None:
    """A new session has the pool, and so the limits, that a crawl would give it."""
    pools = {"staff": {"sessions": ["alice"], "idle_timeout": 0}, "shop": {"size": 2, "idle_timeout": 60}}
    async with manager(MemoryStore(), pools=pools) as command:
        found = {}
        for session_id in ("alice", "bob", "shop#2", "shop#x", "default#1"):
            session = await registry_of(command).detached(session_id, "shop")
            found[session_id] = (session.pool, session.idle_timeout)
    assert found == {
        "alice": ("staff", 0),
        "bob": (None, 1800),
        "shop#2": ("shop", 60),
        "shop#x": (None, 1800),
        "default#1": ("default", 1800),
    }


async def test_a_visit_is_no_login() -> None:
    """What a person did in a session is saved in its generation; it is dropped if a crawl has logged in since."""
    store = MemoryStore()
    async with manager(store) as crawl, manager(store) as command:
        alice = runtime_of(await crawl.get("alice"))
        await registry_of(crawl).save(alice)
        for name in ("first", "second"):
            mine = await registry_of(command).detached("alice", "shop")
            mine.jar.set(name, "1", domain="shop.example")
            if name == "second":
                alice.begin_login()
                await crawl.flush()
            assert await save_visit(registry_of(command), mine) is (name == "first")
            await registry_of(crawl).refresh_record(alice)
        assert [cookie.name for cookie in alice.jar] == ["first"]
        assert (alice.generation, alice.status) == (1, "new")


@pytest.mark.parametrize("removed", [False, True], ids=["kept", "removed"])
async def test_a_session_that_expires_in_the_window_is_a_new_one(removed: bool) -> None:
    """The login of a session whose time has run out meanwhile is kept, in a new session of its id."""
    store = MemoryStore()
    async with manager(store, max_age=0.5) as crawl, manager(store, max_age=0.5) as command:
        alice = runtime_of(await crawl.get("alice"))
        alice.jar.set("theme", "dark", domain="shop.example")
        alice.log_in("bank.example", 1.0, [])
        await registry_of(crawl).save(alice)
        mine = await registry_of(command).detached("alice", "shop")
        mine.jar.set("auth", "good", domain="shop.example")
        await asyncio.sleep(0.6)
        if removed:
            assert await crawl.cleanup()
        assert await log_in(registry_of(command), mine, "shop.example")
        record = await command.load_session("alice")
        assert record is not None
        assert record.start_time > alice.start_time + 0.5
        assert {cookie.name for cookie in record.cookies} == {"theme", "auth"}
        assert (list(record.logged_in), record.metrics.logins, record.status) == (["shop.example"], 1, "ready")
