"""SQLite files that somebody has crafted: each is refused, or its session set aside, and named; nothing hangs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import PersistentSession
from scrapy_sessions.exceptions import CorruptRecord
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.storage import SQLiteStore
from tests.support.command_line import fill, sessions
from tests.support.crawl import run, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages

ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"

REFUSED = {
    "a view": [
        "DROP TABLE sessions",
        f"""CREATE VIEW sessions AS {ENDLESS} SELECT 'pages' AS namespace, x AS session_id, NULL AS pool,
            NULL AS profile_name, 'ready' AS status, 1.0 AS start_time, 1.0 AS last_activity, 1.0 AS expires_at,
            'max_age' AS expires_by, 0 AS pages_visited, 0 AS actions_count, 1 AS revision, x'00' AS body FROM n""",
    ],
    "a view on the quarantine": [
        "DROP TABLE quarantine",
        f"CREATE VIEW quarantine AS {ENDLESS} SELECT x AS id, '' AS namespace, '' AS session_id FROM n",
    ],
    "a trigger": [
        f"""CREATE TRIGGER spy AFTER UPDATE ON sessions BEGIN
            DELETE FROM shared WHERE version IN ({ENDLESS} SELECT x FROM n); END"""
    ],
    "a virtual table": ["DROP TABLE shared", "CREATE VIRTUAL TABLE shared USING fts5(namespace, version, body)"],
    "a generated column": ["ALTER TABLE sessions ADD COLUMN more AS (length(hex(zeroblob(100000000))))"],
    "a constraint": [
        "DROP TABLE leases",
        """CREATE TABLE leases (
            name TEXT PRIMARY KEY, token INTEGER NOT NULL, expires_at REAL NOT NULL CHECK (0)
        ) WITHOUT ROWID""",
    ],
    "an index on an expression": ["CREATE INDEX more ON sessions (length(hex(zeroblob(100000000))))"],
    "a missing table": ["DROP TABLE shared"],
    "a column of another name": ["ALTER TABLE sessions RENAME COLUMN body TO content"],
}

TEXT_COLUMNS = ("pool", "status", "expires_by", "namespace", "session_id")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with alice, whose row is crafted, and bob."""
    now = time.time()
    given = {"namespace": "pages", "start_time": now, "last_activity": now, "max_age": 100_000.0, "idle_timeout": 0.0}
    ids = ("alice", "bob")
    fill(
        tmp_path / "s.db",
        *(PersistentSession.model_validate({"session_id": each, "status": "ready", **given}) for each in ids),
    )
    return tmp_path / "s.db"


def craft(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def change_record(path: Path, **fields: object) -> None:
    """Change fields of alice's record; ``metrics`` are changed within."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (body,) = connection.execute("SELECT body FROM sessions WHERE session_id = 'alice'").fetchone()
        content = json.loads(body)
        content["metrics"].update(fields.pop("metrics", {}))
        body = json.dumps({**content, **fields}).encode()
        connection.execute("UPDATE sessions SET body = ? WHERE session_id = 'alice'", (body,))


def doctor(path: Path) -> dict[str, str]:
    """The errors and warnings of doctor, by the check."""
    done = sessions(path.parent, "doctor", "--json", "--store", str(path))
    return {each["check"]: each["text"] for each in json.loads(done.out) if each["level"] != "ok"}


def visit(path: Path, site: Site, *ids: str) -> tuple[int, str, dict[str, object]]:
    """Crawl a page in each session; return the exit status, the log and the stats."""
    urls = [(site.url("/answer", set="a=1"), {"session_id": session_id}) for session_id in ids]
    done = run(Pages, {"SESSIONS_STORE": sqlite_url(path)}, {"urls": urls})
    assert "Traceback" not in done.log or done.status == 1, done.log
    return done.status, done.log, dict(done.stats)


@pytest.mark.parametrize("statements", REFUSED.values(), ids=REFUSED)
def test_a_foreign_structure_is_refused(path: Path, site: Site, statements: list[str]) -> None:
    """A crawl doesn't start on a file whose tables aren't ours, doctor names the fault, and the file stays as it is."""
    craft(path, *statements)
    before = path.read_bytes()
    status, log, _ = visit(path, site, "alice")
    assert status == 1
    assert f"The session store {path} has another structure than this package gives it, at '" in log
    assert site.journal("/answer") == []
    assert "has another structure" in doctor(path)["schema"]
    done = sessions(path.parent, "list", "--store", str(path))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert path.read_bytes() == before


def test_tables_of_the_user_are_no_fault(path: Path, site: Site) -> None:
    """Another table in the file, and what ANALYZE leaves, are accepted."""
    craft(path, "CREATE TABLE notes (text)", "CREATE INDEX notes_by_text ON notes (text)", "ANALYZE")
    status, _, stats = visit(path, site, "alice")
    assert (status, stats["sessions/restored"]) == (0, 1)


BODIES = ["5", "5.5", "'text'", "x'80'", "x''", "'5'", "x'5b5d'"]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_of_another_type_is_set_aside(path: Path, site: Site, body: str) -> None:
    """A record that isn't one is set aside and named; the session begins anew, and others are not affected."""
    craft(path, f"UPDATE sessions SET body = {body} WHERE session_id = 'alice'")
    assert "session 'alice' in namespace 'pages' can't be read" in doctor(path)["records"]
    status, log, stats = visit(path, site, "alice", "bob")
    counts = [stats[f"sessions/{name}"] for name in ("quarantined", "restored", "created")]
    assert (status, counts) == (0, [1, 1, 1])
    assert "session 'alice' in namespace 'pages' can't be read" in log
    assert "'alice' in 'pages'" in doctor(path)["quarantine"]


RECORDS = {
    "pages_visited": -1,
    "revision": 2**63 - 1,
    "generation": 2**63 - 1,
    "max_uses": -5,
    "start_time": 1.0,
    "metrics": {"requests": -1},
}


@pytest.mark.parametrize("field", RECORDS)
def test_a_number_out_of_range_is_set_aside(path: Path, site: Site, field: str) -> None:
    """So is one whose numbers can't be counted on, or aren't those of its row."""
    if field == "revision":
        craft(path, f"UPDATE sessions SET revision = {RECORDS[field]} WHERE session_id = 'alice'")
    change_record(path, **{field: RECORDS[field]})
    assert "session 'alice'" in doctor(path)["records"]
    status, log, stats = visit(path, site, "alice", "bob")
    assert (status, stats["sessions/quarantined"], stats.get("sessions/save_errors")) == (0, 1, None)
    fault = "its start_time isn't that of its row" if field == "start_time" else "its fields don't validate"
    assert f"'alice' in namespace 'pages' can't be read: {fault}" in log


COLUMNS = {
    "text for a time": "start_time = 'x'",
    "a blob for a time": "last_activity = x'00'",
    "a negative count": "pages_visited = -1",
    "text for a count": "actions_count = 'many'",
    "an unknown status": "status = 'odd'",
    "a number for a pool": "pool = x'01'",
    "a huge id": "session_id = printf('%.*c', 1000000, 'a')",
    "an id with a line break": "session_id = 'a' || char(10) || 'b'",
    "an id that is no text": "session_id = x'00ff'",
    "a namespace that is no text": "namespace = x'ff'",
    "an id that isn't UTF-8": "session_id = CAST(x'61ff' AS TEXT)",
    "a pool that isn't UTF-8": "pool = CAST(x'61ff' AS TEXT)",
}


@pytest.mark.parametrize("change", COLUMNS.values(), ids=COLUMNS)
def test_a_row_that_no_listing_can_show_is_set_aside(path: Path, change: str) -> None:
    """The commands list the others; the row is in the quarantine, where doctor names it."""
    craft(path, f"UPDATE sessions SET {change} WHERE session_id = 'alice'")
    done = sessions(path.parent, "list", "--ids", "--store", str(path))
    assert (done.code, done.out) == (0, "bob\n")
    found = doctor(path)
    assert "1 record could not be read and was quarantined" in found["quarantine"]
    assert "has a value that this package doesn't write" in found["quarantine"]


async def test_a_healthy_row_in_the_place_of_a_crafted_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If another process has set the row aside, and saved another one under its rowid, that one is left and listed."""
    set_aside = SQLiteStore._set_aside

    def late(store: SQLiteStore, *arguments: Any) -> None:
        craft(path, "UPDATE sessions SET pages_visited = 3 WHERE session_id = 'alice'")
        set_aside(store, *arguments)

    monkeypatch.setattr(SQLiteStore, "_set_aside", late)
    craft(path, "UPDATE sessions SET pages_visited = 'x' WHERE session_id = 'alice'")
    store = SQLiteStore(path)
    await store.open()
    assert [info["pages_visited"] for info in await store.find("alice", now=0.0)] == [3]
    assert await store.quarantined() == []
    await store.close()


EXPIRED = {
    "an unknown limit": "expires_by = 'exit'",
    "a limit that is no text": "expires_by = 5",
    "text for a revision": "revision = 'x'",
    "an id that isn't UTF-8": "session_id = CAST(x'61ff' AS TEXT)",
}


@pytest.mark.parametrize("change", EXPIRED.values(), ids=EXPIRED)
def test_a_crafted_expiry_stops_no_crawl(path: Path, site: Site, change: str) -> None:
    """An expired session with values that aren't ours is set aside or deleted at the start, and the crawl goes on."""
    craft(path, f"UPDATE sessions SET expires_at = 1.0, {change} WHERE session_id = 'alice'")
    status, _, stats = visit(path, site, "bob")
    assert (status, stats["sessions/restored"], stats["finish_reason"]) == (0, 1, "finished")
    assert sessions(path.parent, "list", "--ids", "--store", str(path)).out == "bob\n"


def test_a_record_of_a_newer_schema_is_named(path: Path, site: Site) -> None:
    """It is left as it is; the crawl names it, sends no request for it, and goes on with others; so does doctor."""
    change_record(path, schema_version=99)
    status, log, stats = visit(path, site, "alice", "bob")
    assert (status, stats["sessions/restored"], stats.get("sessions/quarantined")) == (0, 1, None)
    assert "session 'alice' in namespace 'pages' has schema version 99" in log
    assert len(site.journal("/answer")) == 1
    found = doctor(path)["records"]
    assert "session 'alice' in namespace 'pages' has schema version 99" in found


def test_a_lease_for_ever_is_none(path: Path) -> None:
    """A lease that ends later than any real one keeps no login waiting."""
    craft(
        path, "INSERT INTO leases VALUES ('shop', 'login', 9223372036854775807, 9e999), ('shop', 'text', 'x', 'never')"
    )
    craft(path, "UPDATE store SET token = 9223372036854775807")

    async def use() -> None:
        store = SQLiteStore(path)
        await store.open()
        for name in ("login", "text"):
            assert await store.lease("shop", name, 30.0) is not None
            assert await store.lease("shop", name, 30.0) is None
        await store.close()

    asyncio.run(use())


def test_crafted_shared_data_is_an_error(path: Path) -> None:
    """Shared data that is no JSON object is reported as unreadable."""
    craft(path, "INSERT INTO shared VALUES ('pages', 1, 5)")

    async def use() -> None:
        store = SQLiteStore(path)
        with pytest.raises(CorruptRecord, match="The shared data of 'pages' can't be read"):
            await SharedData(store, "pages", store.open).get()
        await store.close()

    asyncio.run(use())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO events VALUES (1, 'pages', 'alice', NULL, 1e12, x'00', 'x')",
        "INSERT INTO hours VALUES (9999999999, 'pages', '', 'alice', 'many', 0, 0, 0, 0, 0.0, 0, 0, 0, 0.0)",
    ],
)
def test_crafted_analytics_are_an_error(path: Path, statement: str) -> None:
    """Counters and events that aren't ours are refused in one line, and sessions are listed all the same."""
    craft(path, statement)
    commands = [sessions(path.parent, *command, "--store", str(path)) for command in (["stats"], ["report", "-o", "-"])]
    failed = [done for done in commands if "has analytics that this package doesn't write" in done.err]
    assert failed
    assert {(done.code, done.err.count("\n")) for done in failed} == {(1, 1)}
    assert sessions(path.parent, "list", "--ids", "--store", str(path)).code == 0
