"""scrapy-zyte-api, which reads the cookies of a request from Scrapy's jars and stores those of its answer there."""

from __future__ import annotations

import pytest

from tests.field.fake_zyte_api import FakeZyteAPI, fake_zyte_api
from tests.field.spiders.zyte import ByZyteAPI
from tests.support.crawl import Crawl, Job, crawl_jobs


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Crawl, FakeZyteAPI]:
    """A crawl by the API, and what the API got."""
    with fake_zyte_api() as api:
        (crawled,) = crawl_jobs(
            tmp_path_factory.mktemp("zyte"),
            Job(f"{ByZyteAPI.__module__}.ByZyteAPI"),
            ADDONS={"scrapy_sessions.SessionsAddon": 300, "scrapy_zyte_api.Addon": 500},
            SESSIONS_POOLS={"shop": {"size": 1}},
            CONCURRENT_REQUESTS=1,
            ZYTE_API_KEY="none",
            ZYTE_API_URL=api.url,
            ZYTE_API_EXPERIMENTAL_COOKIES_ENABLED=True,
        )
    return crawled, api


def test_each_session_sends_its_own_cookies(done: tuple[Crawl, FakeZyteAPI]) -> None:
    """Named sessions, cookiejar keys, pools and untagged requests: never the cookies of another."""
    crawled, api = done
    assert len(api.sent) == 2 * len(ByZyteAPI.metas)
    assert len(crawled.items) == len(ByZyteAPI.metas)
    for item in crawled.items:
        meta = ByZyteAPI.metas[item["number"]]
        own = {} if meta == {"session_id": None} else {"user": str(item["number"])}
        assert item["cookies"] == own, (meta, crawled.log)


def test_the_meta_stays_as_the_spider_set_it(done: tuple[Crawl, FakeZyteAPI]) -> None:
    """The key by which the package finds the jar is not there any more."""
    crawled, _ = done
    for item in crawled.items:
        assert item["cookiejar"] == ByZyteAPI.metas[item["number"]].get("cookiejar")
