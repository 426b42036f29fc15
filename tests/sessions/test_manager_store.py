"""The manager with no arguments opens the store that spiders use from the same folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.crawl import ENVIRONMENT, PLAIN
from tests.support.site import Site
from tests.support.waiting import HANG

LIST = """
import asyncio, json
from scrapy_sessions import SessionManager

async def main():
    async with SessionManager() as manager:
        print(json.dumps([(i["namespace"], i["session_id"]) for i in await manager.list_sessions()]))

asyncio.run(main())
"""

SPIDER = """
from scrapy import Request, Spider


class Shop(Spider):
    name = "shop"

    async def start(self):
        yield Request(self.url, meta={"session_id": "alice"})

    def parse(self, response):
        pass
"""


def make_project(folder: Path, settings: str) -> Path:
    """Make a Scrapy project with one spider and these *settings* beside the add-on."""
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = place.settings\n", encoding="ascii")
    package = folder / "place"
    (package / "spiders").mkdir(parents=True)
    for module in (package, package / "spiders"):
        (module / "__init__.py").write_text("", encoding="ascii")
    lines = [f"{name} = {value!r}" for name, value in PLAIN.items()]
    lines += ['BOT_NAME = "place"', 'SPIDER_MODULES = ["place.spiders"]', settings]
    (package / "settings.py").write_text("\n".join(lines), encoding="ascii")
    (package / "spiders" / "shop.py").write_text(SPIDER, encoding="ascii")
    return folder


def python(folder: Path, *arguments: str) -> str:
    """What Python prints in *folder*."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG,
    ).stdout


@pytest.mark.parametrize("settings", ["", 'SESSIONS_STORE = "sqlite:///elsewhere.db"'])
def test_inside_a_project(tmp_path: Path, site: Site, settings: str) -> None:
    """Inside a project it is the project's store, the default one and the one of its settings."""
    project = make_project(tmp_path, settings)
    python(project, "-m", "scrapy", "crawl", "shop", "-a", f"url={site.url('/answer')}")
    assert json.loads(python(project, "-c", LIST)) == [["shop", "alice"]]
    assert (project / "elsewhere.db").exists() is bool(settings)
    assert (project / ".scrapy" / "sessions" / "sessions.db").exists() is not bool(settings)


def test_in_a_folder_of_a_project(tmp_path: Path, site: Site) -> None:
    """It is the same store from a folder below the project's."""
    project = make_project(tmp_path, "")
    python(project, "-m", "scrapy", "crawl", "shop", "-a", f"url={site.url('/answer')}")
    below = project / "place" / "spiders"
    assert json.loads(python(below, "-c", LIST)) == [["shop", "alice"]]


def test_outside_of_projects(tmp_path: Path, site: Site) -> None:
    """Outside of projects it is the file below the current folder that a spider run there uses."""
    spider = tmp_path / "shop.py"
    spider.write_text(SPIDER, encoding="ascii")
    addon = json.dumps(PLAIN["ADDONS"])
    options = ["-s", f"ADDONS={addon}", "-s", "TELNETCONSOLE_ENABLED=0"]
    python(tmp_path, "-m", "scrapy", "runspider", "shop.py", "-a", f"url={site.url('/answer')}", *options)
    assert json.loads(python(tmp_path, "-c", LIST)) == [["shop", "alice"]]
