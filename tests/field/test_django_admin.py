"""Django's admin. Alice lacks a permission: its pages are refused with 403, or redirected to the login form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.field.application import Application, application
from tests.field.crawling import run

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
