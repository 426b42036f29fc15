"""An API with OAuth 2.0: tokens are renewed before they expire."""

from __future__ import annotations

import json
from pathlib import Path

from tests.field.application import application
from tests.field.crawling import PASSWORDS, run

USERS = ("alice", "boss")
CLIENT = {"client_id": "people", "client_secret": "shared"}
PEOPLE = {f"CLIENT_{user}": json.dumps({"password": PASSWORDS[user], **CLIENT}) for user in USERS}


def test_a_logout_costs_one_login(tmp_path: Path) -> None:
    """The second run goes on with the token of the first. A logout ends the refresh token, too."""
    notes = [f"/notes/{number}/" for number in range(1, 31)]
    with application(tmp_path / "app", "oauth_api", "3600") as app:
        app.log_out(USERS, after=0)
        sources = {"SESSIONS_CREDENTIALS": ["env:CLIENT_{session_id}"], "SESSIONS_EXPIRED_STATUSES": [401, 403]}
        first = run(tmp_path, app, "oauth_api.AsUser", USERS, notes, environment=PEOPLE, **sources)
        first.check(USERS, notes)
        assert first.counts.logins == dict.fromkeys(USERS, 1)
        second = run(tmp_path, app, "oauth_api.AsUser", USERS, notes, environment=PEOPLE, **sources)
        second.check(USERS, notes)
        assert second.counts.logins == {}
        app.log_out()
        third = run(tmp_path, app, "oauth_api.AsUser", USERS, notes, environment=PEOPLE, **sources)
        third.check(USERS, notes)
        assert third.counts.logins == dict.fromkeys(USERS, 1)


def test_tokens_that_live_two_seconds(tmp_path: Path) -> None:
    """200 pages, 16 at a time: no page is refused, and a token is renewed once in its life, without the password."""
    notes = [f"/notes/{number}/" for number in range(1, 201)]
    with application(tmp_path / "app", "oauth_api", "2") as app:
        done = run(
            tmp_path,
            app,
            "oauth_api.AsUser",
            ["alice"],
            notes,
            environment=PEOPLE,
            CONCURRENT_REQUESTS_PER_DOMAIN=16,
            DOWNLOAD_DELAY=0.03,
            SESSIONS_CREDENTIALS=["env:CLIENT_{session_id}"],
        )
    done.check(["alice"], notes)
    assert done.crawl.stats.get("downloader/response_status_count/401") is None
    assert done.crawl.stats.get("downloader/response_status_count/403") is None
    assert done.counts.logins["alice"] == 1
    lives = done.crawl.stats["elapsed_time_seconds"] / 1.5  # it is renewed after three quarters of its life
    assert 1 <= done.counts.logins["refresh_token"] <= lives + 1


def test_a_service(tmp_path: Path) -> None:
    """A client without a user logs in with its own id and secret."""
    notes = [f"/notes/{number}/" for number in range(1, 11)]
    client = {"CLIENT_service": json.dumps({"username": "service", "password": "shared"})}
    sources = {"SESSIONS_CREDENTIALS": ["env:CLIENT_{session_id}"]}
    with application(tmp_path / "app", "oauth_api", "3600") as app:
        for logins in ({"client_credentials": 1}, {}):
            done = run(tmp_path, app, "oauth_api.AsService", ["service"], notes, environment=client, **sources)
            done.check(["service"], notes)
            assert done.counts.logins == logins
