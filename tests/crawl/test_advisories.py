"""What went wrong in other clients, by the advisories of SECURITY.md; those of cookie jars are in tests/cookies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request

from tests.support.crawl import crawl, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages

OTHER = "127.0.0.2"


class Stale(Pages):
    """Sends each request with the header ``Host`` of another site."""

    name = "stale"

    async def start(self) -> AsyncIterator[Any]:
        async for request in super().start():
            assert isinstance(request, Request)
            yield request.replace(headers={"Host": OTHER})


class Tunnelled(Pages):
    """Sends its requests in alice's session, with a cookie and a header for *origin*, through *proxy*."""

    name = "tunnelled"
    origin: str
    proxy: str

    async def start(self) -> AsyncIterator[Any]:
        alice = await self.sessions.get("alice")
        alice.proxy = self.proxy
        alice.headers.set("Authorization", "Bearer secret", url=self.origin)
        alice.cookies.set("sid", "secret", domain=OTHER, secure=True)
        yield Request(self.origin, self.parse, errback=self.failed, meta={"session_id": "alice"})


@asynccontextmanager
async def proxy(answer: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that gives each request the same answer: its address, and the heads of the requests."""
    heads: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_a_proxy_gets_no_secret_of_the_site() -> None:
    """What opens a tunnel through a proxy has the proxy's password, and neither cookies nor headers for the site."""
    async with proxy("403 Forbidden") as (address, heads):
        settings = {"SESSIONS_STORE": "memory://", "RETRY_ENABLED": False}
        arguments = {"origin": f"https://{OTHER}/account", "proxy": f"http://alice:password@{address}"}
        await crawl(Tunnelled, settings, **arguments)
    assert heads
    assert all(head.startswith(f"CONNECT {OTHER}:443 ") and "Proxy-Authorization: Basic " in head for head in heads)
    assert not any("secret" in head or "Cookie" in head for head in heads)


async def test_a_redirect_to_another_scheme_changes_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a redirect to https the system's proxy for https is used, without the password of the one for http."""
    settings = {"SESSIONS_STORE": "memory://", "RETRY_ENABLED": False}
    async with (
        proxy(f"302 Found\r\nLocation: https://{OTHER}/second") as (plain, first),
        proxy("403 Forbidden") as (tunnel, second),
    ):
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://alice:password@{plain}")
        monkeypatch.setenv("https_proxy", f"http://{tunnel}")
        await crawl(Pages, settings, urls=[(f"http://{OTHER}/first", {"session_id": "alice"})])
    assert [head.splitlines()[0] for head in first] == [f"GET http://{OTHER}/first HTTP/1.1"]
    assert "Proxy-Authorization: Basic " in first[0]
    assert {head.splitlines()[0] for head in second} == {f"CONNECT {OTHER}:443 HTTP/1.1"}
    assert not any("Authorization" in head for head in second)


async def test_a_netrc_is_not_read(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password of a .netrc is sent, to the first host or to one that a redirect leads to."""
    (tmp_path / ".netrc").write_text("default login alice password secret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    url = site.url("/first", to=site.url("/second", OTHER))
    await crawl(Pages, {"SESSIONS_STORE": "memory://"}, urls=[(url, {"session_id": "alice"})])
    arrivals = site.journal()
    assert [arrival.path for arrival in arrivals] == ["/first", "/second"]
    assert [arrival.header("Authorization") for arrival in arrivals] == [None, None]


async def test_cookies_are_chosen_by_the_url(site: Site, tmp_path: Path) -> None:
    """A ``Host`` header of the request's own brings it no cookie of that host."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "sessions.db"), "SESSIONS_NAMESPACE": "one"}
    alice = {"session_id": "alice"}
    await crawl(Pages, settings, urls=[(site.url("/set", OTHER, set="sid=1; Path=/"), alice)])
    await crawl(Stale, settings, urls=[(site.url("/stale"), alice)])
    await crawl(Pages, settings, urls=[(site.url("/back", OTHER), alice)])
    stale, back = site.journal()[1:]
    assert (stale.header("Host"), stale.cookies) == (OTHER, {})  # CVE-2026-6276
    assert back.cookies == {"sid": "1"}
