"""The example project as an egg under Scrapyd: settings without a project folder."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.field.scrapyd_service import Scrapyd, build_egg, scrapyd
from tests.support.command_line import environment, sessions
from tests.support.docs_pages import blocks, page_named

EXAMPLE = Path(__file__).parents[2] / "example_project"
_open = build_opener(ProxyHandler({})).open


@pytest.fixture
def shop() -> Iterator[str]:
    """The shop of the example, which ends with its standard input."""
    command = [sys.executable, "-m", "shop_site", "--stop-at-eof"]
    process = subprocess.Popen(command, cwd=EXAMPLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


def crawled(service: Scrapyd, shop: str) -> tuple[dict[str, Any], str]:
    """Run the spider that logs in, and return its stats and its log."""
    file = service.folder / "stats.json"
    file.unlink(missing_ok=True)
    log = service.run("shop", "accounts", SHOP_SITE=shop, STATS_FILE=str(file))
    assert file.exists(), log
    return json.loads(file.read_text()), log


def test_an_egg_keeps_its_sessions_in_the_working_directory(tmp_path: Path, shop: str) -> None:
    """The first run logs in, the second one needs no login; the third is logged out in the middle and loses no page."""
    with scrapyd(tmp_path / "scrapyd") as service:
        service.call("addversion", project="shop", version="1", egg=build_egg(EXAMPLE, tmp_path))
        first, log = crawled(service, shop)
        store = service.folder / ".scrapy" / "sessions"
        assert (store / "sessions.db").exists(), log
        assert log.count("There is no scrapy.cfg here") == 1
        assert f"INFO: There is no scrapy.cfg here: sessions are stored in {store}" in log
        assert first["sessions/logins"] == 2, log
        second, log = crawled(service, shop)
        assert "sessions/logins" not in second, log
        assert second["sessions/restored"] == 2
        with _open(Request(f"{shop}/admin/expire?user=alice&after=2", b"")):
            third, log = crawled(service, shop)
        assert third["sessions/logins"] == 1, log
        assert first["item_scraped_count"] == second["item_scraped_count"] == third["item_scraped_count"] > 0
        assert "ERROR" not in log
    listed = sessions(service.folder, "list", "--json")
    assert {line["session_id"] for line in json.loads(listed.out)} == {"alice", "bob"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_page_of_the_documentation(tmp_path: Path, shop: str) -> None:
    """Its project is deployed and scheduled as it says: the second job needs no login."""
    with scrapyd(tmp_path / "scrapyd", SHOP_alice="wonderland") as service:
        store = tmp_path / "stored" / "sessions.db"
        here = {
            "https://shop.example": shop,
            "http://localhost:6800": service.url,
            "/var/lib/scrapyd/sessions/sessions.db": str(store),
        }

        def written(text: str) -> str:
            for shown, real in here.items():
                text = text.replace(shown, real)
            return text

        project = tmp_path / "project"
        (project / "shop" / "spiders").mkdir(parents=True)
        for package in (project / "shop", project / "shop" / "spiders"):
            (package / "__init__.py").touch()
        page = blocks(page_named("scrapyd"))
        for block in page:
            if block.file:
                (project / block.file).write_text(written(block.text))
        with (project / "shop" / "settings.py").open("a") as settings:
            settings.write('SPIDER_MODULES = ["shop.spiders"]\n')
        (spider,) = (block for block in blocks(page_named("daily-login")) if block.file)
        (project / "shop" / "spiders" / str(spider.file)).write_text(written(spider.text))
        (shown,) = (written(block.text).splitlines() for block in page if block.language == "sh")
        programs = {"scrapyd-deploy": [sys.executable, "-W", "ignore", "-m", "scrapyd_client.deploy"], "curl": ["curl"]}
        deploy, schedule = ([*programs[words[0]], *words[1:]] for words in map(shlex.split, shown))

        def run(command: list[str]) -> str:
            done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        run(deploy)
        first, second = (service.log("shop", "daily", json.loads(run(schedule))["jobid"]) for _ in range(2))
    assert "alice logged in" in first
    assert "'sessions/restored': 1" in second
    assert "alice logged in" not in second
    assert store.exists()
    assert "There is no scrapy.cfg here" not in first + second
