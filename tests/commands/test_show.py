"""``scrapy sessions show``: the parts of a session, without secrets unless --reveal is given."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from scrapy_sessions.models import Cookie, PersistentSession
from tests.support.command_line import Done, environment, fill, make_project, sessions
from tests.support.docs_pages import blocks, page_named
from tests.support.in_process import called
from tests.support.site import Site
from tests.support.waiting import HANG

SPIDER = """
from scrapy import FormRequest, Request, Spider
from scrapy_sessions import SessionConfig

class Login(SessionConfig):
    async def login(self, session, fetch):
        await fetch(FormRequest(SITE + "/login", formdata={"user": session.id}))

class ShopSpider(Spider):
    name = "shop"
    session_config = Login

    async def start(self):
        yield Request(SITE + "/secret?token=hunter2", meta={"session_id": "alice"})
        yield Request(SITE + "/answer?set=sid%3Dhunter2", meta={"session_id": "bob"})

    def parse(self, response):
        session = self.sessions.of(response)
        session.data["basket"] = "hunter2"
        session.headers.set("X-Token", "hunter2", url=SITE + "/")
        if session.id == "bob":
            session.retire("sold out at http://u:hunter2@shop.example/?key=hunter2")
"""
SECRETS = ("hunter2", "pr0xy")


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose spider has logged alice in, and has retired bob."""
    with Site() as site:
        folder = make_project(
            tmp_path_factory.mktemp("show"),
            SPIDER.replace("SITE", repr(site.url("").rstrip("/"))),
            SESSIONS_PROFILES={"desk": {"user_agent": "Browser/1", "language": "de", "proxy": None}},
            SESSIONS_IDLE_TIMEOUT=86400,
            SESSIONS_HISTORY_QUERY=True,
        )
        command = [sys.executable, "-m", "scrapy", "crawl", "shop", "--logfile", "crawl.log"]
        subprocess.run(command, cwd=folder, env=environment(), check=True, timeout=HANG)
    return folder


@pytest.fixture(scope="module")
def alice(crawled: Path) -> Done:
    """What is shown of alice."""
    return sessions(crawled, "show", "alice")


def lines_of(done: Done) -> dict[str, str]:
    """The lines of *done* that have a name and a value."""
    pairs = (line.strip().partition("  ") for line in done.out.splitlines() if line.startswith("  "))
    return {name: value.strip() for name, _, value in pairs}


def test_who_since_when_and_what_it_did(alice: Done) -> None:
    """Identity, login and its time, limits, cookies and history are shown."""
    assert (alice.code, alice.err) == (0, "")
    shown = lines_of(alice)
    assert (shown["id"], shown["namespace"], shown["profile"]) == ("alice", "shop", "desk")
    assert (shown["user agent"], shown["language"]) == ("Browser/1", "de")
    assert shown["status"] == "ready"
    assert shown["login"].startswith(f"logged in since {time.strftime('%Y-', time.gmtime())}")
    assert shown["logins"] == "1 (generation 1)"
    assert shown["expires"].endswith("by idle_timeout")
    assert shown["limits"] == "idle 24 h"
    assert "Cookies (1)\nNAME" in alice.out
    assert [line.split()[-1] for line in alice.out.splitlines() if line.startswith("auth ")] == ["***"]
    assert "/secret?token=… 200" in alice.out
    assert " login" in alice.out.partition("Events")[2]


def test_no_secret_is_shown(crawled: Path, alice: Done) -> None:
    """Values of cookies, headers, data and queries are hidden in the text and in the JSON, the names are not."""
    texts = [alice.out, sessions(crawled, "show", "bob").out, sessions(crawled, "show", "bob", "--json").out]
    for secret in SECRETS:
        assert [text for text in texts if secret in text] == []
    assert all("X-Token" in text and "basket" in text for text in texts)


def test_reveal(crawled: Path) -> None:
    """--reveal shows them all: the record as it is, in JSON too."""
    revealed = json.loads(sessions(crawled, "show", "bob", "--json", "--reveal").out)
    assert [cookie["value"] for cookie in revealed["cookies"] if cookie["name"] == "sid"] == ["hunter2"]
    assert revealed["data"] == {"basket": "hunter2"}
    assert [headers for headers in revealed["headers"].values() if "X-Token" in headers] == [{"X-Token": "hunter2"}]
    text = sessions(crawled, "show", "alice", "--reveal", "--history", "1").out
    assert "token=hunter2" in text
    assert text.count("GET http") == 1


def test_why_it_was_retired(crawled: Path) -> None:
    """The reason and the time of the retirement are shown, and what the reason quotes without its secrets."""
    shown = lines_of(sessions(crawled, "show", "bob"))
    assert shown["state"] == "retired"
    assert shown["retired"].startswith("sold out at http://shop.example/?key=…, 20")
    assert "ago)" in shown["retired"]


def test_the_last_page_is_shown_as_an_address(tmp_path: Path) -> None:
    """Of an address without a host only the scheme is shown: what comes then may be anything."""
    now = time.time()
    odd = PersistentSession(session_id="x", start_time=now, last_activity=now, last_url="javascript:hunter2")
    fill(tmp_path / "s.db", odd)
    text, as_json = (called(tmp_path, "show", "x", "--store", "s.db", *form).out for form in ([], ["--json"]))
    assert "  last page      javascript:…\n" in text
    assert json.loads(as_json)["last_url"] == "javascript:…"
    assert "hunter2" not in text + as_json


def test_what_a_site_sent_can_not_trick_a_terminal(tmp_path: Path) -> None:
    """Markup is printed as it is, and control characters are written out; a proxy's password is hidden."""
    now = time.time()
    cookies = [Cookie(name="[bold]a[/bold]", value="v", domain="x.example", created=now, updated=now)]
    odd = PersistentSession(
        session_id="[red]x[/red]",
        namespace="shop",
        start_time=now,
        last_activity=now,
        cookies=cookies,
        proxy="http://me:pr0xy/with@slash@proxy.example:8080",
        actions_performed=["GET https://x.example/\x1b[31mgotcha\x07\n 200"],
    )
    fill(tmp_path / "s.db", odd, odd.model_copy(update={"namespace": "bank"}))
    done = called(tmp_path, "show", "[red]x[/red]", "--store", "s.db", "--namespace", "shop")
    assert done.code == 0
    assert lines_of(done)["id"] == "[red]x[/red]"
    assert lines_of(done)["proxy"] == "http://***@proxy.example:8080"
    assert "[bold]a[/bold]" in done.out
    assert "GET https://x.example/\\x1b[31mgotcha\\x07\\n 200" in done.out
    assert "\x1b" not in done.out
    ambiguous = called(tmp_path, "show", "[red]x[/red]", "--store", "s.db")
    assert ambiguous.code == 2
    assert "exists in the namespaces 'bank' and 'shop': say which one is meant, as in: scrapy " in ambiguous.err
    assert ambiguous.err.endswith(" --namespace bank\n")


def test_showing_changes_nothing(tmp_path: Path) -> None:
    """A record that can't be read is reported with the reason, and isn't changed: show quarantines nothing."""
    now = time.time()
    fill(tmp_path / "s.db", PersistentSession(session_id="bob", namespace="shop", start_time=now, last_activity=now))
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        connection.execute("UPDATE sessions SET body = '{'")
    for _ in range(2):
        done = called(tmp_path, "show", "bob", "--store", "s.db")
        assert (done.code, done.out) == (1, "")
        assert "record of session 'bob' in namespace 'shop' can't be read: it isn't JSON. The record was" in done.err
        assert "The record was left as it is" in done.err
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT body FROM sessions").fetchall() == [("{",)]
        assert connection.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


def test_the_commands_of_the_documentation(tmp_path: Path) -> None:
    """Each command of the page for newcomers works on a store with alice in it; what deletes wants a yes first."""
    page = page_named("command-line")
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    elsewhere = ("--store", "redis://")  # of another folder, and with a server: tests/commands/test_redis.py
    ours = [line for line in lines if line.startswith("scrapy sessions ") and not any(map(line.count, elsewhere))]
    shown = [words for line in ours if (words := shlex.split(line)[2:])[0] not in {"check", "login", "open"}]
    assert len(shown) > 15  # and three that need a spider or a browser: test_check.py, test_login.py, test_open.py
    now = time.time()
    cookie = Cookie(name="sid", value="v", domain="shop.example", created=now, updated=now)
    alice = PersistentSession(
        session_id="alice", namespace="shop", start_time=now, last_activity=now, cookies=[cookie], status="ready"
    )
    codes = {}
    for number, words in enumerate(shown):
        folder = tmp_path / str(number)
        fill(folder / ".scrapy" / "sessions" / "sessions.db", alice)
        if words[0] == "import":
            assert called(folder, "export", "alice", "-o", words[1]).code == 0
            assert called(folder, "delete", "alice", "--yes").code == 0
        if words[0] == "unretire":
            assert called(folder, "retire", "alice").code == 0
        codes[shlex.join(words)] = called(folder, *words).code
    nobody_else = ("--pool staff", "--status expired", "--status retired", "--after shop/alice")
    for words, code in codes.items():
        expected = 2 if words.startswith("delete") else 1 if any(choice in words for choice in nobody_else) else 0
        assert code == expected, words


def test_the_nearest_id_is_suggested(crawled: Path) -> None:
    """An id that is nearly one that is stored ends with that one."""
    assert sessions(crawled, "show", "alcie", "--namespace", "shop").err.endswith("; did you mean 'alice'?\n")


def test_no_such_session(crawled: Path) -> None:
    """An unknown id ends with exit code 1, and the message contains the store."""
    done = sessions(crawled, "show", "zoe", "--namespace", "shop")
    assert (done.code, done.out) == (1, "")
    place = crawled / ".scrapy" / "sessions" / "sessions.db"
    assert done.err == f"scrapy sessions: There is no session 'zoe' in namespace 'shop' in {place}\n"
