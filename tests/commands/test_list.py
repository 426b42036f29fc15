"""``scrapy sessions list``: what it shows, in which order, and that it never waits for all."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from scrapy_sessions.analytics.model import FOLDED, HourCounts, hour_of
from scrapy_sessions.commands import list_
from scrapy_sessions.commands.support import argument_types
from scrapy_sessions.commands.support.arguments import subcommand
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.tables import Lines
from scrapy_sessions.commands.support.text import age, moment
from scrapy_sessions.models import Metrics, PersistentSession
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.storage.codec import encode
from tests.support.command_line import fill, make_project, on_terminal, sessions
from tests.support.in_process import called

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def record(session_id: str, ago: float, **fields: Any) -> PersistentSession:
    then = time.time() - ago
    return PersistentSession(session_id=session_id, start_time=then - 10, last_activity=then, **fields)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store has five sessions of all states, in two namespaces."""
    folder = make_project(tmp_path_factory.mktemp("list"), SESSIONS_STORE="sqlite:///s.db")
    shop: dict[str, Any] = {"namespace": "shop", "idle_timeout": DAY}
    fill(
        folder / "s.db",
        record("alice", 5 * MINUTE, status="ready", pages_visited=7, **shop),
        record("[red]bob[/red]", 3 * HOUR, pool="staff", pages_visited=9, **shop),
        record("carol", 20 * HOUR, status="retired", retired_reason="x", pool="staff", **shop),
        record("dave", 3 * DAY, status="ready", **shop),
        record("alice", 2 * HOUR, namespace="bank", idle_timeout=0, metrics=Metrics(requests=3)),
    )
    return folder


@pytest.fixture
def chosen(project: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Runs the command in this process and returns the ids it lists, with its exit code."""

    async def run(*arguments: str) -> tuple[list[str], int]:
        options = subcommand("list").parse_args([*arguments, "--ids", "--store", str(project / "s.db")])
        options.namespace = getattr(options, "namespace", None)
        context = Context(options, Settings())
        await context.open()
        try:
            code = await list_.run(context)
        finally:
            await context.close()
        return capsys.readouterr().out.splitlines(), code

    return run


def test_the_table(project: Path) -> None:
    """Each session has a line with its state, times and expiry; an id that looks like markup is unchanged."""
    done = sessions(project, "list")
    assert (done.code, done.err) == (0, "")
    header, *lines = done.out.splitlines()
    assert " ".join(header.split()) == "ID NAMESPACE POOL STATUS STATE PAGES STARTED LAST ACTIVITY EXPIRES"
    assert [line.split()[:6] for line in lines] == [
        ["alice", "shop", "-", "ready", "active", "7"],
        ["alice", "bank", "-", "new", "active", "0"],
        ["[red]bob[/red]", "shop", "staff", "new", "active", "9"],
        ["carol", "shop", "staff", "retired", "retired", "0"],
        ["dave", "shop", "-", "ready", "expired", "0"],
    ]
    assert [line.endswith(ending) for line, ending in zip(lines, ("in 24 h", "never"), strict=False)] == [True, True]
    assert "5 min ago" in lines[0]
    assert lines[4].endswith("2 d ago")
    assert {line.index(word) for line, word in zip(lines[:2], ("ready", "new"), strict=True)} == {
        header.index("STATUS")
    }


def test_the_table_on_a_terminal(project: Path) -> None:
    """On a terminal the table has the same cells; what looks like markup in an id is printed, not obeyed."""
    shown = on_terminal(project, "list").out
    assert "[red]bob[/red]" in shown
    assert "5 min ago" in shown


def test_json(project: Path) -> None:
    """--json is an array and --jsonl has one object a line, both with every field of the list, and the expiry."""
    listed = json.loads(sessions(project, "list", "--json", "--namespace", "shop").out)
    assert [entry["session_id"] for entry in listed] == ["alice", "[red]bob[/red]", "carol", "dave"]
    assert [entry["state"] for entry in listed] == ["active", "active", "retired", "expired"]
    assert listed[0]["expires_at"] == pytest.approx(listed[0]["last_activity"] + DAY)
    assert listed[0]["storage"] == str(project / "s.db")
    lines = sessions(project, "list", "--jsonl", "--namespace", "shop").out.splitlines()
    assert [json.loads(line) for line in lines] == listed


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--pool", "staff"], ["[red]bob[/red]", "carol"]),
        (["--status", "ready"], ["alice", "dave"]),
        (["--status", "expired"], ["dave"]),
        (["--status", "active"], ["alice", "alice", "[red]bob[/red]"]),
        (["--older-than", "150m"], ["[red]bob[/red]", "carol", "dave"]),
        (["--newer-than", "2.5h"], ["alice", "alice"]),
        (["--older-than", "1h", "--newer-than", "1d"], ["alice", "[red]bob[/red]", "carol"]),
        (["--sort", "pages", "--limit", "2"], ["[red]bob[/red]", "alice"]),
        (["--sort", "id", "--reverse", "--namespace", "shop"], ["dave", "carol", "alice", "[red]bob[/red]"]),
        (["--sort", "expires", "--limit", "1"], ["dave"]),
        (["--reverse", "--limit", "1"], ["dave"]),
        (["--namespace", "shop", "--limit", "2"], ["alice", "[red]bob[/red]"]),
        (["--namespace", "shop", "--limit", "2", "--after", "[red]bob[/red]"], ["carol", "dave"]),
        (["--namespace", "shop", "--sort", "id", "--after", "alice"], ["carol", "dave"]),
    ],
)
async def test_filters_and_order(chosen: Any, arguments: list[str], ids: list[str]) -> None:
    """Filters choose, --sort orders, --limit and --after go through the list page by page."""
    assert await chosen(*arguments) == (ids, 0)


async def test_nothing_matches(chosen: Any) -> None:
    """A list of nothing has the exit code 1; a place to go on after that isn't there is an error."""
    assert await chosen("--pool", "nobody") == ([], 1)
    with pytest.raises(CommandError, match="There is no session 'zoe'"):
        await chosen("--after", "zoe")


def test_the_note_about_the_next_page(project: Path) -> None:
    """A list that --limit cuts ends with a note on standard error; one that ends with the limit doesn't."""
    done = sessions(project, "list", "--limit", "1", "--namespace", "shop", "--json")
    assert [entry["session_id"] for entry in json.loads(done.out)] == ["alice"]
    assert done.err == "There are more sessions: add --after shop/alice for the next page\n"
    assert sessions(project, "list", "--limit", "4", "--namespace", "shop").err == ""


@pytest.mark.parametrize("order", [[], ["--sort", "id"], ["--sort", "started", "--reverse"]])
def test_paging_by_the_notes(tmp_path: Path, order: list[str]) -> None:
    """The options in the notes list every session once, also if ids and slashes repeat."""
    places = [
        ("a", "two"),
        ("b", "two"),
        ("c/d", "two"),
        ("c", "d/two"),
        ("x", "a/two"),
        ("-n", "-dash"),
        ("b", "it's"),
    ]
    fill(tmp_path / "s.db", *(record(each, 60, namespace=namespace) for namespace, each in places))
    listed: list[tuple[str, str]] = []
    options: list[str] = []
    for _ in places:
        done = called(tmp_path, "list", "--store", "s.db", "--limit", "1", "--jsonl", *order, *options)
        listed += [(entry["namespace"], entry["session_id"]) for entry in map(json.loads, done.out.splitlines())]
        options = shlex.split(
            done.err.removeprefix("There are more sessions: add ").removesuffix(" for the next page\n")
        )
    assert options == []
    assert sorted(listed) == sorted(places)


@pytest.mark.parametrize("order", [[], ["--sort", "id"]])
def test_an_ambiguous_id_is_no_place(project: Path, tmp_path: Path, order: list[str]) -> None:
    """An id alone is enough for --after only if one namespace contains it: else its namespaces are named."""
    store = str(project / "s.db")
    done = called(tmp_path, "list", "--store", store, "--after", "alice", *order)
    assert (done.code, done.out) == (2, "")
    assert done.err == "scrapy sessions: The session 'alice' is in 2 namespaces: name one of bank/alice, shop/alice\n"
    assert called(tmp_path, "list", "--store", store, "--after", "carol", "--ids").out == "dave\n"
    assert called(tmp_path, "list", "--store", store, "--after", "bank/dave", *order).code == 1


def test_nothing_unprintable_is_printed(tmp_path: Path) -> None:
    """What a terminal would obey in a name is written out: in a table, on a terminal, and in JSON as JSON has it."""
    pool = "a\nb\x1b[31m\x9b1m"
    fill(tmp_path / "s.db", record("alice", 60, pool=pool))
    shown = called(tmp_path, "list", "--store", "s.db").out
    assert "a\\nb\\x1b[31m\\x9b1m  new" in shown
    assert "a\\nb\\x1b[31m" in on_terminal(tmp_path, "list", "--store", "s.db", NO_COLOR="1").out
    text = called(tmp_path, "list", "--store", "s.db", "--jsonl").out
    assert text.removesuffix("\n").isprintable()
    assert json.loads(text)["pool"] == pool


def count_failures(folder: Path, *hours: HourCounts) -> None:
    """Store *hours* in the analytics of the store in *folder*."""

    async def add() -> None:
        store = SQLiteStore(folder / "s.db")
        await store.open()
        await store.add_analytics(hours, [])
        await store.close()

    asyncio.run(add())


def test_failed_logins(tmp_path: Path) -> None:
    """Failed logins are a column if there are any, summed over the hours, of the session in its namespace."""
    fill(tmp_path / "s.db", record("alice", 60, namespace="shop"), record("alice", 90, namespace="bank"))
    assert "FAILED" not in called(tmp_path, "list", "--store", "s.db").out
    hour = hour_of(time.time())
    counts = [(hour, "shop", "alice", 2), (hour - 5 * 3600, "shop", "alice", 1), (hour, "shop", "bob", 7)]
    rows = [HourCounts(name, None, each, when, login_failures=n) for when, name, each, n in counts]
    folded = HourCounts("shop", None, FOLDED, hour - 3600, login_failures=9)
    count_failures(tmp_path, *rows, folded, HourCounts("bank", None, "alice", hour, logins=1))
    header, shop, bank = called(tmp_path, "list", "--store", "s.db").out.splitlines()
    assert header.endswith("EXPIRES    FAILED LOGINS")
    assert (shop.split()[-1], bank.split()[-1]) == ("3", "0")
    listed = json.loads(called(tmp_path, "list", "--store", "s.db", "--json").out)
    assert [entry["failed_logins"] for entry in listed] == [3, 0]
    assert "FAILED" not in called(tmp_path, "list", "--store", "s.db", "--namespace", "bank").out
    assert called(tmp_path, "list", "--store", "s.db", "--ids").out == "alice\nalice\n"


def test_counters_that_cannot_be_read(tmp_path: Path) -> None:
    """Malformed counters cost the list a note, and no session."""
    fill(tmp_path / "s.db", record("alice", 60))
    count_failures(tmp_path, HourCounts("default", None, "alice", hour_of(time.time()), login_failures=1))
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE hours SET login_failures = 'many'")
    done = called(tmp_path, "list", "--store", "s.db")
    assert (done.code, done.out.count("alice")) == (0, 1)
    assert done.err.startswith("The failed logins can't be read: ")


def test_until_when_sessions_rest(tmp_path: Path) -> None:
    """A session whose budget is used up is listed with the end of its rest, as its record says; JSON has the time."""
    now = time.time()
    used = {"per_hour": {str(int(now // 300)): 3}, "per_day": {str(int(now // 3600)): 3}}
    fill(tmp_path / "s.db", record("alice", 99, budget={"per_hour": 3}, budget_used={**used, "per_hour": {}}))
    assert "RESTS" not in called(tmp_path, "list", "--store", "s.db").out
    fill(
        tmp_path / "s.db",
        record("bob", 2, budget={"per_hour": 3, "per_day": 50}, budget_used=used),
        record("carol", 3, budget={"per_hour": 4}, budget_used=used),
        record("dave", 4, budget={"per_hour": 3}, budget_used=used),
    )
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE sessions SET body = x'00' WHERE session_id = 'dave'")
    header, *lines = called(tmp_path, "list", "--store", "s.db").out.splitlines()
    assert header.endswith("EXPIRES    RESTS")
    assert ["in 6" in line[header.index("RESTS") :] for line in lines] == [True, False, False, False]
    listed = json.loads(called(tmp_path, "list", "--store", "s.db", "--json").out)
    end = (now // 300 + 1) * 300 + 3600
    assert [entry["rests_until"] for entry in listed] == [end, None, None, None]
    assert f"used up: it rests until {moment(end)}" in called(tmp_path, "show", "bob", "--store", "s.db").out
    assert "3 requests per hour, 50 requests per day" in called(tmp_path, "show", "bob", "--store", "s.db").out


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_rests_beyond_the_first_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """JSON has the end of each rest, on whatever page the session is; a table, of as many as it looks at."""
    monkeypatch.setattr(list_, "_PAGE", 2)
    monkeypatch.setattr(list_, "_LOOKED_AT", 1)
    slot = int(time.time() // 300)
    used = {"per_hour": {str(slot): 3}, "per_day": {}}
    records = [record(f"s{n}", n, budget={"per_hour": 3}, budget_used=used) for n in range(5)]
    fill(tmp_path / "s.db", *records)
    out = called(tmp_path, "list", "--store", "s.db", form).out
    listed = json.loads(out) if form == "--json" else [json.loads(line) for line in out.splitlines()]
    assert [entry["rests_until"] for entry in listed] == [(slot + 1) * 300 + 3600] * 5
    assert called(tmp_path, "list", "--store", "s.db").out.count("in 6") == 1


def test_why_sessions_are_retired(tmp_path: Path) -> None:
    """``--status retired`` prints the reason of each, and JSON has it; a record that can't be read is said to be."""
    gone: dict[str, Any] = {"status": "retired", "idle_timeout": 0}
    fill(
        tmp_path / "s.db",
        record("alice", 60, retired_reason="blocked at https://shop.example/p", **gone),
        record("bob", 70, retired_reason="x", **gone),
        record("carol", 80, status="ready"),
    )
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE sessions SET body = x'00' WHERE session_id = 'bob'")
    header, *lines = called(tmp_path, "list", "--store", "s.db", "--status", "retired").out.splitlines()
    assert header.endswith("EXPIRES  REASON")
    assert [line.split("never    ")[1] for line in lines] == [
        *("blocked at https://shop.example/p", "its record can't be read"),
    ]
    listed = map(json.loads, called(tmp_path, "list", "--store", "s.db", "--jsonl").out.splitlines())
    assert [entry["retired_reason"] for entry in listed] == [
        *("blocked at https://shop.example/p", "its record can't be read", None),
    ]
    assert called(tmp_path, "list", "--store", "s.db", "--status", "retired", "--ids").out == "alice\nbob\n"


async def test_it_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 20,000 sessions the first are printed before the last are read, and none is missing or there twice."""
    store = SQLiteStore(tmp_path / "s.db")
    many = [record(f"s{number}", number, idle_timeout=0, revision=1) for number in range(20_000)]
    await store.open()
    await store.save([encode(each) for each in many])
    await store.close()
    pages: list[int] = []
    printed: list[int] = []
    read = SQLiteStore.list_with_expiry

    async def spied(self: SQLiteStore, **arguments: Any) -> Any:
        printed.append(capsys.readouterr().out.count("\n"))
        page = await read(self, **arguments)
        pages.append(len(page))
        return page

    monkeypatch.setattr(SQLiteStore, "list_with_expiry", spied)
    options = subcommand("list").parse_args(["--store", store.location])
    options.namespace = None
    context = Context(options, Settings())
    await context.open()
    assert await list_.run(context) == 0
    await context.close()
    assert max(pages) <= 2000
    assert sum(pages) == 20_000
    assert printed[1] > 1000
    assert sum(printed) + capsys.readouterr().out.count("\n") == 20_001


def test_columns_only_widen() -> None:
    """Each column is as wide as its widest cell up to then, however wide the others are, and no line ends in blanks."""
    lines = Lines(("ID", "N", "END"), right=(1,))
    assert lines.add([("a", "1", "x")]) == ["ID  N  END", "a   1  x"]
    assert lines.add([("b", "22", ""), ("100%s", "3", "")]) == ["b      22", "100%s   3"]
    assert lines.add([("c", "4", "longer")]) == ["c       4  longer"]
    assert lines.add([]) == []


def test_wide_characters_are_aligned() -> None:
    """A character of two columns counts twice, a combining one not at all."""
    lines = Lines(("ID", "N", "END"), right=(1,))
    assert lines.add([("日本", "1", "x"), ("e\u0301", "22", "y"), ("abcd", "3", "z")]) == [
        *("ID     N  END", "日本   1  x", "e\u0301     22  y", "abcd   3  z")
    ]


def test_cells_have_colours() -> None:
    """Headers are bold and states coloured on a terminal; the alignment is the same, and text is escaped."""
    lines = Lines(("ID", "STATE"), colours=True).add([("a\x1b[2J", "active"), ("b", "-")])
    assert lines == [
        *("\x1b[1mID\x1b[0m        \x1b[1mSTATE\x1b[0m", "a\\x1b[2J  \x1b[32mactive\x1b[0m", "b         -")
    ]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600), ("2W", 1209600)]
)
def test_an_age_is_read(text: str, seconds: float) -> None:
    """An age is a number with its unit."""
    assert argument_types.age(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "2y", "nan"])
def test_no_age(text: str) -> None:
    """What isn't an age is refused, with an example of one."""
    with pytest.raises(argparse.ArgumentTypeError, match="as in 2h or 30d"):
        argument_types.age(text)


def test_texts_of_ages_and_moments() -> None:
    """Ages are rounded to the largest unit of which there are two, moments in UTC, and impossible ones don't fail."""
    ages = [age(1000 - seconds, 1000) for seconds in (0, 119, 120, 7140, 7200, 172_800, -300)]
    assert ages == ["0 s ago", "119 s ago", "2 min ago", "119 min ago", "2 h ago", "2 d ago", "in 5 min"]
    days = [age(1000 + hours * HOUR, 1000) for hours in (47, 47.9, 59, 61, 71)]
    assert days == ["in 47 h", "in 2 d", "in 2 d", "in 3 d", "in 3 d"]
    rounded = [age(1000 + seconds, 1000) for seconds in (1.4, 119.6, 149, 151, 7169, 7171, 2.4 * HOUR, 2.6 * HOUR)]
    assert rounded == ["in 1 s", *["in 2 min"] * 2, "in 3 min", "in 119 min", *["in 2 h"] * 2, "in 3 h"]
    assert moment(0) == "1970-01-01 00:00:00Z"
    assert [moment(seconds) for seconds in (59.9, 60, -1, 1_790_000_000.5)] == [
        *("1970-01-01 00:00:59Z", "1970-01-01 00:01:00Z", "1969-12-31 23:59:59Z", "2026-09-21 14:13:20Z"),
    ]
    assert moment(1e300) == "1e+300"
