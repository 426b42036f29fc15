"""What went wrong in other clients, by the advisories of SECURITY.md; those of cookie jars are in tests/cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
