"""``scrapy sessions open``: a browser window that is a session."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from scrapy_sessions import PersistentSession
from tests.support.browser import MISSING
from tests.support.command_line import fill, sessions
from tests.support.in_process import called
from tests.support.site import Site
from tests.support.waiting import HANG, wait_until
from tests.support.windows import XVFB, project, stored, terminal, wait_until_shown, window

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(MISSING, reason="there is no Chromium, or the package playwright is not installed"),
]


@pytest.mark.skipif(XVFB is None, reason="there is no xvfb-run, for a window that nobody sees")
def test_the_window_is_the_session(tmp_path: Path, site: Site) -> None:
    """The site knows the session; what changes in the window is saved, and is no login."""
    folder = project(tmp_path)
    login = site.url("/browser/login", user="alice")
    home = ("--until-url", "**/browser/home")
    assert sessions(folder, "login", "alice", login, "--namespace", "shop", "--headless", *home).code == 0
    for path, kept in (("/browser/home", True), ("/browser/logout", False)):
        site.reset()
        with (
            terminal() as (keys, stdin),
            window(folder, "open", "alice", site.url(path), visible=True, terminal=stdin) as process,
        ):
            wait_until_shown(process)
            wait_until(lambda: site.journal("/browser/home"))
            time.sleep(1)  # until the page has stored what it stores
            os.write(keys, b"\n")
            out, errors = process.communicate(timeout=HANG)
        assert process.returncode == 0, errors
        assert re.findall(r"127\.0\.0\.1 +(\d+) +(\d+) +(\d+)", out) == [("1", "1", "1") if kept else ("0", "0", "0")]
        assert bool(site.journal("/browser/home")[0].cookies) is kept
        record = stored(folder)
        assert record is not None
        assert (record.generation, record.metrics.logins, bool(record.cookies)) == (1, 1, kept)


def test_what_can_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that isn't there or has expired, and a window without a display, are errors of one line."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    now = time.time()
    alice = PersistentSession(session_id="alice", namespace="shop", start_time=now, last_activity=now)
    bob = alice.model_copy(update={"session_id": "bob", "last_activity": 1.0, "idle_timeout": 60.0})
    fill(tmp_path / "s.db", alice, bob)
    for session_id, message in (
        ("alice", "There is no display for the window of a browser"),
        ("bob", "has expired: scrapy sessions login begins a new one"),
        ("carol", "There is no session 'carol'"),
    ):
        done = called(tmp_path, "--store", "s.db", "open", session_id)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert message in done.err
