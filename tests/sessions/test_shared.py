"""What sessions tell each other: ``session.data`` over runs, and the one object that all of a namespace share."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionError, SessionStore
from scrapy_sessions.exceptions import CorruptRecord, StoreError
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.storage import MemoryStore, SQLiteStore
from tests.support.bans import BanningSite, ask
from tests.support.crawl import Job, crawl_jobs, sqlite_url
from tests.support.spiders.asking import Counting, Remembering
from tests.support.stores import Failing


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    """A store that isn't open."""
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "s.db")


def sharing(store: SessionStore, namespace: str = "shop") -> SharedData:
    return SharedData(store, namespace, store.open)


async def test_update(store: SessionStore) -> None:
    """What a function changes in place, or returns, is there for everyone in the namespace, and for no one else."""
    shared = sharing(store)
    assert await shared.get() == {}
    assert await shared.update(lambda data: data.update(a=[1])) == {"a": [1]}
    assert await shared.update(lambda data: {"b": data["a"], "c": None}) == {"b": [1], "c": None}
    assert await sharing(store).get() == {"b": [1], "c": None}
    assert await sharing(store, "other").get() == {}
    await store.close()


async def test_a_copy_is_handed_out(store: SessionStore) -> None:
    """Changing what get() and update() returned changes nothing of what is shared."""
    shared = sharing(store)
    for data in (await shared.update(lambda data: {"list": [1]}), await shared.get()):
        data["list"] = 5
    assert await shared.get() == {"list": [1]}
    await store.close()


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ([1], "must be a dict, not list"),
        ("s3cret", "must be a dict, not str"),
        ({"a": {"s3cret"}}, r"must be JSON \(it contains something that isn.t JSON \(set\)\)"),
        ({"a": float("nan"), "b": "s3cret"}, r"must be JSON \(it contains a number that is infinite or NaN\)"),
    ],
)
async def test_what_is_not_json(store: SessionStore, returned: Any, words: str) -> None:
    """What isn't a JSON object is refused with the namespace and no value, and nothing is saved."""
    shared = sharing(store)
    await shared.update(lambda data: {"kept": True})
    with pytest.raises(SessionError, match=f"The shared data of 'shop' {words}") as caught:
        await shared.update(lambda data: returned)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert await shared.get() == {"kept": True}
    await store.close()


async def test_a_function_that_raises(store: SessionStore) -> None:
    """What the function raises comes out of update(), nothing is saved, and the next update works."""
    shared = sharing(store)
    with pytest.raises(KeyError, match="a"):
        await shared.update(lambda data: data.pop("a") and None)
    assert await shared.update(lambda data: {"b": 1}) == {"b": 1}
    await store.close()


async def test_many_updates_at_once(store: SessionStore) -> None:
    """Three hundred callbacks that update at once lose none."""
    shared = sharing(store)

    def count(data: dict[str, Any]) -> None:
        data["n"] = data.get("n", 0) + 1

    await asyncio.gather(*(shared.update(count) for _ in range(300)))
    assert await shared.get() == {"n": 300}
    await store.close()


async def test_compare_and_set() -> None:
    """A function is called again, with what is there then, if another was faster; nothing of the other is lost."""
    store, seen = MemoryStore(), []
    shared, other = sharing(store), sharing(store)
    await shared.update(lambda data: {"n": 1})

    class Beaten(MemoryStore):
        async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
            if len(seen) == 1:
                await other.update(lambda data: {**data, "other": True})
            return await store.write_shared(namespace, version, body)

        read_shared = store.read_shared

    def function(data: dict[str, Any]) -> None:
        seen.append(dict(data))
        data["n"] += 1

    assert await sharing(Beaten()).update(function) == {"n": 2, "other": True}
    assert seen == [{"n": 1}, {"n": 1, "other": True}]


async def test_an_update_that_always_loses() -> None:
    """An update that is always beaten ends with an error: no livelock."""

    class Lost(MemoryStore):
        async def write_shared(self, namespace: str, version: int, body: bytes) -> bool:
            return False

    with pytest.raises(StoreError, match="of 'shop' changes elsewhere faster than it can be saved"):
        await sharing(Lost()).update(lambda data: None)


@pytest.mark.parametrize("body", [b"\xff", b"{", b"[1]", b"null"])
async def test_content_that_can_not_be_read(store: SessionStore, body: bytes) -> None:
    """Content that is no JSON object is an error that says so, and is neither overwritten nor taken for empty."""
    await store.open()
    assert isinstance(store, MemoryStore | SQLiteStore)
    assert await store.write_shared("shop", 0, body)
    shared = sharing(store)
    for call in (shared.get(), shared.update(lambda data: {"a": 1})):
        with pytest.raises(CorruptRecord, match="The shared data of 'shop' can't be read: delete it, or restore"):
            await call
    assert await store.read_shared("shop") == (body, 1)
    await store.close()


async def test_a_store_that_fails_to_open() -> None:
    """A store that can't be opened raises what it raises."""
    store = Failing()
    store.broken.add("open")
    with pytest.raises(StoreError, match="The test lets open"):
        await sharing(store).get()


def test_two_processes_count(tmp_path: Path) -> None:
    """Two crawls that count at once in one file lose no count."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_NAMESPACE": "both"}

    def count(name: str, times: int) -> int:
        (done,) = crawl_jobs(
            tmp_path / name, Job("tests.support.spiders.asking.Counting", {"times": times}), **settings
        )
        return int(done.stats["counted"])

    with ThreadPoolExecutor() as threads:
        counts = list(threads.map(count, ["first", "second"], [100, 100]))
    assert max(counts) == 200
    assert count("third", 1) == 201


async def test_session_data_over_runs(bans: BanningSite, tmp_path: Path) -> None:
    """What a callback puts into session.data is there in the next run, changed in place too, for its session only."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_SAVE_INTERVAL": 60}
    seen = []
    for _ in range(2):
        asked = await ask(
            *((bans.url(f"/{name}"), {"session_id": name}) for name in ("alice", "bob")), spider=Remembering, **settings
        )
        assert isinstance(asked.crawler.spider, Remembering)
        seen.append(asked.crawler.spider.seen)
    assert seen == [{"alice": [], "bob": []}, {"alice": ["/alice"], "bob": ["/bob"]}]


async def test_shared_from_callbacks(bans: BanningSite) -> None:
    """Callbacks of one crawl count what all sessions have seen, without losing any."""
    requests = [(bans.url(f"/{number}"), {"session_id": f"s{number % 3}"}) for number in range(30)]
    asked = await ask(*requests, spider=Counting)
    assert isinstance(asked.crawler.spider, Counting)
    assert await asked.crawler.spider.sessions.shared.get() == {"count": 30}
