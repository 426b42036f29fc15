"""The text file for Prometheus: its content, how it is written, and its errors."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from scrapy_sessions.analytics.model import FOLDED, HourCounts
from scrapy_sessions.analytics.prometheus import PrometheusFile
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.sessions.manager import registry_of
from tests.support.crawl import crawl, run, session_stats, sqlite_url
from tests.support.site import Site
from tests.support.spiders.pages import Pages


def counts(pool: str | None, **numbers: Any) -> HourCounts:
    return HourCounts("shop", pool, FOLDED, 0, **numbers)


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """The samples of the file by name and labels, read by Prometheus' own parser."""
    found = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        assert family.type == "counter", family.name
        assert family.documentation
        for sample in family.samples:
            assert sample.name.startswith("scrapy_sessions_")
            found[(sample.name.removeprefix("scrapy_sessions_"), *sample.labels.values())] = sample.value
    return found


def test_the_file_contains_every_counter(tmp_path: Path) -> None:
    """Each number of each pool is there under its name, statuses one by one, with HELP and TYPE for every metric."""
    path = tmp_path / "shop.prom"
    numbers = {"requests": 2, "pages": 3, "failures": 4, "logins": 5, "login_failures": 6, "login_seconds": 7.5}
    numbers |= {"blocked": 8, "suspects": 9, "bytes": 10, "latency": 11.5}
    pools = {None: counts(None, requests=1), "p": counts("p", responses={200: 12, 404: 13}, **numbers)}
    PrometheusFile(path).write("shop", pools)
    found = samples(path)
    names = {name: {"bytes": "received_bytes", "latency": "latency_seconds"}.get(name, name) for name in numbers}
    assert {name: found[f"{names[name]}_total", "shop", "p"] for name in numbers} == numbers
    assert found["requests_total", "shop", ""] == 1
    assert {key: value for key, value in found.items() if key[0] == "responses_total"} == {
        ("responses_total", "shop", "p", "200"): 12,
        ("responses_total", "shop", "p", "404"): 13,
    }
    text = path.read_text(encoding="utf-8")
    assert text.count("# HELP ") == text.count("# TYPE ") == 11
    assert text.endswith("\n")


def test_names_are_escaped(tmp_path: Path) -> None:
    """Quotes, backslashes and letters of any script in the names of spiders and pools come through."""
    path = tmp_path / "odd.prom"
    odd = 'a"b\\c é'
    PrometheusFile(path).write(odd, {odd: counts(odd, requests=1)})
    assert samples(path)["requests_total", odd, odd] == 1


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The new file replaces the old one, is readable for all whatever the umask, and leaves no other file."""
    path = tmp_path / "shop.prom"
    file = PrometheusFile(path)
    file.write("shop", {"p": counts("p", requests=1)})
    before = path.stat().st_ino
    umask = os.umask(0o077)
    try:
        file.write("shop", {"p": counts("p", requests=2)})
    finally:
        os.umask(umask)
    assert samples(path)["requests_total", "shop", "p"] == 2
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file can't be replaced, the old one stays, and no temporary file."""

    def fail(*args: object) -> None:
        raise PermissionError("not here")

    path = tmp_path / "shop.prom"
    file = PrometheusFile(path)
    file.write("shop", {"p": counts("p", requests=1)})
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(PermissionError):
        file.write("shop", {"p": counts("p", requests=2)})
    assert samples(path)["requests_total", "shop", "p"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)


def test_the_library_is_needed(tmp_path: Path, without_the_library: None) -> None:
    """Without the client library the message has the line that installs it."""
    with pytest.raises(SessionConfigurationError, match=r"pip install 'scrapy-persistent-sessions\[prometheus\]'"):
        PrometheusFile(tmp_path / "shop.prom")


def test_the_path_is_checked(tmp_path: Path) -> None:
    """A folder that doesn't exist, or a path that is a folder, is an error at once."""
    with pytest.raises(SessionConfigurationError, match=r"there is no folder .*missing: make it"):
        PrometheusFile(tmp_path / "missing" / "shop.prom")
    with pytest.raises(SessionConfigurationError, match="is a folder: name a file in it"):
        PrometheusFile(tmp_path)


async def test_a_crawl_writes_its_sums(tmp_path: Path, site: Site) -> None:
    """At the end the file contains the counts of this crawl, not those of earlier ones."""
    path = tmp_path / "pages.prom"
    settings = {
        "SESSIONS_STORE": sqlite_url(tmp_path / "s.db"),
        "SESSIONS_POOLS": {"shop": {"size": 2}},
        "SESSIONS_PROMETHEUS_FILE": str(path),
    }
    for times in (3, 2):
        urls: list[tuple[str, dict[str, Any]]] = [(site.url("/answer"), {"session_pool": "shop"})] * times
        await crawl(Pages, settings, urls=[*urls, (site.url("/answer", status=404), {"session_id": "alice"})])
        found = samples(path)
        assert found["requests_total", "pages", "shop"] == found["pages_total", "pages", "shop"] == times
        assert found["responses_total", "pages", "", "404"] == 1


async def test_a_crawl_without_requests_writes_a_file(tmp_path: Path) -> None:
    """Without a request in a session, the file contains metrics without samples."""
    path = tmp_path / "pages.prom"
    await crawl(Pages, {"SESSIONS_STORE": "memory://", "SESSIONS_PROMETHEUS_FILE": str(path)})
    assert path.read_text(encoding="utf-8").count("# TYPE scrapy_sessions_") == 11
    assert samples(path) == {}


async def test_a_file_that_cannot_be_written_fails_nothing(tmp_path: Path, site: Site) -> None:
    """If the file can't be written, the crawl goes on, counts the error and stores its analytics."""
    path = tmp_path / "metrics" / "pages.prom"
    path.parent.mkdir()

    class Moving(Pages):
        def parse(self, response: Any, **kwargs: Any) -> None:
            path.parent.rename(tmp_path / "gone")

    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_PROMETHEUS_FILE": str(path)}
    crawler = await crawl(Moving, settings, urls=[(site.url("/answer"), {})])
    stats = session_stats(crawler)
    assert stats["analytics_errors"] >= 1
    assert stats["saved"] >= 1


def test_a_bad_path_stops_the_crawl(tmp_path: Path, site: Site) -> None:
    """A crawl that can't write its file doesn't begin."""
    site.reset()
    settings = {"SESSIONS_STORE": "memory://", "SESSIONS_PROMETHEUS_FILE": str(tmp_path / "missing" / "x.prom")}
    done = run(Pages, settings, {"urls": [(site.url("/answer"), {})]})
    assert "SESSIONS_PROMETHEUS_FILE: there is no folder" in done.log
    assert site.journal("/answer") == []


def test_a_shell_does_not_write_the_file(tmp_path: Path) -> None:
    """A shell, which has no spider at the start, doesn't overwrite the file of a crawl."""
    settings = Settings(
        {"SESSIONS_STORE": "memory://", "SESSIONS_PROMETHEUS_FILE": str(tmp_path / "missing" / "x.prom")}
    )
    assert registry_of(SessionsExtension(Crawler(Pages, settings)).manager).analytics._listener is None
