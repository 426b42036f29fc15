"""Tables on a narrow terminal: whole columns are left out, the least important first, and no line is wrapped."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.analytics.model import HourCounts, hour_of
from scrapy_sessions.commands.support.tables import Lines
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage import SQLiteStore
from tests.support.command_line import fill, make_project, on_terminal, sessions

LIST = ["ID", "NAMESPACE", "POOL", "STATUS", "STATE", "PAGES", "STARTED", "LAST ACTIVITY", "EXPIRES", "FAILED LOGINS"]
STATS = ["REQUESTS", "PAGES", "FAILURES", "LOGINS", "LOGIN TIME", "FAILED", "BLOCKED", "SUSPECT", "LATENCY", "STATUSES"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store has two sessions with failed logins."""
    folder = make_project(tmp_path_factory.mktemp("width"), SESSIONS_STORE="sqlite:///s.db")
    now = time.time()
    some: dict[str, Any] = {"namespace": "shop", "start_time": now - 9e5, "last_activity": now - 7000}
    fill(
        folder / "s.db",
        PersistentSession(session_id="alice", pool="staff", idle_timeout=3 * 86400, **some),
        PersistentSession(session_id="shop-de-catalog#1", pool="catalog", **some),
    )

    async def count() -> None:
        store = SQLiteStore(folder / "s.db")
        await store.open()
        statuses = {200: 1200, 302: 20, 403: 10, 503: 4}
        numbers: dict[str, Any] = {"requests": 1234, "login_failures": 2, "responses": statuses}
        await store.add_analytics([HourCounts("shop", "staff", "alice", hour_of(now), **numbers)], [])
        await store.close()

    asyncio.run(count())
    return folder


def headers(line: str) -> list[str]:
    """The headers of a table, which are separated by two spaces at least."""
    return [header.strip() for header in line.split("  ") if header.strip()]


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ("200", []),
        ("80", ["STARTED", "PAGES", "STATUS", "EXPIRES"]),
        ("45", ["STARTED", "PAGES", "STATUS", "EXPIRES", "NAMESPACE", "FAILED LOGINS", "LAST ACTIVITY"]),
        ("20", ["STARTED", "PAGES", "STATUS", "EXPIRES", "NAMESPACE", "FAILED LOGINS", "LAST ACTIVITY", "POOL"]),
    ],
)
def test_the_list(project: Path, columns: str, missing: list[str]) -> None:
    """No more columns are left out than needed, a line below names them in their order; id and state stay."""
    done = sessions(project, "list", COLUMNS=columns)
    assert headers(done.out.splitlines()[0]) == [header for header in LIST if header not in missing]
    if columns != "20":
        assert max(map(len, done.out.splitlines())) <= int(columns)
    note = f"Left out, to fit {columns} columns: {', '.join(missing)}. A wider terminal or --json shows them\n"
    assert done.err == (note if missing else "")


def test_the_stats(project: Path) -> None:
    """The two tables of stats fit 80 columns, and one line below them names all columns that are left out."""
    done = sessions(project, "stats", COLUMNS="80")
    assert max(map(len, done.out.splitlines())) <= 80
    missing = ["LATENCY", "LOGIN TIME", "SUSPECT", "FAILURES", "STATUSES"]
    pools, _, _, hours, _ = done.out.splitlines()
    assert headers(pools) == ["NAMESPACE", "POOL", *(header for header in STATS if header not in missing)]
    assert headers(hours) == ["HOUR", *(header for header in STATS if header not in missing)]
    assert done.err == f"Left out, to fit 80 columns: {', '.join(missing)}. A wider terminal or --json shows them\n"


def test_pipes_and_json_have_everything(project: Path) -> None:
    """Without COLUMNS, a pipe has no width; JSON has none at all."""
    assert headers(sessions(project, "list").out.splitlines()[0]) == LIST
    assert '"start_time"' in sessions(project, "list", "--json", COLUMNS="20").out
    done = sessions(project, "stats", "--json", COLUMNS="20")
    assert '"latency"' in done.out
    assert done.err == ""


def test_a_terminal(project: Path) -> None:
    """On a terminal its own width counts: here 120 characters, in which the list leaves out one column."""
    shown = on_terminal(project, "list", NO_COLOR="1").out.splitlines()
    assert headers(shown[0]) == [header for header in LIST if header != "STARTED"]
    assert shown[-1] == "Left out, to fit 120 columns: STARTED. A wider terminal or --json shows them"


def test_later_pages_have_the_columns_of_the_first_one() -> None:
    """What is left out is decided by the first page, and holds for the others."""
    lines = Lines(("A", "B", "C"), (1,), width=8, least=("B", "A"))
    assert lines.add([("aaa", "10", "c")]) == ["A    C", "aaa  c"]
    assert lines.add([("a", "1", "ccccccccccc")]) == ["a    ccccccccccc"]
    assert lines.left_out == ["B"]
