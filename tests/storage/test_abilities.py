"""A feature whose store lacks the ability for it fails when it is constructed; only analytics may be absent."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from scrapy import Spider
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig, SessionConfigurationError, SessionManager
from scrapy_sessions.crawl.configs import Configs
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.models import PersistentSession
from scrapy_sessions.sessions.shared import SharedData
from scrapy_sessions.storage import AnalyticsStore, ClaimStore, LeaseStore, MemoryStore, SharedStore
from scrapy_sessions.storage.codec import encode
from tests.support.in_process import called
from tests.support.plain_store import PlainStore

PATH = f"{PlainStore.__module__}.PlainStore"
NEEDS_LEASES = r"The session store PlainStore is no LeaseStore, and Shop\.login\(\) needs one: set SESSIONS_STORE to"


class Shop(SessionConfig):
    """A config with a login."""

    async def login(self, session: Any, fetch: Any) -> None:
        """Log in."""


def extension(store: str, **given: Any) -> SessionsExtension:
    """Return the extension of a crawl with *store*. The spider has the attributes *given*."""
    settings = {"SESSIONS_STORE": store, "SESSIONS_CONFIG": given.pop("project", None)}
    crawler = get_crawler(type("Shopper", (Spider,), {"name": "shopper", **given}), settings)
    crawler.spider = crawler._create_spider()
    return SessionsExtension.from_crawler(crawler)


@pytest.mark.parametrize("ability", [LeaseStore, ClaimStore, SharedStore, AnalyticsStore])
def test_ability(ability: Any) -> None:
    """The check returns a store with the ability, and names class, ability and feature for one without it."""
    store = MemoryStore()
    assert ability.of(store, "a feature") is store
    words = (
        f"The session store PlainStore is no {ability.__name__}, and a feature needs one: .*{ability.__name__} to it"
    )
    with pytest.raises(SessionConfigurationError, match=words):
        ability.of(PlainStore(), "a feature")


@pytest.mark.parametrize("given", [{"project": Shop}, {"session_config": Shop}], ids=["setting", "spider"])
def test_login_needs_leases(given: dict[str, Any]) -> None:
    """A crawl whose config logs in does not start with a store that can't lease."""
    with pytest.raises(SessionConfigurationError, match=NEEDS_LEASES):
        extension(PATH, **given)
    assert extension("memory://", **given).router.configs.of("https://shop.example").can_log_in


def test_config_object_needs_leases() -> None:
    """A config that the spider constructs itself is checked, too."""
    crawler = get_crawler(Spider)
    crawler.spider = Spider("shopper", session_config=Shop(crawler))
    with pytest.raises(SessionConfigurationError, match=NEEDS_LEASES):
        Configs(crawler, None, PlainStore()).look_at_spider()


def test_crawl_without_login_needs_no_leases() -> None:
    """Without a login a crawl takes a store with no ability."""
    assert type(extension(PATH).store) is PlainStore


def test_shared_data_needs_its_ability() -> None:
    """``self.sessions.shared`` raises at once, before anything is read or written."""
    with pytest.raises(SessionConfigurationError, match="PlainStore is no SharedStore, and shared data needs one"):
        SharedData(PlainStore(), "shop", lambda: None)
    router = extension(PATH).router
    sessions = router.facade(router)
    with pytest.raises(SessionConfigurationError, match="PlainStore is no SharedStore"):
        _ = sessions.shared


async def test_absent_analytics_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A manager whose store takes no analytics works, and says in one line that they are not stored."""
    with caplog.at_level(logging.INFO, "scrapy_sessions"):
        async with SessionManager(store=PlainStore(), namespace="shop") as manager:
            await manager.save_session("alice", await manager.get("alice"))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "PlainStore is no AnalyticsStore: statistics and events are not stored")
    ]


class Stocked(PlainStore):  # type: ignore[misc]
    """A store without abilities that has a session."""

    def __init__(self) -> None:
        super().__init__()
        row = encode(PersistentSession(session_id="alice", idle_timeout=0, revision=1))
        self._rows[row.key] = row


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stats"], 1, "The store memory:// stores no analytics, because Stocked is no AnalyticsStore"),
        (["show", "alice"], 0, "Stocked is no AnalyticsStore: there are no events"),
    ],
)
def test_commands_say_what_is_absent(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    """A command that shows analytics names the class that stores none."""
    done = called(tmp_path, "--store", f"{__name__}.Stocked", *arguments)
    assert done.code == code
    assert words in done.err
