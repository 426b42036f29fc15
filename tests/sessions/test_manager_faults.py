"""The manager and records that it can't read, or knows only in part: each fault stays with its record."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import CorruptRecord, NewerSchema, SessionManager, StoreError
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.storage import Key, SQLiteStore
from tests.support.stores import Failing


async def save(path: Path, *names: str) -> None:
    """Save sessions with one action each."""
    async with SessionManager(path, namespace="shop") as manager:
        for name in names:
            (await manager.get(name)).record("came")


def change(path: Path, name: str, **fields: Any) -> None:
    """Change *fields* in the stored record of *name*; with none, make it unreadable."""
    with closing(sqlite3.connect(path)) as file, file:
        (body,) = file.execute("SELECT body FROM sessions WHERE session_id = ?", (name,)).fetchone()
        body = json.dumps({**json.loads(body), **fields}).encode() if fields else b"{half a rec"
        file.execute("UPDATE sessions SET body = ? WHERE session_id = ?", (body, name))


def body_of(path: Path, name: str) -> dict[str, Any]:
    """The stored record of *name*, as it is."""
    with closing(sqlite3.connect(path)) as file:
        (body,) = file.execute("SELECT body FROM sessions WHERE session_id = ?", (name,)).fetchone()
    content: dict[str, Any] = json.loads(body)
    return content


async def test_loading_a_corrupt_record_raises(tmp_path: Path) -> None:
    """load_session() of a corrupt record raises, with its name, and doesn't say that there is none."""
    path = tmp_path / "s.db"
    await save(path, "alice")
    change(path, "alice")
    async with SessionManager(path, namespace="shop") as manager:
        with pytest.raises(CorruptRecord, match="'alice' in namespace 'shop' can't be read"):
            await manager.load_session("alice")


async def test_a_corrupt_record_is_quarantined_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A corrupt record is set aside, counted and told of, and a new session takes its place."""
    path = tmp_path / "s.db"
    counts: Counter[str] = Counter()
    await save(path, "alice")
    change(path, "alice")
    store = SQLiteStore(path)
    async with SessionManager(store=store, namespace="shop", on_event=lambda name, n: counts.update({name: n})) as m:
        assert (await m.get("alice")).actions == []
        assert [key for key, _ in await store.quarantined()] == [Key("shop", "alice")]
    await store.close()
    assert counts["quarantined"] == 1
    assert "moved to the quarantine of" in caplog.text


async def test_other_records_go_on_beside_a_corrupt_one(tmp_path: Path) -> None:
    """The sessions beside a corrupt record are listed, loaded and saved as ever."""
    path = tmp_path / "s.db"
    await save(path, "alice", "bob")
    change(path, "alice")
    async with SessionManager(path, namespace="shop") as manager:
        await manager.get("alice")
        bob = await manager.get("bob")
        assert bob.actions == ["came"]
        bob.record("again")
    assert body_of(path, "bob")["actions_performed"] == ["came", "again"]


async def test_a_record_corrupted_while_its_session_lives(tmp_path: Path) -> None:
    """A save that must merge with a corrupt record sets that aside and saves what it has."""
    path = tmp_path / "s.db"
    await save(path, "alice")
    async with SessionManager(path, namespace="shop") as manager:
        session = await manager.get("alice")
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE sessions SET body = 'x', revision = 7")
        session.record("later")
        assert await manager.save_session("alice", session) is True
        assert len(await manager.store.quarantined()) == 1
    assert body_of(path, "alice")["actions_performed"] == ["came", "later"]


@pytest.mark.parametrize("method", ["load_session", "get"])
async def test_a_newer_record_is_a_clear_error(tmp_path: Path, method: str) -> None:
    """A record of a newer schema raises, says what to do, and stays as it is."""
    path = tmp_path / "s.db"
    await save(path, "alice")
    change(path, "alice", schema_version=99, wings=2)
    before = body_of(path, "alice")
    async with SessionManager(path, namespace="shop") as manager:
        with pytest.raises(NewerSchema, match=r"'alice'.*schema version 99.*upgrade the package"):
            await getattr(manager, method)("alice")
        assert await manager.store.quarantined() == []
    assert body_of(path, "alice") == before


async def test_a_newer_record_is_never_overwritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a session overwrite the record that a newer version saved meanwhile; the others are saved."""
    path = tmp_path / "s.db"
    await save(path, "alice", "bob")
    async with SessionManager(path, namespace="shop") as manager:
        for name in ("alice", "bob"):
            (await manager.get(name)).record("later")
        change(path, "alice", schema_version=99, revision=2)
        with closing(sqlite3.connect(path)) as file, file:
            file.execute("UPDATE sessions SET revision = 2 WHERE session_id = 'alice'")
        before = body_of(path, "alice")
    assert body_of(path, "alice") == before
    assert body_of(path, "bob")["actions_performed"] == ["came", "later"]
    assert "'alice' was not saved" in caplog.text


async def test_unknown_fields_survive_a_live_session(tmp_path: Path) -> None:
    """Fields of a record, its metrics and cookies that a later version added are still there after a save."""
    path = tmp_path / "s.db"
    async with SessionManager(path, namespace="shop") as manager:
        (await manager.get("alice")).cookies.set("sid", "1", domain="shop.example")
    stored = body_of(path, "alice")
    metrics = {**stored["metrics"], "battery": 80}
    cookies = [{"name": "sid", "value": "1", "domain": "shop.example", "priority": "High"}]
    change(path, "alice", mood="good", metrics=metrics, cookies=cookies)
    async with SessionManager(path, namespace="shop") as manager:
        (await manager.get("alice")).record("later")
    after = body_of(path, "alice")
    assert after["actions_performed"] == ["later"]
    assert after["mood"] == "good"
    assert after["metrics"]["battery"] == 80
    assert after["cookies"][0]["priority"] == "High"


async def test_unknown_fields_survive_a_merge(tmp_path: Path) -> None:
    """They survive the merge with another holder's save, too."""
    path = tmp_path / "s.db"
    await save(path, "alice")
    change(path, "alice", mood="good")
    one, two = (SessionManager(path, namespace="shop") for _ in range(2))
    async with one, two:
        for manager in (one, two):
            (await manager.get("alice")).record("later")
        await one.flush()
        await two.flush()
    after = body_of(path, "alice")
    assert after["actions_performed"] == ["came", "later", "later"]
    assert after["mood"] == "good"


@pytest.mark.parametrize(
    ("method", "broken"),
    [("load_session", "load"), ("delete_session", "delete"), ("get", "load"), ("list_sessions", "save")],
)
async def test_a_fault_of_the_store_is_raised(method: str, broken: str) -> None:
    """No method turns a fault of the store into None, False or nothing."""
    store = Failing()
    async with SessionManager(store=store, namespace="shop") as manager:
        (await manager.get("bob")).record("came")
        store.broken.add(broken)
        with pytest.raises(StoreError, match=rf"lets {broken}\(\) fail"):
            await getattr(manager, method)(*([] if method == "list_sessions" else ["alice"]))
        store.broken.clear()


async def test_a_store_that_does_not_open() -> None:
    """A store that can't be opened is an error at once."""
    store = Failing()
    store.broken.add("open")
    with pytest.raises(StoreError, match="open"):
        async with SessionManager(store=store):
            pass


async def test_closing_closes_the_store_though_saving_failed(caplog: pytest.LogCaptureFixture) -> None:
    """close() raises what saving raised, and closes its store all the same."""
    closed: list[str] = []

    class Own(Failing):
        async def close(self) -> None:
            closed.append("closed")

    manager = SessionManager(store="memory://", namespace="shop")
    registry_of(manager).store = registry_of(manager).writer._saver._store = store = Own()
    await manager.open()
    (await manager.get("alice")).record("came")
    store.broken.add("save")
    with caplog.at_level(logging.CRITICAL), pytest.raises(StoreError, match="save"):
        await manager.close()
    assert closed == ["closed"]


async def test_no_value_of_a_corrupt_record_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is said of a corrupt record holds none of its values."""
    path = tmp_path / "s.db"
    await save(path, "alice")
    change(path, "alice", cookies=[{"name": "sid", "value": {"hidden": "s3cret"}, "domain": "x"}])
    async with SessionManager(path, namespace="shop") as manager:
        with pytest.raises(CorruptRecord) as caught:
            await manager.load_session("alice")
    assert "s3cret" not in caplog.text + str(caught.value) + repr(caught.value.__context__)


async def test_a_load_that_nobody_waits_for_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """A load that fails after its caller was cancelled, as by a request that gives its place back, logs nothing."""
    store = Failing()
    store.broken.add("load")
    async with SessionManager(store=store, namespace="shop") as manager:
        getting = asyncio.ensure_future(manager.get("alice"))
        while not registry_of(manager)._loading:
            await asyncio.sleep(0)
        (loading,) = registry_of(manager)._loading.values()
        getting.cancel()
        await asyncio.wait([getting, loading])
        assert getting.cancelled()
        del loading
        gc.collect()
        assert caplog.records == []
        with pytest.raises(StoreError):
            await manager.get("alice")
