"""A crawl that is told to stop waits for no login, no pause between logins, and no pause that a site asked for.

Waits end within two seconds of the word; the tests allow ten (more on a machine that has other work), against the hour
that each wait would last.
"""

from __future__ import annotations

import gc
import json
import logging
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import SessionConfig
from tests.support.crawl import ENVIRONMENT, MODES, PLAIN, command
from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, failures, spider_of
from tests.support.spiders.buyer import Buyer
from tests.support.waiting import HANG, slowness, wait_until

pytestmark = pytest.mark.alone  # it measures time

SOON = 10.0
UNTIDY = ("never retrieved", "was destroyed but it is pending", "Unhandled", "was never awaited", "Traceback")

WAITS = ["hanging", "backing off", "paused"]
SETTINGS: dict[str, Any] = {"SESSIONS_LOGIN_BACKOFF": 3600, "DOWNLOAD_TIMEOUT": 7200}


def prepare(shop: Shop, wait: str) -> tuple[type[SessionConfig] | None, list[dict[str, Any]]]:
    """Let what alice sends meet the *wait*; return the config for it, and her requests."""
    if wait == "paused":
        return None, [{"path": f"/busy/{number}?status=429&after=3600"} for number in range(3)]
    if wait == "hanging":
        shop.rules(hanging=True)
    else:
        shop.rules(refusals=[500] * 10)
    return LogsIn, [{"path": f"/secret/{number}"} for number in range(3)]


def untidy(text: str) -> list[str]:
    return [line for line in text.splitlines() if any(words in line for words in UNTIDY)]


@pytest.mark.parametrize("wait", WAITS)
async def test_close_spider_ends_the_waits(shop: Shop, caplog: pytest.LogCaptureFixture, wait: str) -> None:
    """CloseSpider from a callback while requests wait: they fail at their errbacks, and the crawl ends soon."""
    caplog.set_level(logging.DEBUG)
    config, requests = prepare(shop, wait)
    stop = {"path": "/stop?ms=500", "meta": {"session_id": None}}
    crawler = await buy(shop, SETTINGS, [*requests, stop], config, stop="/stop")
    took = time.monotonic() - spider_of(crawler).stopped_at
    assert took < SOON * slowness()
    assert failures(crawler) == ["CrawlClosing"] * len(requests)
    assert crawler.stats is not None
    assert crawler.stats.get_value("finish_reason") == "enough"
    del crawler
    gc.collect()
    assert untidy(caplog.text) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_waits(shop: Shop, tmp_path: Path, wait: str, mode: str) -> None:
    """SIGINT while requests wait: the process closes its spider and ends soon, with nothing untidy in its log."""
    config, requests = prepare(shop, wait)
    log = tmp_path / "crawl.log"
    settings = {**PLAIN, **SETTINGS, "SESSIONS_STORE": f"sqlite:///{tmp_path}/s.db"}
    if mode == "reactorless":
        settings["TWISTED_REACTOR_ENABLED"] = False
    other = {"path": "/other?ms=300", "meta": {"session_id": None}}
    arguments: dict[str, Any] = {"base": shop.url(""), "requests": [*requests, other]}
    if config is not None:
        arguments["session_config"] = f"{config.__module__}.{config.__name__}"
    with log.open("w") as file:
        process = subprocess.Popen(
            command(Buyer, settings, arguments), stdout=subprocess.PIPE, stderr=file, env=ENVIRONMENT, text=True
        )
        try:
            met = {"hanging": lambda: shop.logins, "backing off": lambda: "Login 1 of 3" in log.read_text()}
            wait_until(met.get(wait, lambda: len(shop.came("/busy")) == len(requests)))
            wait_until(lambda: "Crawled (200)" in log.read_text())
            told = time.monotonic()
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=HANG)
        finally:
            process.kill()
            process.wait()
    took = time.monotonic() - told
    assert took < SOON * slowness()
    assert json.loads(output.splitlines()[-1])["finish_reason"] == "shutdown"
    assert untidy(log.read_text()) == []


async def test_a_request_that_comes_while_closing_does_not_wait(shop: Shop) -> None:
    """Logins are neither waited for nor begun once the crawl is closing: the shop sees the one login that hung."""
    config, requests = prepare(shop, "hanging")
    stop = {"path": "/stop?ms=300", "meta": {"session_id": None}}
    crawler = await buy(shop, SETTINGS, [*requests, stop], config, stop="/stop")
    assert shop.logins == 1
    assert shop.came("/secret") == []
    assert len(failures(crawler)) == len(requests)
