"""Two processes on one file at once lose none of each other's sessions, cookies and counts."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import PersistentSession, SessionManager
from tests.support.crawl import crawl, sqlite_url, start
from tests.support.site import Site
from tests.support.spiders.pages import Pages, Steady
from tests.support.waiting import HANG

PAGES = 60


def both(site: Site, path: Path, one: Mapping[str, Any], two: Mapping[str, Any], **settings: Any) -> None:
    """Run two spiders at once, each with its own settings and arguments, to their ends."""
    processes: list[subprocess.Popen[str]] = []
    for given in (one, two):
        own = {"SESSIONS_STORE": sqlite_url(path), "SESSIONS_SAVE_INTERVAL": 0.01, "LOG_LEVEL": "ERROR", **settings}
        own |= given.get("settings", {})
        arguments = {"site": site.url(""), "pages": PAGES, **given["arguments"]}
        processes.append(start(Steady, own, arguments, stderr=subprocess.PIPE))
    for process in processes:
        said, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
        assert errors == ""
        assert said


def records(path: Path) -> dict[tuple[str, str], PersistentSession]:
    """All records, by namespace and id."""

    async def read() -> dict[tuple[str, str], PersistentSession]:
        found = {}
        async with SessionManager(path) as everything:
            infos = await everything.list_sessions()
        for info in infos:
            async with SessionManager(path, namespace=info["namespace"]) as manager:
                record = await manager.load_session(info["session_id"])
                assert record is not None
                found[info["namespace"], info["session_id"]] = record
        return found

    return asyncio.run(read())


def test_one_namespace_different_sessions(tmp_path: Path, site: Site) -> None:
    """Two spiders of one namespace each keep all of their own sessions."""
    path = tmp_path / "s.db"
    names = [[f"{who}{number}" for number in range(4)] for who in "ab"]
    both(site, path, *({"arguments": {"sessions_used": used}} for used in names), SESSIONS_NAMESPACE="shared")
    stored = records(path)
    assert set(stored) == {("shared", name) for used in names for name in used}
    assert {record.pages_visited for record in stored.values()} == {PAGES}


def test_different_namespaces_same_ids(tmp_path: Path, site: Site) -> None:
    """Two spiders with a namespace each don't meet, though their sessions have the same ids."""
    path = tmp_path / "s.db"
    both(
        site,
        path,
        {"arguments": {"sessions_used": ["alice", "bob"]}, "settings": {"SESSIONS_NAMESPACE": "one"}},
        {"arguments": {"sessions_used": ["alice", "bob"]}, "settings": {"SESSIONS_NAMESPACE": "two"}},
    )
    stored = records(path)
    assert set(stored) == {(namespace, name) for namespace in ("one", "two") for name in ("alice", "bob")}
    assert {record.pages_visited for record in stored.values()} == {PAGES}


def test_one_session_of_two_processes(tmp_path: Path, site: Site) -> None:
    """Two processes in the same session at once lose no cookie and no count."""
    path = tmp_path / "s.db"
    arguments = {"sessions_used": ["alice"], "keep_all": True, "pages": 20}
    both(
        site,
        path,
        {"arguments": {**arguments, "prefix": "one"}},
        {"arguments": {**arguments, "prefix": "two"}},
        SESSIONS_NAMESPACE="shared",
    )
    record = records(path)["shared", "alice"]
    assert {c.name for c in record.cookies} == {f"{who}{number}" for who in ("one", "two") for number in range(1, 21)}
    assert record.pages_visited == record.metrics.requests == record.metrics.responses["200"] == 40
    assert len(record.actions_performed) == 40


async def test_two_spiders_of_one_process(tmp_path: Path, site: Site) -> None:
    """Two crawls of one process on one file, at once, keep all of their sessions."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db"), "SESSIONS_SAVE_INTERVAL": 0.01}
    urls = [(site.url("/answer"), {"session_id": name}) for name in ("alice", "bob")] * 5
    await asyncio.gather(
        crawl(Pages, settings, urls=urls),
        crawl(Steady, settings, site=site.url(""), pages=5, sessions_used=["alice", "bob"]),
    )
    async with SessionManager(tmp_path / "s.db") as manager:
        stored = {(i["namespace"], i["session_id"]): i["pages_visited"] for i in await manager.list_sessions()}
    assert stored == {(namespace, name): 5 for namespace in ("pages", "steady") for name in ("alice", "bob")}


@pytest.mark.parametrize("shared", [True, False])
async def test_what_one_spider_leaves_the_next_finds(tmp_path: Path, site: Site, shared: bool) -> None:
    """Another spider finds a session in the namespace they share, and none in one of its own."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    if shared:
        settings["SESSIONS_NAMESPACE"] = "shared"
    await crawl(Pages, settings, urls=[(site.url("/answer", set="sid=1; Path=/"), {"session_id": "alice"})])
    site.reset()
    await crawl(Steady, settings, site=site.url(""), pages=1, sessions_used=["alice"])
    assert site.journal("/answer")[0].cookies == ({"sid": "1"} if shared else {})
