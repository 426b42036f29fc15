"""scrapy-playwright as people use it, with a real browser: its own handler, and ``playwright`` in the meta."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from tests.field.application import Application, application
from tests.field.crawling import Run, run
from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING

pytestmark = pytest.mark.skipif(MISSING, reason="there is no browser")

AGENTS = {"alice": "Browser of alice", "bob": "Browser of bob"}
SETTINGS: dict[str, Any] = {
    "CONCURRENT_REQUESTS": 4,
    "DOWNLOAD_HANDLERS": {"http": "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"},
    "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": CHROMIUM, "args": ARGUMENTS},
    "SESSIONS_POOLS": {user: {"sessions": [user], "profiles": [user]} for user in AGENTS},
    "SESSIONS_PROFILES": {user: {"user_agent": agent} for user, agent in AGENTS.items()},
}
PATHS = [f"/page/{number}" for number in range(1, 9)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path / "app", "two_origins") as running:
        yield running


def seen(app: Application) -> list[dict[str, Any]]:
    """What reached the site: path, host and headers of each request."""
    with build_opener(ProxyHandler({})).open(f"{app.url}/seen") as response:
        found: list[dict[str, Any]] = json.loads(response.read())
    return found


def in_browser(folder: Path, app: Application, spider: str) -> Run:
    return run(folder, app, f"browser.{spider}", AGENTS, PATHS, **SETTINGS)


def test_each_session_has_its_own_browser_context(tmp_path: Path, app: Application) -> None:
    """Two sessions in one browser: their logins don't meet, and a logout is found by where the browser ends up."""
    app.log_out(AGENTS, after=3)
    done = in_browser(tmp_path, app, "InBrowser")
    done.check(AGENTS, PATHS)
    assert done.counts.logins == dict.fromkeys(AGENTS, 2)


def test_no_secret_reaches_another_origin(tmp_path: Path, app: Application) -> None:
    """A header that is bound to an origin goes there with all that a page loads, and to no other."""
    in_browser(tmp_path, app, "InBrowser").check(AGENTS, PATHS)
    arrived = seen(app)
    assert {each["host"] for each in arrived if each["path"] == "/frame"} == {"localhost"}
    for each in arrived:
        agent = each["headers"]["User-Agent"]
        bound = each["host"] == "127.0.0.1" and agent in AGENTS.values()
        assert each["headers"].get("X-Secret") == (f"of {agent.rpartition(' ')[2]}" if bound else None)
    assert {each["headers"]["User-Agent"] for each in arrived if each["path"] != "/seen"} >= set(AGENTS.values())


def test_a_copy_of_a_request_keeps_nothing_of_its_session(tmp_path: Path, app: Application) -> None:
    """Alice's request, copied for bob with all its meta, runs in bob's browser context, under his identity.

    For alice it stays in her page. The cookies that the browser got, several in one header, are in her session, too.
    """
    done = in_browser(tmp_path, app, "Copies").crawl
    first, second, third, fourth = (done.item(path=f"/page/{number}") for number in range(1, 5))
    assert {name.lower() for name in first["headers"]}.isdisjoint({"x-secret", "cookie", "user-agent"})
    assert [each["user"] for each in (first, second, third, fourth)] == ["alice", "bob", "alice", "alice"]
    assert third["same page"]
    agents = {each["path"]: each["headers"]["User-Agent"] for each in seen(app) if "/page/" in each["path"]}
    assert [agents[path] for path in PATHS[:4]] == [AGENTS[user] for user in ("alice", "bob", "alice", "alice")]
    (plain,) = [each for each in seen(app) if each["path"] == "/page/4"]
    assert set(plain["headers"]["Cookie"].split("; ")) == {"user=alice", "theme=dark"}
    assert plain["headers"]["X-Secret"] == "of alice"
