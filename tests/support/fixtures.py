"""The fixtures of all tests: the web sites that crawls visit, a Redis server, and what classes register."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scrapy_sessions import config
from tests.support.bans import BanningSite
from tests.support.redis_server import RedisServer
from tests.support.shop import Shop
from tests.support.site import Site

__all__ = ["bans", "own_registry", "redis_process", "redis_server", "shop", "site", "site_process"]


@pytest.fixture(scope="session")
def site_process() -> Iterator[Site]:
    """The one process of the tests' site."""
    with Site() as running:
        yield running


@pytest.fixture
def site(site_process: Site) -> Site:
    """The tests' site, with a blank memory."""
    site_process.reset()
    return site_process


@pytest.fixture
def bans(site_process: Site) -> BanningSite:
    """The part of the site that bans visitors, with a blank memory and no limit."""
    bans = BanningSite(site_process)
    bans.reset()
    return bans


@pytest.fixture
def shop(site_process: Site) -> Shop:
    """The part of the site with a login, with a blank memory."""
    shop = Shop(site_process)
    shop.reset()
    return shop


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the test registers with ``@session_config`` is unknown to all others."""
    monkeypatch.setattr(config, "_registered", {})
    for cached in (config._matcher, config._registered_for):
        cached.cache_clear()
    yield
    for cached in (config._matcher, config._registered_for):
        cached.cache_clear()


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The one Redis server of the tests that don't harm it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """The tests' Redis server, without data."""
    redis_process.tell("FLUSHALL")
    return redis_process
