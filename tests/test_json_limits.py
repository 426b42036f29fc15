"""What can be written can be read back: one rule for both sides."""

from __future__ import annotations

import copy
import math
import operator
import pickle
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_sessions import BrowserSession, Cookie, InvalidData, PersistentSession, SessionManager
from scrapy_sessions.exceptions import CorruptRecord, InvalidCookie, StoreError
from scrapy_sessions.json_limits import MAX_COUNT, MAX_DEPTH, MAX_DIGITS
from scrapy_sessions.sessions import encoding
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.storage import Key, MemoryStore, codec
from scrapy_sessions.storage.codec import decode, encode

SECRET = "hunter2"


def nested(levels: int) -> Any:
    """A text within *levels* lists and dicts."""
    value: Any = SECRET
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


BEYOND = [
    pytest.param(nested(MAX_DEPTH), f"nested more than {MAX_DEPTH} levels", id="one level too deep"),
    pytest.param(nested(200), f"nested more than {MAX_DEPTH} levels", id="200 levels"),
    pytest.param(nested(100_000), f"nested more than {MAX_DEPTH} levels", id="100,000 levels"),
    pytest.param([math.nan], "infinite or NaN", id="NaN"),
    pytest.param({"a": -math.inf}, "infinite or NaN", id="infinity"),
    pytest.param([10**MAX_DIGITS], f"more than {MAX_DIGITS} digits", id="long number"),
    pytest.param([-(10**5000)], f"more than {MAX_DIGITS} digits", id="number that Python doesn't print"),
    pytest.param([f"{SECRET}\ud800"], "lone surrogate", id="surrogate"),
    pytest.param({f"{SECRET}\udfff": 1}, "lone surrogate", id="surrogate in a key"),
    pytest.param({1: SECRET}, r"key that isn't a string \(int\)", id="number as a key"),
    pytest.param({None: SECRET}, r"key that isn't a string \(NoneType\)", id="None as a key"),
    pytest.param(SECRET.encode(), r"isn't JSON \(bytes\)", id="bytes"),
    pytest.param([{SECRET}], r"isn't JSON \(set\)", id="set"),
    pytest.param(Decimal(1), r"isn't JSON \(Decimal\)", id="Decimal"),
    pytest.param(object(), r"isn't JSON \(object\)", id="object"),
]
AT_THE_LIMIT = [
    nested(MAX_DEPTH - 1),
    10**MAX_DIGITS - 1,
    1 - 10**MAX_DIGITS,
    1.7e308,
    5e-324,
    "\0\uffff\U0010ffff",
    "",
]


@pytest.mark.parametrize(("value", "words"), BEYOND)
def test_data_is_checked_when_it_is_set(value: Any, words: str) -> None:
    """A value beyond a limit is refused by the line that sets it; the error names session, key and limit, no value."""
    session = BrowserSession("alice")
    session.data["cart"] = 1
    with pytest.raises(
        InvalidData, match=rf"session\.data\['cart'\] of the session 'alice' can't be saved.*{words}"
    ) as e:
        session.data["cart"] = value
    assert SECRET not in str(e.value)
    assert session.data == {"cart": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update({"cart": object()}),
        lambda data: data.update([("cart", object())]),
        lambda data: data.update(cart=object()),
        lambda data: data.setdefault("cart", object()),
        lambda data: operator.ior(data, {"cart": object()}),
    ],
    ids=["a dict", "pairs", "keywords", "setdefault", "|="],
)
def test_every_way_of_setting_is_checked(change: Callable[[dict[str, Any]], object]) -> None:
    """A dict has several methods that set a key; each of them checks the value."""
    data = BrowserSession("alice").data
    with pytest.raises(InvalidData, match="'cart'"):
        change(data)
    assert data == {}


def test_an_update_is_made_as_a_whole() -> None:
    """If one value of an update is refused, none of it is set."""
    data = BrowserSession("alice").data
    with pytest.raises(InvalidData, match="'cart'"):
        data.update({"step": 1, "cart": object()})
    assert data == {}


def test_a_key_is_a_string() -> None:
    """The keys of session.data are strings, as those of a JSON object."""
    with pytest.raises(InvalidData, match=r"a key that isn't a string \(int\)"):
        BrowserSession("alice").data[5] = 1  # type: ignore[index]


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_a_copy_of_the_data_is_a_plain_dict(make: Any) -> None:
    """A copy belongs to no session: it takes every value."""
    data = BrowserSession("alice").data
    data["cart"] = [1]
    assert type(make(data)) is dict
    assert make(data) == {"cart": [1]}


@pytest.mark.parametrize("value", ["text", {"key": 1}, {"key": None}, {"key": "\ud800"}])
@pytest.mark.parametrize("name", ["local_storage", "session_storage"])
def test_storages_are_checked_when_they_are_set(name: str, value: Any) -> None:
    """The storage of an origin has texts only."""
    storage = getattr(BrowserSession("alice"), name)
    with pytest.raises(InvalidData, match=rf"session\.{name}\['https://shop\.example'\]"):
        storage["https://shop.example"] = value


@pytest.mark.parametrize("value", ["text", {"name": "db"}, ["db"], [{"name": float("nan")}]])
def test_databases_are_checked_when_they_are_set(value: Any) -> None:
    """The IndexedDB of an origin is a list of JSON objects."""
    session = BrowserSession("alice")
    with pytest.raises(InvalidData, match=r"session\.indexed_db\['https://shop\.example'\]"):
        session.indexed_db["https://shop.example"] = value
    session.indexed_db["https://shop.example"] = [{"name": "db", "version": 1, "stores": []}]


@pytest.mark.parametrize("value", AT_THE_LIMIT, ids=lambda value: type(value).__name__)
async def test_what_is_at_the_limit_comes_back(value: Any) -> None:
    """A value that is just within the limits is the same in the next run."""
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop") as manager:
        (await manager.get("alice")).data["cart"] = value
        await manager.flush()
        row = await store.load(Key("shop", "alice"))
        assert row is not None
        assert decode(row).data == {"cart": value}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=[])), inner),
    )
)
def test_whatever_is_accepted_comes_back(value: Any) -> None:
    """Each value is either refused when it is set, or read back the same."""
    session = BrowserSession("alice")
    try:
        session.data["cart"] = value
    except InvalidData:
        return
    assert decode(encode(session.snapshot())).data == {"cart": value}


@pytest.mark.parametrize(("value", "words"), BEYOND)
async def test_data_changed_deep_inside_costs_only_the_data(
    value: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a spider changes in place is checked at the save: one ERROR names session and key, the login is kept."""
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop") as manager:
        session = await manager.get("alice")
        session.data["cart"] = []
        await manager.flush()
        session.data["cart"].append(value)
        session.cookies.set("sid", "1", domain="shop.example")
        await manager.flush()
        row = await store.load(Key("shop", "alice"))
        assert row is not None
        record = decode(row)
    assert [cookie.name for cookie in record.cookies] == ["sid"]
    assert record.data == {"cart": []}
    (line,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert "'alice'" in line
    assert "session.data['cart']" in line
    assert SECRET not in line


@pytest.mark.parametrize(("value", "words"), BEYOND)
@pytest.mark.parametrize("field", ["data", "colour"])
def test_a_record_beyond_a_limit_is_not_encoded(field: str, value: Any, words: str) -> None:
    """A record made by other code is checked by the same rule, fields that this version doesn't know included."""
    fields: dict[str, Any] = {field: {"cart": value}}
    record = PersistentSession.model_construct(session_id="alice", **fields)
    with pytest.raises(StoreError, match=words) as caught:
        encode(record)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("field", ["data", "colour"])
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100 + "]" * 100, "nested more than"),
        ("[" * 250 + "]" * 250, "isn't JSON"),
        ("NaN", "isn't JSON"),
        ("1e999", "infinite|isn't JSON"),
        ("9" * 641, "digits"),
        ('"\\ud800"', "isn't JSON"),
    ],
    ids=lambda text: text[:8],
)
def test_a_body_beyond_a_limit_is_not_decoded(field: str, text: str, reason: str) -> None:
    """Reading has the limits of writing: a body that we wouldn't write is set aside."""
    row = encode(PersistentSession(session_id="alice"))
    body = b'%b,"%b":{"cart":%b}}' % (row.body.replace(b'"data":{},', b"")[:-1], field.encode(), text.encode())
    with pytest.raises(CorruptRecord, match=reason):
        decode(row._replace(body=body))


@pytest.mark.parametrize("field", ["start_time", "last_activity", "idle_timeout"])
def test_a_time_that_is_infinite_is_not_decoded(field: str) -> None:
    """An infinite time could be read by the parser, but never be saved again."""
    row = encode(PersistentSession(session_id="alice", **{field: 5.5}))
    with pytest.raises(CorruptRecord, match=r"finite|isn't JSON|don't validate|isn't that of its row"):
        decode(row._replace(body=row.body.replace(b'"%b":5.5' % field.encode(), b'"%b":1e999' % field.encode())))


@pytest.mark.parametrize("field", ["expires", "created", "updated"])
def test_the_times_of_cookies_are_finite_on_both_sides(field: str) -> None:
    """A cookie of a record with an infinite time is neither written nor read."""
    times: dict[str, Any] = {field: 5.5}
    record = PersistentSession(
        session_id="alice", cookies=[Cookie(name="a", value="1", domain="shop.example", **times)]
    )
    row = encode(record)
    with pytest.raises(CorruptRecord, match=r"finite|isn't JSON"):
        decode(row._replace(body=row.body.replace(b"5.5", b"1e999")))
    infinite = record.cookies[0].model_copy(update={field: math.inf})
    with pytest.raises(StoreError, match="times of cookies must be finite"):
        encode(record.model_copy(update={"cookies": [infinite]}))


@pytest.mark.parametrize("field", ["pages_visited", "max_uses", "viewport_width"])
def test_counts_fit_a_column(field: str) -> None:
    """A count that not every database column and reader of JSON takes is refused on both sides."""
    counts: dict[str, Any] = {field: 2**53}
    record = PersistentSession.model_construct(session_id="alice", **counts)
    with pytest.raises(StoreError, match="counts and limits must be below"):
        encode(record)
    row = encode(PersistentSession(session_id="alice", **{field: 5}))
    with pytest.raises(CorruptRecord, match=r"counts and limits must be below|don't validate"):
        decode(row._replace(body=row.body.replace(b'"%b":5' % field.encode(), b'"%b":%d' % (field.encode(), 2**53))))


async def test_a_session_that_grows_too_large_keeps_its_data_as_saved(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A record has a largest size, at which its data stays as last saved; other sessions are saved."""
    for module in (codec, encoding):
        monkeypatch.setattr(module, "MAX_SIZE", 100_000)
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop") as manager:
        alice, bob = await manager.get("alice"), await manager.get("bob")
        alice.data["cart"] = [1]
        await manager.flush()
        alice.data["cart"].append("x" * 100_000)
        alice.record("came")
        bob.record("came")
        await manager.flush()
        rows = {name: await store.load(Key("shop", name)) for name in ("alice", "bob")}
    records = {name: decode(row) for name, row in rows.items() if row is not None}
    assert {name: record.actions_performed for name, record in records.items()} == {"alice": ["came"], "bob": ["came"]}
    assert records["alice"].data == {"cart": [1]}
    assert "'alice'" in caplog.text
    assert "MiB" in caplog.text


def test_a_body_that_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body larger than any that is written is set aside."""
    row = encode(PersistentSession(session_id="alice"))
    monkeypatch.setattr(codec, "MAX_SIZE", len(row.body) - 1)
    with pytest.raises(CorruptRecord, match="MiB"):
        decode(row)


@pytest.mark.parametrize(
    "fields",
    [{"created": math.inf}, {"created": math.nan}, {"colour": math.nan}, {"colour": nested(150)}, {"x": object()}],
)
def test_a_cookie_that_could_not_be_read_back_is_refused(fields: dict[str, Any]) -> None:
    """Times and unknown fields of a cookie that is set by hand have the same limits."""
    session = BrowserSession("alice")
    cookie = Cookie.model_construct(name="sid", value="1", domain="shop.example", **fields)
    with pytest.raises(InvalidCookie, match="malformed"):
        session.cookies.add(cookie)


@pytest.mark.parametrize(
    "proxy", ["\ud800", "proxy", f"http://u:{SECRET}@\n", f"http://u:{SECRET}@h:99999", 5, b"http://h"]
)
def test_the_proxy_is_checked_when_it_is_set(proxy: Any) -> None:
    """A proxy that could be neither used nor saved is refused by the line that sets it, without its password."""
    session = BrowserSession("alice")
    with pytest.raises(InvalidData, match="proxy of the session 'alice'") as caught:
        session.proxy = proxy
    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert session.proxy is None


@pytest.mark.parametrize(("value", "words"), BEYOND)
async def test_shared_data_has_the_same_limits(value: Any, words: str) -> None:
    """What the sessions of a namespace share is refused by update(), and nothing of it is saved."""
    store = MemoryStore()
    shared = SharedData(store, "shop", store.open)
    with pytest.raises(InvalidData, match=words) as caught:
        await shared.update(lambda data: {"cart": value})
    assert SECRET not in str(caught.value)
    assert await shared.get() == {}


@pytest.mark.parametrize("body", [b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", b'{"a":NaN}', b"[" * 100_000])
async def test_shared_data_is_read_with_the_same_limits(body: bytes) -> None:
    """A stored object that we wouldn't have written is reported as corrupt."""
    store = MemoryStore()
    await store.open()
    assert await store.write_shared("shop", 0, body)
    with pytest.raises(CorruptRecord, match="'shop'"):
        await SharedData(store, "shop", store.open).get()


async def test_a_revision_at_its_limit_is_not_written_beyond_it(caplog: pytest.LogCaptureFixture) -> None:
    """A crafted record with the largest revision stays as it is: the next one couldn't be read back."""
    store = MemoryStore()
    await store.open()
    row = encode(PersistentSession(session_id="alice", namespace="shop", revision=MAX_COUNT, last_activity=time.time()))
    await store.replace([row], [None])
    async with SessionManager(store=store, namespace="shop") as manager:
        (await manager.get("alice")).record("came")
        await manager.flush()
        assert await store.load(Key("shop", "alice")) == row
    assert "'alice'" in caplog.text
