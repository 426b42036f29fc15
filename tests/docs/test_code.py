"""What the documentation shows: its files, put together to projects, run and print what it says."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

from scrapy_sessions import SessionsAddon
from tests.support.docs_pages import DOCS, NOT_RUN, PAGES, README, Reader, blocks, commands, demo, page_named
from tests.support.quotes_site import quotes_site
from tests.support.site import Site


@pytest.fixture
def shop() -> Iterator[str]:
    """The URL of the example project's shop, just opened."""
    with demo.shop() as url:
        yield url


def test_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's spider prints what the README shows: the first run logs in, the second restores the session."""
    with quotes_site() as site:
        monkeypatch.setenv("http_proxy", site.url)
        Reader(tmp_path).follow(README)
    assert site.logins == 1


@pytest.mark.parametrize("file", ["account_before.py", "account_after.py"])
def test_before_and_after_run(tmp_path: Path, shop: str, file: str) -> None:
    """The spider without sessions and the one with sessions do the same: two runs, two pages, one login."""
    reader = Reader(tmp_path, {"https://shop.example": shop})
    for block in blocks(page_named("comparison")):
        if block.file == file:
            reader.write(file, block.text)
    outputs = [reader.run(f"scrapy runspider {file}") for _ in range(2)]
    assert [output.count("'title': ") for output in outputs] == [1, 1]
    assert demo.seen_by_shop(shop)["logins"] == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_tutorial_runs(tmp_path: Path, shop: str) -> None:
    """The tutorial's project does what the tutorial says, and logs in five times in all: never without need."""
    Reader(tmp_path, {"http://127.0.0.1:8080": shop}).follow(DOCS / "tutorial.rst")
    assert demo.seen_by_shop(shop)["logins"] == 5


@pytest.mark.parametrize("name", ["cookies", "manager", "storage", "store"])
def test_topic_runs(tmp_path: Path, name: str) -> None:
    """The files and commands of a topic print what the topic shows."""
    Reader(tmp_path).follow(page_named(name))


def test_every_command_is_run_or_known_not_to_be() -> None:
    """A command in the documentation is on a page that a test follows, unless it is of those that no test can run."""
    followed = {"README.md", "tutorial.rst", "cookies.rst", "manager.rst", "storage.rst", "store.rst"}
    followed |= {"login.rst", "ready-made-logins.rst", "verdicts.rst", "sharing.rst"}  # by tests/docs/test_sessions.py
    followed |= {  # by tests/docs/test_how_to.py
        *("accounts.rst", "api-token.rst", "browser-login.rst", "daily-login.rst", "fleet.rst", "from-cookiejar.rst"),
        *("from-scrapy-cookies.rst", "from-zyte-api.rst", "random-logouts.rst", "regions.rst", "second-factor.rst"),
        *("sso.rst", "sticky-proxies.rst"),
    }
    followed |= {"shell.rst"}  # by tests/docs/test_shell.py
    followed |= {"encryption.rst"}  # by tests/docs/test_encryption.py
    followed |= {"formats.rst"}  # by tests/docs/test_formats.py
    followed |= {"report.rst"}  # by tests/commands/test_report.py
    followed |= {"analytics.rst"}  # by tests/commands/test_stats.py
    loose = [
        command
        for page in PAGES
        for command, _ in commands(page)
        if page.name not in followed and not NOT_RUN.match(command)
    ]
    assert loose == []


SPIDERS = """
import json
import sys

from form2request import form2request
from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess

SITE = sys.argv[1]


class Base(Spider):
    path = "/answer"

    async def start(self):
        yield Request(SITE + self.path, meta=dict(self.asks), errback=getattr(self, "on_error", None))

    asks = {"session_id": "alice"}

    def parse(self, response):
        yield from self.first(response)

    def parse_orders(self, response):
        yield {"orders": 1}

    def parse_basket(self, response):
        yield {"basket": response.meta["session_id"]}


FRAGMENTS

if __name__ == "__main__":
    process = CrawlerProcess(SETTINGS)
    crawlers = [process.create_crawler(spider) for spider in Base.__subclasses__()]
    items = {crawler.spidercls.name: [] for crawler in crawlers}

    def scraped(item, spider):
        items[spider.name].append(item)

    for crawler in crawlers:
        crawler.signals.connect(scraped, signal=__import__("scrapy").signals.item_scraped)
        process.crawl(crawler)
    process.start()
    errors = {c.spidercls.name: c.stats.get_value("log_count/ERROR", 0) for c in crawlers}
    print(json.dumps({"items": items, "errors": errors}))
"""

# Spiders around the methods that the topics show: page, method, and what the spider is told besides.
METHODS = {
    "identity": ("identity", "def parse(", ""),
    "token": ("identity", "def parse_login(", 'path = \'/answer?type=application/json&body={"token":+"t-1"}\''),
    "basket": ("pools", "def parse_product(", "path = '/login'\nasks = {'session_pool': 'shop'}"),
    "life": ("lifecycle", "def parse(", ""),
    "lost": ("from-cookiejar", "def on_error(", "path = '/drop'"),
}


def test_fragments_run(tmp_path: Path, site: Site) -> None:
    """The callbacks that the topics show, each in a spider of its own, do what they say and raise nothing."""
    address = site.url("").rstrip("/")
    spiders = ""
    for name, (topic, method, told) in METHODS.items():
        code = next(b.text for b in blocks(page_named(topic)) if b.text.startswith((method, f"async {method}")))
        function = re.match(r"(?:async )?def (\w+)", code)
        assert function is not None
        code += f"\nname = {name!r}\n{told}\n" + (f"first = {function[1]}\n" if function[1] != "parse" else "")
        code = code.replace("https://shop.example", address)
        spiders += f"class {name.title()}(Base):\n" + re.sub(r"^", "    ", code, flags=re.MULTILINE) + "\n\n"
    declared: dict[str, Any] = {}
    exec("".join(b.text for b in blocks(page_named("pools")) if b.text.startswith("SESSIONS_")), declared)
    exec(next(b.text for b in blocks(page_named("identity")) if b.text.startswith("SESSIONS_")), declared)
    settings = {key: value for key, value in declared.items() if key.startswith("SESSIONS_")}
    settings["SESSIONS_PROFILES"]["en-phone"] = {}
    del settings["SESSIONS_PROFILES"]["de-laptop"]["proxy"]  # there is none
    settings |= {
        "ADDONS": {"scrapy_sessions.SessionsAddon": 300},
        "SESSIONS_STORE": "memory://",
        "RETRY_ENABLED": False,
    }
    settings |= {"LOG_LEVEL": "INFO"}
    script = tmp_path / "fragments.py"
    script.write_text(SPIDERS.replace("FRAGMENTS", spiders).replace("SETTINGS", repr(settings)))
    output = Reader(tmp_path).run(f"python fragments.py {address}")
    result = json.loads(next(line for line in output.splitlines() if line.startswith('{"items"')))
    assert set(result["errors"].values()) == {0}, output
    assert result["items"] == {
        "identity": [{"agent": "ExampleReader/1.0 (laptop)", "language": "de-DE,de;q=0.9"}],
        "token": [{"orders": 1}],
        "basket": [{"basket": "shop#1"}],
        "life": [],
        "lost": [{"status": "/status"}],
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_is_python_and_names_what_exists(page: Path) -> None:
    """Every block of Python parses, what it imports from the package is there, and so is what it names by path."""
    for block in blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scrapy_sessions"):
                for alias in node.names:
                    assert hasattr(importlib.import_module(str(node.module)), alias.name), alias.name
            elif isinstance(node, ast.Constant) and re.fullmatch(r"scrapy(_sessions)?(\.\w+)+", str(node.value)):
                try:
                    load_object(str(node.value))
                except NameError:
                    importlib.import_module(str(node.value))


def components(settings: Settings, name: str) -> dict[Any, int]:
    """The components in force, Scrapy's own included, with their priorities."""
    # Scrapy 2.14 has the second only.
    merge = getattr(settings, "get_component_priority_dict_with_base", settings.getwithbase)
    return {load_object(key): priority for key, priority in merge(name).items() if priority is not None}


def test_the_setup_by_hand_is_that_of_the_addon() -> None:
    """The settings that the documentation writes out bring the same components into force as the add-on does."""
    (code,) = (b.text for b in blocks(DOCS / "install.rst") if b.text.startswith("EXTENSIONS"))
    values: dict[str, Any] = {}
    exec(code, {}, values)
    by_hand, by_addon = Settings(values), Settings()
    SessionsAddon().update_settings(by_addon)
    for name in ("EXTENSIONS", "DOWNLOADER_MIDDLEWARES", "SPIDER_MIDDLEWARES"):
        assert components(by_hand, name) == components(by_addon, name)
        assert components(by_hand, name) != components(Settings(), name)
    name = "REQUEST_FINGERPRINTER_CLASS"
    assert load_object(by_hand[name]) is load_object(by_addon[name])
