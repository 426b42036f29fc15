"""How sessions start beside Scrapy's other ways to run: its shell, with and without a reactor, and other reactors."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from scrapy.settings import default_settings

from scrapy_sessions import PersistentSession, SessionManager
from tests.support.crawl import ENVIRONMENT, PLAIN, run, sqlite_url, status_of_a_failed_start
from tests.support.site import Site
from tests.support.spiders.pages import Pages
from tests.support.stores import Unopenable
from tests.support.waiting import HANG

SPIDER = """
from scrapy import Spider


class Shop(Spider):
    name = "shop"
"""

MODES = [
    "reactor",
    pytest.param(
        "reactorless",
        marks=pytest.mark.skipif(
            not hasattr(default_settings, "TWISTED_REACTOR_ENABLED"), reason="this Scrapy always has a reactor"
        ),
    ),
]


def shell(folder: Path, url: str, code: str, mode: str, *options: str) -> str:
    """What ``scrapy shell -c`` prints in a project in *folder* with a spider named shop."""
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = project\n", encoding="ascii")
    lines = [f"{name} = {value!r}" for name, value in PLAIN.items()]
    lines += ['SPIDER_MODULES = ["spiders"]', f"SESSIONS_STORE = {sqlite_url(folder / 's.db')!r}"]
    if mode == "reactorless":
        lines.append("TWISTED_REACTOR_ENABLED = False")
    (folder / "project.py").write_text("\n".join(lines), encoding="ascii")
    (folder / "spiders.py").write_text(SPIDER, encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "shell", url, "-c", code, *options],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()[-1]


def record_of(path: Path, namespace: str, session_id: str) -> PersistentSession:
    async def load() -> PersistentSession | None:
        async with SessionManager(path, namespace=namespace) as manager:
            return await manager.load_session(session_id)

    record = asyncio.run(load())
    assert record is not None
    return record


@pytest.mark.parametrize("mode", MODES)
def test_shell(tmp_path: Path, site: Site, mode: str) -> None:
    """scrapy shell fetches in the default session of its own spider's name."""
    cookies = "sorted(c.name for c in crawler.spider.sessions.of(response).cookies)"
    code = f"(response.status, response.meta['session_id'], {cookies})"
    said = shell(tmp_path, site.url("/answer", set="a=1"), code, mode)
    assert said == "(200, 'default#1', ['a'])"


@pytest.mark.parametrize("mode", MODES)
def test_shell_of_a_spider(tmp_path: Path, site: Site, mode: str) -> None:
    """scrapy shell --spider fetches in that spider's session, and SESSIONS_DEFAULT_ID names it."""
    options = ("--spider", "shop", "-s", "SESSIONS_DEFAULT_ID=alice")
    code = "(response.status, response.meta['session_id'], crawler.spider.name, crawler.get_extension("
    code += "__import__('scrapy_sessions.extension').extension.SessionsExtension).manager.namespace)"
    assert shell(tmp_path, site.url("/answer"), code, mode, *options) == "(200, 'alice', 'shop', 'shop')"


@pytest.mark.parametrize("mode", MODES)
def test_shell_walks_in_with_a_stored_session(tmp_path: Path, site: Site, mode: str) -> None:
    """What a stored session holds is sent from the shell."""

    async def prepare() -> None:
        async with SessionManager(tmp_path / "s.db", namespace="shop") as manager:
            (await manager.get("alice")).cookies.set("sid", "1", domain="127.0.0.1")

    asyncio.run(prepare())
    options = ("--spider", "shop", "-s", "SESSIONS_DEFAULT_ID=alice")
    shell(tmp_path, site.url("/answer"), "response.status", mode, *options)
    assert site.journal("/answer")[0].cookies == {"sid": "1"}


@pytest.mark.parametrize("mode", MODES)
def test_crawl_in_both_modes(tmp_path: Path, site: Site, mode: str) -> None:
    """A crawl saves its sessions with a reactor and without."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    if mode == "reactorless":
        settings["TWISTED_REACTOR_ENABLED"] = False  # type: ignore[assignment]
    done = run(Pages, settings, {"urls": [(site.url("/answer"), {"session_id": "alice"})]})
    assert done.status == 0, done.log
    assert done.stats["sessions/created"] == 1
    assert record_of(tmp_path / "s.db", "pages", "alice").pages_visited == 1


def test_another_reactor_is_refused(tmp_path: Path, site: Site) -> None:
    """Without an asyncio reactor the crawl stops at start and says which setting to change."""
    spider = tmp_path / "shop.py"
    spider.write_text(SPIDER + f'\n    start_urls = ["{site.url("/answer")}"]\n', encoding="ascii")
    options = {"ADDONS": json.dumps(PLAIN["ADDONS"]), "TWISTED_REACTOR": "twisted.internet.selectreactor.SelectReactor"}
    arguments = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]
    done = subprocess.run(
        [sys.executable, "-m", "scrapy", "runspider", "shop.py", *arguments],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == status_of_a_failed_start()
    assert "Sessions need Scrapy's asyncio reactor: remove TWISTED_REACTOR from the settings" in done.stderr
    assert site.journal("/answer") == []


@pytest.mark.parametrize("mode", MODES)
def test_a_store_fault_at_the_start_ends_with_an_error(site: Site, mode: str) -> None:
    """A crawl whose store can't be opened sends no request, and its exit status is 1."""
    settings = {"SESSIONS_STORE": f"{Unopenable.__module__}.{Unopenable.__name__}"}
    if mode == "reactorless":
        settings["TWISTED_REACTOR_ENABLED"] = False  # type: ignore[assignment]
    done = run(Pages, settings, {"urls": [(site.url("/answer"), {})]})
    assert done.status == 1
    assert done.stats["finish_reason"] == "session_store_error"
    assert "Sessions can't be used, so the spider is closed: The test's server is down" in done.log
    assert site.journal("/answer") == []
