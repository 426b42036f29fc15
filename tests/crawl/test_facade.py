"""``self.sessions``, used from callbacks and errbacks: with a reactor and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.bans import BanningSite
from tests.support.crawl import MODES, Job, crawl_jobs, sqlite_url


def facade(folder: Path, bans: BanningSite, scene: str, mode: str = "asyncio", **settings: Any) -> dict[str, Any]:
    """Play *scene* of the spider and return what it said."""
    (done,) = crawl_jobs(
        folder,
        Job("tests.support.spiders.facade.Playing", {"scene": scene, "site": bans.url()}),
        mode=mode,
        ROBOTSTXT_OBEY=False,
        RETRY_ENABLED=False,
        SESSIONS_POOLS={"shop": {"size": 2}, "staff": {"sessions": ["ann", "ben"]}},
        SITE=bans.url(),
        **settings,
    )
    said: dict[str, Any] = {}
    for item in done.items:
        said.update(item)
    return said


@pytest.mark.parametrize("mode", MODES)
def test_all_of_it(bans: BanningSite, tmp_path: Path, mode: str) -> None:
    """Everything works from a callback, with a reactor and without."""
    said = facade(tmp_path, bans, "everything", mode)
    assert said == {
        "of": "alice",
        "get": True,
        "pool": ["shop#1"],
        "fork": "alice-2",
        "refresh": 1,
        "retire": "retired",
        "delete": [True, False],
        "shared": {"n": 1},
        "fetch": ["b'a page'", "alice"],
    }


def test_of_a_response_without_a_session(bans: BanningSite, tmp_path: Path) -> None:
    """of() of a response that came in no session says so."""
    assert facade(tmp_path, bans, "of_nobody") == {
        "error": f"SessionError: <200 {bans.url('/p')}> was received in no session"
    }


def test_pool(bans: BanningSite, tmp_path: Path) -> None:
    """pool() tells of each session the pool has made, and of a name that isn't declared the nearest."""
    said = facade(tmp_path, bans, "pool")
    assert sorted(said["infos"]) == [["shop#1", "ready", 1], ["shop#2", "ready", 1]]
    assert said["empty"] == []
    assert said["error"].startswith("UnknownPool: SESSIONS_POOLS declares no pool 'shpo' (did you mean shop?)")


def test_fork(bans: BanningSite, tmp_path: Path) -> None:
    """A fork is known to the site as the other, has its data and login, and goes its own way from then on."""
    said = facade(tmp_path, bans, "fork", SESSIONS_STORE=sqlite_url(tmp_path / "s.db"))
    assert said["sid"] == said["forked sid"]
    assert said["data"] == [{"basket": ["a", "mine"]}, {"basket": ["a", "its"]}]
    assert said["numbers"] == [0, 0, "new", 0]
    assert said["stored"] == {"basket": ["a"]}
    assert said["errors"] == [
        "SessionError: There is no session 'nobody' to fork",
        "SessionError: The session 'alice' exists: fork to another id, or replace it",
        "SessionError: The session 'alice' can't be forked to its own id",
        "InvalidSessionId",
    ]


def test_login_again(bans: BanningSite, tmp_path: Path) -> None:
    """login_again() lets a session log in again before its next request, also one whose login was given up."""
    facade(tmp_path, bans, "refresh", SESSIONS_CONFIG="tests.support.spiders.asking.Accounts")
    assert [seen.path for seen in bans.journal()] == ["/login/alice", "/p", "/q", "/login/alice", "/r"]


def test_refresh_of_a_retired_session(bans: BanningSite, tmp_path: Path) -> None:
    """login_again() brings no retired session back."""
    said = facade(tmp_path, bans, "refresh_retired")
    assert said["error"] == "SessionRetired: The session 'alice' is retired and can't log in: delete it, or fork it"
    assert said["status"] == "retired"


def test_retire(bans: BanningSite, tmp_path: Path) -> None:
    """A pooled session that a callback retires gets a successor, an account none; each is counted once."""
    said = facade(tmp_path, bans, "retire")
    assert said["shop"] == ["shop#1", "shop#2", "shop#3", "shop#2"]
    assert said["staff"] == ["ben", "ben"]
    assert said["error"] == (
        "PoolExhausted: Every session of the pool 'staff' is retired (ann: on holiday; ben: ill): delete them to begin "
        "anew, or add others to SESSIONS_POOLS['staff']['sessions']"
    )


def test_a_retired_session_stays_retired(bans: BanningSite, tmp_path: Path) -> None:
    """The next run goes on with the successors of the sessions that were retired, and without the accounts."""
    settings = {"SESSIONS_STORE": sqlite_url(tmp_path / "s.db")}
    facade(tmp_path, bans, "retire", **settings)
    said = facade(tmp_path, bans, "look", **settings)
    assert set(said["shop"]) == {"shop#2", "shop#3"}
    assert said["error"].startswith("PoolExhausted: Every session of the pool 'staff' is retired (ann: on holiday; ben")


def test_delete(bans: BanningSite, tmp_path: Path) -> None:
    """A session that was deleted begins anew at its next request."""
    said = facade(tmp_path, bans, "delete")
    assert said["answers"] == [True, False]
    assert said["same"] is False
    assert len({seen.sid for seen in bans.journal()}) == 2


def test_fetch_from_an_errback(bans: BanningSite, tmp_path: Path) -> None:
    """session.fetch() works from an errback, in the session of the request that failed."""
    said = facade(tmp_path, bans, "errback")
    assert said["fetched"] == ["b'a page'", "alice"]
    journal = bans.journal()
    assert list(dict.fromkeys(seen.path for seen in journal)) == ["/p", "/drop", "/fetched"]
    assert len({seen.sid for seen in journal}) == 1


def test_the_pool_of_a_config(bans: BanningSite, tmp_path: Path) -> None:
    """SessionConfig.pool() is asked for requests without a session key, and for no others; None is the default pool."""
    said = facade(tmp_path, bans, "config_pool", SESSIONS_CONFIG="tests.support.spiders.asking.Accounts")
    assert said == {"/shop/1": "shop#1", "/other": "default#1", "/shop/named": "alice", "/shop/none": None}
