"""Asking who is still logged in: what proves it, and which sessions are left alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler

from scrapy_sessions import SessionConfig
from scrapy_sessions.crawl.checking import Checker, State
from scrapy_sessions.exceptions import StoreError, UnknownPool
from scrapy_sessions.logins import FormLogin
from scrapy_sessions.models import Cookie, PersistentSession
from scrapy_sessions.storage import SQLiteStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode, encode
from tests.support.crawl import crawl, sqlite_url
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop
from tests.support.site import HOST

TTL = 60.0
ONCE: dict[str, Any] = {"SESSIONS_LOGIN_ATTEMPTS": 1}  # as the command sets it


class Asks(Spider):
    """Does *work* when it starts."""

    name = "asks"
    session_config: Any = None
    base = ""
    work: Any = None

    async def start(self) -> AsyncIterator[Any]:
        await self.work()
        for nothing in list[Any]():
            yield nothing


class Probes(LogsIn):
    login_url = "/login"
    probe_url = "/secret/home"


async def fill(file: Path, *records: PersistentSession) -> None:
    """Save *records* as new ones."""
    store = SQLiteStore(file)
    await store.open()
    await store.save([encode(each.model_copy(update={"revision": 1})) for each in records])
    await store.close()


def login_cookie(shop: Shop) -> Cookie:
    """Log somebody in at *shop*."""
    token = shop.admit("somebody")
    return Cookie(name="auth", value=token, domain=HOST, path="/")


async def checked(
    shop: Shop, path: Path, config: type[SessionConfig], *ids: str, pool: str | None = None, **settings: Any
) -> dict[str, tuple[State, str]]:
    """Check in a crawl of the shop, and return states and reasons by session."""
    checker = await run(shop, path, config, *ids, pool=pool, **settings)
    assert checker.unsaved == []
    return {each: (found.state, found.reason) for each, (found,) in checker.found.items()}


async def run(
    shop: Shop, path: Path, config: type[SessionConfig], *ids: str, pool: str | None = None, **settings: Any
) -> Checker:
    """Check in a crawl of the shop, and return what did it."""
    log_in = settings.pop("log_in", False)
    checkers: list[Checker] = []

    def prepare(crawler: Crawler) -> None:
        checkers.append(Checker(crawler, log_in=log_in))

    all_settings = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_IDLE_TIMEOUT": 0, **settings}
    errors: list[Exception] = []

    async def work() -> None:
        try:
            await checkers[0].run(ids, pool=pool)
        except UnknownPool as e:
            errors.append(e)

    await crawl(Asks, all_settings, prepare=prepare, base=shop.url(""), session_config=config, work=work)
    for each in errors:
        raise each
    return checkers[0]


def record(session_id: str, shop: Shop | None = None, **fields: Any) -> PersistentSession:
    """The record of a session; logged in at *shop*, if given."""
    now = time.time()
    cookies = [] if shop is None else [login_cookie(shop)]
    fields = {"status": "ready", "start_time": now, "last_activity": now, "idle_timeout": 0, **fields}
    return PersistentSession(session_id=session_id, namespace="asks", cookies=cookies, **fields)


def good(shop: Shop, *paths: str) -> list[str]:
    """The actions of a session that got *paths*."""
    return [f"GET {shop.url(path)} 200" for path in paths]


async def test_a_page_that_anonymous_visitors_get_proves_nothing(shop: Shop, tmp_path: Path) -> None:
    """A probe_url that everybody gets is said to be of no use, and nobody is logged in for it."""

    class Public(LogsIn):
        probe_url = "/login"
        login_url = shop.url("/login")

    await fill(tmp_path / "s.db", record("alice"), record("bob"))
    found = await checked(shop, tmp_path / "s.db", Public, "alice", "bob", log_in=True)
    reason = f"probe_url {shop.url('/login')} proves nothing: anonymous visitors get it, too"
    assert found == dict.fromkeys(("alice", "bob"), (State.UNKNOWN, reason))
    assert len(shop.came("/login")) == 3


async def test_a_witness_of_its_history(shop: Shop, tmp_path: Path) -> None:
    """Without a probe_url, a page that a session got and a visitor doesn't get proves who is logged in."""
    actions = [
        *good(shop, "/secret/1", "/public", "/secret/logout"),
        f"GET {shop.url('/secret/2')} 404",
        f"GET {shop.url('/secret/3?page=')} 200",
        f"POST {shop.url('/secret/4')} 200",
        "checked the basket",
    ]
    await fill(
        tmp_path / "s.db",
        record("alice", shop, actions_performed=actions),
        record("bob", actions_performed=actions),
        record("carol", actions_performed=good(shop, "/public")),
    )
    found = await checked(shop, tmp_path / "s.db", LogsIn)
    assert found["alice"] == (State.LOGGED_IN, "")
    assert found["bob"] == (State.NOT_LOGGED_IN, f"at {shop.url('/secret/1')}: status 401")
    assert found["carol"][0] is State.UNKNOWN
    assert "set probe_url of LogsIn" in found["carol"][1]
    assert {each.path for each in shop.arrivals} == {"/secret/1", "/public"}
    assert len(shop.came("/public")) == 1


@pytest.mark.parametrize("path", ["/secret/home", "/page?status=429&after=0"])
async def test_a_question_is_no_action(shop: Shop, tmp_path: Path, path: str) -> None:
    """What a session has done is not pushed out of its history by questions, and none is its last page."""

    class Near(LogsIn):
        login_url = shop.url("/login")
        probe_url = path

    actions = good(shop, "/secret/1", "/secret/2")
    record_ = record("alice", shop, actions_performed=actions, last_url=shop.url("/secret/2"))
    await fill(tmp_path / "s.db", record_)
    await checked(shop, tmp_path / "s.db", Near, SESSIONS_HISTORY_LIMIT=2)
    assert shop.came(path.partition("?")[0])
    store = SQLiteStore(tmp_path / "s.db")
    await store.open()
    row = await store.load(Key("asks", "alice"))
    assert row is not None
    stored = decode(row)
    assert (stored.actions_performed, stored.last_url) == (actions, shop.url("/secret/2"))
    await store.close()


async def test_what_is_lost_is_recorded(shop: Shop, tmp_path: Path) -> None:
    """A lost login is saved as such: the next crawl logs in before it sends anything."""

    class Near(Probes):
        login_url = shop.url("/login")

    await fill(tmp_path / "s.db", record("alice"), record("bob", shop))
    found = await checked(shop, tmp_path / "s.db", Near)
    assert {name: state for name, (state, _) in found.items()} == {"alice": State.NOT_LOGGED_IN, "bob": State.LOGGED_IN}
    store = SQLiteStore(tmp_path / "s.db")
    await store.open()
    assert {info["session_id"]: info["status"] for info in await store.list(now=0.0)} == {
        "alice": "new",
        "bob": "ready",
    }
    await store.close()


async def test_what_cannot_be_saved(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose state could not be saved is named: the next crawl doesn't know of it."""

    class Near(Probes):
        login_url = shop.url("/login")

    await fill(tmp_path / "s.db", record("alice"))

    async def fail(*_: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(SQLiteStore, "save", fail)
    checker = await run(shop, tmp_path / "s.db", Near, "alice")
    assert checker.found["alice"][0].state is State.NOT_LOGGED_IN
    assert checker.unsaved == ["alice"]


@pytest.mark.parametrize("config", [Probes, LogsIn], ids=["probe_url", "history"])
@pytest.mark.parametrize("log_in", [False, True], ids=["ask", "log in"])
async def test_a_session_that_rests(shop: Shop, tmp_path: Path, config: type[SessionConfig], log_in: bool) -> None:
    """Nothing is sent in a session whose budget is used up, and the check doesn't wait for the end of its rest."""
    used = {"per_hour": {str(int(time.time() // 300)): 3}, "per_day": {}}
    resting: dict[str, Any] = {"budget_used": used, "actions_performed": good(shop, "/secret/1")}
    lost = record("bob", None, **{**resting, "status": "new", "generation": 1})
    await fill(tmp_path / "s.db", record("alice", shop, **resting), lost)
    found = await checked(shop, tmp_path / "s.db", config, log_in=log_in, SESSIONS_BUDGET={"per_hour": 3})
    assert not shop.arrivals
    assert {each: state for each, (state, _) in found.items() if each == "alice" or log_in} == dict.fromkeys(
        ("alice", "bob") if log_in else ("alice",), State.UNKNOWN
    )
    assert "it rests until 2" in found["alice"][1]


async def test_robots_txt_and_a_page_that_is_gone(shop: Shop, tmp_path: Path) -> None:
    """What robots.txt forbids, and a probe_url that isn't there, say nothing, and why is said."""

    class Gone(LogsIn):
        login_url = shop.url("/login")
        probe_url = "/gone?status=404"

    await fill(tmp_path / "s.db", record("alice", shop))
    assert (await checked(shop, tmp_path / "s.db", Gone))["alice"][1] == f"at {shop.url('/gone')}?status=…: status 404"
    shop.robots("User-agent: *\nDisallow: /gone")
    found = await checked(shop, tmp_path / "s.db", Gone, ROBOTSTXT_OBEY=True)
    assert found["alice"][1] == f"at {shop.url('/gone')}?status=…: robots.txt forbids it"


async def test_a_redirect_to_elsewhere(shop: Shop, tmp_path: Path) -> None:
    """A redirect that doesn't lead to the login_url says nothing, and its target is named, without query values."""

    class Elsewhere(LogsIn):
        login_url = shop.url("/login")
        probe_url = "/account?to=https://sso.example/start?ticket=hunter2"

    await fill(tmp_path / "s.db", record("alice", shop))
    state, reason = (await checked(shop, tmp_path / "s.db", Elsewhere))["alice"]
    assert state is State.UNKNOWN
    assert reason.endswith("status 302, a redirect to https://sso.example/start?ticket=…")
    assert "hunter2" not in reason


async def test_a_login_that_does_not_last(shop: Shop, tmp_path: Path) -> None:
    """A login() that says it has worked isn't believed if the probe_url is refused, and isn't tried again."""

    class Believes(SessionConfig):
        login_url = shop.url("/login")
        probe_url = "/secret/home"

        async def login(self, session: Any, fetch: Any) -> None:
            await fetch(Request(self.login_url))

    await fill(tmp_path / "s.db", record("alice"))
    found = await checked(shop, tmp_path / "s.db", Believes, log_in=True)
    assert found["alice"][0] is State.LOGIN_FAILED
    assert len(shop.came("/login")) == 1


@pytest.mark.parametrize("pool", ["shop", "staff"])
@pytest.mark.parametrize("refused", [403, 303])
async def test_a_shared_password_is_sent_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str, refused: int
) -> None:
    """Sessions that share an account, by an anonymous pool or by their credentials, don't all send a wrong password."""

    class Shared(FormLogin):
        login_url = shop.url("/login")
        form = "form"
        username_field = "user"

    class Believes(Shared):
        probe_url = "/secret/home"

        async def _probe(self, fetch: Any) -> None:
            """Believe it."""

    shop.rules(refusals=[refused] * 9)
    monkeypatch.setenv("SHARED", '{"username": "somebody", "password": "hunter2"}')
    ids = [f"{pool}#{number}" for number in (1, 2, 3)]
    await fill(tmp_path / "s.db", *(record(each, pool=pool, status="new") for each in ids))
    found = await checked(
        shop,
        tmp_path / "s.db",
        Shared if refused == 403 else Believes,
        pool=pool,
        log_in=True,
        SESSIONS_CREDENTIALS=["env:SHARED"],
        SESSIONS_POOLS={"shop": {"size": 3}, "staff": {"sessions": ["staff#1", "staff#2", "staff#3"]}},
        **ONCE,
    )
    assert {state for state, _ in found.values()} == {State.LOGIN_FAILED}
    assert sum("not tried: the login of" in reason for _, reason in found.values()) == 2
    assert shop.logins == 1


async def test_accounts_of_their_own_are_all_tried(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that fails ends the attempts with that password only."""

    class Own(FormLogin):
        login_url = shop.url("/login")
        form = "form"
        username_field = "user"

    shop.rules(refusals=[403])
    monkeypatch.setenv("SAME", "hunter2")
    await fill(tmp_path / "s.db", *(record(each, status="new") for each in ("alice", "bob", "carol")))
    found = await checked(shop, tmp_path / "s.db", Own, log_in=True, SESSIONS_CREDENTIALS=["env:SAME"], **ONCE)
    assert sorted(state.value for state, _ in found.values()) == ["logged in", "logged in", "login failed"]
    assert shop.logins == 3


async def test_sessions_that_another_process_uses(shop: Shop, tmp_path: Path) -> None:
    """Of an exclusive pool, only the free sessions are asked about; the line of those that wait isn't joined."""

    class Near(Probes):
        login_url = shop.url("/login")

    pools = {"staff": {"sessions": ["alice", "bob"], "exclusive": True}}
    await fill(tmp_path / "s.db", *(record(name, shop, pool="staff") for name in ("alice", "bob")))
    other = SQLiteStore(tmp_path / "s.db")
    await other.open()
    await other.enrol("asks", "staff", "other", ["alice", "bob"], TTL)
    first = (await other.claim("asks", "staff", "other", [], 1, TTL)).held
    (taken,) = [claim.session_id for claim in first]
    found = await checked(shop, tmp_path / "s.db", Near, pool="staff", SESSIONS_POOLS=pools)
    free = "bob" if taken == "alice" else "alice"
    assert {name: state for name, (state, _) in found.items()} == {taken: State.IN_USE, free: State.LOGGED_IN}
    held = (await other.claim("asks", "staff", "other", first, 2, TTL)).held
    assert sorted(claim.session_id for claim in held) == ["alice", "bob"]
    shop.forget()
    found = await checked(shop, tmp_path / "s.db", Near, "alice", "bob", SESSIONS_POOLS=pools, log_in=True)
    assert {state for state, _ in found.values()} == {State.IN_USE}
    assert shop.arrivals == []
    answer = await other.claim("asks", "staff", "other", held, 2, TTL)
    assert (len(answer.held), answer.waiting) == (2, 0)
    await other.close()


async def test_a_pool_and_its_accounts(shop: Shop, tmp_path: Path) -> None:
    """A pool has the accounts of the settings, with a record or not, and no others; an unknown one is an error."""

    class Near(Probes):
        login_url = shop.url("/login")

    await fill(tmp_path / "s.db", record("alice", shop), record("zoe", shop), record("shop#1", pool="shop"))
    pools = {"SESSIONS_POOLS": {"staff": {"sessions": ["alice", "bob"]}, "shop": {"size": 2}}}
    found = await checked(shop, tmp_path / "s.db", Near, pool="staff", **pools)
    assert {name: state for name, (state, _) in found.items()} == {"alice": State.LOGGED_IN, "bob": State.NOT_LOGGED_IN}
    found = await checked(shop, tmp_path / "s.db", Near, **pools)
    assert sorted(found) == ["alice", "bob", "shop#1", "zoe"]
    found = await checked(shop, tmp_path / "s.db", SessionConfig, **pools)
    assert found["shop#1"] == (State.NO_LOGIN, "")
    assert found["alice"][0] is State.UNKNOWN
    with pytest.raises(UnknownPool):
        await checked(shop, tmp_path / "s.db", Near, pool="stuff", **pools)
    await fill(tmp_path / "s.db", record("old", shop, pool="gone"))
    for config in (Near, SessionConfig):
        found = await checked(shop, tmp_path / "s.db", config, "old", **pools)
        assert found["old"][0] is State.UNKNOWN
    found = await checked(shop, tmp_path / "s.db", Near, pool="gone", log_in=True, **pools)
    assert found["old"][0] is State.UNKNOWN
    assert "SESSIONS_POOLS declares no pool 'gone'" in found["old"][1]
