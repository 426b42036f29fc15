"""Flask-Login with "remember me": the site logs in again by itself whoever keeps its dated cookie."""

from __future__ import annotations

from pathlib import Path

from tests.field.application import application
from tests.field.crawling import run

USERS = ("alice", "bob")
PATHS = [f"/notes/{number}" for number in range(1, 31)]


def test_a_logout_costs_a_login_and_an_ended_session_none(tmp_path: Path) -> None:
    with application(tmp_path / "app", "flask_remember") as app:
        app.log_out(USERS, after=10)
        first = run(tmp_path, app, "flask_remember.Remembered", USERS, PATHS)
        first.check(USERS, PATHS)
        assert first.counts.logins == dict.fromkeys(USERS, 2)
        app.forget(USERS, after=10)
        second = run(tmp_path, app, "flask_remember.Remembered", USERS, PATHS)
        second.check(USERS, PATHS)
        assert second.counts.logins == {}
        app.log_out()
        third = run(tmp_path, app, "flask_remember.Remembered", USERS, PATHS)
        third.check(USERS, PATHS)
        assert third.counts.logins == dict.fromkeys(USERS, 1)
