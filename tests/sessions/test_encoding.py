"""A live session as the row that is saved: the same as its record, and nothing encoded twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scrapy_sessions import Cookie, PersistentSession, SessionManager
from scrapy_sessions.sessions.encoding import base_of, encode_parts, row_of
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.record_fields import Unencodable
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, Row
from scrapy_sessions.storage.codec import decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text("abc-_", min_size=1, max_size=4)
TIMES = st.floats(1e9, 2e9)
COUNTS = st.integers(0, 2**40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda each: st.lists(each) | st.dictionaries(TEXT, each),
    max_leaves=4,
)
COOKIES = st.builds(
    Cookie,
    name=NAMES,
    value=st.text("xyzäöü 0", max_size=5).map(str.strip),
    domain=st.sampled_from(["shop.example", "www.shop.example"]),
    host_only=st.booleans(),
    path=st.sampled_from(["/", "/p", "/p/q"]),
    expires=st.none() | TIMES,
    secure=st.just(True),
    http_only=st.booleans(),
    same_site=st.sampled_from([None, "Lax", "Strict", "None"]),
    partition_key=st.sampled_from([None, "https://shop.example"]),
    created=TIMES,
    updated=TIMES,
)
RECORDS = st.builds(
    PersistentSession,
    session_id=st.just("alice"),
    namespace=NAMES,
    pool=st.none() | NAMES,
    user_agent=st.none() | TEXT,
    timezone=st.none() | TEXT,
    viewport_width=st.none() | st.integers(1, 4000),
    headers=st.dictionaries(st.sampled_from(["*", "https://shop.example"]), st.dictionaries(NAMES, TEXT, min_size=1)),
    start_time=TIMES,
    last_activity=TIMES,
    pages_visited=COUNTS,
    actions_performed=st.lists(TEXT, max_size=5),
    last_url=st.none() | TEXT,
    cookies=st.lists(COOKIES, max_size=4, unique_by=lambda c: (c.name, c.domain, c.path, c.host_only, c.partition_key)),
    local_storage=st.dictionaries(NAMES, st.dictionaries(NAMES, TEXT), max_size=2),
    data=st.dictionaries(TEXT, JSON, max_size=3),
    status=st.sampled_from(["new", "ready", "retired"]),
    retired_reason=st.none() | TEXT,
    idle_timeout=st.sampled_from([0.0, 1800.0]),
    max_age=st.sampled_from([0.0, 60.0]),
    max_uses=st.integers(0, 2),
    generation=COUNTS,
    revision=COUNTS,
    metrics=st.builds(
        dict, requests=COUNTS, responses=st.dictionaries(st.sampled_from(["200", "404"]), COUNTS), latency=TIMES
    ),
)


_T = TypeVar("_T")


def examples(strategy: st.SearchStrategy[_T]) -> Iterator[_T]:
    """Yield values of *strategy* for a coroutine, which can't be given any."""
    made: list[_T] = []

    @settings(max_examples=60, database=None, phases=[Phase.generate])
    @given(strategy)
    def make(value: _T) -> None:
        made.append(value)

    make()
    yield from made


def live(record: PersistentSession | None = None, *, now: float = 1.5e9) -> SessionRuntime:
    session = SessionRuntime("alice", clock=lambda: now)
    if record is not None:
        session.restore(record)
    return session


@settings(max_examples=40, deadline=None)
@given(RECORDS)
def test_the_row_is_that_of_the_record(record: PersistentSession) -> None:
    """What is written without a model in between reads as the session's own record, with the next revision."""
    session = live(record)
    row = row_of(session, encode_parts(session))
    expected = session.snapshot()
    expected.revision += 1
    assert decode(row) == expected
    assert row._replace(body=b"") == encode(expected)._replace(stamps=row.stamps, body=b"")


@settings(max_examples=30, deadline=None)
@given(RECORDS, RECORDS)
def test_the_base_is_what_was_saved(saved: PersistentSession, later: PersistentSession) -> None:
    """However the session changes after a save, its base stays the record of that save."""
    session = live(saved)
    before = session.snapshot()
    session.merge_base = encode_parts(session)
    session.status, session.last_activity, session.pages_visited = later.status, later.last_activity, 7
    session.jar.restore(later.cookies)
    session.watched_data().current["data"]["more"] = 1
    session.data_changed()
    for text in later.actions_performed:
        session.record(text)
    before.revision += 1
    assert base_of(session) == before


def test_unknown_fields_are_written() -> None:
    """Fields of a newer version, of the record, its metrics and its cookies, are written as they came."""
    content: dict[str, Any] = {"session_id": "alice", "shape": {"is": None}, "metrics": {"smiles": 3}}
    content["cookies"] = [{"name": "a", "value": "1", "domain": "shop.example", "taste": "sweet"}]
    session = live(PersistentSession.model_validate(content))
    record = decode(row_of(session, encode_parts(session)))
    assert (record.model_extra, record.metrics.model_extra) == ({"shape": {"is": None}}, {"smiles": 3})
    assert record.cookies[0].model_extra == {"taste": "sweet"}


def test_what_has_not_changed_is_not_encoded_again() -> None:
    """Cookies, identity and data are the same bytes in every save, until they change."""
    session = live()
    session.jar.set("sid", "1", domain="shop.example", expires=1.6e9)
    session.watched_data().current["data"]["basket"] = [1]
    first = encode_parts(session)
    session.pages_visited += 1
    second = encode_parts(session)
    assert second.moving != first.moving
    assert (second.settled is first.settled, second.cookies is first.cookies) == (True, True)
    session.watched_data().current["data"]["basket"].append(2)  # type: ignore[union-attr]  # a list: see above
    assert session.data_changed()
    session.jar.set("sid", "2", domain="shop.example")
    third = encode_parts(session)
    assert (b"[1,2]" in third.settled, b'"2"' in third.cookies) == (True, True)
    session.user_agent = "another"
    session.bound_headers.set("X-Token", "t", url="https://shop.example")
    assert (b"another" in encode_parts(session).settled, b"X-Token" in encode_parts(session).settled) == (True, True)


def test_a_cookie_that_expires_is_written_no_more() -> None:
    """The cookies as they were encoded hold until one expires, and also when the clock is set back."""
    now = [100.0]
    session = SessionRuntime("alice", clock=lambda: now[0])
    session.jar.set("short", "1", domain="shop.example", expires=200)
    session.jar.set("long", "1", domain="shop.example", expires=300)
    found = []
    for now[0] in (150.0, 250.0, 150.0, 350.0):
        session.revision = 1
        found.append([cookie.name for cookie in decode(row_of(session, encode_parts(session))).cookies])
    assert found == [["short", "long"], ["long"], ["short", "long"], []]


def test_a_deleted_cookie_is_written_no_more() -> None:
    """A cookie that a site deletes after it has expired doesn't come back when the clock is set back."""
    now = [100.0]
    session = SessionRuntime("alice", clock=lambda: now[0])
    session.jar.set("sid", "1", domain="shop.example", expires=200)
    assert encode_parts(session).cookies
    now[0] = 250.0
    session.jar.store(["sid=; Max-Age=0"], urlsplit("https://shop.example/"))
    now[0] = 150.0
    assert (encode_parts(session).cookies, session.snapshot().cookies) == (b"", [])


class Interrupted(MemoryStore):
    """Calls each of ``meanwhile`` once, before a save."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], None]] = []

    async def save(self, rows: Sequence[Row]) -> list[Outcome]:
        if self.meanwhile:
            self.meanwhile.pop()()
        return await super().save(rows)


class Account:
    """The sessions of one id in two processes, and the actions that each of them adds."""

    def __init__(self, limit: int) -> None:
        self.store = Interrupted()
        options = {"store": self.store, "namespace": "shop", "settings": SessionsSettings(history_limit=limit)}
        self.managers = [SessionManager(**options) for _ in "ab"]

    async def __aenter__(self) -> Account:
        for manager in self.managers:
            await manager.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        for manager in self.managers:
            await manager.close()


TURNS = st.lists(
    st.tuples(st.integers(0, 1), st.lists(st.sampled_from(["x", "x", "y", ",", '",']), max_size=7)), max_size=6
)


@pytest.mark.parametrize("limit", [1, 2, 5, 0])
@pytest.mark.parametrize("odd", [False, True], ids=["JSON", "not JSON"])
async def test_two_processes_keep_the_last_actions(limit: int, odd: bool) -> None:
    """However two processes take turns, a bounded history loses and doubles nothing, also among equal actions: each
    save puts what was added since after what is stored."""
    for turns in examples(TURNS):
        async with Account(limit) as account:
            sessions = [await registry_of(manager).get("alice") for manager in account.managers]
            stored: list[str] = []
            for turn, added in turns:
                session = sessions[turn]
                data = session.watched_data().current["data"]
                data.setdefault("odd", [1])[:] = [object() if odd else 1]
                for text in added:
                    session.record(text)
                await registry_of(account.managers[turn]).save(session)
                stored += added[-limit:] if limit else added
                expected = stored[-limit:] if limit else stored
                row = await account.store.load(Key("shop", "alice"))
                assert row is not None
                assert (decode(row).actions_performed, row.actions_count) == (expected, len(expected))
                assert session.history.texts() == expected


async def test_what_comes_while_it_is_saved_is_merged_once() -> None:
    """Actions that come between the encoding of a session and a conflict are neither lost nor doubled."""
    async with Account(3) as account:
        one, two = [await registry_of(manager).get("alice") for manager in account.managers]
        one.record("x")
        await registry_of(account.managers[0]).save(one)
        two.record("x")
        account.store.meanwhile = [lambda: two.record("x")]
        await registry_of(account.managers[1]).save(two)
        assert account.store.meanwhile == []
        assert (two.history.texts(), two.revision) == (["x"] * 3, 2)
        account.store.meanwhile = [lambda: two.record("y")]
        two.record("x")
        await registry_of(account.managers[1]).save(two)
        one.record("z")
        await registry_of(account.managers[0]).save(one)
        await account.managers[1].flush()
        row = await account.store.load(Key("shop", "alice"))
        assert row is not None
        assert decode(row).actions_performed == ["x", "z", "y"]


async def test_data_that_was_not_json_mends_itself() -> None:
    """Data that isn't JSON is saved as it was; as soon as it is JSON again it is saved as it is."""

    class Incomparable:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise ValueError("an array has no truth")

    async with Account(0) as account:
        manager = account.managers[0]
        session = await registry_of(manager).get("alice")
        found = []
        for value in (1, Incomparable(), Incomparable(), object(), 3, 4):
            session.watched_data().current["data"].setdefault("basket", [])[:] = [value]
            session.jar.set("sid", repr(type(value)), domain="shop.example")
            await manager.flush()
            row = await account.store.load(Key("shop", "alice"))
            assert row is not None
            assert decode(row).cookies == session.snapshot().cookies
            found += decode(row).data["basket"]
        assert found == [1, 1, 1, 1, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "happy"},
        {"last_activity": math.inf},
        {"latency": math.nan},
        {"idle_timeout": math.inf},
        {"pages_visited": "many"},
        {"last_url": 5},
        {"user_agent": b"bytes"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_could_not_be_read_back_is_refused(change: dict[str, Any]) -> None:
    """A value that the record's field doesn't take isn't written, and the fault quotes nothing."""
    session = live()
    for name, value in change.items():
        setattr(session, name, value)
    with pytest.raises(Unencodable) as caught:
        encode_parts(session)
    assert (str(caught.value), caught.value.__cause__) == ("", None)
