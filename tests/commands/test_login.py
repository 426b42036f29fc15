"""``scrapy sessions login``: a person, or a page, logs a session in by a real Chromium."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import PersistentSession
from scrapy_sessions.commands import login
from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING
from tests.support.command_line import environment, fill, run, sessions
from tests.support.in_process import called
from tests.support.processes import descendants
from tests.support.redis_server import free_port
from tests.support.site import Site
from tests.support.waiting import HANG, wait_until
from tests.support.windows import (
    XVFB,
    browsers_of,
    close_pages,
    launching,
    project,
    stored,
    terminal,
    wait_until_shown,
    window,
)

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]
visible = pytest.mark.skipif(XVFB is None, reason="there is no xvfb-run, for a window that nobody sees")

HOME = ("--until-url", "**/browser/home")


MARK = f"--started-by={os.getpid()}"  # which Chromium ignores: by it the browsers of these tests are known

SPIDER = """
from scrapy import Request, Spider
from scrapy_sessions import SessionConfig

class Shop(SessionConfig):
    login_url = {login!r}

    async def login(self, session, fetch):
        raise RuntimeError("by a person only")

class ShopSpider(Spider):
    name = "shop"
    session_config = Shop
    custom_settings = {{"SESSIONS_IDLE_TIMEOUT": 0}}

    async def start(self):
        yield Request({page!r}, meta={{"session_id": "alice"}})

    def parse(self, response):
        yield {{"status": response.status}}
"""


def alice(**fields: Any) -> PersistentSession:
    now = time.time()
    return PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now, **fields)


def spider_of(site: Site) -> str:
    """A spider that gets alice's home, and has no way to log her in."""
    return SPIDER.format(login=site.url("/browser/login", user="alice"), page=site.url("/browser/home"))


def numbers(out: str, where: str = "127.0.0.1") -> list[str]:
    """The numbers of the site *where* in the table that a command printed."""
    (found,) = re.findall(rf"^{re.escape(where)} +(\d+) +(\d+) +(\d+) +(\d+)$", out, re.MULTILINE)
    return list(found)


def test_a_login_in_a_browser_serves_a_crawl(tmp_path: Path, site: Site) -> None:
    """A login that only a script can do is saved with all that it left; a crawl goes on with it, without a login."""
    folder = project(tmp_path, spider_of(site))
    login = site.url("/browser/login", user="alice")
    done = sessions(folder, "login", "alice", login, "--namespace", "shop", "--headless", *HOME)
    assert done.code == 0, done
    token = {each.cookies["token"] for each in site.journal("/browser/home")}.pop()
    assert token not in done.out + done.err
    assert numbers(done.out) == ["1", "1", "1", "1"]
    record = stored(folder)
    assert record is not None
    assert (record.status, record.generation, record.metrics.logins) == ("ready", 1, 1)
    (navigation,) = site.journal("/browser/login")
    assert "Headless" not in f"{record.user_agent}{record.headers}"
    assert record.user_agent == navigation.header("User-Agent")
    assert record.language == navigation.header("Accept-Language")
    assert record.timezone
    assert (record.viewport_width, record.viewport_height) == (1280, 720)
    assert record.headers["*"]["Accept"] == navigation.header("Accept")
    assert "Chromium" in record.headers["*"]["sec-ch-ua"]
    run(folder, [sys.executable, "-m", "scrapy", "crawl", "shop", "-O", "pages.json"])
    assert (folder / "pages.json").read_text() == '[\n{"status": 200}\n]'
    arrival = site.journal("/browser/home")[-1]
    for name in ("User-Agent", "Accept", "Accept-Language"):
        assert arrival.header(name) == navigation.header(name)
    assert len(site.journal("/browser/token")) == 1


def test_a_crawl_waits_for_the_login(tmp_path: Path, site: Site) -> None:
    """The log of a crawl that can't log in has the command to type; after it, the crawl goes on to its end."""
    folder = project(
        tmp_path, spider_of(site), SESSIONS_ON_LOGIN_FAILED="pause", SESSIONS_LOGIN_ATTEMPTS=1, LOG_LEVEL="INFO"
    )
    arguments = ["crawl", "shop", "-O", "pages.json", "-s", f"SESSIONS_STORE=sqlite:///{folder}/other.db"]
    crawl = subprocess.Popen(
        [sys.executable, "-m", "scrapy", *arguments], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        assert crawl.stderr is not None
        told = (re.search(r"Type: scrapy sessions (login .*)", line) for line in crawl.stderr)
        command = next(filter(None, told))[1]
        url = site.url("/browser/login", user="alice")
        assert command == shlex.join(
            ["login", "alice", url, "--spider", "shop", "--store", f"sqlite:///{folder}/other.db"]
        )
        done = sessions(folder, *shlex.split(command), "--headless", *HOME)
        assert done.code == 0, done
        _, log = crawl.communicate(timeout=HANG)
    finally:
        crawl.kill()
        crawl.communicate()
    assert "The session 'alice' was logged in: its requests go on" in log
    assert (folder / "pages.json").read_text() == '[\n{"status": 200}\n]'
    assert len(site.journal("/browser/token")) == 1


def test_a_stored_session_is_opened_as_it_is(tmp_path: Path, site: Site) -> None:
    """A stored session keeps its identity; its login is a new generation, and its sites are those it had."""
    folder = project(tmp_path)
    login = {"time": 1.0, "generation": 4, "hosts": [], "renew_at": 2.0}
    identity: dict[str, Any] = {"user_agent": "Browser of alice", "viewport_width": 811, "viewport_height": 603}
    fill(folder / "s.db", alice(**identity, generation=4, status="ready", logged_in={"127.0.0.1": login}))
    done = sessions(folder, "login", "alice", site.url("/browser/login", user="alice"), "--headless", *HOME)
    assert done.code == 0, done
    record = stored(folder)
    assert record is not None
    assert (record.user_agent, record.viewport_width, record.headers) == ("Browser of alice", 811, {})
    assert {each.header("User-Agent") for each in site.journal("/browser")} == {"Browser of alice"}
    assert (record.generation, list(record.logged_in)) == (5, ["127.0.0.1"])
    assert record.logged_in["127.0.0.1"].keys() == {"time", "generation", "hosts"}


def test_what_the_browser_refuses_is_said(tmp_path: Path, site: Site) -> None:
    """A stored cookie that the browser doesn't take is named, without its value, and stays in the session."""
    folder = project(tmp_path)
    deep = {"name": "deep", "value": "hunter2", "domain": "127.0.0.1", "path": f"/{'x' * 2000}"}
    fill(folder / "s.db", alice(cookies=[deep]))
    done = sessions(folder, "login", "alice", site.url("/browser/login", user="alice"), "--headless", *HOME)
    assert done.code == 0, done
    assert "the browser refuses the cookies (deep)" in done.err
    assert "hunter2" not in done.out + done.err
    assert numbers(done.out)[0] == "2"


def test_the_spider_names_page_and_site(tmp_path: Path, site: Site) -> None:
    """With --spider, the page is the config's login_url, the namespace the spider's, and the login that of its site."""
    folder = project(tmp_path, spider_of(site))
    done = sessions(folder, "login", "alice", "--spider", "shop", "--headless", "--until-selector", "#database")
    assert done.code == 0, done
    record = stored(folder)
    assert record is not None
    assert (list(record.logged_in), record.idle_timeout) == (["127.0.0.1"], 0)


@visible
def test_closing_the_window_saves(tmp_path: Path, site: Site) -> None:
    """When a visible window is closed, what it had is saved, the sessionStorage of its page, too."""
    port = free_port()
    folder = project(tmp_path, "", f"--remote-debugging-port={port}")
    url = site.url("/browser/login", user="alice")
    with window(folder, "login", "alice", url, "--namespace", "shop", visible=True) as process:
        wait_until_shown(process)
        wait_until(lambda: site.journal("/browser/home"))
        time.sleep(2)  # for a look at the page
        close_pages(port)
        out, errors = process.communicate(timeout=HANG)
    assert process.returncode == 0, errors
    assert numbers(out) == ["1", "1", "1", "1"]
    record = stored(folder)
    assert record is not None
    assert record.viewport_width != 1280  # that of the window


@visible
def test_enter_saves(tmp_path: Path, site: Site) -> None:
    """Enter in the terminal ends the window, which is then closed; what was typed before it was shown doesn't."""
    folder = project(tmp_path, "", MARK)
    url = site.url("/browser/login", user="alice")
    with (
        terminal() as (keys, stdin),
        window(folder, "login", "alice", url, "--namespace", "shop", visible=True, terminal=stdin) as process,
    ):
        os.write(keys, b"\n")
        wait_until_shown(process)
        wait_until(lambda: site.journal("/browser/home"))
        time.sleep(1)  # for a look at the page
        assert process.poll() is None
        os.write(keys, b"\n")
        out, errors = process.communicate(timeout=HANG)
    assert process.returncode == 0, errors
    assert numbers(out)[0] == "1"
    assert "or press Enter here" not in out
    wait_until(lambda: not browsers_of(MARK))


@visible
def test_input_that_is_no_terminal_is_not_read(tmp_path: Path, site: Site) -> None:
    """A line in a pipe, as of a script that asks something else, is nobody who has logged in."""
    port = free_port()
    folder = project(tmp_path, "", f"--remote-debugging-port={port}")
    with window(folder, "login", "alice", site.url("/set"), "--namespace", "shop", visible=True) as process:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        wait_until_shown(process)
        time.sleep(2)
        assert process.poll() is None
        close_pages(port)
        process.wait(timeout=HANG)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["int", "term", "kill"])
def test_a_command_that_is_ended_saves_nothing(tmp_path: Path, site: Site, sent: signal.Signals) -> None:
    """Ctrl-C or a kill in the middle: no session, the store is intact, and the browser has ended."""
    mark = f"{MARK}-{sent.name}"
    folder = project(tmp_path, "", mark)
    fill(folder / "s.db", alice(), alice().model_copy(update={"session_id": "bob"}))
    never = ("--until-url", "**/never")
    with window(folder, "login", "alice", site.url("/browser/login"), "--headless", *never) as process:
        wait_until_shown(process)
        wait_until(lambda: site.journal("/browser/home"))
        time.sleep(1)  # for a look at the page
        process.send_signal(sent)
        _, errors = process.communicate(timeout=HANG)
    assert process.returncode == (130 if sent is signal.SIGINT else -sent)
    assert errors == ("scrapy sessions: Interrupted\n" if sent is signal.SIGINT else "")
    wait_until(lambda: not browsers_of(mark))
    record = stored(folder)
    assert record is not None
    assert (record.generation, record.cookies, record.status) == (0, [], "new")
    assert sessions(folder, "doctor").code == 0


PROBED = """
from scrapy import Spider
from scrapy_sessions import SessionConfig

class Shop(SessionConfig):
    login_url = {login!r}
    probe_url = {probe!r}

class ShopSpider(Spider):
    name = "shop"
    session_config = Shop
"""


@visible
@pytest.mark.parametrize(
    ("probe", "typed", "code"),
    [(None, None, 1), (None, b"n\n", 1), (None, b"y\n", 0), ("/browser/home", None, 0), ("/browser/nobody", None, 1)],
    ids=["pipe", "no", "yes", "good", "unknown"],
)
def test_a_browser_that_is_killed(
    tmp_path: Path, site: Site, probe: str | None, typed: bytes | None, code: int
) -> None:
    """Where the browser ends as a whole, the person or the site says whether what it had a second before is saved."""
    mark = f"{MARK}-killed"
    url = site.url("/browser/login", user="alice")
    folder = project(tmp_path, PROBED.format(login=url, probe=site.url(probe or "/")), mark)
    whose = ("--spider", "shop") if probe else ("--namespace", "shop")
    with (
        terminal() as (keys, stdin),
        window(folder, "login", "alice", url, *whose, visible=True, terminal=stdin if typed else None) as process,
    ):
        wait_until_shown(process)
        wait_until(lambda: site.journal("/browser/home"))
        time.sleep(2)  # for a look at the page
        for pid in browsers_of(mark):
            os.kill(pid, signal.SIGKILL)
        if typed:
            assert process.stderr is not None
            asked = iter(partial(process.stderr.read, 1), "]")
            assert "is that to be saved? [y/N" in "".join(asked)
            os.write(keys, typed)
        out, errors = process.communicate(timeout=HANG)
    assert process.returncode == code, errors
    assert ("ended before its window was closed: nothing is saved" in errors) is bool(code)
    record = stored(folder)
    assert (record is None) is bool(code)
    if record is not None:
        assert numbers(out)[:3] == ["1", "1", "1"]


def test_a_page_that_crashes_without_a_window(tmp_path: Path, site: Site) -> None:
    """Nobody could load it again: the command doesn't wait until its time is over."""
    never = ("--until-url", "**/never", "--timeout", "1000")
    with window(
        project(tmp_path), "login", "alice", site.url("/browser/login"), "--headless", *never, "--namespace", "shop"
    ) as process:
        wait_until_shown(process)
        wait_until(lambda: site.journal("/browser/home"))
        for each in descendants(process.pid):
            if "--type=renderer" in each.command:
                each.kill()
        _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 1
    assert "The page has crashed: nothing is saved" in errors
    assert stored(tmp_path) is None


def test_the_site_is_asked(tmp_path: Path, site: Site) -> None:
    """Before a login of --spider is saved, the site is asked for probe_url: it redirects who isn't known."""
    url = site.url("/set", set="visit=1")
    probe = site.url("/orders", to=site.url("/browser/login"))
    folder = project(tmp_path, PROBED.format(login=site.url("/browser/login"), probe=probe))
    done = sessions(folder, "login", "alice", url, "--spider", "shop", "--headless", "--until-url", "**/set")
    assert (done.code, stored(folder)) == (1, None), done
    refused = r"The site doesn't recognise the login \(.*/orders\?to=… has status 302\): nothing is saved"
    assert re.search(refused, done.err)


@contextmanager
def chrome(folder: Path, *urls: str) -> Iterator[int]:
    """A Chrome of the user's, with a page at each of *urls*. Yields its debugging port."""
    assert CHROMIUM is not None
    place = folder / "DevToolsActivePort"
    arguments = ["--headless", "--remote-debugging-port=0", f"--user-data-dir={folder}", *ARGUMENTS, *urls]
    process = subprocess.Popen([CHROMIUM, *arguments], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: place.exists() and place.read_text().count("\n"))
        yield int(place.read_text().partition("\n")[0])
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=HANG)


@pytest.mark.parametrize("all_sites", [False, True], ids=["site", "all"])
def test_a_chrome_that_runs(tmp_path: Path, site: Site, all_sites: bool) -> None:
    """Of a Chrome that runs, what it has of the login's site is kept; it stays open."""
    other = site.url("/answer", host="127.0.0.2", set="other=1; Path=/")
    folder = project(tmp_path / "project")
    old = {"name": "old", "value": "hunter2", "domain": "127.0.0.1"}
    fill(folder / "s.db", alice(cookies=[old, {**old, "name": "kept", "domain": "shop.example"}]))
    with chrome(tmp_path / "chrome", other) as port:
        wait_until(lambda: site.journal("/answer"))
        more = ["--all-sites"] if all_sites else []
        login = site.url("/browser/login", user="alice")
        done = sessions(folder, "login", "alice", login, "--cdp", f"http://127.0.0.1:{port}", *HOME, *more)
        assert done.code == 0, done
    record = stored(folder)
    assert record is not None
    names = {(cookie.name, cookie.domain) for cookie in record.cookies}
    others = {("other", "127.0.0.2")} if all_sites else set()
    assert names == {("token", "127.0.0.1"), ("kept", "shop.example"), *others}
    assert numbers(done.out) == ["1", "1", "1", "1"]
    assert (record.generation, record.status, record.user_agent) == (1, "ready", None)


def test_a_new_session_of_a_chrome_that_runs(tmp_path: Path, site: Site) -> None:
    """A new session takes the identity of the Chrome that it was logged in with."""
    folder = project(tmp_path / "project")
    with chrome(tmp_path / "chrome") as port:
        login = site.url("/browser/login", user="alice")
        cdp = ("--cdp", f"http://127.0.0.1:{port}")
        done = sessions(folder, "login", "alice", login, *cdp, *HOME, "--namespace", "shop")
        assert done.code == 0, done
    record = stored(folder)
    assert record is not None
    assert record.user_agent
    assert "Headless" not in record.user_agent
    assert record.headers["*"].keys() >= {"Accept", "sec-ch-ua"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until-url", "**/never", "--timeout", "2"], "within the time of --timeout: nothing is saved"),
        (["--until-selector", "p[", "--timeout", "60"], "--until-selector: 'p[' is no selector"),
    ],
    ids=["timeout", "selector"],
)
def test_a_login_that_does_not_come(tmp_path: Path, site: Site, arguments: list[str], message: str) -> None:
    """A condition that isn't met in time, or can't be, saves nothing. Without a window, no word is said of one."""
    folder = project(tmp_path)
    url = site.url("/browser/login")
    done = sessions(folder, "login", "alice", url, "--namespace", "shop", "--headless", *arguments)
    assert done.code in {1, 2}
    assert message in done.err
    assert "close the window" not in done.err
    assert done.err.count("\n") <= 2
    assert stored(folder) is None


def test_the_login_page_names_the_page_waited_for(tmp_path: Path, site: Site) -> None:
    """The site redirects /account to /login?next=/account: nobody has logged in there."""
    folder = project(tmp_path)
    url = site.url("/account", to=site.url("/login", next="/account"), set="visit=1")
    until = ("--until-url", "**/account", "--timeout", "2", "--headless")
    done = sessions(folder, "login", "alice", url, "--namespace", "shop", *until)
    assert (done.code, stored(folder)) == (1, None), done
    assert site.journal("/login")


def test_a_login_without_a_window_has_an_end(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can press a key, five minutes are the limit, unless --timeout names another."""
    monkeypatch.setattr(login, "_UNATTENDED", 1.0)
    options = json.dumps(launching())
    arguments = ("--store", "s.db", "-s", f"PLAYWRIGHT_LAUNCH_OPTIONS={options}")
    until = ("--namespace", "shop", "--headless", "--until-url", "**/never")
    done = called(tmp_path, *arguments, "login", "alice", site.url("/page/1"), *until)
    assert done.code == 1, done
    assert "Waiting for the page, within 1 s" in done.err
    assert "within the time of --timeout: nothing is saved" in done.err


def test_a_page_that_can_not_be_opened(tmp_path: Path) -> None:
    """A URL where nobody answers is an error, which has no values of its query."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    folder = project(tmp_path)
    url = f"http://127.0.0.1:{port}/login?key=hunter2"
    done = sessions(folder, "login", "alice", url, "--namespace", "shop", "--headless", *HOME)
    assert (done.code, stored(folder)) == (1, None)
    assert "can't be opened: ERR_CONNECTION_REFUSED" in done.err
    assert "hunter2" not in done.err


def test_a_browser_without_anything_is_not_saved(tmp_path: Path, site: Site) -> None:
    """A page that leaves neither cookie nor storage is no login."""
    folder = project(tmp_path)
    url = site.url("/page/1")
    done = sessions(folder, "login", "alice", url, "--namespace", "shop", "--headless", "--until-url", "**/page/1")
    assert (done.code, stored(folder)) == (1, None)
    assert "no cookie and no storage: nothing is saved" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 1, "There is no display for the window of a browser"),
        (["--cdp", "http://127.0.0.1:1"], 1, "No Chrome answers at the address given with --cdp"),
        (["--headless"], 2, "--headless has no window to close"),
        (["--headless", "--cdp", "http://127.0.0.1:1"], 2, "either --headless or --cdp"),
        (["--all-sites"], 2, "--all-sites is for --cdp"),
        (["-s", 'PLAYWRIGHT_LAUNCH_OPTIONS={"executable_path": "/nowhere"}', "--headless", *HOME], 1, "doesn't start"),
        (["-s", "PLAYWRIGHT_BROWSER_TYPE=lynx", "--headless", *HOME], 2, "PLAYWRIGHT_BROWSER_TYPE is 'lynx'"),
        (["-s", "PLAYWRIGHT_BROWSER_TYPE=webkit", "--headless", *HOME], 1, "There is no browser: install webkit"),
        (["--spider", "stop"], 2, "There is no spider 'stop'"),
        (["--store", "memory://"], 2, "The store is memory://"),
    ],
    ids=["display", "cdp", "headless", "both", "all", "path", "lynx", "webkit", "spider", "memory"],
)
def test_what_can_not_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    """A browser or a window that isn't there is said in one line, with what helps."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    done = called(tmp_path, "login", "alice", "http://127.0.0.1:1/", "--namespace", "shop", *arguments)
    assert done.code == code, done
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"timezone": "Mars/Phobos"}, "Mars/Phobos"),
        ({"proxy": "socks5://user:hunter2@127.0.0.1:1"}, "socks5"),
    ],
    ids=["zone", "proxy"],
)
def test_an_identity_that_no_browser_can_have(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    """What Playwright refuses is said in one line, without the password of the proxy."""
    fill(tmp_path / "s.db", alice(**fields))
    arguments = ("--store", "s.db", "-s", f"PLAYWRIGHT_LAUNCH_OPTIONS={json.dumps(launching())}")
    done = called(tmp_path, *arguments, "login", "alice", "http://127.0.0.1:1/", "--headless", *HOME)
    assert (done.code, done.err.count("\n")) == (1, 1), done
    assert "The browser can't be used as the session" in done.err
    assert message in done.err
    assert "hunter2" not in done.err


NEEDS_SPIDER = """
from scrapy import Spider
from scrapy_sessions import SessionConfig

class Shop(SessionConfig):
    @property
    def login_url(self):
        return self.crawler.spider.login_page

class ShopSpider(Spider):
    name = "shop"
    session_config = Shop
"""


def test_a_config_that_needs_its_spider(tmp_path: Path) -> None:
    """A login_url that only a running spider knows has to be given; with it, the config isn't needed."""
    folder = project(tmp_path, NEEDS_SPIDER)
    done = sessions(folder, "login", "alice", "--spider", "shop", "--headless", *HOME)
    assert (done.code, done.err.count("\n")) == (1, 1), done
    assert "can't be used without its spider: AttributeError at" in done.err
    assert "Give the URL of the login" in done.err
    cdp = ("--cdp", "http://127.0.0.1:1")
    done = sessions(folder, "login", "alice", "http://127.0.0.1:1/", "--spider", "shop", *cdp)
    assert "The login is saved without it" in done.err
    assert "No Chrome answers" in done.err


@pytest.mark.parametrize("command", ["login", "open"])
def test_without_playwright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Where Playwright is not installed, the extra is named, and no store is created."""
    monkeypatch.setitem(sys.modules, "playwright", None)
    done = called(tmp_path, command, "alice", "http://127.0.0.1:1/", "--namespace", "shop")
    assert done.code == 2
    assert "pip install 'scrapy-persistent-sessions[playwright]'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_sessions_that_can_not_be_logged_in(tmp_path: Path) -> None:
    """A retired session, a new one without a namespace, and a URL that is none are refused before a browser starts."""
    fill(tmp_path / "s.db", alice(status="retired", retired_reason="banned"))

    def said(*arguments: str) -> str:
        return called(tmp_path, "--store", "s.db", "login", *arguments, "--headless", *HOME).err

    assert "'scrapy sessions unretire' first" in said("alice")
    assert "name its spider with --spider" in said("bob")
    assert "needs http:// or https://" in said("alice", "shop.example")
