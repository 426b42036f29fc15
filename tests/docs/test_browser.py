"""The script of the page on browsers logs in, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import ARGUMENTS, CHROMIUM, MISSING
from tests.support.crawl import Job, crawl_jobs
from tests.support.docs_pages import Reader, blocks, demo, page_named


@pytest.mark.heavy
@pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed")
def test_the_script_logs_a_spider_in(tmp_path: Path) -> None:
    """After the script, a spider of that name in the same folder is logged in as alice."""
    with demo.shop() as url:
        browser = f"executable_path={CHROMIUM!r}, args={ARGUMENTS!r}"
        reader = Reader(tmp_path, {"https://shop.example": url, "headless=False": browser})
        (script,) = (block for block in blocks(page_named("browser")) if block.file)
        reader.write("log_in.py", script.text)
        reader.run("python log_in.py")
        request = {"url": f"{url}/account", "meta": {"session_id": "alice", "dont_redirect": True}}
        job = Job("tests.support.spiders.base.Listed", {"requests": [request]}, {"SESSIONS_NAMESPACE": "shop"})
        (done,) = crawl_jobs(tmp_path, job, SESSIONS_STORE="sqlite://")
        assert [item["status"] for item in done.items] == [200]
