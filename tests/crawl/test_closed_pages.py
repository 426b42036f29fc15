"""Pages that are closed to everyone: no session is lost to them, and no account to a status."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from scrapy_sessions import SessionRetired
from tests.support.bans import BanningSite, ask
from tests.support.spiders.asking import Accounts, Listing, Suspended, SuspendedTwice

pytestmark = pytest.mark.alone  # what it looks at depends on the pace of others

POOLS: dict[str, Any] = {"shop": {"size": 8}, "staff": {"sessions": ["alice", "bob"]}}


@pytest.mark.parametrize(("ms", "concurrency"), [(0, 1), (0, 16), (20, 8)])
async def test_a_page_that_is_closed_to_everyone(bans: BanningSite, ms: int, concurrency: int) -> None:
    """Asked for 20 times among 200 good pages, it costs no session, its tries are bounded, and the spider gets it."""
    bans.reset(ms=ms, random=1)
    urls: list[str] = []
    for number in range(200):
        urls.append(bans.url(f"/p/{number}"))
        if number % 10 == 0:
            urls.append(bans.url("/closed"))
    asked = await ask(*((url, {"session_pool": "shop"}) for url in urls), concurrency=concurrency, SESSIONS_POOLS=POOLS)
    assert asked.statuses == {200: 200, 403: 20}
    assert {urls[number] for number, (status, _) in asked.answers.items() if status == 403} == {bans.url("/closed")}
    assert len(bans.journal("/p/")) == 200 + asked.stats["questions"]
    assert 20 < len(bans.journal("/closed")) <= 20 * 3 + 1  # and the referee's
    assert asked.stats["closed_pages"] == 20
    assert asked.stats.get("retired", 0) == 0
    assert len({seen.sid for seen in bans.journal()}) <= 9


@pytest.mark.parametrize("setting", ["SUSPECT_STATUSES", "BLOCKED_STATUSES"])
@pytest.mark.parametrize("pool", [{}, {"session_pool": "staff"}])
async def test_a_banned_account_stays(bans: BanningSite, setting: str, pool: dict[str, str]) -> None:
    """A named session that gets nothing but 403 is not retired: every response goes to the spider in the end."""
    meta = pool or {"session_id": "alice"}
    asked = await ask(
        *((bans.url(f"/closed/{number}"), meta) for number in range(8)),
        SESSIONS_POOLS=POOLS,
        **{"SESSIONS_SUSPECT_STATUSES": [], f"SESSIONS_{setting}": [403]},
    )
    assert asked.statuses == {403: 8}
    assert asked.stats.get("retired", 0) == 0


async def test_a_closed_page_of_an_account(bans: BanningSite) -> None:
    """Where every page is public, as here, closed pages cost an account LOGIN_ATTEMPTS logins; it is never given up."""
    asked = await ask(
        *((bans.url(f"/{kind}/{number}"), {"session_id": "alice"}) for number in range(8) for kind in ("p", "closed")),
        concurrency=1,
        SESSIONS_CONFIG=Accounts,
        SESSIONS_LOGIN_BACKOFF=0.01,
        SITE=bans.url(),
    )
    assert asked.statuses == {200: 8, 403: 8}
    assert asked.failures == {}
    assert len(bans.journal("/login/alice")) <= 1 + 3


async def test_a_suspended_account_is_retired(bans: BanningSite) -> None:
    """BLOCKED out of a check of the spider's own retires a named session: what names it later fails, and says why."""
    asked = await ask(
        steps=[[(bans.url("/suspended"), {"session_id": "alice"})], [(bans.url("/p/1"), {"session_id": "alice"})]],
        SESSIONS_CONFIG=Suspended,
    )
    assert asked.answers == {0: (200, "alice")}
    assert isinstance(asked.failures[1], SessionRetired)
    assert str(asked.failures[1]).startswith(
        f"The session 'alice' was retired (blocked at {bans.url('/suspended')} (status 200))"
    )
    assert asked.stats["retired"] == asked.stats["verdicts/blocked"] == 1


async def test_a_blocked_pooled_session(bans: BanningSite) -> None:
    """BLOCKED retires a pooled session, and its request goes on in another."""
    steps = [
        [(bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(2)],
        [(bans.url("/suspended"), {"session_pool": "shop"})],
    ]
    asked = await ask(
        steps=steps, SESSIONS_CONFIG=SuspendedTwice, SESSIONS_RETRY_TIMES=1, SESSIONS_POOLS={"shop": {"size": 2}}
    )
    assert len({seen.sid for seen in bans.journal("/suspended")}) == 3
    assert asked.statuses == {200: 3}
    assert {name: asked.stats[name] for name in ("retired", "verdicts/blocked", "replays", "switched")} == {
        "retired": 2,
        "verdicts/blocked": 2,
        "replays": 2,
        "switched": 2,
    }


async def test_pinned_requests_stay(bans: BanningSite) -> None:
    """A request with session_id and session_pool is tried three times in that session, another in three sessions."""
    steps = [
        [(bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(4)],
        [(bans.url("/closed/pinned"), {"session_pool": "shop", "session_id": "shop#2"})],
        [(bans.url("/closed/free"), {"session_pool": "shop"})],
    ]
    await ask(steps=steps, SESSIONS_POOLS={"shop": {"size": 4}}, concurrency=1)
    assert Counter(Counter(seen.sid for seen in bans.journal("/closed/pinned")).values()) == {3: 1}
    assert len({seen.sid for seen in bans.journal("/closed/free")}) == 3


async def test_a_pinned_request_of_a_retired_session(bans: BanningSite) -> None:
    """A request with session_id and session_pool gets another session once its own is retired."""
    steps = [
        [(bans.url("/suspended"), {"session_pool": "shop", "dont_retry": True})],
        [(bans.url("/p/1"), {"session_pool": "shop", "session_id": "shop#1"})],
    ]
    asked = await ask(steps=steps, SESSIONS_CONFIG=Suspended, SESSIONS_POOLS={"shop": {"size": 2}})
    assert asked.answers[0] == (200, "shop#1")
    assert asked.answers[1][0] == 200
    assert asked.answers[1][1] in {"shop#2", "shop#3"}


@pytest.mark.parametrize("pages", [61, 62, 121])
async def test_the_last_pages_of_sessions_that_are_banned(bans: BanningSite, pages: int) -> None:
    """A page that no other is left to compare with gets a last try in a fresh session, and isn't lost."""
    bans.reset(limit=30)
    asked = await ask(
        *((bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(pages)),
        concurrency=1,
        SESSIONS_POOLS={"shop": {"size": 2}},
    )
    assert asked.statuses == {200: pages}


async def test_a_closed_page_alone(bans: BanningSite) -> None:
    """Pages closed to everybody cost no session, and the fourth in a row is tried in a new one."""
    steps = [
        [(bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(2)],
        *([(bans.url(f"/closed/{number}"), {"session_pool": "shop"})] for number in range(4)),
        [(bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(2, 4)],
    ]
    asked = await ask(steps=steps, concurrency=1, SESSIONS_POOLS={"shop": {"size": 2}})
    assert (asked.statuses, asked.stats.get("retired", 0)) == ({200: 4, 403: 4}, 0)
    assert asked.sessions[-2:] == ["shop#1", "shop#2"] or asked.sessions[-2:] == ["shop#2", "shop#1"]
    assert len(bans.journal("/closed")) == 4 * 3 + 1


async def test_pages_that_callbacks_ask_for(bans: BanningSite) -> None:
    """Scrapy sends the newest request first, a replay before all others: no page is lost by that, either."""
    bans.reset(limit=30)
    asked = await ask(
        *((bans.url(f"/p/{number}"), {"session_pool": "shop"}) for number in range(300)),
        spider=Listing,
        concurrency=1,
        SESSIONS_POOLS={"shop": {"size": 4}},
    )
    journal = bans.journal()
    assert (asked.statuses, len({seen.path for seen in journal if seen.status == 200})) == ({200: 300}, 300)
    assert len({seen.sid for seen in journal}) <= 12
