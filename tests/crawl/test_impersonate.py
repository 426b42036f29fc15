"""scrapy-impersonate: each session keeps the TLS fingerprint of its profile over redirects, retries and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.client_hello import GreetedSite, greeted_site
from tests.support.crawl import crawl, sqlite_url
from tests.support.spiders.pages import Pages

pytest.importorskip("scrapy_impersonate", reason="scrapy-impersonate, or curl_cffi, has no wheel for this Python")

HANDLER = "scrapy_impersonate.ImpersonateDownloadHandler"
BROWSERS = {"alice": "chrome131", "bob": "safari180"}


def settings_of(folder: Path) -> dict[str, Any]:
    unverified = {"impersonate_args": {"verify": False}}
    return {
        "DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER},
        "RETRY_ENABLED": True,
        "USER_AGENT": None,
        "DEFAULT_REQUEST_HEADERS": {},
        "SESSIONS_STORE": sqlite_url(folder / "s.db"),
        "SESSIONS_PROFILES": {
            name: {"meta": {"impersonate": browser, **unverified}} for name, browser in BROWSERS.items()
        },
    }


def urls(site: GreetedSite, *paths: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (site.url(path, name), {"session_id": name, "session_profile": name}) for path in paths for name in BROWSERS
    ]


async def test_each_session_keeps_its_fingerprint(tmp_path: Path) -> None:
    """Two browsers, two fingerprints: the same over a redirect to another host, a retry, and in a second run, whose
    profiles are others. Their headers are those of the browsers, as the project sets none."""
    settings = settings_of(tmp_path)
    with greeted_site(tmp_path) as site:
        await crawl(Pages, settings, urls=urls(site, "/hop", "/fail"))
        other = {name: {"meta": {"impersonate": "firefox133"}} for name in BROWSERS}
        await crawl(Pages, {**settings, "SESSIONS_PROFILES": other}, urls=urls(site, "/again"))
    found = {}
    for name in BROWSERS:
        greetings = [greeting for greeting in site.greetings if greeting.who == name]
        assert sorted(greeting.path for greeting in greetings) == ["/again", "/end", "/fail", "/fail", "/hop"]
        (found[name],) = {greeting.fingerprint for greeting in greetings}
        (agent,) = {greeting.headers["user-agent"] for greeting in greetings}
        assert ("Chrome/" in agent, "Version/18" in agent) == (name == "alice", name == "bob")
    assert found["alice"] != found["bob"]


async def test_headers_of_the_profile_win(tmp_path: Path) -> None:
    """A header that Scrapy or the profile sets replaces the browser's."""
    settings = settings_of(tmp_path)
    settings["SESSIONS_PROFILES"]["alice"]["user_agent"] = "Alice/1"
    with greeted_site(tmp_path) as site:
        await crawl(Pages, settings, urls=urls(site, "/page"))
    agents = {greeting.who: greeting.headers["user-agent"] for greeting in site.greetings}
    assert agents["alice"] == "Alice/1"
    assert "Safari/" in agents["bob"]
