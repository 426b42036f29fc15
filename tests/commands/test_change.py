"""``scrapy sessions delete``, ``cleanup``, ``fork`` and ``retire``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionManager
from scrapy_sessions.models import Cookie, Metrics, PersistentSession
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.storage.base import Key
from tests.support.command_line import fill, make_project, on_terminal, sessions
from tests.support.in_process import called


def record(session_id: str, **fields: Any) -> PersistentSession:
    now = time.time()
    return PersistentSession(**{"session_id": session_id, "start_time": now - 10, "last_activity": now, **fields})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the default store: alice and bob in the namespace shop, alice in bank, and two expired ones."""
    old = time.time() - 7200
    cookie = Cookie(name="sid", value="s3cret", domain="shop.example")
    fill(
        tmp_path / ".scrapy" / "sessions" / "sessions.db",
        record("alice", namespace="shop", status="ready", cookies=[cookie], metrics=Metrics(requests=5, logins=1)),
        record("bob", namespace="shop", pool="staff"),
        record("alice", namespace="bank"),
        record("idle", namespace="shop", last_activity=old, start_time=old),
        record("aged", namespace="bank", idle_timeout=0, max_age=60, start_time=old),
    )
    return tmp_path


def project_on(folder: Path) -> Path:
    """A project whose spiders use the store in *folder*."""
    return make_project(folder / "project", SESSIONS_STORE=f"sqlite:///{folder}/.scrapy/sessions/sessions.db")


def left(folder: Path) -> list[tuple[str, str]]:
    async def listed() -> list[tuple[str, str]]:
        async with SessionManager(folder / ".scrapy" / "sessions") as manager:
            return sorted((info["namespace"], info["session_id"]) for info in await manager.list_sessions())

    return asyncio.run(listed())


def load(folder: Path, session_id: str, namespace: str = "shop") -> PersistentSession:
    async def loaded() -> PersistentSession | None:
        async with SessionManager(folder / ".scrapy" / "sessions", namespace=namespace) as manager:
            return await manager.load_session(session_id)

    found = asyncio.run(loaded())
    assert found is not None
    return found


ALL = [("bank", "aged"), ("bank", "alice"), ("shop", "alice"), ("shop", "bob"), ("shop", "idle")]


def test_delete_some(folder: Path) -> None:
    """Existing sessions are deleted; a missing one is named, and the exit code is 1."""
    done = sessions(project_on(folder), "delete", "bob", "zoe", "alice", "--namespace", "shop", "--yes")
    assert (done.code, done.out) == (1, "2 sessions deleted\n")
    assert done.err.startswith("There is no session 'zoe' in namespace 'shop'")
    assert left(folder) == [("bank", "aged"), ("bank", "alice"), ("shop", "idle")]


def test_delete_is_all_or_nothing_when_an_id_is_ambiguous(folder: Path) -> None:
    """An id that two namespaces contain ends the command before anything is deleted."""
    done = called(folder, "delete", "bob", "alice", "--yes")
    assert done.code == 2
    assert ", as in: scrapy " in done.err
    assert done.err.endswith("--namespace bank\n")
    assert left(folder) == ALL


def test_delete_asks(folder: Path) -> None:
    """On a terminal the command asks, and a no changes nothing; without a terminal it is refused."""
    done = called(folder, "delete", "bob")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("There is no terminal to ask on: add --yes\n")
    asked = on_terminal(folder, "delete", "bob", typed="no\n")
    assert "Delete the session 'bob' in " in asked.out
    assert (asked.code, "Nothing was deleted" in asked.out) == (1, True)
    assert left(folder) == ALL
    assert on_terminal(folder, "delete", "bob", typed="y\n").code == 0
    assert ("shop", "bob") not in left(folder)


@pytest.mark.parametrize("chosen", [[], ["bob", "--expired"], ["--expired", "--all"]])
def test_delete_needs_one_choice(folder: Path, chosen: list[str]) -> None:
    """Without a choice, or with two, nothing is deleted: one line names the choices."""
    done = called(folder, "delete", *chosen, "--yes")
    assert (done.code, done.out) == (2, "")
    assert done.err == "scrapy sessions: Which sessions? Give one of: ids, --expired, --all\n"
    assert left(folder) == ALL


def test_delete_all(folder: Path) -> None:
    """--all deletes the sessions of --namespace and --pool, more than a page of them too, and prints how many."""
    many = [record(f"s{number}", namespace="shop", pool="crowd") for number in range(1200)]
    fill(folder / ".scrapy" / "sessions" / "sessions.db", *many)
    assert called(folder, "delete", "--all", "--pool", "crowd", "--yes").out == "1200 sessions deleted\n"
    assert left(folder) == ALL
    assert called(folder, "delete", "--all", "--namespace", "shop", "--yes").out == "3 sessions deleted\n"
    assert left(folder) == ALL[:2]
    assert called(folder, "delete", "--all", "--namespace", "shop", "--yes").code == 1


def test_delete_all_while_a_crawl_saves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of a later page that a crawl saves meanwhile is deleted, too; a session that it creates is kept."""
    now = time.time()
    many = [record(f"s{number}", namespace="shop", last_activity=now - number) for number in range(600)]
    fill(folder / ".scrapy" / "sessions" / "sessions.db", *many)
    delete = SQLiteStore.delete
    deleted: list[int] = []

    async def delete_late(store: SQLiteStore, keys: Sequence[Key], *conditions: Any) -> list[bool]:
        if not deleted:  # the first page is deleted, which doesn't have the last session
            async with SessionManager(store=store, namespace="shop") as crawl:
                last = await crawl.get("s599")
                runtime_of(last).last_activity = time.time()
                assert await crawl.save_session("s599", last)
                assert await crawl.save_session("fresh", await crawl.get("fresh"))
        deleted.append(len(keys))
        return await delete(store, keys, *conditions)

    monkeypatch.setattr(SQLiteStore, "delete", delete_late)
    done = called(folder, "delete", "--all", "--namespace", "shop", "--yes")
    assert (done.code, done.out) == (0, "603 sessions deleted\n")
    assert deleted == [500, 102, 1]
    assert left(folder) == [*ALL[:2], ("shop", "fresh")]


def test_delete_all_of_a_clock_that_is_ahead(folder: Path) -> None:
    """A session is deleted even if the clock of the machine that created it was ahead of this one."""
    ahead = time.time() + 3600
    fill(folder / ".scrapy" / "sessions" / "sessions.db", record("new", start_time=ahead, last_activity=ahead))
    assert called(folder, "delete", "--all", "--yes").out == "6 sessions deleted\n"
    assert left(folder) == []


def test_cleanup(folder: Path) -> None:
    """Expired sessions are counted by the limit they exceeded; --dry-run only counts them."""
    counted = sessions(project_on(folder), "cleanup", "--dry-run").out
    assert counted == "2 expired sessions would be deleted (1 by idle_timeout, 1 by max_age)\n"
    assert left(folder) == ALL
    assert called(folder, "cleanup", "--namespace", "bank").out == "1 expired session deleted (1 by max_age)\n"
    assert called(folder, "delete", "--expired", "--yes").out == "1 expired session deleted (1 by idle_timeout)\n"
    assert left(folder) == [("bank", "alice"), ("shop", "alice"), ("shop", "bob")]
    done = called(folder, "cleanup")
    assert (done.code, done.out) == (0, "No expired sessions deleted\n")


def test_fork(folder: Path) -> None:
    """A copy has the cookies and the login, counters of its own, and the namespace of the original."""
    assert sessions(project_on(folder), "fork", "alice", "bob", "--namespace", "bank").code == 0  # bob is free there
    done = called(folder, "fork", "alice", "copy", "--namespace", "shop")
    assert (done.code, done.out) == (0, "'copy' is a copy of 'alice' in namespace 'shop'\n")
    copy, original = load(folder, "copy"), load(folder, "alice")
    assert copy.cookies == original.cookies
    assert (copy.status, copy.revision, copy.metrics) == ("ready", 1, Metrics())
    assert copy.start_time > original.start_time
    assert original.metrics.requests == 5
    taken = called(folder, "fork", "bob", "copy", "--namespace", "shop")
    assert taken.code == 1
    assert "The session 'copy' exists" in taken.err
    unnamed = called(folder, "fork", "bob", "", "--namespace", "shop")
    assert (unnamed.code, "argument NEW_ID: an id has at least one character" in unnamed.err) == (2, True)


def test_retire(folder: Path) -> None:
    """A retired session keeps its record, with the reason; one that is retired or has expired can't be retired."""
    done = sessions(project_on(folder), "retire", "bob", "--reason", "[b]told[/b] to")
    assert (done.code, done.out) == (0, "'bob' in namespace 'shop' is retired: [b]told[/b] to\n")
    retired = load(folder, "bob")
    assert (retired.status, retired.retired_reason, retired.pool) == ("retired", "[b]told[/b] to", "staff")
    strange = called(folder, "retire", "alice", "--namespace", "shop", "--reason", "a\nb\x1b[31m").out
    assert strange == "'alice' in namespace 'shop' is retired: a\\nb\\x1b[31m\n"
    again = called(folder, "retire", "bob")
    assert (again.code, "is already retired" in again.err) == (1, True)
    expired = called(folder, "retire", "idle")
    assert (expired.code, "has expired" in expired.err) == (1, True)
    assert left(folder) == ALL


def test_unretire(folder: Path) -> None:
    """A session that was retired is used again, with its login; one that isn't retired stays as it is."""
    before = load(folder, "alice")
    called(folder, "retire", "alice", "--namespace", "shop")
    done = sessions(project_on(folder), "unretire", "alice", "--namespace", "shop")
    assert (done.code, done.out) == (0, "'alice' in namespace 'shop' is ready\n")
    after = load(folder, "alice")
    assert (after.status, after.retired_reason) == ("ready", None)
    assert after.cookies == before.cookies
    again = called(folder, "unretire", "alice", "--namespace", "shop")
    assert (again.code, "is not retired: its status is 'ready'" in again.err) == (1, True)
    nobody = called(folder, "unretire", "nobody")
    assert nobody.code == 1
