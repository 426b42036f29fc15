"""Marked secrets in every place of a crawl at DEBUG: none comes out in any output."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from scrapy_sessions.keys import VARIABLE, new_key
from tests.support.command_line import environment, make_project, sessions
from tests.support.proxy import Proxy
from tests.support.site import Site

pytestmark = pytest.mark.heavy

SPIDER = """
import logging

from scrapy import Request, Spider
from scrapy_sessions import SessionConfig, Verdict


class Config(SessionConfig):
    tries = 0

    async def login(self, session, fetch):
        site = self.crawler.settings["SITE"]
        self.tries += 1
        if self.tries == 1:
            raise ValueError("canary-login-fault") from KeyError("canary-login-cause")
        response = await fetch(Request(f"{site}/answer?token=canary-login-query#canary-login-fragment"))
        session.headers.set("Authorization", "Bearer canary-header", url=site)
        session.cookies.set("edit", "canary-cookie", domain="127.0.0.1")
        session.data["token"] = {"deep": ["canary-data"]}
        session.local_storage[site] = {"token": "canary-local-storage"}
        session.session_storage[site] = {"token": "canary-session-storage"}

    def check(self, response, request):
        if "fault" in request.url:
            raise ValueError("canary-check-fault")
        return super().check(response, request)

    def process_request(self, request, session):
        if "deny" in request.url:
            raise ValueError("canary-process-fault")


class Shop(Spider):
    name = "shop"
    session_config = Config

    async def start(self):
        site = self.settings["SITE"]
        for path in ["answer", "fault", "deny", "status", "redirect", "drop", "chain/2"]:
            query = {"status": "status=503&", "redirect": "to=/answer?t=canary-redirect&"}.get(path, "")
            yield Request(
                f"{site}/{path}?{query}key=canary-query#canary-fragment",
                cookies={"seed": "canary-seed"},
                meta={"session_id": "alice", "session_profile": "live", "handle_httpstatus_all": True},
                errback=self.failed,
            )
        userinfo = site.replace("://", "://user:canary-userinfo@")
        foreign = [{"name": "foreign", "value": "canary-refused", "domain": "evil.test"}]
        alice = {"session_id": "alice", "session_profile": "live"}
        bob = {"session_id": "bob", "session_profile": "dead"}
        yield Request(f"{userinfo}/answer/2", meta=alice, errback=self.failed)
        yield Request(f"{site}/answer/3", cookies=foreign, meta=alice, errback=self.failed)
        yield Request(f"{site}/answer/4", meta=bob, errback=self.failed)
        for number in range(200):  # some stay in the queue of the job
            yield Request(f"{site}/answer/{number}", meta=alice, errback=self.failed, priority=-1)

    def failed(self, failure):
        logging.getLogger("spider").error("%r %s", failure, failure.getTraceback())

    async def parse(self, response):
        session = self.sessions.of(response)
        for each in (session, session.cookies, session.headers, session.snapshot(), self.sessions):
            self.logger.info("%r %s", each, each)
        yield {"url": "item"}
"""

IN_URLS = ("login-query", "login-fragment", "query", "fragment", "userinfo", "redirect")
"""The URLs are the spider's own. Scrapy logs them, and keeps them in a job's queue and in the HTTP cache."""
SECRETS = (
    *("login-fault", "login-cause", "check-fault", "process-fault"),
    *("header", "cookie", "data", "local-storage", "session-storage", "seed", "refused", "proxy", "dead-proxy", "meta"),
    *IN_URLS,
)


def forms(name: str) -> Iterator[bytes]:
    """The canary *name* as it may look in a file."""
    text = f"canary-{name}"
    yield text.encode()
    yield quote(text, safe="").replace("-", "%2D").encode()
    yield text.encode().hex().encode()
    for pad in ("", "x", "xx"):
        yield base64.b64encode(f"{pad}{text}".encode()).rstrip(b"=")[4:-2]


def found(content: bytes, names: tuple[str, ...] = SECRETS) -> set[str]:
    """The canaries in *content*."""
    return {name for name in names if any(form in content for form in forms(name))}


class Crawled(NamedTuple):
    """A project after its crawl, and its log."""

    folder: Path
    log: str
    environment: dict[str, str]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "encrypted"])
def crawled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    """A crawl with marked secrets, on a store in plain, and on an encrypted one."""
    folder = tmp_path_factory.mktemp("canary")
    variables = {VARIABLE: new_key()} if request.param else {}
    with Site() as site, Proxy("alice:canary-proxy") as proxy:
        settings: dict[str, Any] = {
            "SITE": site.url(""),
            "LOG_LEVEL": "DEBUG",
            "JOBDIR": "job",
            "HTTPCACHE_ENABLED": True,
            "HTTPCACHE_IGNORE_HTTP_CODES": [],
            "RETRY_TIMES": 1,
            "CLOSESPIDER_PAGECOUNT": 30,
            "SESSIONS_PROMETHEUS_FILE": "sessions.prom",
            "SESSIONS_LOGIN_BACKOFF": 0.01,
            "SESSIONS_PROFILES": {
                "live": {"user_agent": "Live", "proxy": proxy.url, "meta": {"options": {"key": "canary-meta"}}},
                "dead": {"user_agent": "Dead", "proxy": "http://bob:canary-dead-proxy@127.0.0.1:9"},
            },
            "FEEDS": {"items.json": {"format": "json"}},
        }
        make_project(folder, SPIDER, **settings)
        done = subprocess.run(
            [sys.executable, "-m", "scrapy", "crawl", "shop"],
            cwd=folder,
            env=environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
    return Crawled(folder, done.stderr + done.stdout, variables)


def test_the_log(crawled: Crawled) -> None:
    """At DEBUG, with the repr of all that a spider has: nothing, but for the spider's URLs in Scrapy's own lines."""
    assert "Login 1 of 3" in crawled.log
    assert "which counts as OK" in crawled.log
    assert crawled.log.count("BrowserSession") > 5
    # A traceback, as Scrapy logs one for a connection that fails under a login, quotes the source of the spider.
    source = set(map(str.strip, SPIDER.splitlines()))
    for line in crawled.log.splitlines():
        if line.strip() not in source and (names := found(line.encode())):
            assert names <= set(IN_URLS), line
            assert "[scrapy." in line, line


def test_the_files(crawled: Crawled) -> None:
    """The queue of a job and the HTTP cache contain nothing but URLs, items and Prometheus file nothing. With a key, so
    does the store; in plain, it contains what it is there for.
    """
    files = [file for file in crawled.folder.rglob("*") if file.is_file()]
    files = [file for file in files if file.relative_to(crawled.folder).parts[0] != "shop"]  # the project itself
    kinds = {file.relative_to(crawled.folder).parts[0] for file in files}
    assert sum(len(file.read_bytes()) for file in files if "requests.queue" in file.parts) > 1000
    assert {".scrapy", "job", "items.json", "sessions.prom"} <= kinds
    in_the_store = set()
    for file in files:
        path = file.relative_to(crawled.folder)
        names = found(file.read_bytes())
        if path.parts[:2] == (".scrapy", "sessions"):
            in_the_store |= names
        elif path.parts[0] == "job":
            assert names <= {*IN_URLS, "seed", "refused"}, path  # what the spider itself gave its requests
        elif path.parts[:2] == (".scrapy", "httpcache"):
            assert names <= set(IN_URLS), path
        else:
            assert names == set(), path
    if crawled.environment:
        assert in_the_store == set()
    else:
        assert {"cookie", "header", "data", "proxy", "local-storage", "session-storage"} <= in_the_store
        assert not in_the_store & {*IN_URLS, "login-fault", "login-cause", "check-fault", "process-fault", "refused"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("list", "--json"),
        ("show", "alice", "--history", "100"),
        ("show", "alice", "--json"),
        ("show", "bob"),
        ("stats",),
        ("stats", "--json", "--by", "session"),
        ("export", "--all", "--summary", "-o", "-"),
        ("export", "--all", "--summary", "--format", "csv", "-o", "-"),
        ("settings",),
        ("doctor",),
        ("doctor", "--json"),
        ("cleanup",),
        ("report", "-o", "report.html"),
    ],
    ids=" ".join,
)
def test_the_commands(crawled: Crawled, arguments: tuple[str, ...]) -> None:
    """Every command but those whose purpose it is (export, curl, show --reveal) shows names only."""
    done = sessions(crawled.folder, *arguments, **crawled.environment)
    assert done.code == 0, done.err
    output = done.out + done.err
    if arguments[0] == "report":
        output += (crawled.folder / "report.html").read_text(encoding="utf-8")
        (crawled.folder / "report.html").unlink()
    assert output
    assert found(output.encode()) == set()


def test_the_canaries_are_found(crawled: Crawled) -> None:
    """What is to show secrets does: the search finds them."""
    shown = sessions(crawled.folder, "show", "alice", "--reveal", **crawled.environment).out
    assert {"cookie", "header", "data"} <= found(shown.encode())
    assert found(base64.b64encode(b"x: canary-proxy")) == {"proxy"}
