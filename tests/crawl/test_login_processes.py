"""One login in all: over several processes on one SQLite file, and over a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.crawl import ENVIRONMENT, PLAIN, command
from tests.support.shop import PARALLEL, Shop
from tests.support.spiders.buyer import Buyer
from tests.support.waiting import HANG, wait_until

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

MANY = 20
ARGUMENTS: dict[str, Any] = {"session_config": "tests.support.login_configs.LogsIn"}


def start(shop: Shop, folder: Path, requests: list[dict[str, Any]], **settings: Any) -> subprocess.Popen[str]:
    settings = {**PLAIN, **PARALLEL, "SESSIONS_STORE": f"sqlite:///{folder}/s.db", "LOG_LEVEL": "INFO", **settings}
    arguments = {**ARGUMENTS, "base": shop.url(""), "requests": requests}
    return subprocess.Popen(
        command(Buyer, settings, arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
    )


def finish(*processes: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Their stats, once they have ended."""
    stats = []
    for process in processes:
        output, log = process.communicate(timeout=HANG)
        assert process.returncode == 0, log
        assert " ERROR: " not in log, log
        stats.append(json.loads(output.splitlines()[-1]))
    return stats


def secrets(name: str) -> list[dict[str, Any]]:
    return [{"path": f"/secret/{name}/{number}?ms=20"} for number in range(MANY)]


@pytest.mark.parametrize("login_ms", [100, 1500])
def test_two_processes_log_a_new_session_in_once(shop: Shop, tmp_path: Path, login_ms: int) -> None:
    """Two crawls begin at once with twenty requests each for a session that nobody has logged in, be the login done
    before a session is saved in passing or not: one of them does it, both get every page."""
    shop.rules(login_ms=login_ms)
    settings = {"SESSIONS_SAVE_INTERVAL": 0.1}
    both = finish(*(start(shop, tmp_path, secrets(name), **settings) for name in "ab"))
    assert shop.logins == 1
    assert sum(stats.get("sessions/logins", 0) for stats in both) == 1
    assert [stats["item_scraped_count"] for stats in both] == [MANY] * 2
    assert len(shop.came("/secret/a")) == len(shop.came("/secret/b")) == MANY


@pytest.mark.parametrize("login_ms", [100, 1500])
def test_two_processes_log_an_expired_session_in_once(shop: Shop, tmp_path: Path, login_ms: int) -> None:
    """Two crawls meet a 401 with twenty requests each in one stored session: one of them logs in, both replay."""
    finish(start(shop, tmp_path, [{"path": "/secret/first"}]))
    shop.expire()
    shop.rules(login_ms=login_ms)
    settings = {"SESSIONS_SAVE_INTERVAL": 0.1}
    both = finish(*(start(shop, tmp_path, secrets(name), **settings) for name in "ab"))
    assert shop.logins == 2
    assert sum(stats.get("sessions/logins", 0) for stats in both) == 1
    for stats in both:
        assert stats["item_scraped_count"] == MANY
        assert stats["downloader/response_status_count/200"] >= MANY


def test_a_login_outlasts_a_kill_at_once(shop: Shop, tmp_path: Path) -> None:
    """kill -9 when the first page after the login is asked for: the next run needs no login."""
    process = start(shop, tmp_path, [{"path": "/secret/1?ms=20000"}], SESSIONS_SAVE_INTERVAL=3600)
    try:
        wait_until(lambda: shop.came("/secret/1") or process.poll() is not None)
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (stats,) = finish(start(shop, tmp_path, [{"path": "/secret/2"}]))
    assert shop.logins == 1
    assert stats["sessions/restored"] == 1
    assert "sessions/logins" not in stats
