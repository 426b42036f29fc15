"""``scrapy sessions check``: who is still logged in, by the site's own word, in a process as cron runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions.models import PersistentSession
from tests.support.command_line import PROGRAM, Done, environment, fill, make_project, sessions
from tests.support.crawl import MODES
from tests.support.redis_server import RedisServer
from tests.support.shop import Shop
from tests.support.waiting import HANG, wait_until

pytestmark = pytest.mark.heavy  # each test starts processes

PASSWORD = "hunter2"
PASSWORDS = {"PASSWORD_alice": PASSWORD, "PASSWORD_bob": PASSWORD}
STAFF = {"staff": {"sessions": ["alice", "bob"]}}
SPIDERS = """
import scrapy
from scrapy.exceptions import DontCloseSpider
from scrapy_sessions.logins import FormLogin

class Form(FormLogin):
    form = "form"
    username_field = "user"

    @property
    def login_url(self):
        return self.crawler.spider.base + "/login"

    async def login(self, session, fetch):
        print("logging in")
        await super().login(session, fetch)

class Probed(Form):
    probe_url = "/secret/home"

class ShopSpider(scrapy.Spider):
    name = "shop"
    session_config = Probed
    custom_settings = {
        "SESSIONS_CREDENTIALS": ["env:PASSWORD_{session_id}"],
        "SESSIONS_IDLE_TIMEOUT": 0,
        "SESSIONS_STORE": "sqlite:///s.db",
        "SESSIONS_LOGIN_ATTEMPTS": 4,
    }

    def __init__(self, base, **arguments):
        super().__init__(**arguments)
        self.base = base

    @classmethod
    def from_crawler(cls, crawler, **arguments):
        spider = super().from_crawler(crawler, **arguments)
        crawler.signals.connect(spider.take_more, signal=scrapy.signals.spider_idle)
        return spider

    async def start(self):
        yield scrapy.Request(self.base + "/started")

    def take_more(self):
        raise DontCloseSpider  # as one that gets its requests from elsewhere

class Unprobed(ShopSpider):
    name = "unprobed"
    session_config = Form
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path, SPIDERS, SESSIONS_POOLS=STAFF, DOWNLOAD_DELAY=0)


def check(project: Path, shop: Shop, *arguments: str, spider: str = "shop", **environment: str) -> Done:
    """Run the command, as that spider at *shop*."""
    given = ("--spider", spider, "-a", f"base={shop.url('')}")
    return sessions(project, "check", *given, *arguments, **{**PASSWORDS, **environment})


def states(done: Done) -> dict[str, str]:
    """What ``--json`` says, by session."""
    return {entry["session_id"]: entry["state"] for entry in json.loads(done.out)}


def listed(project: Path) -> dict[str, Any]:
    entries = json.loads(sessions(project, "list", "--store", "s.db", "--json").out)
    return {entry["session_id"]: entry for entry in entries}


def test_a_warm_up_and_what_follows(project: Path, shop: Shop) -> None:
    """``--login`` logs in the accounts of a pool before a crawl; ``check`` then posts nothing, and counts no page."""
    shop.rules(denial="redirect")
    done = check(project, shop, "--pool", "staff")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("scrapy sessions: There is no session store at ")
    done = check(project, shop, "--pool", "staff", "--login", "--json")
    assert (done.code, states(done)) == (0, {"alice": "logged in", "bob": "logged in"})
    assert done.err == "logging in\nlogging in\n"
    assert sorted(shop.users.values()) == ["alice", "bob"]
    assert not shop.came("/started")
    before = listed(project)

    shop.forget()
    done = check(project, shop, "--all")
    assert done.code == 0
    header, *lines = done.out.splitlines()
    assert header.split() == ["ID", "POOL", "SITE", "STATE", "REASON"]
    assert sorted(line.split() for line in lines) == [
        [name, "staff", "127.0.0.1", "logged", "in"] for name in ("alice", "bob")
    ]
    assert {each.method for each in shop.arrivals} == {"GET"}
    after = listed(project)
    assert [after[name]["pages_visited"] for name in after] == [before[name]["pages_visited"] for name in after]

    shop.expire()
    shop.forget()
    done = check(project, shop, "alice", "zoe", "--json")
    assert (done.code, states(done)) == (1, {"alice": "not logged in", "zoe": "not logged in"})
    assert {entry["session_id"]: entry["status"] for entry in listed(project).values()} == {
        "alice": "new",
        "bob": "ready",
    }
    assert shop.logins == 0
    done = check(project, shop, "alice", "bob", "--login", "--json")
    assert (done.code, states(done)) == (0, {"alice": "logged in", "bob": "logged in"})
    assert shop.logins == 2


@pytest.mark.parametrize("status", [200, 403, 429, 503])
def test_a_wrong_password_is_sent_once(project: Path, shop: Shop, status: int) -> None:
    """However the site refuses a login, and whatever the settings say, it is posted once, and not printed."""
    shop.rules(denial="redirect", refusals=[status] * 9, after=0)
    log = project / "log.txt"
    given = ("-s", "SESSIONS_LOGIN_ATTEMPTS=5", "-s", "RETRY_TIMES=5", "-L", "DEBUG", "--logfile", str(log))
    done = check(project, shop, "alice", "--login", "--json", *given)
    assert (done.code, states(done)) == (1, {"alice": "login failed"})
    assert shop.logins == 1
    assert PASSWORD not in done.out + done.err + log.read_text()
    assert listed(project)["alice"]["failed_logins"] == 1


def test_what_is_retired_or_expired(project: Path, shop: Shop) -> None:
    """A retired session is shown with its reason, and stays retired with ``--login``; an expired one is dead, too."""
    then = time.time() - 7200
    names: dict[str, Any] = {"namespace": "shop", "start_time": then, "last_activity": then, "idle_timeout": 0}
    fill(
        project / "s.db",
        PersistentSession(session_id="alice", status="retired", retired_reason="locked", **names),
        PersistentSession(session_id="old", status="ready", **names),
    )
    done = check(project, shop, "alice", "old", "-s", "SESSIONS_IDLE_TIMEOUT=3600", "--json", "--login")
    found = {entry["session_id"]: (entry["state"], entry["reason"]) for entry in json.loads(done.out)}
    assert done.code == 1
    assert found["alice"] == ("retired", "locked")
    assert found["old"][0] == "login failed"
    assert "PASSWORD_old is not set" in found["old"][1]
    assert listed(project)["alice"]["status"] == "retired"
    assert not shop.came("/secret")


def test_what_is_expired_without_a_login(project: Path, shop: Shop) -> None:
    """Without ``--login`` an expired session is said to be one, and the setting is named; no new one is saved."""
    then = time.time() - 7200
    names: dict[str, Any] = {"namespace": "shop", "start_time": then, "last_activity": then, "status": "ready"}
    fill(
        project / "s.db",
        PersistentSession(session_id="old", idle_timeout=1, **names),
        PersistentSession(session_id="shortened", idle_timeout=0, **names),
    )
    done = check(project, shop, "--all", "-s", "SESSIONS_IDLE_TIMEOUT=3600", "-s", "SESSIONS_POOLS={}")
    assert done.code == 1
    assert sorted(line.split() for line in done.out.splitlines()[1:]) == [
        [name, "-", "-", "expired", "by", "SESSIONS_IDLE_TIMEOUT"] for name in ("old", "shortened")
    ]
    assert listed(project) == {}


def test_nothing_can_be_found_out(project: Path, shop: Shop) -> None:
    """The exit code is 3 if no page is known that proves a login, or the site doesn't answer."""
    now = time.time()
    names: dict[str, Any] = {"status": "ready", "start_time": now, "last_activity": now, "idle_timeout": 0}
    fill(
        project / "s.db",
        PersistentSession(session_id="alice", namespace="unprobed", **names),
        PersistentSession(session_id="bob", namespace="shop", **names),
    )
    done = check(project, shop, "alice", spider="unprobed")
    assert done.code == 3
    assert "unknown" in done.out
    assert done.out.endswith("no page is known that only a logged-in session gets: set probe_url of Form\n")
    done = check(project, shop, "bob", "-a", "base=http://127.0.0.1:1")
    assert done.code == 3
    assert "unknown" in done.out
    assert "no response" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--spider", "shop"], "Name the sessions by their ids, by --all or by --pool"),
        (["--spider", "shop", "alice", "--all"], "Name the sessions by their ids, by --all or by --pool"),
        (["--spider", "shpo", "alice"], "There is no spider 'shpo'"),
        (["--spider", "shop", "-a", "base", "alice"], "Invalid -a value"),
        (["--spider", "shop", "-a", "base=x", "--pool", "stuff", "--login"], "SESSIONS_POOLS declares no pool 'stuff'"),
        (["alice"], "the following arguments are required: --spider"),
    ],
)
def test_usage_errors(project: Path, arguments: list[str], message: str) -> None:
    """A usage error is one line, and the exit code 2."""
    done = sessions(project, "check", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_a_spider_that_cannot_be_made(project: Path) -> None:
    """A spider that lacks an argument is one line, and the exit code 1."""
    done = sessions(project, "check", "--spider", "shop", "--login", "alice")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "The spider 'shop' could not be run: TypeError" in done.err


@pytest.mark.parametrize("mode", MODES)
def test_what_belongs_to_crawls_is_left_alone(project: Path, shop: Shop, mode: str) -> None:
    """No feed is emptied, no job touched, no item pipeline opened and no metrics file written."""
    (project / "items.json").write_text("[1]")
    (project / "shop" / "pipelines.py").write_text(
        "class Empties:\n    def open_spider(self):\n        raise SystemExit"
    )
    with (project / "shop" / "settings.py").open("a") as settings:
        settings.write(
            "FEEDS = {'items.json': {'format': 'json', 'overwrite': True}}\n"
            "JOBDIR = 'job'\n"
            "ITEM_PIPELINES = {'shop.pipelines.Empties': 1}\n"
            "SESSIONS_PROMETHEUS_FILE = 'metrics.prom'\n"
            "CLOSESPIDER_TIMEOUT_NO_ITEM = 1\n"
            f"{'TWISTED_REACTOR_ENABLED = False' if mode == 'reactorless' else ''}\n"
        )
    done = check(project, shop, "alice", "--login", "--json")
    assert (done.code, states(done)) == (0, {"alice": "logged in"})
    assert (project / "items.json").read_text() == "[1]"
    assert not (project / "job").exists()
    assert not (project / "metrics.prom").exists()


def test_on_a_server(project: Path, shop: Shop, redis_server: RedisServer) -> None:
    """A store on a server, and a namespace, are named as for the other commands."""
    place = ("--store", redis_server.url, "--namespace", "mine", "--json")
    assert check(project, shop, "--pool", "staff", "--login", *place).code == 0
    shop.expire()
    done = check(project, shop, "--all", *place)
    assert (done.code, states(done)) == (1, {"alice": "not logged in", "bob": "not logged in"})
    assert not (project / "s.db").exists()


def started(project: Path, shop: Shop, *arguments: str) -> subprocess.Popen[str]:
    """Start the command."""
    return subprocess.Popen(
        [*PROGRAM, "check", "--spider", "shop", "-a", f"base={shop.url('')}", *arguments],
        cwd=project,
        env=environment(**PASSWORDS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_log_in_once(project: Path, shop: Shop) -> None:
    """Of two processes that warm up the same accounts, one logs each in."""
    shop.rules(login_ms=500)
    both = [started(project, shop, "--pool", "staff", "--login", "--json") for _ in range(2)]
    for each in both:
        out, errors = each.communicate(timeout=HANG)
        assert states(Done(each.returncode, out, errors)) == {"alice": "logged in", "bob": "logged in"}, errors
        assert each.returncode == 0
    assert shop.logins == 2


def test_ctrl_c(project: Path, shop: Shop) -> None:
    """Ctrl-C ends it, with what is known so far."""
    shop.rules(hanging=True)
    process = started(project, shop, "alice", "--login")
    try:
        wait_until(lambda: shop.logins)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "it was not asked about" in out
    assert errors.endswith("scrapy sessions: Interrupted\n")
