"""Crawls by scrapy-playwright in a real Chromium: its pages and HTTP requests share their sessions."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from scrapy_sessions import PersistentSession, SessionManager
from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING
from tests.support.crawl import Crawl, Job, crawl_jobs
from tests.support.site import Site

NOT_BY_ITSELF = {"/loaded/worker", "/loaded/back"}  # of a worker made from a blob, by a redirect of another origin
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        MISSING or find_spec("scrapy_playwright") is None,
        reason="there is no Chromium, or the package scrapy-playwright is not installed",
    ),
]

HANDLER = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
EVERYBODY = ("cookie", "local", "tab", "database")


def crawl(
    folder: Path, site: Site, spider: str, *, arguments: Any = None, errors: bool = False, **settings: Any
) -> Crawl:
    """Crawl with the class *spider*, with the sessions of the crawls in *folder* before."""
    (done,) = crawl_jobs(
        folder,
        Job(f"tests.support.spiders.browser.{spider}", arguments or {}),
        errors=errors,
        DOWNLOAD_HANDLERS={"http": HANDLER, "https": HANDLER},
        **{"PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": CHROMIUM, "args": ARGUMENTS}, **settings},
        SESSIONS_STORE=f"sqlite:///{folder / 'sessions.db'}",
        SESSIONS_NAMESPACE="shop",
        SESSIONS_LOGIN_TIMEOUT="5m",  # with few contexts on a slow machine a login has to wait
        SITE=site.url("").rstrip("/"),
    )
    return done


def request(site: Site, path: str, session: str, *, browser: bool = True, **meta: Any) -> dict[str, Any]:
    return {"url": site.url(path), "meta": {"session_id": session, "playwright": browser, **meta}}


def record_of(folder: Path, session_id: str) -> PersistentSession:
    """The saved record of *session_id*."""

    async def load() -> PersistentSession | None:
        async with SessionManager(folder / "sessions.db", namespace="shop") as manager:
            return await manager.load_session(session_id)

    record = asyncio.run(load())
    assert record is not None
    return record


def test_one_login_serves_browser_and_http_in_every_run(tmp_path: Path, site: Site) -> None:
    """A login by a script, then pages in the browser and without it, in two processes: one login in all."""
    for _ in range(2):
        requests = [
            request(site, "/browser/home", "alice"),
            request(site, "/browser/home", "alice", browser=False),
            request(site, "/browser/home", "alice"),
        ]
        done = crawl(tmp_path, site, "ShownAfterLogin", arguments={"steps": [[each] for each in requests]})
        shown = [item["shown"] for item in done.items]
        assert [each["cookie"] for each in shown] == ["alice"] * 3
        assert shown[0] == shown[2] == dict.fromkeys(EVERYBODY, "alice")
        assert [item["session"] for item in done.items] == ["alice"] * 3
        assert done.stats["playwright/browser_count"] == 1
    assert len(site.journal("/browser/token")) == 1


def test_two_sessions_never_meet(tmp_path: Path, site: Site) -> None:
    """400 mixed requests of alice and bob at once: no cookie, storage, header, agent or language of one reaches the
    other, and at another origin arrive neither cookies nor secret headers."""
    users = {"alice": "de-CH,de;q=0.8", "bob": "fr-FR,fr;q=0.7"}
    other = site.url("", host="127.0.0.2").rstrip("/")
    pages = {0: "/browser/place", 8: f"/browser/mixed?{urlencode({'other': other})}"}
    requests = [
        request(site, pages.get(number % 64, "/browser/home"), user, browser=number % 8 == 0)
        for number in range(200)
        for user in users
    ]
    done = crawl(
        tmp_path,
        site,
        "Secrets",
        arguments={"requests": requests},
        CONCURRENT_REQUESTS=16,
        CONCURRENT_REQUESTS_PER_DOMAIN=16,
        SESSIONS_POOLS={user: {"sessions": [user], "profiles": [user]} for user in users},
        SESSIONS_PROFILES={
            user: {"user_agent": f"Browser of {user}", "language": language} for user, language in users.items()
        },
    )
    assert len(done.items) == len(requests)
    for item in done.items:
        assert "failed" not in item, item
        user, shown = item["session"], item["shown"]
        if "xhr" in shown:
            assert shown["xhr"] == shown["navigation"] == users[user]
        else:
            assert {value for value in shown.values() if value} <= {user}
    assert len(site.journal("/browser/token")) == 2
    tokens = {user: {item["cookies"]["token"] for item in done.items if item["session"] == user} for user in users}
    agents = {f"Browser of {user}": (user, token) for user, (token,) in tokens.items()}
    hosts = set()
    for arrival in site.journal():
        user, token = agents[arrival.header("User-Agent") or ""]
        host = arrival.host.partition(":")[0]
        hosts.add(host)
        assert arrival.header("Accept-Language") == users[user]
        own = host == "127.0.0.1" and arrival.path not in NOT_BY_ITSELF
        assert arrival.header("X-Secret") == (f"of {user}" if own else None)
        is_login = arrival.path in {"/browser/login", "/browser/token", "/favicon.ico"}
        assert arrival.cookies.get("token") == (token if host == "127.0.0.1" and not is_login else None)
    assert hosts == {"127.0.0.1", "127.0.0.2"}


def test_many_sessions_share_a_few_contexts(tmp_path: Path, site: Site) -> None:
    """12 sessions on 2 contexts: each comes back with its storages. scrapy-playwright's own limit is no deadlock."""
    users = [f"user-{number}" for number in range(12)]
    steps = [[request(site, "/browser/home", user) for user in users] for _ in range(2)]
    done = crawl(tmp_path, site, "ShownAfterLogin", arguments={"steps": steps}, PLAYWRIGHT_MAX_CONTEXTS=2)
    assert sorted(item["session"] for item in done.items) == sorted(users * 2)
    assert all(item["shown"] == dict.fromkeys(EVERYBODY, item["session"]) for item in done.items)
    assert done.stats["playwright/context_count/max_concurrent"] == 2
    assert len(site.journal("/browser/token")) == 12


def test_an_open_page_and_http_share_cookies(tmp_path: Path, site: Site) -> None:
    """With a page that is kept open, HTTP sends what a script set in it, and the page has at once what HTTP got.

    What the page has at the end of the crawl is saved.
    """
    done = crawl(tmp_path, site, "KeptPage")
    assert done.items == [{"kept": True}]
    first, second = site.journal("/page/")
    assert first.cookies == {"late": "1"}
    assert second.cookies == {"late": "1", "http": "1"}
    record = record_of(tmp_path, "alice")
    assert {cookie.name: cookie.value for cookie in record.cookies} == {"late": "1", "http": "2"}
    assert record.local_storage == {site.url("").rstrip("/"): {"kept": "open"}}


def test_a_login_that_was_lost_begins_a_new_context(tmp_path: Path, site: Site) -> None:
    """After a logout in the browser the session logs in again, and nothing of the old context comes back."""
    paths = ("/browser/home", "/browser/logout", "/browser/home", "/browser/home")
    steps = [[request(site, path, "alice", browser=number < 3)] for number, path in enumerate(paths)]
    done = crawl(tmp_path, site, "ShownAfterLogin", arguments={"steps": steps})
    assert [item["status"] for item in done.items] == [200] * 4
    assert done.items[2]["shown"] == dict.fromkeys(EVERYBODY, "alice")
    assert len(site.journal("/browser/token")) == 2
    (token,) = {item["cookies"]["token"] for item in done.items[2:]}
    assert [cookie.value for cookie in record_of(tmp_path, "alice").cookies] == [token]


def test_a_page_that_is_never_closed_fails_only_who_waits_for_it(tmp_path: Path, site: Site) -> None:
    """At scrapy-playwright's limit of pages in a context, a request waits no longer than for a context."""
    requests = [request(site, f"/page/{number}", "alice", playwright_include_page=True) for number in (1, 2)]
    done = crawl(
        tmp_path,
        site,
        "Shown",
        arguments={"requests": requests},
        PLAYWRIGHT_MAX_PAGES_PER_CONTEXT=1,
        SESSIONS_CLAIM_TIMEOUT=3,
    )
    assert sorted(item.get("failed", "arrived") for item in done.items) == ["PoolBusy", "arrived"]
    assert done.stats["finish_reason"] == "finished"


def test_a_lasting_loss_reaches_the_errback(tmp_path: Path, site: Site) -> None:
    """A page that crashes again when it is tried once more fails, with an error of Playwright."""
    requests = [request(site, "/page/1", "alice")]
    done = crawl(tmp_path, site, "Crashing", arguments={"requests": requests}, errors=True)
    assert [item["failed"] for item in done.items] == ["Error"]
    assert len(site.journal("/page/1")) == 2
    assert done.stats["sessions/browser_lost"] == 1


@pytest.mark.parametrize(
    ("changes", "arrivals"),
    [
        ({"method": "POST", "body": "order=1"}, 1),
        ({"meta": {"dont_retry": True}}, 1),
        ({"method": "POST", "body": "order=1", "meta": {"early": True}}, 0),
    ],
    ids=["post", "dont_retry", "never sent"],
)
def test_what_must_not_be_repeated_is_sent_once(
    tmp_path: Path, site: Site, changes: dict[str, Any], arrivals: int
) -> None:
    """A lost POST, or one with dont_retry, reaches the errback at once, unless its page was lost before it was sent."""
    wanted = request(site, "/page/1", "alice", **changes.get("meta", {}))
    arguments = {"requests": [{**wanted, **changes, "meta": wanted["meta"]}]}
    done = crawl(tmp_path, site, "Crashing", arguments=arguments, errors=True)
    assert [item["failed"] for item in done.items] == ["Error"]
    assert len(site.journal("/page/1")) == arrivals
    assert done.stats["sessions/browser_lost"] == 1
    assert done.stats["playwright/page_count"] == (1 if arrivals else 2)


def test_a_page_that_was_lost_leaves_its_context_to_others(tmp_path: Path, site: Site) -> None:
    """With playwright_include_page, too, it is closed: nobody else could."""
    requests = [request(site, "/page/1", user, playwright_include_page=True) for user in ("alice", "bob")]
    done = crawl(
        tmp_path,
        site,
        "Crashing",
        arguments={"requests": requests},
        errors=True,
        SESSIONS_BROWSER_CONTEXTS=1,
        SESSIONS_CLAIM_TIMEOUT=20,
    )
    assert [item["failed"] for item in done.items] == ["Error", "Error"]
    assert len(site.journal("/page/1")) == 4


def test_what_is_the_users_stays_the_users(tmp_path: Path, site: Site) -> None:
    """The provider of browsers and page callbacks are the user's, and so are a playwright_context and its kwargs.

    A request with a playwright_context runs in that, without its session; playwright_context_kwargs come first.
    """
    requests = [
        request(site, "/browser/place", "alice", playwright_context="mine", playwright_context_kwargs={"locale": "it"}),
        request(site, "/browser/place", "alice", playwright_context_kwargs={"timezone_id": "Asia/Tokyo"}),
    ]
    profile = {"user_agent": "Browser of alice", "language": "de", "timezone": "Europe/Berlin"}
    done = crawl(
        tmp_path,
        site,
        "Greeted",
        arguments={"requests": requests},
        SESSIONS_PROFILES={"p": profile},
        PLAYWRIGHT_BROWSER_PROVIDER="tests.support.browser_provider.Provider",
        PLAYWRIGHT_LAUNCH_OPTIONS={"executable_path": "/no/such/browser"},
    )
    assert all(item["greeted"] for item in done.items)
    shown = [item["shown"] for item in done.items]
    assert {each["language"] for each in shown} == {"it", "de"}
    assert "Asia/Tokyo" in {each["zone"] for each in shown}
    assert done.stats["playwright/context_count"] == 2
