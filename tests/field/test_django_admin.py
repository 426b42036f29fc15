"""Django's admin. Alice lacks a permission: its pages are refused with 403, or redirected to the login form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.application import Application, application
from tests.field.crawling import CREDENTIALS, run
from tests.support.command_line import make_project, sessions

USERS = ("alice", "boss")
GROUPS = [f"/admin/auth/group/{number}/change/" for number in range(1, 31)]
REFUSED = ["/admin/auth/user/", "/admin/auth/user/add/"]
REDIRECTED = ["/reports/1/", "/reports/2/"]
PATHS = [*GROUPS[:12], REFUSED[0], REDIRECTED[0], *GROUPS[12:], REFUSED[1], REDIRECTED[1]]
CLOSED = [("alice", path) for path in (*REFUSED, *REDIRECTED)]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Application]:
    with application(tmp_path / "app", "django_admin") as running:
        yield running


def test_pages_without_permission_cost_no_other_page(tmp_path: Path, app: Application) -> None:
    """A logout in the middle of the first run costs each user one login; the second run needs none."""
    app.log_out(USERS, after=10)
    first = run(tmp_path, app, "django_admin.Admin", USERS, PATHS)
    first.check(USERS, PATHS, without=CLOSED)
    assert first.counts.logins == dict.fromkeys(USERS, 2)
    second = run(tmp_path, app, "django_admin.Admin", USERS, PATHS)
    second.check(USERS, PATHS, without=CLOSED)
    assert second.counts.logins == {}


def test_a_logout_between_two_runs(tmp_path: Path, app: Application) -> None:
    """The second run finds its saved logins dead, and logs each user in once."""
    run(tmp_path, app, "django_admin.Admin", USERS, GROUPS).check(USERS, GROUPS)
    app.log_out()
    second = run(tmp_path, app, "django_admin.Admin", USERS, PATHS)
    second.check(USERS, PATHS, without=CLOSED)
    assert second.counts.logins == dict.fromkeys(USERS, 1)


def test_one_request_at_a_time(tmp_path: Path, app: Application) -> None:
    """Two pages that nobody may see come first: until a page is good, nothing tells them from a login that is lost."""
    paths = [*REDIRECTED, *GROUPS[:20]]
    done = run(tmp_path, app, "django_admin.Admin", ["alice"], paths, CONCURRENT_REQUESTS=1)
    done.check(["alice"], paths, without=[("alice", path) for path in REDIRECTED])
    assert done.counts.logins["alice"] <= 2


PROJECT = """
import scrapy
from scrapy_sessions.logins import FormLogin

class Admin(FormLogin):
    login_url = "SITE/admin/login/?next=/admin/"
    probe_url = "/admin/"

class AdminSpider(scrapy.Spider):
    name = "admin"
    session_config = Admin
"""


def test_cron_finds_who_is_logged_out(tmp_path: Path, app: Application) -> None:
    """``scrapy sessions check`` logs alice in, and again after a logout; a wrong password is sent once."""
    make_project(
        tmp_path / "project",
        PROJECT.replace("SITE", app.url),
        SESSIONS_CREDENTIALS=["env:PASSWORD_OF_{session_id}"],
        SESSIONS_LOGIN_ATTEMPTS=3,
    )
    wrong = {**CREDENTIALS, "PASSWORD_OF_boss": "small office"}

    def check(*arguments: str) -> tuple[int, dict[str, str], dict[str, int]]:
        done = sessions(tmp_path / "project", "check", "--spider", "admin", "--json", *arguments, **wrong)
        assert "small office" not in done.out + done.err
        found = {entry["session_id"]: entry["state"] for entry in json.loads(done.out)}
        return done.code, found, app.counts().logins

    once = {"alice": 1, "boss": 1}
    assert check("alice", "boss", "--login") == (1, {"alice": "logged in", "boss": "login failed"}, once)
    assert check("alice") == (0, {"alice": "logged in"}, {})
    app.log_out()
    assert check("alice") == (1, {"alice": "not logged in"}, {})
    assert check("alice", "--login") == (0, {"alice": "logged in"}, {"alice": 1})
