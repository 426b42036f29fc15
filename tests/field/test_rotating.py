"""A session id that is good for one request: no answer may be lost, nor the last one of the run."""

from __future__ import annotations

from pathlib import Path

from tests.field.application import application
from tests.field.crawling import run

USERS = ("alice", "bob")
PATHS = [f"/notes/{number}" for number in range(1, 31)]


def test_each_response_brings_the_next_session_id(tmp_path: Path) -> None:
    with application(tmp_path / "app", "rotating") as app:
        app.log_out(USERS, after=10)
        first = run(tmp_path, app, "rotating.Rotating", USERS, PATHS)
        first.check(USERS, PATHS)
        assert first.counts.logins == dict.fromkeys(USERS, 2)
        second = run(tmp_path, app, "rotating.Rotating", USERS, PATHS)
        second.check(USERS, PATHS)
        assert second.counts.logins == {}
