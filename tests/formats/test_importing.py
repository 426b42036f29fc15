"""Merging a file into sessions: rules, concurrent changes, and errors of the store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scrapy_sessions import BrowserSession, Cookie, PersistentSession, SessionError, SessionManager, StoreError
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.cookies.index import MAX_COOKIES_PER_SITE
from scrapy_sessions.exceptions import NewerSchema
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.formats.importing import apply, merge, plan_records, save_records
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import Key, MemoryStore, Outcome, SQLiteStore
from scrapy_sessions.storage.codec import decode
from scrapy_sessions.testing import make_row
from tests.support.waiting import HANG

NOW = 1_000_000.0


def cookie(name: str, value: str = "1", **fields: object) -> Cookie:
    return Cookie.model_validate({"name": name, "value": value, "domain": "shop.example", "updated": NOW, **fields})


def outcome(contents: Contents, *cookies: Cookie, replace: bool = False) -> dict[str, str]:
    session = PersistentSession(session_id="alice", cookies=list(cookies))
    changes = merge(session, contents, now=NOW, replace=replace).changes
    return {each.cookie.name: " ".join(filter(None, (each.what, each.reason))) for each in changes}


def test_each_cookie_is_accounted_for() -> None:
    """The change of each cookie is one word."""
    contents = Contents([cookie("new"), cookie("b", "2"), cookie("c"), cookie("d", expires=5.0), cookie("e\n")])
    assert outcome(contents, cookie("b"), cookie("c", updated=5.0), cookie("x")) == {
        "new": "added",
        "b": "changed",
        "c": "same",
        "d": "expired",
        "e\n": "refused malformed",
    }
    assert outcome(Contents([cookie("b")]), cookie("b"), cookie("x"), replace=True) == {"b": "same", "x": "removed"}


def test_the_newest_is_kept_if_times_are_known() -> None:
    """A recording's older cookie doesn't undo a newer one; a file without times is the newest, whatever the clocks."""
    newer = cookie("a", "newer", updated=NOW + 50, created=3.0)
    assert outcome(Contents([cookie("a", "old")], dated=True), newer) == {"a": "older"}
    (merged,) = merge(
        PersistentSession(session_id="alice", cookies=[newer]), Contents([cookie("a", "file")]), now=NOW, replace=False
    ).cookies
    assert (merged.value, merged.updated, merged.created) == ("file", NOW + 50, 3.0)


ACCOUNT = "https://www.shop.example/account"


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        (ACCOUNT, {"host_only": False, "http_only": True, "secure": True, "expires": 4e9, "same_site": "Lax"}),
        (ACCOUNT, {"host_only": False, "path": "/account"}),
        (ACCOUNT, {"domain": "www.shop.example", "path": "/account"}),
        (ACCOUNT, {"host_only": False, "secure": True, "partition_key": "https://shop.example"}),
        ("http://www.shop.example/", {"host_only": False}),
    ],
)
def test_a_refreshed_login_takes_over_the_value(url: str, fields: dict[str, Any]) -> None:
    """A sent cookie changes the value of the cookie that the session sends there, and keeps its attributes."""
    old = cookie("sid", "OLD", **fields)
    others = [cookie("lang", host_only=False), cookie("sid", "else", domain="api.shop.example")]
    contents = Contents([cookie("sid", "NEW", domain="www.shop.example")], guessed={("www.shop.example", "sid"): url})
    session = PersistentSession(session_id="alice", cookies=[old, *others])
    merged = merge(session, contents, now=NOW, replace=False)
    assert merged.cookies == [old.model_copy(update={"value": "NEW"}), *others]
    assert [(change.what, change.cookie.name) for change in merged.changes] == [("changed", "sid")]
    header = SessionCookieJar(merged.cookies, clock=lambda: NOW).header(urlsplit(url))
    assert header is not None
    assert b"sid=NEW" in header
    assert b"sid=OLD" not in header


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host_only": True}, ACCOUNT),  # of shop.example alone
        ({"host_only": False, "path": "/basket"}, ACCOUNT),
        ({"host_only": False, "secure": True}, "http://www.shop.example/"),
        ({"host_only": False, "expires": 5.0}, ACCOUNT),
        ({"host_only": False, "secure": True, "partition_key": "https://news.example"}, ACCOUNT),
        ({"domain": "other.example", "host_only": False}, ACCOUNT),
    ],
)
def test_a_cookie_that_is_not_sent_there_is_not_changed(fields: dict[str, Any], url: str) -> None:
    """A cookie of the session that doesn't go to the URL keeps its value; the sent one is added for its host."""
    old = cookie("sid", "OLD", **fields)
    sent = cookie("sid", "NEW", domain="www.shop.example")
    contents = Contents([sent], guessed={("www.shop.example", "sid"): url})
    merged = merge(PersistentSession(session_id="alice", cookies=[old]), contents, now=NOW, replace=False)
    assert {each.value for each in merged.cookies} == ({"NEW"} if old.expires else {"NEW", "OLD"})
    assert sent in merged.cookies


def test_of_several_the_first_sent_is_changed() -> None:
    """If the session sends two cookies of the name, the first one gets the new value."""
    near = cookie("sid", "near", domain="www.shop.example", path="/account", created=9.0)
    far = cookie("sid", "far", host_only=False, created=1.0)
    contents = Contents(
        [cookie("sid", "NEW", domain="www.shop.example")], guessed={("www.shop.example", "sid"): ACCOUNT}
    )
    merged = merge(PersistentSession(session_id="alice", cookies=[far, near]), contents, now=NOW, replace=False)
    assert SessionCookieJar(merged.cookies, clock=lambda: NOW).header(urlsplit(ACCOUNT)) == b"sid=NEW; sid=far"


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_sent_value_is_kept(order: int) -> None:
    """Of a cookie that was sent to two hosts the last value counts, unless the session's own is newer."""
    sent = [
        cookie("sid", "early", domain="www.shop.example", updated=NOW - 9),
        cookie("sid", "late", domain="api.shop.example", updated=NOW - 1),
    ]
    guessed = {(each.domain, "sid"): f"https://{each.domain}/" for each in sent}
    contents = Contents(sent[::order], dated=True, guessed=guessed)
    for updated, value in ((NOW - 20, "late"), (NOW, "OLD")):
        session = PersistentSession(
            session_id="alice", cookies=[cookie("sid", "OLD", host_only=False, updated=updated)]
        )
        assert [each.value for each in merge(session, contents, now=NOW, replace=False).cookies] == [value]


def test_a_full_jar_says_what_it_drops() -> None:
    """A cookie beyond the limit of the jar is reported, and isn't counted as added."""
    many = [cookie(f"n{number}") for number in range(MAX_COOKIES_PER_SITE + 5)]
    merged = merge(None, Contents(many), now=NOW, replace=False)
    assert len(merged.cookies) == MAX_COOKIES_PER_SITE
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
        apply(
            merge(session.snapshot(), Contents([cookie("file", expires=4e9)]), now=NOW, replace=False),
            runtime_of(session),
        )
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
        apply(merge(None, contents, now=NOW, replace=False), runtime_of(session))
        assert session.status == status
        assert runtime_of(session).dirty


def record(session_id: str = "alice", start: float = 1.0, **fields: object) -> PersistentSession:
    return PersistentSession.model_validate(
        {"session_id": session_id, "namespace": "shop", "start_time": start, "idle_timeout": 0, **fields}
    )


async def save(store: Any, *records: PersistentSession) -> None:
    await save_records(store, await plan_records(store, records, namespace=None, session_id=None))


async def content(store: Any, session_id: str) -> tuple[float, object] | None:
    row = await store.load(Key("shop", session_id))
    return None if row is None else (decode(row).start_time, decode(row).data.get("from"))


async def test_what_is_replaced_is_another_session() -> None:
    """A record with another start_time is a new session, one with the same is its next revision."""
    store = MemoryStore()
    await save(store, record(), record("bob"), record("carol"))
    await save(store, record(start=2.0, data={"from": "file"}), record("bob", data={"from": "file"}))
    assert await content(store, "alice") == (2.0, "file")
    assert await content(store, "bob") == (1.0, "file")
    assert await content(store, "carol") == (1.0, None)
    revisions = [row.revision for name in ("alice", "bob") if (row := await store.load(Key("shop", name)))]
    assert revisions == [1, 2]


async def test_changes_of_another_process_are_kept() -> None:
    """Sessions that were made, saved or deleted after the plan was made are left alone, and named; others are saved."""
    store = MemoryStore()
    names = ("made", "saved", "deleted", "same")
    await save(store, *(record(name) for name in names[1:]))
    records = [record("same", data={"from": "file"}), *(record(name, start=2.0) for name in names[:3])]
    plans = await plan_records(store, records, namespace=None, session_id=None)
    await save(store, record("made", data={"from": "crawl"}), record("saved", data={"from": "crawl"}))
    await store.delete([Key("shop", "deleted")])
    with pytest.raises(SessionError, match=r"saved or deleted 'made', 'saved', 'deleted' meanwhile"):
        await save_records(store, plans)
    found = [await content(store, name) for name in names]
    assert found == [(1.0, "crawl"), (1.0, "crawl"), None, (1.0, "file")]


async def test_a_fault_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    """When SQLite refuses one record, those before it are rolled back too."""
    store = SQLiteStore(tmp_path / "s.db")
    await store.open()
    await save(store, record(data={"from": "crawl"}))
    with contextlib.closing(sqlite3.connect(tmp_path / "s.db")) as other:
        other.execute(
            "CREATE TRIGGER fault BEFORE INSERT ON sessions WHEN NEW.session_id = 'bob' "
            "BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"  # FAIL, unlike ABORT, leaves it to us to roll back
        )
    with pytest.raises(StoreError, match="disk is full"):
        await save(store, record(start=2.0), record("aaron"), record("bob"))
    assert await content(store, "alice") == (1.0, "crawl")
    assert await content(store, "aaron") is None
    assert await store.save([make_row("carol")]) == [Outcome.SAVED]  # nothing is left open
    await store.close()


KILLED = """
import asyncio, functools, os, signal, sqlite3, sys
from scrapy_sessions.formats.contents import Contents
from scrapy_sessions.formats.importing import plan_records, save_records
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage import SQLiteStore

left = None  # statements until the end

class Connection(sqlite3.Connection):
    def execute(self, *arguments):
        global left
        if left is not None:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return super().execute(*arguments)

    executemany = None  # or the count would miss it

def record(name, start, origin):
    return PersistentSession(
        session_id=name, namespace="shop", start_time=start, idle_timeout=0, data={"from": origin}
    )

async def replace(path, statements):
    global left
    store = SQLiteStore(path)
    await store.open()
    for start, origin in ((1.0, "crawl"), (2.0, "file")):
        records = [record(name, start, origin) for name in ("alice", "bob")]
        if origin == "file":
            records.append(record("carol", 2.0, origin))
        plans = await plan_records(store, records, namespace=None, session_id=None)
        left = statements if origin == "file" else None
        await save_records(store, plans)
    os._exit(0)

connect = sqlite3.connect
sqlite3.connect = functools.partial(connect, factory=Connection)
for statements in range(100):
    child = os.fork()
    if not child:
        try:
            asyncio.run(replace(os.path.join(sys.argv[1], f"{statements}.db"), statements))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    if not os.WIFSIGNALED(status):
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here, and no SIGKILL")
def test_a_kill_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """Killed before each statement in turn, an import has replaced all sessions or none, and lost none."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stderr
    *killed, last = map(int, done.stdout.split())
    assert last == 0, done.stderr
    assert killed == [-signal.SIGKILL] * 6  # begin, the mark of a deletion, two that are replaced, a new one, commit

    async def left(number: int) -> list[tuple[float, object] | None]:
        store = SQLiteStore(tmp_path / f"{number}.db")
        await store.open()
        found = [await content(store, name) for name in ("alice", "bob", "carol")]
        await store.close()
        return found

    for number in range(6):
        assert asyncio.run(left(number)) == [(1.0, "crawl"), (1.0, "crawl"), None]
    assert asyncio.run(left(6)) == [(2.0, "file")] * 3


async def test_two_that_would_be_one_are_refused() -> None:
    """Two sessions of a file that would land in one place are refused before anything is saved."""
    with pytest.raises(SessionError, match="two sessions 'alice'"):
        await plan_records(None, [record(), record(start=2.0)], namespace=None, session_id=None)


async def test_a_crawl_takes_over_what_was_imported() -> None:
    """A backup of a session replaces it in a crawl that uses it, too; sessions that were deleted don't come back."""
    store, counts = MemoryStore(), Counter[str]()

    def count(name: str, n: int) -> None:
        counts[name] += n

    settings = SessionsSettings(save_interval=3600)
    async with SessionManager(store=store, namespace="shop", settings=settings, on_event=count) as crawl:
        alice, bob = [runtime_of(await crawl.get(name)) for name in ("alice", "bob")]
        for session in (alice, bob):
            session.pages_visited += 1
            session.jar.set("sid", "good", domain="shop.example")
        await crawl.flush()
        backup = await crawl.load_session("alice")
        assert backup is not None
        alice.pages_visited += 1
        alice.begin_login()
        alice.jar.set("sid", "broken", domain="shop.example")
        await crawl.flush()
        async with SessionManager(store=store, namespace="shop") as command:
            await command.delete_session("bob")
        await save_records(store, await plan_records(store, [backup], namespace=None, session_id=None))
        alice.changed()
        await crawl.flush()
        await crawl.flush()
        assert alice.jar["sid"] == "good"
    row = await store.load(Key("shop", "alice"))
    assert row is not None
    assert [cookie.value for cookie in decode(row).cookies] == ["good"]
    assert await store.load(Key("shop", "bob")) is None
    assert "store_replaced" not in counts


async def test_a_record_that_cannot_be_read_is_replaced() -> None:
    """It may be what the backup is for."""
    store = MemoryStore()
    await save(store, record())
    (row,) = store._rows.values()
    newer = row.body.replace(b'"schema_version":', b'"schema_version":9')
    store._rows[row.key] = row._replace(body=newer)
    with pytest.raises(NewerSchema):
        decode(store._rows[row.key])
    await save(store, record(data={"from": "file"}))
    assert (await content(store, "alice") or ())[1] == "file"
