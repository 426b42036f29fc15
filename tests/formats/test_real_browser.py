"""A session moves into a real Chromium and back, and is logged in wherever it is."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from scrapy_sessions import Cookie
from tests.support.browser import MISSING, Visit, visit
from tests.support.exchange import STORE, loaded, rich_record, saved, sessions
from tests.support.formats import read_json
from tests.support.jobs import Job, crawl
from tests.support.logins import GREETING, login_cookie
from tests.support.site import Site

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]

NEXT_MONTH = float(int(time.time()) + 30 * 86400)  # Chromium keeps nothing for longer than 400 days
OTHERS = [
    Cookie(name="shared", value="1", domain="shop.example", host_only=False, expires=NEXT_MONTH, same_site="Lax"),
    Cookie(name="strict", value="2", domain="www.shop.example", path="/a", secure=True, same_site="Strict"),
    Cookie(
        name="chips",
        value="3",
        domain="shop.example",
        secure=True,
        same_site="None",
        partition_key="https://shop.example",
    ),
]


@pytest.fixture(scope="module")
def moved(site_process: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Site, Visit]:
    """A logged-in session of our store, exported, in Chromium; the folder has the storage state it came out with."""
    folder = tmp_path_factory.mktemp("browser")
    site_process.reset()
    origin = site_process.url("").rstrip("/")
    cookies = [login_cookie(site_process), *OTHERS]
    saved(folder, rich_record(cookies=cookies, local_storage={origin: {"taken": "along"}}, session_storage={}))
    sessions(folder, "export", "alice", "--format", "storage-state", "-o", "state.json")
    seen = visit(folder, "state.json", site_process.url("/secret"), script="localStorage.setItem('made', 'there')")
    (folder / "back.json").write_text(json.dumps(seen.state))
    return folder, site_process, seen


def test_chromium_is_logged_in(moved: tuple[Path, Site, Visit]) -> None:
    """Chromium opens with our storage state, is greeted by the session's name, and has its local storage."""
    _, _, seen = moved
    assert GREETING in seen.text
    assert seen.local_storage == {"taken": "along", "made": "there"}


def test_chromium_takes_every_kind_of_cookie(moved: tuple[Path, Site, Visit]) -> None:
    """What Chromium says of our cookies is what we said: host, path, expiry, flags, SameSite and partition."""
    _, _, seen = moved
    back = {cookie.name: cookie for cookie in read_json("storage-state", seen.state).cookies}
    for cookie in OTHERS:
        assert back[cookie.name] == cookie


def test_a_crawl_goes_on_where_chromium_left(moved: tuple[Path, Site, Visit]) -> None:
    """The storage state that Chromium saved, imported, makes a session that a crawl is logged in with."""
    folder, site, _ = moved
    sessions(folder, "import", "back.json", "bob", "--namespace", "shop", "--user-agent", "Browser/1")
    assert loaded(folder, "bob").local_storage[site.url("").rstrip("/")] == {"taken": "along", "made": "there"}
    request = {"url": site.url("/secret"), "meta": {"session_id": "bob"}}
    job = Job("tests.support.spiders.base.Listed", {"requests": [request]})
    store = f"sqlite:///{folder / STORE}"
    (done,) = crawl(folder / "crawl", job, SESSIONS_STORE=store, SESSIONS_NAMESPACE="shop")
    assert [(item["status"], item["session"]) for item in done.items] == [(200, "bob")]
    assert site.journal("/secret")[-1].header("User-Agent") == "Browser/1"
    assert done.stats["sessions/restored"] == 1
    assert "keeps the identity" not in done.log  # its agent is no outdated one of the project
