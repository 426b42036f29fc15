"""What a verdict does to its session and its request: one verdict at a time, without a crawl.

The cases in which evidence decides are in ``test_blame_login.py`` and ``test_blame_anonymous.py``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig, SessionManager, Verdict
from scrapy_sessions.analytics.model import Event
from scrapy_sessions.crawl.blame import Answer
from scrapy_sessions.pools.claim import FLOW, PICKED, REFUSED_BY, Claim
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings
from scrapy_sessions.storage import MemoryStore
from tests.support.blame import Handler

OK, SUSPECT, EXPIRED, BLOCKED = Verdict.OK, Verdict.SUSPECT, Verdict.EXPIRED, Verdict.BLOCKED
SITE = "http://x.example"
Opener = Callable[..., AbstractAsyncContextManager["JudgedPools"]]


class LoggingIn(SessionConfig):
    async def login(self, session: Any, fetch: Any) -> None:
        raise AssertionError("nobody logs in here")


class JudgedPools:
    """Applies verdicts to the sessions of the pools ``shop`` (three anonymous ones) and ``staff`` (alice and bob)."""

    def __init__(self, manager: SessionManager, config: type[SessionConfig]) -> None:
        self.manager = manager
        self.handler = Handler(manager)
        settings = registry_of(manager).settings
        names = settings.model_fields_set - {"pools"}
        given = {f"SESSIONS_{name.upper()}": getattr(settings, name) for name in names}
        pools = {name: options.model_dump(exclude_unset=True) for name, options in settings.pools.items()}
        self.config = config(get_crawler(settings_dict={**given, "SESSIONS_POOLS": pools}))

    async def session(self, pool: str = "shop") -> SessionRuntime:
        """The session whose turn it is."""
        return await registry_of(self.manager).obtain(registry_of(self.manager).settle(Claim(None, pool)))

    async def apply(
        self, verdict: Verdict, session: SessionRuntime, path: str = "/", request: Request | None = None, **meta: Any
    ) -> Request | None:
        """Apply *verdict* to *session*, for a request for *path* or the replay *request*; return the next replay."""
        carried = {} if request is None else {REFUSED_BY: request.meta[REFUSED_BY]}
        picked = {"session_id": session.id, PICKED: session.id, "session_pool": session.pool}
        request = Request(f"{SITE}{path}", meta={**picked, **carried, **meta})
        return await self.handler.handle(verdict, session, request, self.config)

    async def status(self, status: int, session: SessionRuntime, path: str = "/") -> Request | None:
        """Apply the verdict that the default check has for *status*."""
        meta = {"session_id": session.id} | ({"session_pool": session.pool} if session.pool is not None else {})
        request = Request(f"{SITE}{path}", meta=meta)
        verdict = SessionConfig.check(self.config, Response(request.url, status=status), request)
        assert isinstance(verdict, Verdict)
        return await self.handler.handle(verdict, session, request, self.config, status)


async def closed_pages(manager: SessionManager) -> list[Event]:
    """The events of closed pages, oldest first."""
    await registry_of(manager).analytics.flush()
    store = manager.store
    assert isinstance(store, MemoryStore)
    return [event for event in reversed(await store.events(None)) if event.kind == "closed_page"]


@pytest.fixture
def open_pools() -> Opener:
    @asynccontextmanager
    async def opened(config: type[SessionConfig] = SessionConfig, **settings: Any) -> AsyncIterator[JudgedPools]:
        pools = {"shop": {"size": 3}, "staff": {"sessions": ["alice", "bob"]}, "one": {"size": 1}}
        values = SessionsSettings.model_validate({"pools": pools, **settings})
        async with SessionManager(store="memory://", namespace="x", settings=values) as manager:
            yield JudgedPools(manager, config)

    return opened


async def test_a_witness_that_is_refused_retires(open_pools: Opener) -> None:
    """A session that is refused the page it got last is retired; the page is tried elsewhere, and that was no try."""
    async with open_pools() as pools:
        session = await pools.session()
        await pools.apply(OK, session, "/good")
        pools.handler.answers[f"{SITE}/good"] = Answer.REFUSED
        replay = await pools.apply(SUSPECT, session, "/p")
        assert (session.status, session.retired_reason) == (
            "retired",
            f"{SITE}/good was refused, which was good before; it began at {SITE}/p (status 403)",
        )
        assert replay is not None
        assert replay.meta[REFUSED_BY] == []


async def test_a_page_closed_to_everybody_is_handed_on(open_pools: Opener) -> None:
    """Refused in three sessions that still get their pages, it is handed on, and counted; no session is retired."""
    async with open_pools() as pools:
        request: Request | None = None
        for number in range(3):
            session = await pools.session()
            await pools.apply(OK, session, "/good")
            pools.handler.answers[f"{SITE}/good"] = Answer.GOOD
            request = await pools.apply(SUSPECT, session, "/closed", request)
            assert (request is None) is (number == 2)
            assert session.status == "ready"
        assert pools.handler.counts["closed_pages"] == 1
        events = await closed_pages(pools.manager)
        assert [(event.pool, event.detail) for event in events] == [("shop", f"{SITE}/closed (status 403)")]


async def test_few_closed_pages_are_events(open_pools: Opener) -> None:
    """A page is an event once per session, and at most a hundred are in a run: others would be pushed out."""
    async with open_pools(max_errors=0) as pools:
        session = await pools.session("one")
        await pools.apply(OK, session, "/good")
        pools.handler.answers[f"{SITE}/good"] = Answer.GOOD
        for number in (0, *range(120)):
            request: Request | None = None
            for _ in range(3):
                request = await pools.apply(SUSPECT, session, f"/closed/{number}?token=x", request)
        assert pools.handler.counts["closed_pages"] == 121
        found = [event.detail for event in await closed_pages(pools.manager)]
        assert found == [f"{SITE}/closed/{number}?token=… (status 403)" for number in range(100)]


async def test_a_request_that_is_tried_elsewhere(open_pools: Opener) -> None:
    """A pooled request goes on without its session, which is the last to be picked, and past the dupefilter."""
    async with open_pools() as pools:
        session = await pools.session()
        replay = await pools.apply(SUSPECT, session, "/p")
        assert replay is not None
        assert ("session_id" in replay.meta, replay.dont_filter) == (False, True)
        assert replay.meta[REFUSED_BY] == [(session.id, True)]


async def test_tries_in_sessions_retired_since_do_not_count(open_pools: Opener) -> None:
    """Without proof, a try counts only as long as its session is in use."""
    async with open_pools(retry_times=1) as pools:
        request: Request | None = None
        await pools.apply(OK, await pools.session(), "/good")
        for _ in range(4):
            session = await pools.session()
            request = await pools.apply(SUSPECT, session, "/p", request)
            assert request is not None
            session.retire("by the test")


async def test_a_pool_of_one_tries_in_its_session(open_pools: Opener) -> None:
    """The only session of a pool is not replaced for a page: that is tried three times in it, then handed on."""
    async with open_pools() as pools:
        session = await pools.session("one")
        await pools.apply(OK, session, "/good")
        pools.handler.answers[f"{SITE}/good"] = Answer.GOOD
        request = await pools.apply(SUSPECT, session, "/p")
        for _ in range(2):
            assert request is not None
            assert (await pools.session("one")) is session
            request = await pools.apply(SUSPECT, session, "/p", request)
        assert request is None


async def test_a_page_that_every_session_refused_gets_a_new_one(open_pools: Opener) -> None:
    """In a pool of two, the third session that a page is tried in is made for it."""
    pools = {"two": {"size": 2}}
    async with open_pools(pools=pools) as judged:
        request: Request | None = None
        for _ in range(2):
            session = await judged.session("two")
            await judged.apply(OK, session, "/good")
            judged.handler.answers[f"{SITE}/good"] = Answer.GOOD
            request = await judged.apply(SUSPECT, session, "/p", request)
        assert request is not None
        assert request.meta["session_id"] in {"two#3", "two#4"}


@pytest.mark.parametrize("verdict", [SUSPECT, BLOCKED])
@pytest.mark.parametrize(("settings", "meta"), [({"retry_times": 0}, {}), ({}, {"dont_retry": True})])
async def test_no_other_try(open_pools: Opener, verdict: Verdict, settings: Any, meta: Any) -> None:
    """With RETRY_TIMES 0, and with dont_retry, the response goes to the spider at once."""
    async with open_pools(**settings) as pools:
        assert await pools.apply(verdict, await pools.session(), **meta) is None


@pytest.mark.parametrize("pool", [None, "staff"])
@pytest.mark.parametrize("config", [SessionConfig, LoggingIn])
@pytest.mark.parametrize("status", [403, 410, 500])
async def test_no_status_retires_a_named_session(
    open_pools: Opener, pool: str | None, config: type[SessionConfig], status: int
) -> None:
    """No status retires a named session, however often it comes, in a pool or not, also of BLOCKED_STATUSES."""
    async with open_pools(config, blocked_statuses=[410], suspect_statuses=[403, 500], login_backoff=0) as pools:
        session = await pools.session(pool) if pool else await registry_of(pools.manager).get("carol")
        for number in range(10):
            await pools.status(status, session, f"/{number}")
        assert session.status != "retired"
        assert session.failures == 10


async def test_a_blocked_status_retires_an_anonymous_session(open_pools: Opener) -> None:
    """BLOCKED_STATUSES retire an anonymous session that has had no good response, of the default pool too."""
    async with open_pools(blocked_statuses=[410]) as pools:
        for pool in ("shop", "default"):
            session = await pools.session(pool)
            await pools.status(410, session, "/p")
            assert (session.status, session.retired_reason) == (
                "retired",
                "1 of its pages were refused, the last at http://x.example/p (status 410)",
            )


async def test_a_check_that_asks_the_default_one(open_pools: Opener) -> None:
    """A check of the spider's own that falls back on the default one retires no named session by status either."""

    class Checking(SessionConfig):
        def check(self, response: Response, request: Request) -> Any:
            return super().check(response, request)

    async with open_pools(Checking, blocked_statuses=[410]) as pools:
        session = await registry_of(pools.manager).get("carol")
        await pools.status(410, session)
        assert session.status != "retired"


@pytest.mark.parametrize("pool", [None, "staff", "shop"])
async def test_a_check_that_says_blocked(open_pools: Opener, pool: str | None) -> None:
    """BLOCKED out of a check of the spider's own retires any session: a named one too, which nobody replaces."""
    async with open_pools() as pools:
        session = await pools.session(pool) if pool else await registry_of(pools.manager).get("carol")
        picked = {PICKED: session.id, "session_pool": pool} if pool else {}
        request = Request(f"{SITE}/p", meta={"session_id": session.id, **picked})
        replay = await pools.handler.handle(BLOCKED, session, request, pools.config)
        assert (session.status, session.retired_reason) == ("retired", f"blocked at {SITE}/p (status 403)")
        assert (replay is not None) is bool(pool)
        if pool:
            assert (await pools.session(pool)).id != session.id


@pytest.mark.parametrize("verdict", [BLOCKED, SUSPECT])
async def test_no_secret_of_a_url_in_a_reason(
    open_pools: Opener, verdict: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    """Why a session was retired is logged and kept: the values of the URL's query aren't."""
    async with open_pools(max_errors=1) as pools:
        session = await pools.session()
        with caplog.at_level(logging.INFO):
            await pools.apply(verdict, session, "/p?token=hunter2")
        assert session.status == "retired"
        assert "/p?token=…" in (session.retired_reason or "")
        assert "/p?token=…" in caplog.text
        assert "hunter2" not in caplog.text + (session.retired_reason or "")


async def test_refusals_of_a_named_session_that_can_not_log_in(open_pools: Opener) -> None:
    """Without a login a named session stays as it is, and its request is sent again in it, RETRY_TIMES at the most."""
    async with open_pools(retry_times=2) as pools:
        session = await registry_of(pools.manager).get("carol")
        session.mark_ready()
        request: Request | None = Request(f"{SITE}/p", meta={"session_id": "carol"})
        sent = 0
        while request is not None:
            sent += 1
            request = await pools.handler.handle(SUSPECT, session, request, pools.config)
            assert request is None or request.meta["session_id"] == "carol"
        for path in "abc":
            await pools.status(403, session, f"/{path}")
        assert (sent, session.status, pools.handler.asked) == (3, "ready", [])


async def test_a_page_closed_to_an_account_goes_to_another(open_pools: Opener) -> None:
    """In a pool of accounts the page is sent to the next account, and handed on when all have refused it."""
    async with open_pools() as pools:
        request: Request | None = None
        for number in range(2):
            session = await pools.session("staff")
            request = await pools.apply(SUSPECT, session, "/p", request)
            assert (request is None) is (number == 1)


async def test_a_pinned_request_stays(open_pools: Opener) -> None:
    """A request that names a session of the pool itself is sent again in it; elsewhere once that is retired."""
    async with open_pools() as pools:
        session = await pools.session()
        request = Request(f"{SITE}/p", meta={"session_id": session.id, "session_pool": "shop"})
        replay = await pools.handler.handle(SUSPECT, session, request, pools.config)
        assert replay is not None
        assert replay.meta["session_id"] == session.id
        replay = await pools.handler.handle(BLOCKED, session, request, pools.config)
        assert replay is not None
        assert "session_id" not in replay.meta


async def test_a_request_of_a_flow_stays(open_pools: Opener) -> None:
    """A request that continues a flow is sent again in its session, also once that is retired: it then fails."""
    async with open_pools() as pools:
        session = await pools.session()
        flow = {FLOW: session.start_time}
        for verdict in (SUSPECT, BLOCKED):
            replay = await pools.apply(verdict, session, "/p", **flow)
            assert replay is not None
            assert replay.meta["session_id"] == session.id
            assert replay.meta[FLOW] == session.start_time


async def test_what_is_counted(open_pools: Opener) -> None:
    """Each verdict but OK is counted under its name, each replay as one, each retirement once."""
    async with open_pools() as pools:
        session = await pools.session()
        for verdict in (OK, SUSPECT, SUSPECT, EXPIRED, BLOCKED, BLOCKED):
            await pools.apply(verdict, session, "/p")
        assert pools.handler.counts == {
            "verdicts/suspect": 2,
            "verdicts/expired": 1,
            "verdicts/blocked": 2,
            "questions": 3,
            "replays": 5,
        }
        assert session.failures == 4
