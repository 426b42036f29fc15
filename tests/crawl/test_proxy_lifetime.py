"""``proxy_lifetime`` in a crawl: requests that leave later go through another exit."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import SessionConfig
from tests.support.clock import Clock
from tests.support.crawl import crawl, sqlite_url
from tests.support.proxy import Proxy
from tests.support.site import Site
from tests.support.spiders.base import SiteSpider

MINUTE = 60.0


class AnyUser(Proxy):
    """A proxy that takes every user with the password. With *clock*, each request through it takes a lifetime."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__("")
        self.clock = clock

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        if self.clock is not None:
            self.clock.ahead += MINUTE  # before the answer: the next request may leave at once
        super().handle(handler)

    def accepts(self, brought: str | None) -> bool:
        return brought is not None and brought.endswith(":password")

    def users(self) -> dict[str, list[str]]:
        """The users that came, by path."""
        found: dict[str, list[str]] = {}
        for passage in self.passages:
            found.setdefault(passage.path, []).append(str(passage.credentials).partition(":")[0])
        return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


class Login(SessionConfig):
    """Asks for a page as its login."""

    async def login(self, session: Any, fetch: Any) -> None:
        await fetch(Request(self.login_url))


class Aging(SiteSpider):
    """Sends one request after the other, and moves *clock* by a lifetime before each number in *late*."""

    def __init__(self, urls: list[str], late: set[int], clock: Clock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.urls, self.late, self.clock = urls, late, clock

    async def start(self) -> AsyncIterator[Any]:
        yield self.request(0)

    def request(self, number: int) -> Request:
        if number in self.late:
            self.clock.ahead += MINUTE
        meta = {"session_id": "alice"}
        return Request(self.urls[number], meta=meta, cb_kwargs={"number": number}, dont_filter=True)

    def parse(self, response: Response, number: int = 0, **kwargs: Any) -> Any:
        assert "proxy" not in response.meta
        if number + 1 < len(self.urls):
            yield self.request(number + 1)


async def run(proxy: Proxy, site: Site, clock: Clock, paths: list[str], *late: int, **settings: Any) -> None:
    profile = {"proxy": f"http://customer-{{token}}:password@{proxy.address}", "proxy_lifetime": MINUTE}
    given = {"SESSIONS_PROFILES": {"sticky": profile}, "SESSIONS_STORE": "memory://", "SESSIONS_IDLE_TIMEOUT": 0}
    given |= settings
    await crawl(
        Aging, given, urls=[path if "://" in path else site.url(path) for path in paths], late=set(late), clock=clock
    )


async def test_a_new_exit_after_each_lifetime(site: Site, clock: Clock, tmp_path: Path) -> None:
    """Within a lifetime all requests have one user name; after it another one, which a second run uses on."""
    with AnyUser() as proxy:
        for _ in range(2):
            store = sqlite_url(tmp_path / "s.db")
            await run(proxy, site, clock, ["/a", "/b", "/c", "/d"], 2, SESSIONS_STORE=store)
        (a, a2), (b, b2), (c, c2), (d, d2) = (proxy.users()[path] for path in ("/a", "/b", "/c", "/d"))
    assert (a, c, a2, c2) == (b, d, b2, d2)
    assert a2 == c  # in the lifetime in which the first run ended
    assert len({a, c, c2}) == 3
    assert all(user.startswith("customer-") and "{" not in user for user in (a, c, c2))


async def test_a_redirect_uses_the_current_one(site: Site, clock: Clock) -> None:
    """So does each hop of a redirect, here to another host."""
    with AnyUser(clock) as proxy:
        target = site.url("/then", host="127.0.0.2")
        await run(proxy, site, clock, [site.url("/redirect", to=target)], REDIRECT_ENABLED=True)
        users = proxy.users()
    assert users["/redirect"] != users["/then"]


async def test_a_login_uses_it(site: Site, clock: Clock) -> None:
    """The requests of a login go through the exit of their time."""

    class Here(Login):
        login_url = site.url("/login")

    with AnyUser() as proxy:
        await run(proxy, site, clock, ["/a", "/b"], 1, SESSIONS_CONFIG=Here)
        users = proxy.users()
    assert users["/login"] == users["/a"]
    assert users["/a"] != users["/b"]


async def test_a_retry_uses_the_current_one(site: Site, clock: Clock) -> None:
    """A request that is sent again after a lifetime goes through the new exit, with its credentials only."""
    with AnyUser(clock) as proxy:
        await run(proxy, site, clock, ["/fail"], RETRY_ENABLED=True)
        (users,) = proxy.users().values()
    assert len(users) == len(set(users)) == 2
