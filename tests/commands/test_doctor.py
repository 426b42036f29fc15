"""``scrapy sessions doctor`` and ``settings``: what is wrong, how to repair it, and where a setting comes from."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from scrapy_sessions.models import PersistentSession
from scrapy_sessions.storage import Key, SQLiteStore
from scrapy_sessions.storage.sqlite.migrations import LATEST
from tests.support.command_line import Done, fill, make_project, sessions
from tests.support.in_process import called

REACTOR = "twisted.internet.selectreactor.SelectReactor"


def findings(done: Done) -> dict[str, list[tuple[str, str]]]:
    """What was found: level and text with remedy, by the name of the check."""
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.out):
        found.setdefault(finding["check"], []).append((finding["level"], f"{finding['text']} -> {finding['remedy']}"))
    return found


def troubles(done: Done) -> dict[str, str]:
    """Errors and warnings, by the name of the check."""
    return {
        check: f"{level}: {text}" for check, each in findings(done).items() for level, text in each if level != "ok"
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without faults, with one session."""
    folder = make_project(tmp_path / "project")
    now = time.time()
    alice = PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now)
    fill(folder / ".scrapy" / "sessions" / "sessions.db", alice)
    return folder


def file_of(project: Path) -> Path:
    return project / ".scrapy" / "sessions" / "sessions.db"


def test_all_is_well(project: Path) -> None:
    """Without faults every check is ok, there is nothing to do, and the missing encryption is mentioned."""
    done = sessions(project, "doctor", "--json")
    assert (done.code, troubles(done)) == (0, {})
    looked_at = {"packages", "settings", "asyncio", "store", "permissions", "schema", "integrity", "records"}
    assert set(findings(done)) == looked_at | {"quarantine", "protection", "clock", "expired"}
    ((_, protection),) = findings(done)["protection"]
    assert "no encryption key" in protection
    text = sessions(project, "doctor").out
    assert re.search(r"\n\n0 errors, 0 warnings, \d+ ok\n\Z", text)


def test_no_store_yet(tmp_path: Path) -> None:
    """A store that doesn't exist yet is ok, and is not created; memory:// is a warning."""
    folder = make_project(tmp_path / "project")
    done = sessions(folder, "doctor", "--json")
    assert done.code == 0
    assert [level for level, _ in findings(done)["store"]] == ["ok", "ok"]
    assert not file_of(folder).exists()
    outside = called(tmp_path, "doctor", "--store", "memory://", "--json")
    assert (outside.code, list(troubles(outside))) == (0, ["store"])


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    """Bad settings, a project without the add-on and another reactor are reported, each with a remedy."""
    folder = make_project(
        tmp_path / "project", SESSIONS_POOL_SIZE=0, TWISTED_REACTOR=REACTOR, ADDONS={}, SESSIONS_STORE="sqlite://"
    )
    done = sessions(folder, "doctor", "--json")
    assert done.code == 1
    found = troubles(done)
    assert found["settings"].startswith("error: Bad session settings: SESSIONS_POOL_SIZE")
    assert found["set-up"].startswith("warning: ")
    assert "scrapy_sessions.SessionsAddon" in found["set-up"]
    assert found["asyncio"].startswith("error: ")
    assert "Remove TWISTED_REACTOR" in found["asyncio"]


def test_permissions(project: Path) -> None:
    """A file or folder that others may open is an error, and the remedy is the command that repairs it."""
    file = file_of(project)
    file.chmod(0o644)
    file.parent.chmod(0o755)
    done = sessions(project, "doctor", "--json")
    assert done.code == 1
    remedies = [text.partition(" -> ")[2] for level, text in findings(done)["permissions"] if level == "error"]
    assert remedies == [f"chmod 700 {file.parent}", f"chmod 600 {file}"]


def test_a_damaged_file(project: Path, tmp_path: Path) -> None:
    """A damaged file, and a file of a newer version, are errors, and are not changed."""
    file = file_of(project)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {LATEST + 1}")
    newer = called(tmp_path, "doctor", "--json", "--store", str(file_of(project)))
    assert (newer.code, "Upgrade: " in troubles(newer)["schema"]) == (1, True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    damaged = called(tmp_path, "doctor", "--json", "--store", str(file_of(project)))
    assert damaged.code == 1
    assert troubles(damaged)["integrity"].startswith("error: ")
    assert file.read_bytes() == content


def test_records_and_clock(project: Path, tmp_path: Path) -> None:
    """Quarantined records, sessions from the future and expired ones are reported; only the clock is an error."""
    now = time.time()
    fill(
        file_of(project),
        PersistentSession(session_id="marty", namespace="shop", start_time=now, last_activity=now + 3600),
        PersistentSession(session_id="old", namespace="shop", start_time=1.0, last_activity=1.0),
    )

    async def set_aside() -> None:
        store = SQLiteStore(file_of(project))
        await store.open()
        await store.quarantine(Key("shop", "alice"), 1, "it isn't JSON")
        await store.close()

    asyncio.run(set_aside())
    done = called(tmp_path, "doctor", "--json", "--store", str(file_of(project)))
    assert done.code == 1
    found = troubles(done)
    assert found["clock"].startswith("error: 1 session was last active in the future, 'marty' in ")
    assert found["expired"].startswith("warning: 1 expired session in the store")
    assert found["quarantine"].startswith(
        "warning: 1 record could not be read and was quarantined ('alice' in 'shop': it isn't"
    )
    assert str(file_of(project)) in found["quarantine"]


@pytest.mark.parametrize(
    ("version", "level"), [("Chromium 156.0.7000.2 built on Debian", "ok"), ("Google Chrome 155.1", "warning")]
)
def test_agents_of_another_browser(tmp_path: Path, version: str, level: str) -> None:
    """With Playwright, a session whose agent has another version than the installed browser is named."""
    pytest.importorskip("playwright", reason="the package playwright is not installed")
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\necho '{version}'\n")
    browser.chmod(0o755)
    folder = make_project(tmp_path / "project", PLAYWRIGHT_LAUNCH_OPTIONS={"executable_path": str(browser)})
    now = time.time()
    agents = {"alice": "Mozilla/5.0 (X11) Chrome/156.0.0.0 Safari/537.36", "bob": "Firefox/140.0", "carol": None}
    fill(
        file_of(folder),
        *(
            PersistentSession(session_id=name, namespace="shop", user_agent=agent, start_time=now, last_activity=now)
            for name, agent in agents.items()
        ),
    )
    done = sessions(folder, "doctor", "--json")
    assert done.code == 0
    ((found, text),) = findings(done)["agents"]
    assert found == level
    assert ("1 session with the agent of another browser version" in text) is (level == "warning")
    assert ("'alice' in 'shop' (Chrome 156)" in text) is (level == "warning")


def test_a_browser_that_tells_no_version(tmp_path: Path) -> None:
    """A browser that can't be started is no finding: the crawl says so."""
    options = {"executable_path": str(tmp_path / "no-browser")}
    folder = make_project(tmp_path / "project", PLAYWRIGHT_LAUNCH_OPTIONS=options)
    now = time.time()
    agent = "Mozilla/5.0 (X11) Chrome/156.0.0.0 Safari/537.36"
    fill(file_of(folder), PersistentSession(session_id="a", user_agent=agent, start_time=now, last_activity=now))
    assert "agents" not in findings(sessions(folder, "doctor", "--json"))


def test_the_other_package(project: Path, tmp_path: Path) -> None:
    """The distribution ``scrapy-sessions``, which installs into the same folder, is an error."""
    metadata = tmp_path / "site" / "scrapy_sessions-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: scrapy-sessions\nVersion: 0.1\n")
    path = f"{Path(__file__).parents[2]}:{metadata.parent.parent}"
    done = sessions(project, "doctor", "--json", PYTHONPATH=path)
    assert done.code == 1
    assert "pip uninstall scrapy-sessions" in troubles(done)["packages"]


SPIDER = """
from scrapy import Spider

class ShopSpider(Spider):
    name = "shop"
    custom_settings = {"SESSIONS_MAX_USES": 5}
"""


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose settings come from every source and contain secrets."""
    folder = make_project(
        tmp_path_factory.mktemp("settings"),
        SPIDER,
        ADDONS={"scrapy_sessions.SessionsAddon": 300, "shop.addon.Ours": 301},
        SESSIONS_PROFILES={"desk": {"proxy": "http://me:hunter2@proxy.example:80", "headers": {"X-Key": "hunter2"}}},
        SESSIONS_POOLS={"staff": {"sessions": ["alice"]}},
        SESSIONS_STORE="redis://:hunter2@host/0?password=hunter2",
    )
    (folder / "shop" / "addon.py").write_text(
        "class Ours:\n    def update_settings(self, settings):\n"
        "        settings.set('SESSIONS_DELAY', 2.5, priority='addon')\n"
    )
    return folder


def test_settings_with_their_origin(configured: Path) -> None:
    """Each setting in force is shown with its value, its origin, and without its secrets."""
    done = sessions(configured, "settings", "--json", "--spider", "shop", "-s", "SESSIONS_MAX_AGE=60")
    assert (done.code, done.err) == (0, "")
    shown = {name: (each["value"], each["source"]) for name, each in json.loads(done.out).items()}
    assert shown["SESSIONS_IDLE_TIMEOUT"] == (1800.0, "default")
    assert shown["SESSIONS_DELAY"] == (2.5, "add-on")
    assert shown["SESSIONS_POOLS"] == ({"staff": {"sessions": ["alice"]}}, "project")
    assert shown["SESSIONS_MAX_USES"] == (5, "spider")
    assert shown["SESSIONS_MAX_AGE"] == (60.0, "command line")
    profile = {"proxy": "http://***@proxy.example:80", "headers": {"X-Key": "***"}}
    assert shown["SESSIONS_PROFILES"] == ({"desk": profile}, "project")
    assert shown["SESSIONS_STORE"] == ("redis://***@host/0?…", "project")
    assert "hunter2" not in done.out


def test_settings_as_a_table(configured: Path) -> None:
    """--changed leaves the defaults out; --store is shown; an unknown spider is an error."""
    lines = sessions(configured, "settings", "--changed", "--store", "a.db").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        *("SESSIONS_STORE", "SESSIONS_PROFILES", "SESSIONS_POOLS", "SESSIONS_DELAY")
    ]
    assert lines[1].split()[1:] == ["a.db", "command", "line"]
    done = sessions(configured, "settings", "--spider", "shoop")
    assert (done.code, "There is no spider 'shoop'" in done.err) == (2, True)
