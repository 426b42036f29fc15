"""Encryption at rest: what is stored can't be read without the key, and with it is what it was."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from scrapy_sessions import BrowserSession, Cookie, PersistentSession, SessionManager
from scrapy_sessions.exceptions import CorruptRecord, EncryptionKeyError, SessionConfigurationError
from scrapy_sessions.keys import VARIABLE, given_keys, parse_keys
from scrapy_sessions.models import Metrics
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.record_fields import FIELDS
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, SQLiteStore
from scrapy_sessions.storage.codec import decode, encode
from scrapy_sessions.storage.encryption import Cipher, is_encrypted
from scrapy_sessions.storage.resolve import resolve_store

# The same in every process: they are part of the names of tests.
OLD, NEW = (base64.urlsafe_b64encode(bytes((number,)) * 32).decode() for number in (1, 2))
MARK = "t0psecret"

IN_COLUMNS = {"session_id", "namespace", "pool", "profile_name", "status"}
"""Fields that listings need in plain."""

MARKED = {
    "user_agent": MARK,
    "language": MARK,
    "timezone": MARK,
    "headers": {"https://shop.example": {"Authorization": MARK}},
    "proxy": f"http://me:{MARK}@proxy.example:80",
    "proxy_rotation": {
        "template": f"http://{{token}}:{MARK}@proxy.example:80",
        "seed": MARK,
        "lifetime": 60,
        "since": 0,
    },
    "meta": {"options": {"key": MARK}},
    "actions_performed": [f"GET https://shop.example/?{MARK} 200"],
    "last_url": f"https://shop.example/?{MARK}",
    "cookies": [Cookie(name="sid", value=MARK, domain="shop.example")],
    "local_storage": {"https://shop.example": {"token": MARK}},
    "session_storage": {"https://shop.example": {"token": MARK}},
    "indexed_db": {"https://shop.example": [{"token": MARK}]},
    "data": {"token": MARK},
    "retired_reason": MARK,
    "logged_in": {"shop": {"time": 1.0, "generation": 1, "hosts": [MARK]}},
}


def record(session_id: str = "alice", **fields: Any) -> PersistentSession:
    now = time.time()
    values = {"namespace": "shop", "start_time": now, "last_activity": now, "idle_timeout": 0.0, "metrics": Metrics()}
    return PersistentSession.model_validate({"session_id": session_id, **values, **fields})


def files_with(folder: Path, text: str) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if text.encode() in file.read_bytes())


def settings(*keys: str) -> SessionsSettings:
    return SessionsSettings(encryption_key=",".join(keys) or None)


def manager(path: Path, *keys: str) -> SessionManager:
    return SessionManager(path, namespace="shop", settings=settings(*keys))


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Keep a connection open, so that the WAL stays."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT count(*) FROM sessions").fetchone()
        yield


def test_a_token_is_one_of_fernet() -> None:
    """What is stored after the mark and the id of the key is a Fernet token, whatever the length of the content."""
    cipher = Cipher([OLD])
    for size in [*range(50), 4000, 100_000]:
        body = cipher.encrypt(bytes(size))
        assert Fernet(OLD).decrypt(base64.urlsafe_b64encode(body[9:])) == bytes(size)


def test_a_token_is_that_of_its_vector() -> None:
    """A token depends on key, time, vector and content only: it is the one that Fernet makes of them."""
    cipher = Cipher([OLD])
    for size in (0, 16, 4000):
        token = cipher.encrypt(bytes(size))[9:]
        made, vector = int.from_bytes(token[1:9], "big"), token[9:25]
        expected = Fernet(OLD)._encrypt_from_parts(bytes(size), made, vector)
        assert base64.urlsafe_b64encode(token) == expected


def test_no_vector_comes_twice() -> None:
    """Neither in one process nor in two with one key; the vectors look random."""
    one, other = Cipher([OLD]), Cipher([OLD])
    vectors = [cipher.encrypt(b"the same")[18:34] for _ in range(1000) for cipher in (one, other)]
    assert len(set(vectors)) == 2000
    bits = sum(int.from_bytes(vector, "big").bit_count() for vector in vectors)
    assert abs(bits / (2000 * 128) - 0.5) < 0.01  # 10 standard deviations


def test_several_threads_encrypt() -> None:
    """One cipher serves several threads at once."""
    cipher = Cipher([OLD])
    contents = [bytes((number,)) * 40_000 for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(cipher.encrypt, contents))
    assert [cipher.decrypt(body) for body in bodies] == contents


def test_the_same_content_is_never_stored_the_same() -> None:
    """Two encryptions of the same have nothing in common."""
    cipher = Cipher([OLD])
    assert len({cipher.encrypt(b"the same")[20:] for _ in range(100)}) == 100


def test_every_field_is_marked_or_in_a_column() -> None:
    """Each field of the record that can contain text is covered by these tests: a new one has to be added to them."""
    text = {
        name for name, info in PersistentSession.model_fields.items() if info.annotation not in (int, float, Metrics)
    }
    assert text - IN_COLUMNS - {"viewport_width", "viewport_height", "budget", "budget_used"} == set(MARKED)
    assert {field.name for field in FIELDS} == set(PersistentSession.model_fields)


@pytest.mark.parametrize("field", [*MARKED, "a_field_of_a_newer_version"])
def test_no_field_is_stored_in_plain(tmp_path: Path, field: str) -> None:
    """With a key, no file of the folder contains what a field contains, in the WAL or after the end; it reads back."""
    path = tmp_path / "s.db"
    value: Any = MARKED.get(field, MARK)

    async def use() -> None:
        store = resolve_store(path, key=OLD)
        await store.open()
        changed: dict[str, Any] = {field: value}
        if field == "proxy_rotation":  # it is only kept with a proxy of its template
            changed["proxy"] = value["template"].format(token="abcdefgh")
        await store.save([encode(record(revision=1, **changed), store.cipher)])
        with in_use(path):
            assert files_with(tmp_path, MARK) == []
            await store.close()
        async with manager(path, OLD) as reader:
            session = await reader.get("alice")
            runtime_of(session).changed()
            await reader.flush()
            with in_use(path):
                assert files_with(tmp_path, MARK) == []
            found = await reader.load_session("alice")
        assert found is not None
        assert getattr(found, field) == value
        assert found.revision == 2

    asyncio.run(use())
    assert files_with(tmp_path, MARK) == []
    assert files_with(tmp_path, "alice") == ["s.db"]


async def test_what_is_not_json_is_encrypted_too(tmp_path: Path) -> None:
    """A session that is saved in the slow way, because something in it isn't JSON, is encrypted as well."""
    async with manager(tmp_path / "s.db", OLD) as live:
        session = await live.get("alice")
        session.cookies.set("sid", MARK, domain="shop.example")
        things: list[Any] = []
        session.data["things"] = things
        session.data["things"].append(object())
        await live.flush()
    assert files_with(tmp_path, MARK) == []
    async with manager(tmp_path / "s.db", OLD) as live:
        assert (await live.get("alice")).cookies["sid"] == MARK


async def test_two_processes_merge(tmp_path: Path) -> None:
    """What two processes did to an encrypted session is merged as ever."""
    async with manager(tmp_path / "s.db", OLD) as one, manager(tmp_path / "s.db", OLD) as two:
        (await one.get("alice")).data["a"] = 1
        await one.flush()
        (await two.get("alice")).data["b"] = 2
        (await one.get("alice")).data["c"] = 3
        await one.flush()
        await two.flush()
        found = await two.load_session("alice")
    assert found is not None
    assert found.data == {"a": 1, "b": 2, "c": 3}


async def test_a_plain_store_is_read_with_a_key(tmp_path: Path) -> None:
    """Records from before the key are read, and encrypted when they are saved the next time."""
    async with manager(tmp_path / "s.db") as plain:
        (await plain.get("alice")).data["token"] = MARK
    assert files_with(tmp_path, MARK) == ["s.db"]
    async with manager(tmp_path / "s.db", NEW) as keyed:
        session = await keyed.get("alice")
        assert session.data == {"token": MARK}
        session.data["more"] = 1
        await keyed.flush()
    assert files_with(tmp_path, MARK) == []


async def test_several_keys(tmp_path: Path) -> None:
    """The first key encrypts, each of them decrypts."""
    async with manager(tmp_path / "s.db", OLD) as before:
        (await before.get("alice")).data["a"] = 1
    async with manager(tmp_path / "s.db", NEW, OLD) as both:
        assert (await both.get("alice")).data == {"a": 1}
        (await both.get("alice")).data["b"] = 2
    async with manager(tmp_path / "s.db", NEW) as after:
        assert (await after.get("alice")).data == {"a": 1, "b": 2}


@pytest.mark.parametrize("keys", [(), (NEW,)], ids=["none", "another"])
async def test_without_the_key_nothing_is_changed(tmp_path: Path, keys: tuple[str, ...]) -> None:
    """Without a key, and with another, opening fails with one error, and every file stays as it is."""
    async with manager(tmp_path / "s.db", OLD) as right:
        (await right.get("alice")).data["a"] = 1
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    wrong = manager(tmp_path / "s.db", *keys)
    with pytest.raises(EncryptionKeyError, match=f"is encrypted, and no.*set {VARIABLE} in the environment") as caught:
        await wrong.open()
    await wrong.close()
    assert str(tmp_path / "s.db") in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


async def test_a_session_of_a_missing_key_is_left_alone(tmp_path: Path) -> None:
    """One session under a key that is gone raises when it is used, is not set aside, and keeps no other from work."""
    async with manager(tmp_path / "s.db", NEW) as most:
        for session_id in ("first", "alice", "last"):
            (await most.get(session_id)).data["a"] = 1
            await most.flush()
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        foreign = Cipher([OLD]).encrypt(b"{}")
        connection.execute("UPDATE sessions SET body = ? WHERE session_id = 'alice'", (foreign,))
    async with manager(tmp_path / "s.db", NEW) as live:
        with pytest.raises(EncryptionKeyError, match="session 'alice' in namespace 'shop' is encrypted"):
            await live.get("alice")
        assert (await live.get("first")).data == {"a": 1}
        assert await live.store.quarantined() == []
        row = await live.store.load(Key("shop", "alice"))
    assert row is not None
    assert row.body == foreign


async def test_a_conflict_with_a_session_of_a_missing_key(tmp_path: Path) -> None:
    """A live session that another process has saved under another key is given up with one error; others are saved."""
    path = tmp_path / "s.db"
    async with manager(path, OLD) as live:
        for session_id in ("alice", "bob"):
            (await live.get(session_id)).data["a"] = 1
        await live.flush()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(
                "UPDATE sessions SET body = ?, revision = 9 WHERE session_id = 'alice'", (Cipher([NEW]).encrypt(b"{}"),)
            )
        for session_id in ("alice", "bob"):
            (await live.get(session_id)).data["b"] = 2
        await live.flush()
        row = await live.store.load(Key("shop", "bob"))
        assert row is not None
        assert decode(row, live.store.cipher).data == {"a": 1, "b": 2}


async def test_changed_content_is_set_aside(tmp_path: Path) -> None:
    """Content that was changed, with the right key, makes the record unreadable: it is set aside as any such."""
    async with manager(tmp_path / "s.db", OLD) as live:
        (await live.get("alice")).data["a"] = 1
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        (body,) = connection.execute("SELECT body FROM sessions").fetchone()
        connection.execute("UPDATE sessions SET body = ?", (body[:-1] + bytes([body[-1] ^ 1]),))
    async with manager(tmp_path / "s.db", OLD) as live:
        with pytest.raises(CorruptRecord, match="session 'alice' in namespace 'shop' can't be read: its encrypted"):
            await live.load_session("alice")
        assert [key for key, _ in await live.store.quarantined()] == [Key("shop", "alice")]


async def test_a_body_of_another_session_is_set_aside(tmp_path: Path) -> None:
    """Nobody who can write the file can give one session the login of another."""
    async with manager(tmp_path / "s.db", OLD) as live:
        for session_id in ("alice", "bob"):
            (await live.get(session_id)).data["of"] = session_id
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None)) as connection:
        connection.execute(
            "UPDATE sessions SET body = (SELECT body FROM sessions WHERE session_id = 'bob') WHERE session_id = 'alice'"
        )
    async with manager(tmp_path / "s.db", OLD) as live:
        with pytest.raises(CorruptRecord, match="isn't that of its row"):
            await live.load_session("alice")


async def test_shared_data_is_encrypted(tmp_path: Path) -> None:
    """The shared data of a namespace is encrypted, too."""
    store = resolve_store(tmp_path / "s.db", key=OLD)
    shared = SharedData(store, "shop", store.open)
    await shared.update(lambda data: {**data, "token": MARK})
    assert await shared.get() == {"token": MARK}
    await store.close()
    assert files_with(tmp_path, MARK) == []
    wrong = resolve_store(tmp_path / "s.db", key=NEW)
    with pytest.raises(EncryptionKeyError, match="The shared data of 'shop' is encrypted"):
        await SharedData(wrong, "shop", wrong.open).get()
    await wrong.close()


async def test_a_store_in_memory_is_not_encrypted() -> None:
    """What ends with the process is left in plain."""
    store = MemoryStore()
    async with SessionManager(store=store, namespace="shop", settings=settings(OLD)) as live:
        (await live.get("alice")).data["a"] = 1
        await live.flush()
        row = await store.load(Key("shop", "alice"))
    assert store.cipher is None
    assert row is not None
    assert not is_encrypted(row.body)


async def test_a_restored_session_is_saved_with_the_key(tmp_path: Path) -> None:
    """``restore_session`` and ``save_session`` work on an encrypted store."""
    async with manager(tmp_path / "s.db", OLD) as live:
        (await live.get("alice")).data["a"] = 1
    async with manager(tmp_path / "s.db", OLD) as live:
        session = BrowserSession("alice")
        assert await live.restore_session("alice", session)
        session.data["token"] = MARK
        assert await live.save_session("alice", session)
    assert files_with(tmp_path, MARK) == []


# The keys


def test_the_environment_has_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's key is used where the setting has none; the setting comes first."""
    monkeypatch.setenv(VARIABLE, OLD)
    assert (given_keys(None), given_keys(NEW)) == ([OLD], [NEW])
    assert resolve_store(tmp_path / "s.db").cipher is not None
    monkeypatch.delenv(VARIABLE)
    assert resolve_store(tmp_path / "s.db").cipher is None


def test_keys_are_separated_by_commas() -> None:
    """Blanks and empty parts don't count."""
    assert parse_keys(f" {NEW} ,,{OLD}, ") == [NEW, OLD]
    assert parse_keys("") == []


@pytest.mark.parametrize(
    "bad",
    ["short", OLD[:-1], f"{OLD}x", OLD.replace("=", "!"), "é" * 43, f"{OLD[:20]} {OLD[20:]}"],
    ids=["short", "cut", "longer", "not base64", "not ASCII", "with a space"],
)
def test_what_is_no_key_is_refused_unseen(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad key is refused by its number, in the setting and in the environment, and not quoted."""
    with pytest.raises(SessionConfigurationError, match="SESSIONS_ENCRYPTION_KEY: key 2 of 2 isn't one") as setting:
        SessionsSettings.from_settings({"SESSIONS_ENCRYPTION_KEY": f"{OLD},{bad}"})
    monkeypatch.setenv(VARIABLE, bad)
    with pytest.raises(SessionConfigurationError, match=f"{VARIABLE}: key 1 of 1 isn't one") as environment:
        given_keys(None)
    for caught in (setting, environment):
        assert bad not in str(caught.value)
        assert OLD not in str(caught.value)


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    """Neither the settings, nor the store, nor the cipher shows a key."""
    store = resolve_store(tmp_path / "s.db", key=OLD)
    assert isinstance(store, SQLiteStore)
    for each in (settings(OLD), store, store.cipher):
        assert OLD not in repr(each)
    assert repr(store.cipher) == "Cipher(<1 keys>)"
