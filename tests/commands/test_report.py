"""``scrapy sessions report`` as a process of its own."""

from __future__ import annotations

import asyncio
import shlex
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

from scrapy_sessions.report import is_report, templates
from scrapy_sessions.storage import SQLiteStore
from tests.support.crawl import ENVIRONMENT, sqlite_url, start
from tests.support.docs_pages import commands, page_named
from tests.support.in_process import called
from tests.support.report_stores import record, save
from tests.support.site import Site
from tests.support.spiders.pages import Telling
from tests.support.waiting import HANG

Report: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three sessions: two of a pool, one of which wasn't used for ten days, and one of none."""
    file, now = tmp_path_factory.mktemp("store") / "sessions.db", time.time()

    async def fill() -> None:
        store = SQLiteStore(file)
        await store.open()
        await save(
            store,
            record("catalog-1", pool="catalog", start_time=now - 60, last_activity=now, pages_visited=1234),
            record("catalog-2", pool="catalog", start_time=now - 11 * 86400, last_activity=now - 10 * 86400),
            record("alice", start_time=now - 60, last_activity=now),
        )
        await store.close()

    asyncio.run(fill())
    return file


@pytest.fixture
def report(tmp_path: Path, store: Path) -> Report:
    """Runs the command in a folder that isn't a project."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "scrapy", "sessions", "report", *arguments]
        if "--store" not in arguments:
            command += ["--store", str(store)]
        environment = {**ENVIRONMENT, "BROWSER": str(tmp_path / "browser")}
        given = {"cwd": tmp_path, "env": environment, "stdin": subprocess.DEVNULL, "timeout": 60, **options}
        return subprocess.run(command, capture_output=True, text=True, check=False, **given)  # type: ignore[call-overload, no-any-return]

    return run


def test_a_report_is_written(report: Report, tmp_path: Path) -> None:
    """By default it is report.html, for its user alone; it replaces an older one, and leaves nothing beside it."""
    done = report()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("report.html: 3 sessions, ")
    file = tmp_path / "report.html"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert all(name in page for name in ("catalog-1", "catalog-2", "alice", "1,234"))
    assert report("-o", "report.html").returncode == 0
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_it_can_be_narrowed_and_piped(report: Report, tmp_path: Path) -> None:
    """--pool and --since select sessions; -o - writes only the page to standard output."""
    done = report("-o", "-", "--pool", "catalog", "--since", "7d")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert "catalog-1" in done.stdout
    assert not any(name in done.stdout for name in ("catalog-2", "alice"))
    nothing = report("-o", "-", "--pool", "other")
    assert (nothing.returncode, nothing.stderr) == (0, "No session matches: the report is empty\n")
    assert "Nothing to show yet" in nothing.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_report_stays(report: Report, tmp_path: Path) -> None:
    """Another file is overwritten with --yes only; a link is followed, and stays."""
    notes, link = tmp_path / "notes.html", tmp_path / "link.html"
    notes.write_text("<p>scrapy_sessions report: my notes")
    link.symlink_to(notes)
    done = report("-o", "link.html")
    assert done.returncode == 2
    assert done.stderr == (
        "scrapy sessions: link.html isn't a session report. Overwrite it? There is no terminal to ask on: add --yes\n"
    )
    assert notes.read_text() == "<p>scrapy_sessions report: my notes"
    assert report("-o", "link.html", "--yes").returncode == 0
    assert is_report(notes)
    assert link.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-o", "."), 2, ". is a folder: name a file"),
        (("-o", "none/report.html"), 2, "none/report.html is in a folder that doesn't exist"),
        (("-o", "-", "--open"), 2, "--open needs a file"),
        (("--since", "yesterday"), 2, "an age is a number and a unit"),
        (("--store", "none.db"), 1, "There is no session store at"),
    ],
)
def test_errors_are_one_line(store: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """An error is reported in one line, with its exit code, and nothing is written."""
    done = called(tmp_path, "report", *("--store", str(store)), *arguments)
    assert done.code == code
    assert words in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_library_is_named(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without jinja2, the line that installs it is printed before the store is read, and nothing is written."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    templates.cache_clear()
    done = called(tmp_path, "report", "--store", str(store))
    assert (done.code, done.out) == (2, "")
    assert done.err == ("scrapy sessions: A report needs jinja2: pip install 'scrapy-persistent-sessions[report]'\n")
    assert list(tmp_path.iterdir()) == []


def test_the_commands_of_the_documentation(report: Report, tmp_path: Path) -> None:
    """Every command in the page on reports works; ``--open`` opens the file in the browser."""
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n')
    browser.chmod(0o755)
    shown = [shlex.split(command) for command, _ in commands(page_named("report"))]
    assert shown
    assert all(words[:3] == ["scrapy", "sessions", "report"] for words in shown)
    assert [report(*words[3:]).returncode for words in shown] == [0] * len(shown)
    assert opened.read_text().strip() == (tmp_path / "report.html").as_uri()
    assert "catalog-1" in (tmp_path / "shop.html").read_text(encoding="utf-8")


def test_a_report_of_a_running_crawl(report: Report, tmp_path: Path, site: Site) -> None:
    """A report contains the sessions of a running crawl in another process, and doesn't disturb it."""
    file, log = tmp_path / "live.db", tmp_path / "crawl.log"
    settings = {"SESSIONS_STORE": sqlite_url(file), "SESSIONS_SAVE_INTERVAL": 0}
    with log.open("w") as stderr:
        pages = {"urls": [[site.url("/answer"), {"session_id": "alice"}]]}
        with start(Telling, settings, pages, stderr=stderr) as crawl:
            try:
                assert crawl.stdout is not None
                while crawl.stdout.readline() and not saved(file):
                    pass
                done = report("-o", "-", "--store", str(file))
                assert crawl.poll() is None
                crawl.terminate()  # Scrapy ends in peace
                crawl.communicate(timeout=HANG)
            finally:
                crawl.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert 'data-v="alice"' in done.stdout
    assert "1 in use" in done.stdout
    assert "finish_reason" in log.read_text()
    assert " ERROR: " not in log.read_text()


def saved(file: Path) -> int:
    """How many sessions are in the store."""
    if not file.exists():
        return 0
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sessions'").fetchone()[0]
        return int(connection.execute("SELECT count(*) FROM sessions").fetchone()[0]) if tables else 0
