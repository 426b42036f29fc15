"""No cookie value, password or token stands in any log, repr or exception."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.crawl import MODES, Job, crawl_jobs
from tests.support.proxy import Proxy
from tests.support.site import Site
from tests.support.spiders.secrets import SECRETS

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others


class Run(NamedTuple):
    """The log of a crawl, and the secrets in it by what they are."""

    log: str
    secrets: dict[str, str]

    @property
    def told(self) -> set[str]:
        return {name for name, value in self.secrets.items() if value in self.log}


def _crawl(site: Site, folder: Path, mode: str, debug: bool) -> Run:
    site.reset()
    with Proxy(f"alice:{SECRETS['proxy']}") as proxy:
        profiles = {
            "live": {"user_agent": "a", "proxy": proxy.url},
            "dead": {"user_agent": "b", "proxy": f"http://bob:{SECRETS['proxy']}@127.0.0.1:9"},
        }
        urls = [site.url("/whoami"), site.url("/fail", to=site.url("/whoami/2", "127.0.0.2"))]
        talkative = Job("tests.support.spiders.secrets.Talkative", {"urls": urls, "dead": site.url("/dead")})
        settings: dict[str, Any] = {
            "SESSIONS_STORE": f"sqlite:///{folder}/s.db",
            "LOG_LEVEL": "DEBUG",
            "COOKIES_DEBUG": debug,
            "SESSIONS_PROFILES": profiles,
        }
        (crawled,) = crawl_jobs(folder, talkative, mode=mode, errors=True, **settings)
    assert "not refused" not in crawled.log
    assert crawled.log.count("failed: ") == 1
    assert proxy.passages
    secrets = dict(SECRETS)
    for name, user in (("basic", "alice"), ("basic of the dead", "bob")):
        secrets[name] = base64.b64encode(f"{user}:{SECRETS['proxy']}".encode()).decode()
    site_set = {arrival.cookies["who"] for arrival in site.journal() if "who" in arrival.cookies}
    assert site_set
    secrets |= {f"set by the site {n}": value for n, value in enumerate(site_set)}
    return Run(crawled.log, secrets)


@pytest.mark.parametrize("mode", MODES)
def test_no_secret_is_told(site: Site, tmp_path: Path, mode: str) -> None:
    """A crawl with secrets of every kind, that logs at DEBUG all it can get hold of, tells none of them."""
    run = _crawl(site, tmp_path, mode, debug=False)
    assert "repr: " in run.log
    assert run.told == set()


def test_cookies_debug_tells_cookies_only(site: Site, tmp_path: Path) -> None:
    """With COOKIES_DEBUG the cookies sent and set are logged, as by Scrapy, and still no password and no token."""
    run = _crawl(site, tmp_path, "asyncio", debug=True)
    assert {"seed", "edit"} < run.told
    assert not run.told & {"proxy", "basic", "basic of the dead", "bearer", "refused"}
