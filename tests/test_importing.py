"""Merging a file into sessions: pure rules, other holders of the session, and faults of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrapy_sessions import BrowserSession, Cookie, PersistentSession, SessionError, SessionManager, StoreError
from scrapy_sessions.cookies.content import MAX_COOKIES_PER_DOMAIN
from scrapy_sessions.formats import Contents
from scrapy_sessions.importing import apply, merge, plan_records, save_records
from scrapy_sessions.storage import MemoryStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode

NOW = 1_000_000.0


def cookie(name: str, value: str = "1", **fields: object) -> Cookie:
    return Cookie.model_validate({"name": name, "value": value, "domain": "shop.example", "updated": NOW, **fields})


def outcome(contents: Contents, *cookies: Cookie, replace: bool = False) -> dict[str, str]:
    session = PersistentSession(session_id="alice", cookies=list(cookies))
    changes = merge(session, contents, now=NOW, replace=replace).changes
    return {each.cookie.name: " ".join(filter(None, (each.what, each.reason))) for each in changes}


def test_each_cookie_is_accounted_for() -> None:
    """What a merge does to each cookie is told by one word."""
    contents = Contents([cookie("new"), cookie("b", "2"), cookie("c"), cookie("d", expires=5.0), cookie("e\n")])
    assert outcome(contents, cookie("b"), cookie("c", updated=5.0), cookie("x")) == {
        "new": "added",
        "b": "changed",
        "c": "same",
        "d": "expired",
        "e\n": "refused malformed",
    }
    assert outcome(Contents([cookie("b")]), cookie("b"), cookie("x"), replace=True) == {"b": "same", "x": "removed"}


def test_the_newest_wins_where_times_are_known() -> None:
    """A recording's older cookie doesn't undo a newer one; a file without times is the newest, whatever the clocks."""
    newer = cookie("a", "newer", updated=NOW + 50, created=3.0)
    assert outcome(Contents([cookie("a", "old")], dated=True), newer) == {"a": "older"}
    (merged,) = merge(
        PersistentSession(session_id="alice", cookies=[newer]), Contents([cookie("a", "file")]), now=NOW, replace=False
    ).cookies
    assert (merged.value, merged.updated, merged.created) == ("file", NOW + 50, 3.0)


def test_a_full_jar_says_what_it_drops() -> None:
    """What a jar has no place for is told, and isn't counted as added."""
    many = [cookie(f"n{number}") for number in range(MAX_COOKIES_PER_DOMAIN + 5)]
    merged = merge(None, Contents(many), now=NOW, replace=False)
    assert len(merged.cookies) == MAX_COOKIES_PER_DOMAIN
    assert [change.reason for change in merged.changes if change.what == "refused"] == ["evicted"] * 5


async def test_a_crawl_that_holds_the_session_merges(tmp_path: Path) -> None:
    """An import into a session that another process is changing loses nothing of either."""
    async with (
        SessionManager(tmp_path, namespace="shop") as crawl,
        SessionManager(tmp_path, namespace="shop") as command,
    ):
        live = await crawl.get("alice")
        live.cookies.set("own", "1", domain="shop.example")
        await crawl.flush()
        session = await command.get("alice")
        live.cookies.set("later", "1", domain="shop.example")
        await crawl.flush()
        apply(merge(session.snapshot(), Contents([cookie("file", expires=4e9)]), now=NOW, replace=False), session)
        assert await command.save_session("alice", session)
        live.record("something")
        await crawl.flush()
        assert {each.name for each in live.cookies} == {"own", "later", "file"}
        record = await command.load_session("alice")
    assert record is not None
    assert {each.name for each in record.cookies} == {"own", "later", "file"}


async def test_only_cookies_make_a_login() -> None:
    """A new session with cookies counts as logged in, one without doesn't, a retired one stays retired."""
    for contents, status in ((Contents([cookie("a", expires=4e9)]), "ready"), (Contents([], {"o": {"k": "v"}}), "new")):
        session = BrowserSession("alice")
        apply(merge(None, contents, now=NOW, replace=False), session)
        assert session.status == status
        assert session.dirty


def record(session_id: str = "alice", start: float = 1.0, **fields: object) -> PersistentSession:
    return PersistentSession.model_validate(
        {"session_id": session_id, "namespace": "shop", "start_time": start, "idle_timeout": 0, **fields}
    )


class Failing(MemoryStore):
    """Fails to save once it is told to, that time only."""

    fails = False

    async def save(self, rows):  # type: ignore[no-untyped-def]
        if self.fails:
            self.fails = False
            raise StoreError("The disk is full")
        return await super().save(rows)


async def content(store: MemoryStore, session_id: str) -> PersistentSession | None:
    row = await store.load(Key("shop", session_id))
    return None if row is None else decode(row)


async def test_a_store_that_fails_keeps_what_it_had() -> None:
    """When the store fails in the middle, what was to be replaced is there as before, and nothing new is."""
    store = Failing()
    await store.open()
    await save_records(store, await plan_records(store, [record(data={"a": 1})], namespace=None, session_id=None))
    plans = await plan_records(store, [record(start=2.0), record("bob")], namespace=None, session_id=None)
    store.fails = True
    with pytest.raises(StoreError, match="disk is full"):
        await save_records(store, plans)
    kept = await content(store, "alice")
    assert kept is not None
    assert (kept.start_time, kept.data) == (1.0, {"a": 1})
    assert await content(store, "bob") is None


async def test_what_another_process_saved_meanwhile_stands() -> None:
    """A session that appeared after the plan was made is left alone, and named."""
    store = MemoryStore()
    await store.open()
    plans = await plan_records(store, [record(data={"from": "file"})], namespace=None, session_id=None)
    other = await plan_records(store, [record(data={"from": "crawl"})], namespace=None, session_id=None)
    await save_records(store, other)
    with pytest.raises(SessionError, match="'alice'"):
        await save_records(store, plans)
    kept = await content(store, "alice")
    assert kept is not None
    assert kept.data == {"from": "crawl"}


async def test_two_that_would_be_one_are_refused() -> None:
    """Two sessions of a file that would land in one place are refused before anything is saved."""
    with pytest.raises(SessionError, match="two sessions 'alice'"):
        await plan_records(None, [record(), record(start=2.0)], namespace=None, session_id=None)
