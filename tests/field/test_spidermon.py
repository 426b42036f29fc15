"""Spidermon: the monitor of the documentation fails when a login was given up."""

from __future__ import annotations

from pathlib import Path

from tests.field.application import application
from tests.field.crawling import CREDENTIALS, run
from tests.support.docs_pages import blocks, page_named

USERS = ("alice", "boss")
PATHS = ["/admin/auth/group/1/change/"]


def test_a_login_that_is_given_up(tmp_path: Path) -> None:
    """With the right passwords the monitor passes; with a wrong one it fails."""
    (text,) = (block.text for block in blocks(page_named("notifications")) if block.file == "monitors.py")
    (tmp_path / "monitors.py").write_text(text)
    settings = {
        "EXTENSIONS": {"spidermon.contrib.scrapy.extensions.Spidermon": 500},
        "SPIDERMON_ENABLED": True,
        "SPIDERMON_SPIDER_CLOSE_MONITORS": ["monitors.SessionsSuite"],
        "SESSIONS_LOGIN_BACKOFF": 0.01,
    }
    with application(tmp_path / "app", "django_admin") as app:
        done = run(tmp_path, app, "django_admin.Admin", USERS, PATHS, **settings)
        done.check(USERS, PATHS)
        assert "Spidermon" in done.crawl.log
        assert "FAILED (failures=1)" not in done.crawl.log
        app.log_out()
        wrong = {**CREDENTIALS, "PASSWORD_OF_boss": "wrong"}
        done = run(tmp_path, app, "django_admin.Admin", USERS, PATHS, environment=wrong, errors=True, **settings)
        assert "FAILED (failures=1)" in done.crawl.log
        assert done.pages == [("alice", PATHS[0])]
