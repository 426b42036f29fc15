"""``scrapy sessions import``: one site of many, bad entries, identities of records, and --check."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import scrapy_sessions
from scrapy_sessions import Cookie, PersistentSession
from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.formats.records import dump
from scrapy_sessions.storage import Key, Row, SQLiteStore
from scrapy_sessions.storage.codec import encode
from tests.support.exchange import SECRET, STORE, loaded, rich_record, saved, sessions, stored
from tests.support.in_process import delivered
from tests.support.logins import login_cookie
from tests.support.site import HOST, Site
from tests.support.waiting import HANG

LINE = "{}\tFALSE\t/\tFALSE\t0\t{}\t{}\n"
NEW = ("--namespace", "shop")


@pytest.fixture(scope="module")
def whole_browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cookies.txt of a whole browser: 5,000 cookies of 500 sites, those of the shop first."""
    folder = tmp_path_factory.mktemp("browser")
    hosts = ["shop.example", "www.shop.example", "notshop.example", "shop.example.evil.test"]
    hosts += [f"site{number}.example" for number in range(496)]
    lines = [LINE.format(host, f"n{number}", SECRET) for host in hosts for number in range(10)]
    (folder / "cookies.txt").write_text("".join(lines))
    return folder


def test_a_whole_browser_is_too_much(whole_browser: Path) -> None:
    """Cookies beyond the limit of the session are counted, and the exit code is 1."""
    out, errors = delivered(whole_browser, "import", "cookies.txt", "all", *NEW, code=1)
    kept = len(loaded(whole_browser, "all").cookies)
    assert f"cookies {5000 - kept} refused, {kept} added" in out.decode()
    assert f"{5000 - kept} refused (evicted)" in errors


def test_one_site_of_a_whole_browser(whole_browser: Path) -> None:
    """With --domain, only the cookies of that domain and of hosts below it count, all of which are kept."""
    out, errors = delivered(whole_browser, "import", "cookies.txt", "one", *NEW, "--domain", "shop.example")
    assert "cookies 20 added" in out.decode()
    assert "4980 cookies of other domains were left out" in errors
    assert {cookie.domain for cookie in loaded(whole_browser, "one").cookies} == {"shop.example", "www.shop.example"}


def test_bad_lines_are_left_out_if_asked(tmp_path: Path) -> None:
    """With --skip-bad the good lines are imported, the others are listed without a value, and the exit code is 1."""
    bad = f"{SECRET}\tshop.example\t/\tFALSE\t0\tbad\t1\n"
    (tmp_path / "cookies.txt").write_text(LINE.format("shop.example", "good", SECRET) + bad + "x\n")
    out, errors = delivered(tmp_path, "import", "cookies.txt", "alice", *NEW, "--skip-bad", code=1)
    assert "cookies 1 added" in out.decode()
    assert "Left out: line 2: the field 'include subdomains'" in errors
    assert "Left out: line 3: it has 1 fields" in errors
    assert "2 entries were left out" in errors
    assert SECRET not in out.decode() + errors
    (tmp_path / "bad.txt").write_text(bad)
    _, errors = delivered(tmp_path, "import", "bad.txt", "bob", *NEW, "--skip-bad", code=1)
    assert "1 entry was left out" in errors
    assert "bad.txt contains no cookie" in errors
    assert stored(tmp_path, "bob") is None


def test_the_format_of_a_file_is_printed_first(tmp_path: Path) -> None:
    """The first line names the format of the file, in a dry run too."""
    entry = {"name": "a", "value": SECRET, "domain": "shop.example", "expires": -1}
    (tmp_path / "list.json").write_text(json.dumps([entry]))
    _, errors = delivered(tmp_path, "import", "list.json", "alice", *NEW, "--dry-run")
    assert errors.splitlines()[0] == "list.json is a Playwright list of 1 cookie for 1 host"


def test_the_identity_of_a_record_is_listed_and_confirmed(tmp_path: Path) -> None:
    """Agent, proxy and the names of headers for every site are listed; without a terminal, --yes is required."""
    (tmp_path / "one.json").write_text(dump([rich_record()]))
    identity = (
        "alice contains user agent Browser/1; proxy http://***@proxy.example:8080; headers for every site: X-Kind; "
        "request meta: options"
    )
    _, errors = delivered(tmp_path, "import", "one.json", code=2)
    assert identity in errors
    asked = "a proxy and headers for every site and request meta"
    assert f"The file contains {asked}. Import it? There is no terminal to ask on" in errors
    assert stored(tmp_path, "alice") is None
    _, errors = delivered(tmp_path, "import", "one.json", "--dry-run")
    assert identity in errors
    delivered(tmp_path, "import", "one.json", "--yes")
    assert loaded(tmp_path, "alice").proxy == rich_record().proxy
    (tmp_path / "plain.json").write_text(dump([rich_record("bob", proxy=None, headers={}, meta={})]))
    _, errors = delivered(tmp_path, "import", "plain.json")
    assert "bob contains user agent Browser/1\n" in errors


def in_a_terminal(folder: Path, *arguments: str, typed: bytes = b"") -> tuple[int, str]:
    """Run ``scrapy sessions`` with a terminal in place of all three streams; return exit code and what it shows."""
    main, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "scrapy", "sessions", "--store", STORE, *arguments],
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PYTHONPATH": str(Path(scrapy_sessions.__file__).parents[1])},
    ) as process:
        os.close(terminal)
        os.write(main, typed)
        shown = b""
        try:
            while piece := os.read(main, 4096):
                shown += piece
        except OSError:  # so Linux says that nobody has the terminal any more
            pass
        os.close(main)
        code = process.wait(HANG)
    return code, shown.decode()


@pytest.mark.parametrize(("typed", "code"), [(b"n\n", 1), (b"y\n", 0)])
def test_a_person_is_asked(tmp_path: Path, typed: bytes, code: int) -> None:
    """At a terminal, a yes imports a record with a proxy, anything else imports nothing."""
    (tmp_path / "one.json").write_text(dump([rich_record()]))
    exited, shown = in_a_terminal(tmp_path, "import", "one.json", typed=typed)
    assert exited == code, shown
    assert "Import it? [y/N]" in shown
    assert ("Nothing was imported" in shown) == bool(code)
    assert (stored(tmp_path, "alice") is None) == bool(code)


@pytest.mark.parametrize("name", ["netscape", "header", "json", "selenium"])
def test_no_export_commands_a_terminal(tmp_path: Path, name: str) -> None:
    """What a terminal would obey is not printed to one: JSON escapes it, other formats are refused there."""
    odd = Cookie(name="odd", value="a\x9b31mb", domain="shop.example")
    saved(tmp_path, rich_record(cookies=[odd]))
    url = ["--url", "https://shop.example/"] if name == "header" else []
    code, shown = in_a_terminal(tmp_path, "export", "alice", "--format", name, *url)
    assert "\x9b" not in shown
    assert code == (1 if name in {"netscape", "header"} else 0)
    assert ("a terminal would obey" in shown) == bool(code)


def test_a_copied_request_contains_its_login(tmp_path: Path) -> None:
    """A new session gets agent, language and login of a curl command, an existing one the login only."""
    command = (
        f"curl 'https://api.shop.example/v1' -H 'Authorization: Bearer {SECRET}' -H 'DNT: 1' "
        "-H 'user-agent: Browser/3' -H 'accept-language: fr'"
    )
    out, errors = delivered(tmp_path, "import", "-", "alice", *NEW, stdin=command.encode())
    record = loaded(tmp_path, "alice")
    assert (record.user_agent, record.language, record.status) == ("Browser/3", "fr", "ready")
    api = "https://api.shop.example"
    assert record.headers == {"*": {"DNT": "1"}, api: {"Authorization": f"Bearer {SECRET}"}}
    assert "standard input: its headers are imported for its site only: Authorization" in errors
    assert SECRET not in out.decode() + errors
    newer = command.replace(SECRET, "newer").replace("DNT: 1", "DNT: 0")
    delivered(tmp_path, "import", "-", "alice", stdin=newer.encode())
    assert loaded(tmp_path, "alice").headers == {"*": {"DNT": "1"}, api: {"Authorization": "Bearer newer"}}


def crawled(**changes: Any) -> PersistentSession:
    """The record of an alice that a crawl has created with a browser and a proxy of its own."""
    return rich_record(user_agent="Crawl/1", proxy="http://mine.example:1", headers={}, **changes)


def creates(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let a crawl create alice while the command asks whether to import a proxy, which is answered with yes."""

    def confirm(context: Context, question: str) -> bool:
        with ThreadPoolExecutor(1) as threads:  # this one has an event loop that runs
            threads.submit(saved, folder, crawled(**changes)).result()
        return "a proxy" in question

    monkeypatch.setattr(Context, "confirm", confirm)


CURL = (
    f"curl 'https://shop.example/' -x http://theirs.example:8080 -H 'User-Agent: File/1' -b 'sid={SECRET}new'".encode()
)


def test_a_session_that_is_created_meanwhile_keeps_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the cookies only, as one that existed before, and the output says so."""
    saved(tmp_path, rich_record("bob"))
    creates(tmp_path, monkeypatch)
    out, errors = delivered(tmp_path, "import", "-", "alice", *NEW, stdin=CURL)
    assert "alice of shop changed: cookies 1 changed" in out.decode()
    assert "'alice' was created meanwhile: it keeps the identity that it has" in errors
    assert "another user agent than the session" in errors
    record = loaded(tmp_path, "alice")
    assert (record.user_agent, record.profile_name, record.proxy) == ("Crawl/1", "laptop", "http://mine.example:1")
    assert f"{SECRET}new" in {cookie.value for cookie in record.cookies}


@pytest.mark.parametrize(
    ("changes", "options", "code", "said"),
    [
        ({}, ["--user-agent", "Mine/1"], 2, "exists and keeps the identity that it was created with: leave out --user"),
        ({"status": "retired"}, [], 1, "'alice' is retired"),
    ],
)
def test_a_session_that_is_created_meanwhile_may_be_unfit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    options: list[str],
    code: int,
    said: str,
) -> None:
    """An identity that was asked for is refused then, and so is a retired session: nothing is changed."""
    saved(tmp_path, rich_record("bob"))
    creates(tmp_path, monkeypatch, **changes)
    _, errors = delivered(tmp_path, "import", "-", "alice", *NEW, *options, stdin=CURL, code=code)
    assert said in errors
    record = loaded(tmp_path, "alice")
    assert (record.user_agent, record.revision) == ("Crawl/1", 1)


def test_a_session_that_is_created_at_the_last_moment_keeps_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crawl saves it when the command has found none and is about to save its own: the two are not mixed."""
    save, late = SQLiteStore.save, [encode(crawled(revision=1))]

    async def saving(store: SQLiteStore, rows: Sequence[Row], tokens: Sequence[int | None] | None = None) -> Any:
        if late:
            await save(store, [late.pop()])
        return await save(store, rows, tokens)

    monkeypatch.setattr(SQLiteStore, "save", saving)
    out, errors = delivered(tmp_path, "import", "-", "alice", *NEW, "--yes", stdin=CURL)
    assert "alice of shop changed" in out.decode()
    assert "'alice' was created meanwhile" in errors
    record = loaded(tmp_path, "alice")
    assert (record.user_agent, record.proxy) == ("Crawl/1", "http://mine.example:1")


def test_a_session_that_is_deleted_meanwhile_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing session was to be changed, and is deleted when the command loads it again: it doesn't come back."""
    saved(tmp_path, rich_record())
    load, loads = SQLiteStore.load, iter(range(9))

    async def late(store: SQLiteStore, key: Key) -> Row | None:
        if next(loads):
            await store.delete([key])
        return await load(store, key)

    monkeypatch.setattr(SQLiteStore, "load", late)
    _, errors = delivered(tmp_path, "import", "-", "alice", *NEW, stdin=CURL, code=1)
    assert "'alice' was just deleted: import again" in errors
    monkeypatch.undo()
    assert stored(tmp_path, "alice") is None


def test_our_own_command_is_imported(tmp_path: Path) -> None:
    """The output of ``scrapy sessions curl`` creates the same session, after a confirmation of the proxy."""
    saved(tmp_path, rich_record(headers={"https://www.shop.example": {"Authorization": SECRET}}))
    command, _ = delivered(tmp_path, "curl", "alice", "https://www.shop.example/a")
    _, errors = delivered(tmp_path, "import", "-", "bob", *NEW, stdin=command, code=2)
    assert "The file contains a proxy. Import it? There is no terminal to ask on" in errors
    delivered(tmp_path, "import", "-", "bob", *NEW, "--yes", stdin=command)
    again, _ = delivered(tmp_path, "curl", "bob", "https://www.shop.example/a")
    assert again == command


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/secret", "The login works: 200 at http://"),
        ("/gone?status=404", "The login doesn't work: 404 at http://"),
        ("/chain/2?then=/answer", "The login works: 200 at http://"),
        ("/answer?body=<input+type=PassWord>", ", with a password field"),
    ],
)
def test_a_login_is_checked(site: Site, tmp_path: Path, target: str, said: str) -> None:
    """With --check, one request in the session shows whether the login works, and sets the exit code."""
    cookie = login_cookie(site)
    (tmp_path / "cookies.txt").write_text(LINE.format(HOST, cookie.name, cookie.value))
    works = "works" in said
    out, errors = sessions(
        *(tmp_path, "import", "cookies.txt", "alice", *NEW, "--user-agent", "Browser/1"),
        *("--check", site.url(target)),
        code=0 if works else 1,
    )
    assert said in (out.decode() if works else errors)
    assert cookie.value not in out.decode() + errors
    arrivals = [each for each in site.journal() if each.path != "/login"]
    assert len(arrivals) == (4 if "chain" in target else 1)
    for arrival in arrivals:
        assert arrival.cookies[cookie.name] == cookie.value
        assert arrival.header("User-Agent") == "Browser/1"
    assert loaded(tmp_path, "alice").status == "ready"


def test_a_session_that_rests_is_not_checked(site: Site, tmp_path: Path) -> None:
    """A session whose budget is used up is imported; the check says until when it rests, and doesn't wait."""
    used = {"per_hour": {str(int(time.time() // 300)): 3}, "per_day": {}}
    saved(tmp_path, rich_record(budget_used=used))
    (tmp_path / "cookies.txt").write_text(LINE.format(HOST, "sid", "new"))
    options = ("-s", 'SESSIONS_BUDGET={"per_hour": 3}', "--check", site.url("/answer"))
    _, errors = sessions(tmp_path, "import", "cookies.txt", "alice", *NEW, *options, code=1)
    assert "The login was not checked: " in errors
    assert "it rests until 2" in errors
    assert not site.journal()


def test_a_check_saves_what_the_site_sets(site: Site, tmp_path: Path) -> None:
    """A cookie that the site sets at the check is saved."""
    (tmp_path / "cookies.txt").write_text(LINE.format(HOST, "sid", "old"))
    url = site.url("/answer?set=sid%3Dnew%3B+Path%3D/")
    sessions(tmp_path, "import", "cookies.txt", "alice", *NEW, "--check", url)
    assert [cookie.value for cookie in loaded(tmp_path, "alice").cookies] == ["new"]


def test_a_check_opens_no_port(site: Site, tmp_path: Path) -> None:
    """Neither Scrapy's remote control nor its telnet console, which reach the session, runs during the check."""
    (tmp_path / "cookies.txt").write_text(LINE.format(HOST, "sid", "old"))
    log, jobs = tmp_path / "log", tmp_path / "jobs"
    options = ("-s", f"REMOTE_CONTROL_JOBS_DIR={jobs}", "--logfile", str(log), "--loglevel", "DEBUG")
    sessions(tmp_path, "import", "cookies.txt", "alice", *NEW, "--check", site.url("/answer"), *options)
    assert "Enabled extensions" in log.read_text()
    assert "elnet" not in log.read_text()
    assert not jobs.exists()


def test_a_check_that_gets_no_answer_fails(tmp_path: Path) -> None:
    """A site that can't be reached is reported; the session is imported all the same."""
    (tmp_path / "cookies.txt").write_text(LINE.format(HOST, "sid", SECRET))
    _, errors = sessions(tmp_path, "import", "cookies.txt", "alice", *NEW, "--check", "http://127.0.0.1:1/", code=1)
    assert "The login doesn't work: no answer" in errors
    assert loaded(tmp_path, "alice").status == "ready"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["cookies.txt", "alice", "--check", "shop.example"], "--check: it needs http://"),
        (["cookies.txt", "alice", "--check", "https://shop.example/", "--dry-run"], "leave out --dry-run"),
        (["cookies.txt", "--check", "https://shop.example/"], "name its id after the file"),
        (["cookies.txt", "alice", "--domain", "no host"], "is no host name"),
    ],
)
def test_a_wrong_call_is_said(tmp_path: Path, arguments: list[str], word: str) -> None:
    """A check without a URL, an id or a session, and a domain that is none, are refused before anything is read."""
    _, errors = delivered(tmp_path, "import", *arguments, code=2)
    assert word in errors
