"""``SessionFilesPipeline`` and ``SessionImagesPipeline`` download in the session stamped on the item."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scrapy.utils.test import get_crawler

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.pipelines import SessionFilesPipeline, SessionImagesPipeline
from tests.support.crawl import ADDON, MODES, Crawl, Job, crawl_jobs
from tests.support.site import Arrival, Site

FILES = {"scrapy_sessions.pipelines.SessionFilesPipeline": 1}
IMAGES = {"scrapy_sessions.pipelines.SessionImagesPipeline": 1}
METAS: dict[str, Any] = {
    "alice": {"session_id": "alice"},
    "bob": {"session_id": "bob"},
    "pool": {"session_pool": "shop"},
    "none": {"session_id": None},
}


class Run(NamedTuple):
    """A crawl, and the downloads that arrived: by case, and of the file that all items want."""

    crawled: Crawl
    by_case: Mapping[str, Arrival]
    shared: list[Arrival]


def _run(site: Site, folder: Path, mode: str, media: str, pipeline: Mapping[str, int], field: str) -> Run:
    arguments = {"page": site.url("/identity/page"), "media": media, "field": field, "metas": METAS}
    (done,) = crawl_jobs(
        folder,
        Job("tests.support.spiders.media.Media", arguments),
        mode=mode,
        ITEM_PIPELINES=pipeline,
        FILES_STORE=str(folder / "files"),
        IMAGES_STORE=str(folder / "images"),
        # Else the file of one session, if it was stored by then, would pass for that of the next.
        FILES_EXPIRES=-1,
        IMAGES_EXPIRES=-1,
        SESSIONS_ITEM_FIELD="session",
        SESSIONS_POOLS={"shop": {"sessions": ["carol", "dora"]}},
    )
    arrivals = site.journal("/media")
    cases = {case: arrival for arrival in arrivals for case in METAS if f"case={case}" in arrival.target}
    return Run(done, cases, [arrival for arrival in arrivals if "case=" not in arrival.target])


@pytest.fixture(scope="module", params=MODES)
def files(request: pytest.FixtureRequest, site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Items of several sessions, each with a file of its own and one that all have."""
    site_process.reset()
    media = site_process.url("/media", body="content", type="text/plain")
    return _run(site_process, tmp_path_factory.mktemp("files"), request.param, media, FILES, "file_urls")


def _sids(run: Run) -> dict[str, str]:
    return {case: arrival.cookies["sid"] for case, arrival in run.by_case.items() if arrival.cookies}


def test_a_file_is_fetched_in_its_items_session(files: Run) -> None:
    """The download brings the cookie that the session was given with the item's page, and nobody else's."""
    sids = _sids(files)
    assert {"alice", "bob", "pool"} == set(sids)
    assert len(set(sids.values())) == 3


def test_an_item_without_a_session_uses_the_default(files: Run) -> None:
    """An item of a page that came in no session isn't stamped, and its file is fetched as any untagged request."""
    assert files.by_case["none"].cookies == {}
    assert "session" not in files.crawled.item(case="none")


def test_every_item_gets_its_files(files: Run) -> None:
    """Each item has the results of both of its downloads."""
    for case in METAS:
        results = files.crawled.item(case=case)["files"]
        assert [result["status"] for result in results] == ["downloaded"] * 2


def test_a_shared_file_is_fetched_once_per_named_session(files: Run) -> None:
    """A file that all want is fetched once for alice, once for bob, and once for the pool and untagged ones."""
    assert len(files.shared) == 3


@pytest.mark.parametrize("pipeline", [SessionFilesPipeline, SessionImagesPipeline])
def test_a_pipeline_needs_the_item_field(pipeline: Any, tmp_path: Path) -> None:
    """Without SESSIONS_ITEM_FIELD the pipeline can't know the session, and says so at once."""
    if pipeline is SessionImagesPipeline:
        pytest.importorskip("PIL")
    stores = {"FILES_STORE": str(tmp_path), "IMAGES_STORE": str(tmp_path)}
    crawler = get_crawler(settings_dict={"ADDONS": ADDON, "SESSIONS_STORE": "memory://", **stores})
    with pytest.raises(SessionConfigurationError, match="SESSIONS_ITEM_FIELD"):
        pipeline.from_crawler(crawler)


def test_an_image_is_fetched_in_its_items_session(site: Site, tmp_path: Path) -> None:
    """Images, too, are downloaded in the item's session, and come out as images."""
    image_module = pytest.importorskip("PIL.Image")
    image = io.BytesIO()
    image_module.new("RGB", (1, 1)).save(image, "GIF")
    media = site.url("/media", body=image.getvalue(), type="image/gif")
    run = _run(site, tmp_path, "asyncio", media, IMAGES, "image_urls")
    assert len(set(_sids(run).values())) == 3
    assert len(run.crawled.item(case="alice")["images"]) == 2
