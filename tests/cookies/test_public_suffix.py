"""A cookie for a public suffix is refused at every door, and one whose Domain is the host is for it alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from scrapy_sessions import BrowserSession, Cookie, SessionManager
from scrapy_sessions.cookies import SessionCookieJar
from scrapy_sessions.exceptions import InvalidCookie
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.storage.base import Key
from tests.support.crawl import Crawl, Job, crawl_jobs
from tests.support.resolver import ANY_HOST
from tests.support.site import Arrival, Site

SHOP, OTHER = "shop.co.uk", "other.co.uk"
EVIL = Cookie(name="evil", value="1", domain="co.uk", host_only=False)


@pytest.fixture(scope="module")
def run(site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Crawl, Mapping[str, Arrival]]:
    """A crawl of hosts under public suffixes, and what arrived, by path."""
    site = site_process
    site.reset()
    set_cookies = ["suffix=1; Domain=co.uk; Path=/", "site=1; Domain=shop.co.uk; Path=/"]
    own = [{"name": "own", "value": "1", "domain": "co.uk"}, {"name": "fit", "value": "1", "domain": SHOP}]
    named = {"session_id": "alice"}
    steps = [
        [{"url": site.url("/set", SHOP, set=set_cookies), "meta": named}],
        [{"url": site.url("/own", SHOP), "meta": named, "cookies": own}],
        [{"url": site.url("/set", "github.io", set="page=1; Domain=github.io; Path=/"), "meta": named}],
        [{"url": site.url("/" + host, host), "meta": named} for host in (OTHER, "www.shop.co.uk")],
        [{"url": site.url("/" + host, host), "meta": named} for host in ("github.io", "me.github.io")],
    ]
    folder = tmp_path_factory.mktemp("suffix")
    (done,) = crawl_jobs(folder, Job("tests.support.spiders.base.Listed", {"steps": steps}), **ANY_HOST)
    return done, {arrival.path: arrival for arrival in site.journal()}


def test_a_response_sets_none(run: tuple[Crawl, Mapping[str, Arrival]]) -> None:
    """A site's cookie for its public suffix goes nowhere, and is counted."""
    crawled, seen = run
    assert seen[f"/{OTHER}"].cookies == {}
    assert "suffix" not in seen["/own"].cookies
    assert crawled.stats["sessions/cookies/refused/public_suffix"] == 2


def test_request_cookies_set_none(run: tuple[Crawl, Mapping[str, Arrival]]) -> None:
    """A spider's own cookie for a public suffix isn't sent, though another one of that request is."""
    assert run[1]["/own"].cookies == {"site": "1", "fit": "1"}


def test_a_sites_own_domain_is_shared(run: tuple[Crawl, Mapping[str, Arrival]]) -> None:
    """A cookie for a domain below the public suffix does go to its subdomains."""
    assert run[1]["/www.shop.co.uk"].cookies["site"] == "1"


def test_a_host_that_is_a_suffix_keeps_its_cookie(run: tuple[Crawl, Mapping[str, Arrival]]) -> None:
    """A host that is a public suffix itself gets back the cookie it set for its own name."""
    assert run[1]["/github.io"].cookies == {"page": "1"}


def test_a_host_that_is_a_suffix_shares_no_cookie(run: tuple[Crawl, Mapping[str, Arrival]]) -> None:
    """A cookie that a public suffix set for its own name goes to none of the sites below."""
    assert run[1]["/me.github.io"].cookies == {}


def test_a_record_brings_none() -> None:
    """Restoring a record leaves out its cookie for a public suffix, and keeps the others."""
    fit = Cookie(name="fit", value="1", domain="shop.co.uk", host_only=False)
    session = BrowserSession("alice")
    runtime_of(session).restore(PersistentSession(session_id="alice", cookies=[EVIL, fit]))
    assert [cookie.name for cookie in session.cookies] == ["fit"]


async def test_a_stored_record_brings_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that comes out of the store doesn't bring a cookie for a public suffix that was saved there."""
    with monkeypatch.context() as patch:
        patch.setattr(SessionCookieJar, "encoded", lambda jar: EVIL.model_dump_json().encode())
        async with SessionManager(tmp_path, namespace="shop") as manager:
            await manager.save_session("alice", BrowserSession("alice", idle_timeout=0))
            record = await manager.store.load(Key("shop", "alice"))
    assert record is not None
    assert b"evil" in record.body
    async with SessionManager(tmp_path, namespace="shop") as manager:
        assert len((await manager.get("alice")).cookies) == 0


def test_a_spiders_edit_sets_none() -> None:
    """Setting one by hand raises, and says why."""
    with pytest.raises(InvalidCookie, match="public_suffix"):
        BrowserSession("alice").cookies.set("evil", "1", domain=".co.uk")
