"""``scrapy sessions stats`` of a filled store and of a running crawl."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from scrapy_sessions.analytics.model import COUNTERS, FOLDED, HOUR, HourCounts, PoolCounts, hour_of
from scrapy_sessions.commands import stats_watch
from scrapy_sessions.commands.support.text import moment
from scrapy_sessions.storage import MemoryStore, SQLiteStore
from scrapy_sessions.testing import make_row
from tests.support.command_line import Done
from tests.support.crawl import ENVIRONMENT, sqlite_url, start
from tests.support.docs_pages import commands, page_named
from tests.support.in_process import called
from tests.support.site import Site
from tests.support.spiders.pages import Steady
from tests.support.waiting import HANG, slowness

NOW = hour_of(time.time())
ROWS = [
    HourCounts("shop", "p", "p#1", NOW - HOUR, 10, 8, 1, 1, 2, 3.0, 1, 1, 999, 5.0, {200: 9, 403: 1}),
    HourCounts("shop", "p", "p#1", NOW, 5, 5, responses={200: 5}),
    HourCounts("shop", "p", FOLDED, NOW, 2, 2, responses={200: 2}),
    HourCounts("shop", None, "alice", NOW, 3, 3, responses={200: 3}),
    HourCounts("news", "p", "p#1", NOW, 100, 100, responses={200: 100}),
    HourCounts("shop", "p", "p#1", NOW - 50 * HOUR, 1000, 1000),
]
FILES = {
    "scrapy.cfg": "[settings]\ndefault = settings\n",
    "settings.py": 'ADDONS = {"scrapy_sessions.SessionsAddon": 300}\n',
}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "scrapy", "sessions", "stats", *arguments]


@dataclass(frozen=True)
class Project:
    """A project whose store has :data:`ROWS`. Call it to run the command there; ``shown()`` does without a process."""

    folder: Path

    def shown(self, *arguments: str) -> Done:
        store = self.folder / ".scrapy" / "sessions" / "sessions.db"
        return called(self.folder.parent, "stats", "--store", str(store), *arguments)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=self.folder,
            env=ENVIRONMENT,
            text=True,
            capture_output=True,
            timeout=HANG,
            check=False,
        )


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")

    async def fill() -> None:
        store = SQLiteStore(folder / ".scrapy" / "sessions" / "sessions.db")
        await store.open()
        await store.add_analytics(ROWS, [])
        await store.save([make_row("p#1", pool="p"), make_row("alice", status="retired")])
        await store.close()

    asyncio.run(fill())
    return Project(folder)


def cells(text: str) -> list[list[str]]:
    """The cells of aligned lines."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_tables(stats: Project) -> None:
    """By default the last day by pool, then by hour; in a pipe without colours, and untruncated."""
    done = stats()
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    pools, hours = (cells(part) for part in done.stdout.split("\n\n"))
    columns = ["REQUESTS", "PAGES", "FAILURES", "LOGINS", "LOGIN TIME", "FAILED", "BLOCKED", "SUSPECT", "LATENCY"]
    assert pools == [
        ["NAMESPACE", "POOL", *columns, "STATUSES"],
        ["news", "p", "100", "100", "0", "0", "-", "0", "0", "0", "0.00 s", "200:100"],
        ["shop", "-", "3", "3", "0", "0", "-", "0", "0", "0", "0.00 s", "200:3"],
        ["shop", "p", "17", "15", "1", "1", "3.00 s", "2", "1", "1", "0.29 s", "200:16 403:1"],
    ]
    assert [row[:3] for row in hours] == [
        ["HOUR", "REQUESTS", "PAGES"],
        [moment(NOW - HOUR), "10", "8"],
        [moment(NOW), "110", "110"],
    ]


def test_choices(stats: Project) -> None:
    """Namespace, pool and age select the counts; --by session prints a line for each session."""
    done = stats.shown("--namespace", "shop", "--pool", "p", "--since", "7d", "--by", "session")
    found = [row[:4] for row in cells(done.out)[1:]]
    assert found == [["shop", "p", "(others)", "2"], ["shop", "p", "p#1", "1015"]]
    assert done.code == 0


def test_json(stats: Project) -> None:
    """The sums as a JSON array, with every number under its name."""
    done = stats.shown("--json", "--by", "hour", "--namespace", "shop")
    first, second = json.loads(done.out)
    assert first == {
        "hour": NOW - HOUR,
        **{name: getattr(ROWS[0], name) for name in COUNTERS},
        "responses": {"200": 9, "403": 1},
    }
    assert second["requests"] == 10
    by_pool = json.loads(stats.shown("--json").out)
    assert [(row["namespace"], row["pool"], row["requests"]) for row in by_pool] == [
        ("news", "p", 100),
        ("shop", None, 3),
        ("shop", "p", 17),
    ]


def test_nothing_was_counted(stats: Project) -> None:
    """Without counts there is a note beside an empty result, and the exit code is 1."""
    done = stats.shown("--pool", "other")
    assert (done.code, done.out) == (1, "")
    assert done.err == "Nothing was counted in the last 24 h\n"
    done = stats.shown("--pool", "other", "--json")
    assert (done.code, json.loads(done.out)) == (1, [])


def test_the_commands_of_the_documentation(stats: Project) -> None:
    """The commands in the page on analytics work; --watch is tested below."""
    shown = [shlex.split(command) for command, _ in commands(page_named("analytics"))]
    summing = [words for words in shown if "--watch" not in words]
    assert [words for words in shown if words not in summing] == [["scrapy", "sessions", "stats", "--watch"]]
    assert summing
    for words in summing:
        assert words[:3] == ["scrapy", "sessions", "stats"]
        assert "shop" in stats.shown(*words[3:]).out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--watch", "--by", "hour"], 2, "leave --by out"),
        (["--interval", "0"], 2, "at least 0.1 seconds"),
        (["--store", "tests.support.plain_store.PlainStore"], 1, "memory:// stores no analytics"),
    ],
)
def test_what_cannot_be_shown(stats: Project, arguments: list[str], code: int, message: str) -> None:
    """A usage error, and a store without analytics, end with one line about it."""
    done = stats(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


async def test_rates_are_averages_of_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are written in steps: a rate is an average of some seconds, and falls when they stop."""
    store, snapshots = MemoryStore(), deque[Any]()
    context: Any = SimpleNamespace(options=SimpleNamespace(namespace=None, pool=None))
    rates = []
    for seconds, requests in ((0.0, 1), (2.0, 0), (4.0, 10), (10.0, 0), (40.0, 0), (60.0, 0)):
        await store.add_analytics([HourCounts("shop", "p", "a", hour_of(time.time()), requests)], [])
        clock = SimpleNamespace(time=time.time, monotonic=lambda now=seconds: now)
        monkeypatch.setattr(stats_watch, "time", clock)
        (row,) = await stats_watch._rows(context, store, lambda: store.hour_counts(None), snapshots)
        rates.append(row["requests_per_second"])
    assert rates == [0.0, 0.0, 2.5, 1.0, 0.0, 0.0]
    assert len(snapshots) == 2


@pytest.fixture
def crawled(tmp_path: Path, site: Site) -> Iterator[str]:
    """The URL of the store of a running crawl with two sessions."""
    site.reset()
    url = sqlite_url(tmp_path / "s.db")
    settings = {"SESSIONS_STORE": url, "SESSIONS_SAVE_INTERVAL": 0.1, "DOWNLOAD_DELAY": 0.02, "LOG_ENABLED": False}
    crawl = start(Steady, settings, {"site": site.url(""), "sessions_used": ["alice", "bob"]})
    assert crawl.stdout is not None
    crawl.stdout.readline()  # it runs, so the store is there
    yield url
    crawl.kill()
    crawl.communicate()


def test_watching_into_a_pipe(crawled: str, site: Site, tmp_path: Path) -> None:
    """Each update is a line, whose numbers grow with the crawl; Ctrl-C ends it with exit code 0."""
    process = subprocess.Popen(
        command("--watch", "--json", "--interval", "0.2", "--store", crawled),
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    looks: list[dict[str, Any]] = []
    for line in process.stdout:
        looks += json.loads(line)["pools"]
        if looks and looks[-1]["requests_per_second"] > 0 and looks[-1]["requests"] > looks[0]["requests"]:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=HANG)
    assert (process.returncode, errors) == (0, "")
    assert {(look["namespace"], look["pool"], look["live"]) for look in looks[-1:]} == {("steady", None, 2)}
    assert 0 < looks[-1]["requests"] <= len(site.journal("/answer"))
    assert time.time() - looks[-1]["last_activity"] < 30 * slowness()
    assert [look["requests"] for look in looks] == sorted(look["requests"] for look in looks)


def test_watching_in_plain_text(stats: Project) -> None:
    """Without JSON, a line has the sums of all pools that were chosen."""
    process = subprocess.Popen(
        command("--watch", "--namespace", "shop"), cwd=stats.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=HANG)[0], process.returncode) == ("", 0)
    assert line.rstrip("\n").split("  ")[1:] == [
        *("live 1", "new 0", "ready 1", "retired 1", "requests 20", "pages 18", "failures 1", "logins 1", "blocked 1"),
        "requests/s 0.0",
    ]


HEADERS = (
    *("NAMESPACE", "POOL", "LIVE", "NEW", "READY", "RETIRED", "REQUESTS", "PAGES", "FAILURES", "LOGINS", "BLOCKED"),
    *("REQUESTS/S", "PAGES/S", "LAST ACTIVITY"),
)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, set()),
        (80, {"PAGES/S", "NEW", "READY", "LOGINS", "RETIRED", "PAGES"}),
        (60, {"PAGES/S", "NEW", "READY", "LOGINS", "RETIRED", "PAGES", "LAST ACTIVITY", "REQUESTS"}),
    ],
)
def test_watching_on_a_narrow_terminal(width: int, left_out: set[str]) -> None:
    """On a narrow terminal, the least important columns are left out, and nothing is truncated."""
    numbers = {"requests": 123_456, "pages": 98_765, "failures": 3, "logins": 10, "blocked": 1}
    counts = HourCounts("shop", "catalog", "", 0, **numbers)
    pool = PoolCounts("shop", "catalog", {"new": 2, "ready": 8}, 10, 0, time.time())
    row = stats_watch._row(("shop", "catalog"), pool, counts, replace(counts, requests=123_431), 2.0)
    shown = io.StringIO()
    console = Console(file=shown, width=width)
    console.print(stats_watch._table([row, row], console))
    heads, first, *_ = shown.getvalue().splitlines()
    columns = [head for head in HEADERS if head not in left_out]
    assert heads.split() == " ".join(columns).split()
    assert "…" not in first
    assert "12.5" in first


def test_watching_on_a_terminal(stats: Project) -> None:
    """On a terminal a table is updated in place, pools by name, until Ctrl-C."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("--watch", "--interval", "0.1"),
        cwd=stats.folder,
        env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "200"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    drawn = b""
    while drawn.count(b"NAMESPACE") < 2:
        drawn += os.read(ours, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while os.read(ours, 65536):
            pass
    except OSError:  # Linux's way to say that the other end was closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", drawn).decode()
    lines = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    assert ["shop", "p", "1", "0", "1", "0", "17"] in [line[:7] for line in lines]
    assert ["shop", "-", "0", "0", "0", "1", "3"] in [line[:7] for line in lines]
