"""Jupyter Server: 403 for strangers, and a token against cross-site requests on each call of its API."""

from __future__ import annotations

from pathlib import Path

from tests.field.application import Application, application
from tests.field.crawling import Run, run

USERS = ("alice", "bob")
PATHS = [f"/api/me?call={number}" for number in range(1, 26)]
NEW_FILES = 5
POSTS = [f"/api/contents?new={user}-{number}" for user in USERS for number in range(NEW_FILES)]


def crawled(folder: Path, app: Application) -> Run:
    return run(folder, app, "jupyter.Jupyter", USERS, PATHS, FIELD_NEW_FILES=NEW_FILES)


def check(done: Run) -> None:
    """The answer to a POST doesn't show the user: the server says who it was."""
    assert {(item["session"], item["path"]) for item in done.crawl.items} == {
        *((user, path) for user in USERS for path in PATHS),
        *((user, path) for user in USERS for path in POSTS if f"={user}-" in path),
    }
    assert len(done.crawl.items) == len(USERS) * (len(PATHS) + NEW_FILES)
    assert all(item["user"] == item["session"] for item in done.crawl.items if item["path"] in PATHS)
    created = [(user, path) for user, path in done.counts.pages if path in POSTS]
    assert sorted(created) == sorted((path[len("/api/contents?new=") :].partition("-")[0], path) for path in POSTS)
    assert "LoginFailed" not in done.crawl.log


def test_403_for_strangers(tmp_path: Path) -> None:
    """A logout in the middle costs one login and no page; so does a saved login that is dead when a run begins."""
    with application(tmp_path / "app", "jupyter") as app:
        app.log_out(USERS, after=10)
        first = crawled(tmp_path, app)
        check(first)
        assert first.counts.logins == dict.fromkeys(USERS, 2)
        second = crawled(tmp_path, app)
        check(second)
        assert second.counts.logins == {}
        app.log_out()
        third = crawled(tmp_path, app)
        check(third)
        assert third.counts.logins == dict.fromkeys(USERS, 1)
