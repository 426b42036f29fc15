"""What a crawl loads at its start: what every crawl needs, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import scrapy_sessions

CRAWL = """
import json, sys
from scrapy import Spider
from scrapy.crawler import CrawlerProcess

class Empty(Spider):
    name = "empty"
    async def start(self):
        return
        yield

process = CrawlerProcess(json.loads(sys.argv[1]))
process.crawl(Empty)
process.start()
print(json.dumps(sorted(sys.modules)))
"""
ADDONS = {"scrapy_sessions.SessionsAddon": 300}


def loaded(folder: Path, **settings: Any) -> set[str]:
    """The modules of a process after an empty crawl with *settings*."""
    command = [
        sys.executable,
        "-c",
        CRAWL,
        json.dumps({"LOG_LEVEL": "WARNING", "TELNETCONSOLE_ENABLED": False, **settings}),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(scrapy_sessions.__file__).parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(json.loads(done.stdout))


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that an empty crawl loads with the add-on, and without it doesn't."""
    folder = tmp_path_factory.mktemp("crawl")
    return loaded(folder, ADDONS=ADDONS) - loaded(folder)


def test_the_crawl_has_sessions(added: set[str]) -> None:
    """The modules are those of a crawl whose extension and middlewares are there."""
    ours = {"extension", "middlewares", "spidermiddlewares", "sessions.manager", "storage.sqlite.store"}
    assert {f"scrapy_sessions.{name}" for name in ours} <= added


@pytest.mark.parametrize(
    "part",
    [
        "analytics.prometheus",
        "browser",
        "commands",
        "crawl.login",
        "crawl.login_redirects",
        "crawl.pauses",
        "crawl.shell",
        "formats",
        "logins",
        "report",
        "testing",
    ],
)
def test_a_part_that_is_not_used_is_not_loaded(added: set[str], part: str) -> None:
    """Reports, files, the command line, the shell, logins and optional parts cost an empty crawl nothing."""
    name = f"scrapy_sessions.{part}"
    assert [module for module in added if module == name or module.startswith(f"{name}.")] == []


@pytest.mark.parametrize("library", ["difflib", "itemadapter", "jinja2", "pydantic.v1", "rich", "url_matcher"])
def test_a_library_that_is_not_used_is_not_loaded(added: set[str], library: str) -> None:
    """Libraries that some crawls use are loaded by those crawls."""
    assert library not in added


def test_no_schema_is_built(added: set[str]) -> None:
    """Without a setting of ours nothing is validated: pydantic builds no schema, and searches for no plugins."""
    assert "pydantic" in added
    assert "pydantic.plugin._loader" not in added
