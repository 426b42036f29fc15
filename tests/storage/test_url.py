"""One URL picks the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from scrapy_sessions.exceptions import SessionConfigurationError
from scrapy_sessions.storage import MemoryStore, RedisStore, SessionStore, SQLiteStore, store_from_url


class OwnStore(MemoryStore):
    """A store of the user's own."""


class NeedsArguments(MemoryStore):
    """One that can't be made from its import path alone."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host


class Unfinished(SessionStore):
    """One that lacks methods."""

    async def open(self) -> None:
        """Nothing to open."""


def test_memory() -> None:
    """memory:// is the store in memory."""
    assert type(store_from_url("memory://")) is MemoryStore


def test_default_path(tmp_path: Path) -> None:
    """sqlite:// alone is the default file."""
    store = store_from_url("sqlite://", default_path=tmp_path / "sessions.db")
    assert isinstance(store, SQLiteStore)
    assert store.location == str(tmp_path / "sessions.db")


def test_no_default_path() -> None:
    """sqlite:// without a default file asks for one."""
    with pytest.raises(SessionConfigurationError, match="name the file"):
        store_from_url("sqlite://")


def test_absolute_path(tmp_path: Path) -> None:
    """Four slashes begin an absolute path; the default doesn't count."""
    assert store_from_url(f"sqlite:///{tmp_path}/x.db", default_path="y.db").location == str(tmp_path / "x.db")


def test_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes begin a path relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    assert store_from_url("sqlite:///data/x%20y.db").location == str(Path.cwd() / "data" / "x%20y.db")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("REDIS://me:hunter2@db.example:6380/3?socket_timeout=9", "redis://db.example:6380/3"),
        ("rediss://db.example/1?ssl_ca_certs=ca.pem", "rediss://db.example:6379/1"),
        ("unix://me:hunter2@/run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
    ],
)
def test_redis(url: str, location: str) -> None:
    """A URL of Redis is a store there; its location has neither password nor options."""
    store = store_from_url(url)
    assert isinstance(store, RedisStore)
    assert store.location == location


def test_import_path() -> None:
    """An import path makes a store of that class."""
    assert type(store_from_url(f"{__name__}.OwnStore")) is OwnStore


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlight:///x.db", r"'sqlight'.*Did you mean 'sqlite://'"),
        ("memroy://", r"Did you mean 'memory://'"),
        ("memory://x", r"'memory'.*Did you mean 'memory://'"),
        ("rediz://localhost", r"'rediz'.*Did you mean 'redis://'"),
        ("sqlite://data/x.db", "host"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "'memory://'"),
        ("sqlite:/x.db", r"neither.*Did you mean 'sqlite://'"),
        ("memory", r"neither.*Did you mean 'memory://'"),
        ("", "neither"),
        ("/var/x.db", "neither"),
        ("no.such.module.Store", r"'no\.such\.module\.Store' can't be imported.*ModuleNotFoundError"),
        ("scrapy_sessions.storage.NoStore", r"can't be imported.*NoStore"),
        ("scrapy_sessions.storage.Key", "isn't a subclass of SessionStore"),
        (f"{__name__}.Unfinished", "lacks the methods close, delete"),
        (f"{__name__}.NeedsArguments", "without arguments.*host"),
    ],
)
def test_refused(url: str, words: str) -> None:
    """What names no store is refused with the reason and what is accepted."""
    with pytest.raises(SessionConfigurationError, match=words) as caught:
        store_from_url(url)
    assert "Accepted are 'sqlite://'" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://:hunter2@host:port", "redis://:hunter2#@host", "redis:/:hunter2@host", "sqlite://me:hunter2@host/x"],
)
def test_refused_without_its_password(url: str) -> None:
    """The error about a URL doesn't show a password in it."""
    with pytest.raises(SessionConfigurationError) as caught:
        store_from_url(url)
    assert "hunter2" not in str(caught.value)
