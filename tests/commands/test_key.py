"""``scrapy sessions key``, and the other commands and crawls on an encrypted store."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from scrapy_sessions import Cookie, PersistentSession, SessionManager
from scrapy_sessions.keys import VARIABLE
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key
from scrapy_sessions.storage.resolve import resolve_store
from tests.support.command_line import fill, make_project, sessions
from tests.support.crawl import run, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages

# The same in every process: they are part of the names of tests.
OLD, NEW = (base64.urlsafe_b64encode(bytes((number,)) * 32).decode() for number in (1, 2))
MARK = "t0psecret"
IDS = ["alice", "bob", "carol"]


def save(path: Path, key: str | None, *ids: str) -> None:
    """Save sessions with a mark into the store *path*, under *key* (``None``: in plain)."""
    now = time.time()
    given = {"namespace": "shop", "start_time": now, "last_activity": now, "idle_timeout": 0.0}
    cookie = Cookie(name="sid", value=MARK, domain="shop.example")
    content = {"cookies": [cookie], "data": {"token": MARK * 2000}}
    records = [PersistentSession.model_validate({"session_id": session_id, **given, **content}) for session_id in ids]
    fill(path, *records, keys=[key or NEW, OLD, NEW], plain=key is None)


def marked(folder: Path) -> list[str]:
    """The files that contain the mark."""
    return sorted(file.name for file in folder.iterdir() if file.is_file() and MARK.encode() in file.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def key_of(folder: Path, *ids: str) -> set[str]:
    """Which of the keys decrypts the sessions."""
    found = set()
    for name, key in (("old", OLD), ("new", NEW)):
        done = sessions(folder, "export", *ids, "--store", "s.db", **{VARIABLE: key})
        if done.code == 0:
            assert MARK in done.out
            found.add(name)
    return found


def test_new_prints_a_key(tmp_path: Path) -> None:
    """A new key is what Fernet takes, another each time, and all that is printed; no store is created."""
    keys = {sessions(tmp_path, "key", "new").out for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        assert Fernet(key.removesuffix("\n")).decrypt(Fernet(key.strip()).encrypt(b"x")) == b"x"
    assert list(tmp_path.iterdir()) == []


def test_rotate_encrypts_a_plain_store(tmp_path: Path) -> None:
    """A plain store is encrypted, without a plain byte left in any file; the sessions stay what they were."""
    save(tmp_path / "s.db", None, *IDS)
    before = sessions(tmp_path, "list", "--json", "--store", "s.db").out
    assert marked(tmp_path) == ["s.db"]
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:  # as a crawl that runs
        connection.execute("SELECT count(*) FROM sessions").fetchone()
        done = sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: NEW})
        assert (done.code, done.out, done.err) == (0, "3 sessions encrypted with the first key\n", "")
        assert marked(tmp_path) == []
    assert key_of(tmp_path, *IDS) == {"new"}
    assert sessions(tmp_path, "list", "--json", "--store", "s.db", **{VARIABLE: NEW}).out == before


def test_rotate_to_another_key(tmp_path: Path) -> None:
    """With the old key after the new one, all is decrypted by the one and encrypted by the other."""
    save(tmp_path / "s.db", OLD, *IDS)
    done = sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: f"{NEW},{OLD}"})
    assert (done.code, done.out) == (0, "3 sessions encrypted with the first key\n")
    assert key_of(tmp_path, *IDS) == {"new"}


def test_rotate_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What is under the first key already is left as it is."""
    save(tmp_path / "s.db", None, "alice")
    save(tmp_path / "s.db", OLD, "bob")
    save(tmp_path / "s.db", NEW, "carol")
    done = sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: f"{NEW},{OLD}"})
    assert (done.code, done.out) == (0, "2 sessions encrypted with the first key\n")
    again = sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: f"{NEW},{OLD}"})
    assert (again.code, again.out) == (0, "0 sessions encrypted with the first key\n")
    assert key_of(tmp_path, *IDS) == {"new"}


def test_rotate_covers_the_rest_of_the_file(tmp_path: Path) -> None:
    """Quarantined records and shared data are encrypted, too."""
    save(tmp_path / "s.db", None, "alice", "bob")

    async def prepare() -> None:
        store = resolve_store(tmp_path / "s.db")
        await store.open()
        await store.quarantine(Key("shop", "bob"), 1, "broken")
        await SharedData(store, "shop", store.open).update(lambda data: {"token": MARK})
        await store.close()

    async def read() -> dict[str, object]:
        store = resolve_store(tmp_path / "s.db", key=NEW)
        try:
            return await SharedData(store, "shop", store.open).get()
        finally:
            await store.close()

    asyncio.run(prepare())
    assert sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: NEW}).code == 0
    assert marked(tmp_path) == []
    assert asyncio.run(read()) == {"token": MARK}


def test_rotate_beside_a_crawl(tmp_path: Path) -> None:
    """A process that has both keys goes on during a rotation, and nothing of it is lost."""
    save(tmp_path / "s.db", OLD, "alice")

    async def use() -> None:
        settings = SessionsSettings(encryption_key=f"{NEW},{OLD}", save_interval=3600.0)
        async with SessionManager(tmp_path / "s.db", namespace="shop", settings=settings) as manager:
            session = await manager.get("alice")
            session.data["a"] = 1
            environment = {VARIABLE: f"{NEW},{OLD}"}
            done = await asyncio.to_thread(sessions, tmp_path, "key", "rotate", "--store", "s.db", **environment)
            assert (done.code, done.out) == (0, "1 session encrypted with the first key\n")
            await manager.flush()

    asyncio.run(use())
    done = sessions(tmp_path, "export", "alice", "--store", "s.db", **{VARIABLE: NEW})
    assert json.loads(done.out)["sessions"][0]["data"] == {"token": MARK * 2000, "a": 1}


def test_rotate_names_what_it_can_not_decrypt(tmp_path: Path) -> None:
    """A session under a key that isn't given is named and left as it is; the others are encrypted."""
    save(tmp_path / "s.db", NEW, "alice")
    save(tmp_path / "s.db", OLD, "bob")
    save(tmp_path / "s.db", None, "carol")
    done = sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: NEW})
    assert (done.code, done.out) == (1, "1 session encrypted with the first key\n")
    assert "session 'bob' in namespace 'shop' is encrypted, and none of the keys" in done.err
    done = sessions(tmp_path, "export", "bob", "--store", "s.db", **{VARIABLE: f"{NEW},{OLD}"})
    assert MARK in done.out


def test_rotate_needs_a_key(tmp_path: Path) -> None:
    """Without a key there is nothing to do, which is a usage error; nothing is changed."""
    save(tmp_path / "s.db", None, "alice")
    before = contents(tmp_path)
    done = sessions(tmp_path, "key", "rotate", "--store", "s.db")
    assert (done.code, done.out) == (2, "")
    assert f"scrapy sessions key new prints one. Set {VARIABLE} to it" in done.err
    assert contents(tmp_path) == before


COMMANDS = [
    ["list"],
    ["show", "alice"],
    ["export", "--all"],
    ["curl", "alice", "https://shop.example/"],
    ["report", "-o", "-"],
    ["stats"],
    ["doctor"],
    ["fork", "alice", "copy"],
    ["retire", "alice"],
    ["import", "alice.json", "--replace", "--yes"],
    ["cleanup"],
    ["delete", "alice", "--yes"],
    ["key", "rotate"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_need_the_key(tmp_path: Path, command: list[str]) -> None:
    """Each command works with the key; without it, and with another, it says so in one line, and changes nothing."""
    folder = tmp_path / "store"
    folder.mkdir()
    save(folder / "s.db", OLD, "alice")
    exported = sessions(folder, "export", "alice", "--store", "s.db", **{VARIABLE: OLD}).out
    (tmp_path / "alice.json").write_text(exported)
    before = contents(folder)
    for environment in ({}, {VARIABLE: NEW}):
        done = sessions(tmp_path, *command, "--store", "store/s.db", **environment)
        assert done.code == 1
        assert f"set {VARIABLE} in the environment, or SESSIONS_ENCRYPTION_KEY" in done.out + done.err
        if command[0] != "doctor":
            assert done.err.count("\n") == 1
        assert contents(folder) == before
    done = sessions(tmp_path, *command, "--store", "store/s.db", **{VARIABLE: OLD})
    assert VARIABLE not in done.out + done.err
    assert done.code == (1 if command == ["stats"] else 0), done
    assert marked(folder) == []


def test_doctor_names_plain_records(tmp_path: Path) -> None:
    """With a key, doctor warns of records that aren't encrypted with it, and says how to encrypt them."""
    save(tmp_path / "s.db", None, "alice")
    done = sessions(tmp_path, "doctor", "--json", "--store", "s.db", **{VARIABLE: NEW})
    (finding,) = [each for each in json.loads(done.out) if each["check"] == "protection"]
    assert (finding["level"], finding["remedy"].endswith("scrapy sessions key rotate")) == ("warning", True)
    sessions(tmp_path, "key", "rotate", "--store", "s.db", **{VARIABLE: NEW})
    done = sessions(tmp_path, "doctor", "--json", "--store", "s.db", **{VARIABLE: NEW})
    assert "All records are encrypted" in done.out


def test_the_setting_of_a_project(tmp_path: Path) -> None:
    """The commands of a project use its SESSIONS_ENCRYPTION_KEY, and settings doesn't print it."""
    folder = make_project(tmp_path / "project", SESSIONS_ENCRYPTION_KEY=OLD)
    (folder / ".scrapy" / "sessions").mkdir(parents=True)
    save(folder / ".scrapy" / "sessions" / "sessions.db", OLD, "alice")
    assert sessions(folder, "list", "--ids").out == "alice\n"
    for done in (sessions(folder, "settings"), sessions(folder, "settings", "--json"), sessions(folder, "doctor")):
        assert done.code == 0
        assert OLD not in done.out + done.err


# Crawls


@pytest.mark.parametrize("by", ["setting", "environment"])
def test_a_crawl_encrypts_what_it_saves(tmp_path: Path, site: Site, by: str) -> None:
    """A crawl with a key leaves nothing in plain, goes on with it, and its log at DEBUG shows no key."""
    folder = tmp_path / "sessions"
    settings = {"SESSIONS_STORE": sqlite_url(folder / "s.db"), "LOG_LEVEL": "DEBUG"}
    environment = {VARIABLE: OLD} if by == "environment" else {}
    if by == "setting":
        settings["SESSIONS_ENCRYPTION_KEY"] = OLD
    url = site.url("/answer", set=f"sid={MARK}")
    for restored in (0, 1):
        done = run(Pages, settings, {"urls": [(url, {"session_id": "alice"})]}, **environment)
        assert (done.status, done.stats.get("sessions/restored", 0)) == (0, restored)
        assert OLD not in done.log
        assert marked(folder) == []
    assert [visit.cookies for visit in site.journal("/answer")] == [{}, {"sid": MARK}]


@pytest.mark.parametrize("key", [None, NEW], ids=["none", "another"])
def test_a_crawl_without_the_key_sends_nothing(tmp_path: Path, site: Site, key: str | None) -> None:
    """Without the key, or with another, a crawl fails at its start, and leaves the file as it is."""
    save(tmp_path / "s.db", OLD, "alice")
    before = contents(tmp_path)
    environment = {} if key is None else {VARIABLE: key}
    done = run(
        Pages,
        {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")},
        {"urls": [(site.url("/answer"), {"session_id": "alice"})]},
        **environment,
    )
    assert done.status == 1
    assert f"The session store {tmp_path / 's.db'} is encrypted, and " in done.log
    assert site.journal("/answer") == []
    assert contents(tmp_path) == before


def test_the_tests_have_no_key() -> None:
    """The environment of these tests has no key, or they would prove nothing."""
    assert VARIABLE not in os.environ
