"""Which sites a session is asked about and logged in at, and what proves that its login is lost there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request

from scrapy_sessions import BrowserSession, SessionConfig, session_config
from scrapy_sessions.config import Fetch, registered_config
from scrapy_sessions.crawl.checking import State
from scrapy_sessions.exceptions import LoginImpossible
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode
from tests.crawl.test_checking import Asks, fill, good, record, run
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, failures, pages
from tests.support.site import HOST

pytestmark = pytest.mark.usefixtures("own_registry")

LOGIN = {"time": 1e9, "generation": 0, "hosts": []}


class Here(LogsIn):
    probe_url = "/secret/home"

    @property
    def login_url(self) -> str:  # type: ignore[override]
        return str(self.crawler.spider.base) + "/login"  # type: ignore[union-attr]


async def found(shop: Shop, file: Path, *ids: str, config: Any = None, **settings: Any) -> dict[str, Any]:
    """What is found out: by session, or by session and site if there are several."""
    checker = await run(shop, file, config, *ids, SESSIONS_LOGIN_ATTEMPTS=1, **settings)
    return {
        each: (findings[0].state, findings[0].reason)
        if len(findings) == 1
        else {finding.site: finding.state for finding in findings}
        for each, findings in checker.found.items()
    }


async def stored(file: Path, session_id: str) -> PersistentSession:
    """The record of a session of the spider."""
    store = SQLiteStore(file)
    await store.open()
    row = await store.load(Key("asks", session_id))
    await store.close()
    assert row is not None
    return decode(row)


def two_sites(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a site of HOST and one of localhost, where the spider begins."""
    session_config(HOST)(type("First", (Here,), {}))

    class Second(Here):
        @property
        def login_url(self) -> str:  # type: ignore[override]
            return super().login_url.replace(HOST, "localhost")

    session_config("localhost")(Second)
    starts = [shop.url("/"), shop.url("/").replace(HOST, "localhost")]
    monkeypatch.setattr(Asks, "start_urls", starts, raising=False)


async def test_the_site_of_another_spider(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config that is registered for a site of another spider says nothing of the sessions of this one."""
    session_config(HOST)(type("First", (Here,), {}))
    monkeypatch.setattr(Asks, "start_urls", ["http://localhost/"], raising=False)
    page = "http://localhost/page"
    await fill(tmp_path / "s.db", record("default#1", pool="default", last_url=page), record("bob", last_url=page))
    states = await found(shop, tmp_path / "s.db", "default#1", "bob", log_in=True)
    assert states["default#1"] == (State.NO_LOGIN, "")
    assert states["bob"][0] is State.UNKNOWN
    assert states["bob"][1].endswith("(its sites are those of its session_config, start_urls and allowed_domains)")
    assert shop.arrivals == []


async def test_which_of_two_sites(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two sites, a session is logged in where it was before; a new one is logged in at neither."""
    two_sites(shop, monkeypatch)
    await fill(
        tmp_path / "s.db",
        record("new", status="new"),
        record("lost", status="new", last_url=shop.url("/page")),
        record("elsewhere", logged_in={"other.example": LOGIN}),
        record("default#1", pool="default", status="new", last_url=shop.url("/page")),
    )
    ids = ("new", "lost", "elsewhere", "default#1", "unknown")
    states = await found(shop, tmp_path / "s.db", *ids, log_in=True)
    assert {each: state for each, (state, _) in states.items()} == {
        "new": State.UNKNOWN,
        "lost": State.LOGGED_IN,
        "elsewhere": State.UNKNOWN,
        "default#1": State.LOGGED_IN,
        "unknown": State.NOT_LOGGED_IN,
    }
    assert f"which site? It has been at none of {HOST}, localhost" in states["new"][1]
    assert "other.example only" in states["elsewhere"][1]
    assert "lost" in shop.users.values()
    assert not {"new", "elsewhere", "unknown"} & set(shop.users.values())


async def test_one_refusal_of_two(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that counts as logged in anywhere is asked about at each site, and lost where it is refused only."""
    two_sites(shop, monkeypatch)
    here = Cookie(name="auth", value=shop.admit("alice"), domain="localhost", path="/")
    await fill(tmp_path / "s.db", record("alice").model_copy(update={"cookies": [here]}))
    states = await found(shop, tmp_path / "s.db", "alice")
    assert states == {"alice": {HOST: State.NOT_LOGGED_IN, "localhost": State.LOGGED_IN}}
    assert list((await stored(tmp_path / "s.db", "alice")).logged_in) == ["localhost"]


async def test_each_site_has_its_own_reason(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that failed at one site is tried at the other one, and fails there for a reason of its own."""

    async def refuse(config: Any, session: BrowserSession, fetch: Fetch) -> None:
        raise ValueError if config.site == HOST else KeyError

    two_sites(shop, monkeypatch)
    monkeypatch.setattr(LogsIn, "login", refuse)
    actions = [*good(shop, "/page"), *(each.replace(HOST, "localhost") for each in good(shop, "/page"))]
    await fill(tmp_path / "s.db", record("alice", status="new", actions_performed=actions))
    checker = await run(shop, tmp_path / "s.db", None, "alice", log_in=True, SESSIONS_LOGIN_ATTEMPTS=1)
    reasons = {each.site: each.reason for each in checker.found["alice"]}
    assert "ValueError" in reasons[HOST]
    assert "KeyError" in reasons["localhost"]


async def test_a_failure_elsewhere_in_a_crawl(shop: Shop) -> None:
    """Two logins of a session at once: the one that fails fails the requests to its own site only."""

    class Refuses(LogsIn):
        login_url = "http://localhost/login"

        async def login(self, session: BrowserSession, fetch: Fetch) -> None:
            await fetch(Request(shop.url("/asked")))
            raise LoginImpossible("no password")

    class Late(Here):
        pass

    session_config("localhost")(Refuses)
    session_config(HOST)(Late)
    paths = [shop.url("/a").replace(HOST, "localhost"), "/b", "/c"]
    crawler = await buy(shop, {}, [{"path": path} for path in paths], None)
    assert failures(crawler) == ["LoginFailed"]
    assert [status for status, _ in pages(crawler)] == [200, 200]


@pytest.mark.parametrize("status", [403, 407])
async def test_a_suspicion_is_no_proof(shop: Shop, tmp_path: Path, status: int) -> None:
    """A ban, or a proxy that wants a password, says nothing of the login, which is kept."""

    class Banned(Here):
        probe_url = f"/page?status={status}"

    await fill(tmp_path / "s.db", record("alice", shop))
    state, reason = (await found(shop, tmp_path / "s.db", "alice", config=Banned, log_in=True))["alice"]
    assert (state, reason[-10:]) == (State.UNKNOWN, f"status {status}")
    assert shop.logins == 0
    assert (await stored(tmp_path / "s.db", "alice")).status == "ready"


async def test_a_login_that_was_lost_by_mistake(shop: Shop, tmp_path: Path) -> None:
    """A session whose record says that its login is lost is asked about, and restored if the site knows it."""
    await fill(tmp_path / "s.db", record("alice", shop, status="new"), record("bob", status="new"))
    states = await found(shop, tmp_path / "s.db", "alice", "bob", config=Here)
    assert states["alice"] == (State.LOGGED_IN, "")
    assert states["bob"] == (State.NOT_LOGGED_IN, "it has not logged in yet")
    assert (await stored(tmp_path / "s.db", "alice")).status == "ready"
    assert {each.method for each in shop.arrivals} == {"GET"}


async def test_a_proxy_that_is_out(shop: Shop, tmp_path: Path) -> None:
    """A proxy that refuses the connection takes no login from a named session without a login()."""

    class Human(SessionConfig):
        probe_url = shop.url("/secret/home")

    await fill(tmp_path / "s.db", record("alice", shop, proxy="http://127.0.0.1:9"))
    state, reason = (await found(shop, tmp_path / "s.db", "alice", config=Human))["alice"]
    assert (state, reason.endswith("its proxy refuses the connection")) == (State.UNKNOWN, True)
    assert (await stored(tmp_path / "s.db", "alice")).status == "ready"


async def test_a_pause_ends_the_questions(shop: Shop, tmp_path: Path) -> None:
    """A site that asks for an hour's pause is not waited for: no further page is asked for, and nothing posted."""
    actions = [f"GET {shop.url(path)} 200" for path in ("/secret/1", "/secret/2")]

    class Paused(LogsIn):
        @property
        def login_url(self) -> str:  # type: ignore[override]
            return str(self.crawler.spider.base) + "/page"  # type: ignore[union-attr]

        async def login(self, session: BrowserSession, fetch: Fetch) -> bool:
            page = await fetch(Request(f"{self.login_url}?status=429&after=3000"))
            return bool(page.status == 200)

    class Probed(Here):
        probe_url = "/page?status=503&after=3000"

    await fill(tmp_path / "s.db", record("alice", shop, actions_performed=actions), record("bob", status="new"))
    started = time.monotonic()
    state, reason = (await found(shop, tmp_path / "s.db", "alice", config=Probed, log_in=True))["alice"]
    assert state is State.UNKNOWN
    assert "status 503: the site asks to wait until 20" in reason
    state, reason = (await found(shop, tmp_path / "s.db", "bob", config=Paused, log_in=True))["bob"]
    assert state is State.LOGIN_FAILED
    assert "the site asks to wait until 20" in reason
    assert time.monotonic() - started < 60
    assert len(shop.came("/page")) == 2


async def test_a_pause_of_another_site(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause that one site asks for is none at the other."""
    two_sites(shop, monkeypatch)
    monkeypatch.setattr(registered_config(shop.url("/")), "probe_url", "/page?status=503&after=3000")
    here = Cookie(name="auth", value=shop.admit("alice"), domain="localhost", path="/")
    await fill(tmp_path / "s.db", record("alice").model_copy(update={"cookies": [here]}))
    states = await found(shop, tmp_path / "s.db", "alice")
    assert states == {"alice": {HOST: State.UNKNOWN, "localhost": State.LOGGED_IN}}


async def test_many_logins_at_a_slow_pace(shop: Shop, tmp_path: Path) -> None:
    """What a login waits for others in the downloader doesn't use up its time."""
    names = [f"user{number}" for number in range(4)]
    settings = {"DOWNLOAD_DELAY": 0.4, "SESSIONS_LOGIN_TIMEOUT": 3}
    states = await found(shop, tmp_path / "s.db", *names, config=Here, log_in=True, **settings)
    assert {state for state, _ in states.values()} == {State.LOGGED_IN}
    assert len(shop.users) == 4
