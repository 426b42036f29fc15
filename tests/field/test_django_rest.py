"""Django REST framework: 401 without a token, 403 without a session, and 403 without a permission."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.field.application import application
from tests.field.crawling import run

USERS = ("alice", "boss")


@pytest.mark.parametrize("kind", ["token", "session"])
def test_pages_and_posts(tmp_path: Path, kind: str) -> None:
    """Some pages are closed to alice. A logout in the middle costs one login, for the POSTs too."""
    notes = [f"/{kind}/notes/{number}/" for number in range(1, 21)]
    secrets = [f"/{kind}/secrets/{number}/" for number in range(1, 4)]
    gets = [*notes[:10], *secrets, *notes[10:]]
    posts = [f"/{kind}/notes/{number}/" for number in range(21, 26)]
    closed = [("alice", path) for path in secrets]
    spider = f"django_rest.With{kind.capitalize()}"
    with application(tmp_path / "app", "django_rest", kind) as app:
        for after in (8, 22):  # while pages are read, and while the last ones and the POSTs are under way
            app.log_out(USERS, after=after)
            first = run(tmp_path, app, spider, USERS, gets, FIELD_POSTS=posts)
            first.check(USERS, [*gets, *posts], without=closed)
            restored = after == 22
            assert first.counts.logins == dict.fromkeys(USERS, 1 if restored else 2)
        second = run(tmp_path, app, spider, USERS, gets, FIELD_POSTS=posts)
        second.check(USERS, [*gets, *posts], without=closed)
        assert second.counts.logins == {}
