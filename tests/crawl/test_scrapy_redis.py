"""Several processes crawl from one queue of scrapy-redis, with one set of sessions on the same server."""

from __future__ import annotations

import itertools
import re
import subprocess
from typing import Any

import pytest
from scrapy.utils.test import get_crawler
from scrapy_redis.spiders import RedisSpider

from scrapy_sessions import SessionManager
from tests.support.crawl import start
from tests.support.docs_pages import blocks, page_named
from tests.support.redis_client import open_store
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.spiders.queued import Queued
from tests.support.waiting import HANG, wait_until

SESSIONS = ("alice", "bob")
EARLY, LATE = ([f"page/{when}/{number}" for number in range(10)] for when in ("early", "late"))
EVERYTHING = sorted(itertools.product([*EARLY, *LATE], SESSIONS))
IN_FLIGHT = 2


def documented_settings(server: RedisServer) -> dict[str, Any]:
    """The settings that the documentation shows, with the URL of *server*."""
    (code,) = (block.text for block in blocks(page_named("fleet")) if block.file == "shop/settings.py")
    values: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("REDIS_URL", server.url)
        exec(code, values)
    return {name: value for name, value in values.items() if name.isupper()}


def start_worker(name: str, server: RedisServer, site: Site) -> subprocess.Popen[str]:
    """Start a process that crawls all pages. The *late* ones are answered once somebody has asked for ``/answer``."""
    settings = {
        **documented_settings(server),
        "DEFAULT_REQUEST_HEADERS": {"X-Worker": name},
        "CONCURRENT_REQUESTS": IN_FLIGHT,
        "LOG_ENABLED": False,
    }
    early = [site.url(f"/{path}") for path in EARLY]
    late = [site.url(f"/{path}", until="1:/answer") for path in LATE]
    return start(Queued, settings, {"early": early, "late": late, "sessions": SESSIONS})


def finish(worker: subprocess.Popen[str]) -> list[tuple[str, str]]:
    """Wait for the end of *worker*, and return the path and the session of each page that its spider got."""
    output, _ = worker.communicate(timeout=HANG)
    return [(path, name) for path, name in re.findall(r"^(page/\S+) (\S+)$", output, re.MULTILINE)]


def asked(site: Site, worker: str | None = None) -> list[tuple[str, str]]:
    """The path and the session of each request that the site saw, of all processes or of one."""
    return sorted(
        (each.path.strip("/"), each.cookies["who"])
        for each in site.journal("/page/")
        if worker in {None, each.header("X-Worker")}
    )


@pytest.fixture
def workers(redis_server: RedisServer, site: Site) -> Any:
    """Two processes, ``0`` and ``1``, in the middle of the crawl: each waits for late pages, and can take no more."""

    def are_busy() -> bool:
        left = len(EVERYTHING) - len(EARLY) * len(SESSIONS) - 2 * IN_FLIGHT
        has_late = [any(path in LATE for path, _ in asked(site, worker)) for worker in "01"]
        return all(has_late) and redis_server.tell("ZCARD queued:requests") == f":{left}\r\n"

    started = [start_worker(worker, redis_server, site) for worker in "01"]
    wait_until(are_busy)
    yield started
    for worker in started:
        worker.kill()
        worker.communicate(timeout=HANG)


def go(site: Site) -> None:
    """Let the late pages be answered."""
    site.call("GET", "/answer?type=application/json&body={}")


@pytest.mark.heavy
async def test_each_page_once_per_session(workers: Any, redis_server: RedisServer, site: Site) -> None:
    """Two processes share the pages: each is fetched once for alice and once for bob, whose records have them all."""
    go(site)
    got = [page for worker in workers for page in finish(worker)]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(got) == asked(site) == EVERYTHING
    async with open_store(redis_server.url) as store:
        manager = SessionManager(store=store, namespace="queued")
        for name in SESSIONS:
            record = await manager.load_session(name)
            assert record is not None
            assert record.pages_visited == len(EARLY) + len(LATE)


@pytest.mark.heavy
def test_a_killed_worker(workers: Any, redis_server: RedisServer, site: Site) -> None:
    """A process is killed: the other fetches all but what the dead one had taken from the queue, which is lost."""
    killed, other = workers
    killed.kill()
    go(site)
    got = [*finish(killed), *finish(other)]
    assert other.returncode == 0
    lost = set(EVERYTHING).difference(got)
    assert len(got) + len(lost) == len(EVERYTHING)
    assert 1 <= sum(path in LATE for path, _ in lost) <= IN_FLIGHT
    assert lost.isdisjoint(asked(site, "1"))
    assert len(asked(site)) == len(set(asked(site)))
    assert finish(start_worker("2", redis_server, site)) == []  # a new process doesn't get them either: they were seen


def test_start_urls_name_their_session(redis_server: RedisServer) -> None:
    """A start URL is in a session if it is JSON with a ``meta``; a plain URL is in none."""

    class Pushed(RedisSpider):
        name = "pushed"

    spider = Pushed.from_crawler(get_crawler(Pushed, {"REDIS_URL": redis_server.url}))
    data = b'{"url": "https://shop.example/", "meta": {"session_id": "alice"}}'
    assert spider.make_request_from_data(data).meta == {"session_id": "alice"}
    assert spider.make_request_from_data(b"https://shop.example/").meta == {}
