"""``proxy_lifetime`` of a profile: the token in a session's proxy is another one after each such time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrapy_sessions import PersistentSession, SessionManager
from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.sessions.browser_session import runtime_of
from scrapy_sessions.sessions.proxy_token import current_proxy
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore

PROXY = "http://customer-{token}:password@proxy.test:8000"
HALF_AN_HOUR = 1800.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settings(**profile: Any) -> SessionsSettings:
    sticky = {"proxy": PROXY, "proxy_lifetime": "30m", **profile}
    return SessionsSettings.from_settings({"SESSIONS_PROFILES": {"sticky": sticky}, "SESSIONS_IDLE_TIMEOUT": 0})


def manager(store: Any, clock: Callable[[], float], **profile: Any) -> SessionManager:
    where = {"store": store} if isinstance(store, MemoryStore) else {"storage_path": store}
    return SessionManager(**where, settings=settings(**profile), clock=clock)


async def test_each_lifetime_has_a_token(clock: Clock) -> None:
    """It is the same for the whole time, and never one that was used before; another session has others."""
    async with manager(MemoryStore(), clock) as sessions:
        session, other = await sessions.get("alice"), await sessions.get("bob")
        began, seen = clock.now, []
        for number in range(50):
            clock.now = began + number * HALF_AN_HOUR
            seen += [session.proxy, other.proxy]
            clock.now += HALF_AN_HOUR - 1
            assert [session.proxy, other.proxy] == seen[-2:]
        assert len(set(seen)) == 100
        for proxy in seen:
            assert proxy is not None
            token = proxy.removeprefix("http://customer-").removesuffix(":password@proxy.test:8000")
            assert len(token) == 8
            assert token.isascii()
            assert token.isalnum()
            assert token == token.lower()


async def test_runs_and_processes_agree(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has the session, now or later, uses the same token at the same time; that is no change of the profile."""
    path = tmp_path / "s.db"
    async with manager(path, clock) as one:
        session = await one.get("alice")
        session.record("used")
        await one.flush()
        async with manager(path, clock) as two:
            again = await two.get("alice")
            found = []
            for _ in range(3):
                found.append(session.proxy)
                assert again.proxy == session.proxy
                again.record("used")
                session.record("used")
                await two.flush()
                await one.flush()  # merged
                clock.now += HALF_AN_HOUR
            found.append(session.proxy)
    assert len(set(found)) == 4
    async with manager(path, clock) as later:
        assert (await later.get("alice")).proxy == found[-1]
        clock.now -= 3 * HALF_AN_HOUR
        assert (await later.get("alice")).proxy == found[0]
    assert not caplog.records


async def test_a_proxy_set_by_hand_stays(tmp_path: Path, clock: Clock) -> None:
    """``session.proxy = ...`` ends the changes, in later runs, too."""
    for proxy in ("http://mine.test:80", None):
        async with manager(tmp_path / "s.db", clock) as sessions:
            session = await sessions.get(f"with {proxy}")
            session.record("used")
            await sessions.flush()
            session.proxy = proxy
            clock.now += HALF_AN_HOUR
            assert session.proxy == proxy
        async with manager(tmp_path / "s.db", clock) as sessions:
            session = await sessions.get(f"with {proxy}")
            assert session.proxy == proxy
            assert session.snapshot().proxy_rotation is None
            clock.now += HALF_AN_HOUR
            assert session.proxy == proxy


async def test_a_fork_has_the_same(clock: Clock) -> None:
    """A fork has the identity of its original, and so the same proxy at the same time."""
    async with manager(MemoryStore(), clock) as sessions:
        session = await sessions.get("alice")
        session.record("used")
        clock.now += 1000
        await sessions.flush()
        fork = await sessions.fork_session("alice", "alice-test")
        for _ in range(3):
            assert fork.proxy == session.proxy
            clock.now += 1000


async def test_another_lifetime_is_a_change(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A session keeps the lifetime that it was created with, and a warning says so."""
    caplog.set_level(logging.WARNING)
    async with manager(tmp_path / "s.db", clock) as sessions:
        session = await sessions.get("alice")
        session.record("used")
    async with manager(tmp_path / "s.db", clock, proxy_lifetime=60) as sessions:
        session = await sessions.get("alice")
        before = session.proxy
        clock.now += 61
        assert session.proxy == before
    assert "keeps the identity that it was created with" in caplog.text
    assert "password" not in caplog.text


async def test_without_a_lifetime(clock: Clock) -> None:
    """0 is the default: the token stays, and nothing is stored beside the proxy."""
    async with manager(MemoryStore(), clock, proxy_lifetime=0) as sessions:
        session = await sessions.get("alice")
        before = session.proxy
        clock.now += 1e9
        assert session.proxy == before
        assert runtime_of(session).rotation is None
        assert session.snapshot().proxy_rotation is None


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"proxy": "http://u:s3cret@proxy.test:8000", "proxy_lifetime": 60}, "needs {token} in 'proxy'"),
        ({"proxy_lifetime": "30m"}, "needs {token} in 'proxy'"),
        ({"proxy": "http://{token}:s3cret@proxy.test", "proxy_lifetime": 0.5}, "at least one second"),
        ({"proxy": "http://{token}:s3cret@proxy.test", "proxy_lifetime": "soon"}, "'30m'"),
        ({"proxy": "http://{token}:s3cret@proxy.test", "proxy_lifetime": -1}, "greater than or equal to 0"),
        ({"proxy": "http://{token}:s3cret@proxy.test", "proxy_lifetime": "inf"}, "finite number"),
    ],
    ids=["no-token", "no-proxy", "too-short", "no-duration", "negative", "infinite"],
)
def test_refused(profile: dict[str, Any], message: str) -> None:
    """A lifetime that means nothing is an error of the settings, which quotes no password."""
    with pytest.raises(SessionConfigurationError) as caught:
        SessionsSettings.from_settings({"SESSIONS_PROFILES": {"sticky": profile}})
    assert message in str(caught.value)
    assert "SESSIONS_PROFILES" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"since": 1e308},
        {"lifetime": 1e308},
        {"since": 0.0, "lifetime": 1.0},
        {"template": "http://other.test"},
        {"seed": ""},
    ],
    ids=["since", "lifetime", "many", "another-template", "seed"],
)
def test_odd_records(changes: dict[str, Any]) -> None:
    """Of a record with odd numbers, the proxy is one of its template; of one that doesn't fit, the stored one."""
    rotation = {"template": PROXY, "seed": "s", "lifetime": 60.0, "since": 1.0, **changes}
    proxy = PROXY.replace("{token}", "abcdefgh")
    record = PersistentSession.model_validate({"session_id": "alice", "proxy": proxy, "proxy_rotation": rotation})
    found = current_proxy(record, 1_700_000_000.0)
    assert found is not None
    assert (found == proxy) is ("template" in changes)
    assert found.startswith("http://customer-")
