"""What a verdict does to its session and its request: one verdict at a time, without a crawl."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig, SessionManager, Verdict
from scrapy_sessions.crawl.verdicts import VerdictHandler
from scrapy_sessions.pools.claim import PICKED, TRIES, Claim
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings

OK, SUSPECT, EXPIRED, BLOCKED = Verdict.OK, Verdict.SUSPECT, Verdict.EXPIRED, Verdict.BLOCKED
Opener = Callable[..., AbstractAsyncContextManager["JudgedPools"]]


class LoggingIn(SessionConfig):
    async def login(self, session: Any, fetch: Any) -> None:
        raise AssertionError("nobody logs in here")


class JudgedPools:
    """Applies verdicts to the sessions of the pools ``shop`` (three anonymous ones) and ``staff`` (alice and bob)."""

    def __init__(self, manager: SessionManager, config: type[SessionConfig]) -> None:
        self.manager = manager
        self.counts: Counter[str] = Counter()
        self.handler = VerdictHandler(manager, lambda event, n: self.counts.update({event: n}))
        names = manager.settings.model_fields_set
        given = {f"SESSIONS_{name.upper()}": getattr(manager.settings, name) for name in names - {"pools"}}
        pools = {name: options.model_dump(exclude_unset=True) for name, options in manager.settings.pools.items()}
        self.config = config(get_crawler(settings_dict={**given, "SESSIONS_POOLS": pools}))

    async def session(self, pool: str = "shop") -> SessionRuntime:
        """The session whose turn it is."""
        return await self.manager.obtain(self.manager.settle(Claim(None, pool)))

    def apply(
        self, verdict: Verdict, session: SessionRuntime, path: str = "/", request: Request | None = None, **meta: Any
    ) -> Request | None:
        """Apply *verdict* to *session*, for a request for *path* or the replay *request*; return the next replay."""
        carried = {} if request is None else {TRIES: request.meta[TRIES]}
        picked = {"session_id": session.id, PICKED: session.id, "session_pool": session.pool}
        request = Request(f"http://x.example{path}", meta={**picked, **carried, **meta})
        return self.handler.handle(verdict, session, request, self.config)

    def status(self, status: int, session: SessionRuntime, path: str = "/") -> Request | None:
        """Apply the verdict that the default check has for *status*."""
        meta = {"session_id": session.id} | ({"session_pool": session.pool} if session.pool is not None else {})
        request = Request(f"http://x.example{path}", meta=meta)
        verdict = SessionConfig.check(self.config, Response(request.url, status=status), request)
        assert isinstance(verdict, Verdict)
        return self.handler.handle(verdict, session, request, self.config)


@pytest.fixture
def open_pools() -> Opener:
    @asynccontextmanager
    async def opened(config: type[SessionConfig] = SessionConfig, **settings: Any) -> AsyncIterator[JudgedPools]:
        pools = {"shop": {"size": 3}, "staff": {"sessions": ["alice", "bob"]}}
        values = SessionsSettings.model_validate({"pools": pools, **settings})
        async with SessionManager(store="memory://", namespace="x", settings=values) as manager:
            yield JudgedPools(manager, config)

    return opened


async def test_distinct_failures_retire(open_pools: Opener) -> None:
    """An anonymous session is retired at MAX_ERRORS failures in a row, not one sooner, with the last URL as reason."""
    async with open_pools(max_errors=4) as pools:
        session = await pools.session()
        for path in "abc":
            pools.apply(SUSPECT, session, f"/{path}")
        assert session.status == "new"
        pools.apply(SUSPECT, session, "/d")
        assert (session.status, session.retired_reason) == (
            "retired",
            "4 failures in a row, the last at http://x.example/d",
        )


async def test_one_url_is_one_failure(open_pools: Opener) -> None:
    """However often one page fails, it is one failure of the session."""
    async with open_pools() as pools:
        session = await pools.session()
        for _ in range(10):
            pools.apply(SUSPECT, session, "/closed")
        assert session.status == "new"


async def test_a_success_clears(open_pools: Opener) -> None:
    """Failures before a success count no more."""
    async with open_pools() as pools:
        session = await pools.session()
        for path, verdict in (("/a", SUSPECT), ("/b", SUSPECT), ("/", OK), ("/c", SUSPECT), ("/d", SUSPECT)):
            pools.apply(verdict, session, path)
        assert session.status == "ready"
        pools.apply(SUSPECT, session, "/e")
        assert session.status == "retired"


async def test_no_bound_on_errors(open_pools: Opener) -> None:
    """With MAX_ERRORS 0 no number of failures retires a session."""
    async with open_pools(max_errors=0) as pools:
        session = await pools.session()
        for number in range(50):
            pools.apply(SUSPECT, session, f"/{number}")
        assert session.status == "new"


async def test_a_page_to_blame_is_handed_on(open_pools: Opener) -> None:
    """After RETRY_TIMES tries and one, each in a session that had a success since, the page goes to the spider."""
    async with open_pools() as pools:
        request: Request | None = None
        for _ in range(3):
            session = await pools.session()
            request = pools.apply(SUSPECT, session, "/closed", request)
            assert request is not None
            pools.apply(OK, session)
        session = await pools.session()
        last = pools.apply(SUSPECT, session, "/closed", request)
        assert last is not None  # no success of it yet: it may be the session
        pools.apply(OK, session)
        assert pools.apply(SUSPECT, await pools.session(), "/closed", last) is None


async def test_failures_of_a_page_to_blame_are_taken_back(open_pools: Opener) -> None:
    """When a page is to blame, its failures count against no session any more, but those of others do."""
    async with open_pools(retry_times=1) as pools:
        first, second, third = [await pools.session() for _ in range(3)]
        request = pools.apply(SUSPECT, first, "/closed")
        pools.apply(OK, third)  # the pool works, though the first has not had a success since
        request = pools.apply(SUSPECT, second, "/closed", request)
        pools.apply(OK, third)
        pools.apply(SUSPECT, third, "/other")
        assert pools.apply(SUSPECT, third, "/closed", request) is None
        assert (first.failed_urls, second.failed_urls) == (set(), set())
        assert third.failed_urls == {"http://x.example/other"}


async def test_a_try_on_a_retired_session_is_not_the_pages(open_pools: Opener) -> None:
    """Tries on sessions that were retired since don't count against the page, though other sessions do well."""
    async with open_pools(retry_times=1) as pools:
        request: Request | None = None
        for _ in range(4):
            session, other = await pools.session(), await pools.session()
            request = pools.apply(SUSPECT, session, "/p", request)
            assert request is not None
            session.retire("by the test")
            pools.apply(OK, other)


async def test_tries_are_bounded_by_the_pool(open_pools: Opener) -> None:
    """In all a page is tried RETRY_TIMES and twice the pool's size, though every session is retired over it."""
    async with open_pools(retry_times=2) as pools:
        request: Request | None = None
        tries = 0
        while True:
            session = await pools.session()
            request = pools.apply(SUSPECT, session, "/p", request)
            tries += 1
            session.retire("by the test")
            if request is None:
                break
        assert tries == 2 + 2 * 3


async def test_a_request_that_is_tried_elsewhere(open_pools: Opener) -> None:
    """A pooled request goes on without its session, which is the last to be picked, and past the dupefilter."""
    async with open_pools() as pools:
        session = await pools.session()
        replay = pools.apply(SUSPECT, session, "/p")
        assert replay is not None
        assert ("session_id" in replay.meta, replay.dont_filter) == (False, True)
        assert [tried[0] for tried in replay.meta[TRIES]] == [session.id]


@pytest.mark.parametrize("verdict", [SUSPECT, BLOCKED])
@pytest.mark.parametrize(("settings", "meta"), [({"retry_times": 0}, {}), ({}, {"dont_retry": True})])
async def test_no_other_try(open_pools: Opener, verdict: Verdict, settings: Any, meta: Any) -> None:
    """With RETRY_TIMES 0, and with dont_retry, the response goes to the spider at once."""
    async with open_pools(**settings) as pools:
        assert pools.apply(verdict, await pools.session(), **meta) is None


@pytest.mark.parametrize("pool", [None, "staff"])
@pytest.mark.parametrize("config", [SessionConfig, LoggingIn])
@pytest.mark.parametrize("status", [403, 410, 500])
async def test_no_status_retires_a_named_session(
    open_pools: Opener, pool: str | None, config: type[SessionConfig], status: int
) -> None:
    """No status retires a named session, however often it comes, in a pool or not, also of BLOCKED_STATUSES."""
    async with open_pools(config, blocked_statuses=[410], suspect_statuses=[403, 500]) as pools:
        session = await pools.session(pool) if pool else await pools.manager.live("carol")
        for number in range(10):
            pools.status(status, session, f"/{number}")
        assert session.status != "retired"
        assert session.failures == 10


async def test_a_blocked_status_retires_an_anonymous_session(open_pools: Opener) -> None:
    """BLOCKED_STATUSES retire an anonymous session at once, of the default pool too."""
    async with open_pools(blocked_statuses=[410]) as pools:
        for pool in ("shop", "default"):
            session = await pools.session(pool)
            pools.status(410, session, "/p")
            assert (session.status, session.retired_reason) == ("retired", "blocked at http://x.example/p")


async def test_a_check_that_asks_the_default_one(open_pools: Opener) -> None:
    """A check of the spider's own that falls back on the default one retires no named session by status either."""

    class Checking(SessionConfig):
        def check(self, response: Response, request: Request) -> Any:
            return super().check(response, request)

    async with open_pools(Checking, blocked_statuses=[410]) as pools:
        session = await pools.manager.live("carol")
        pools.status(410, session)
        assert session.status != "retired"


@pytest.mark.parametrize("pool", [None, "staff", "shop"])
async def test_a_check_that_says_blocked(open_pools: Opener, pool: str | None) -> None:
    """BLOCKED out of a check of the spider's own retires any session: a named one too, which nobody replaces."""
    async with open_pools() as pools:
        session = await pools.session(pool) if pool else await pools.manager.live("carol")
        picked = {PICKED: session.id, "session_pool": pool} if pool else {}
        request = Request("http://x.example/p", meta={"session_id": session.id, **picked})
        replay = pools.handler.handle(BLOCKED, session, request, pools.config)
        assert (session.status, session.retired_reason) == ("retired", "blocked at http://x.example/p")
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
            pools.apply(verdict, session, "/p?token=hunter2")
        assert session.status == "retired"
        assert "/p?token=…" in (session.retired_reason or "")
        assert "/p?token=…" in caplog.text
        assert "hunter2" not in caplog.text + (session.retired_reason or "")


async def test_errors_of_a_named_session_log_it_in(open_pools: Opener) -> None:
    """After MAX_ERRORS failures in a row a named session has to log in again; its count begins anew."""
    async with open_pools(LoggingIn) as pools:
        session = await pools.manager.live("carol")
        session.mark_ready()
        for path in "ab":
            pools.status(403, session, f"/{path}")
        assert session.status == "ready"
        pools.status(403, session, "/c")
        assert (session.status, session.failed_urls) == ("new", None)


async def test_errors_of_a_named_session_that_can_not_log_in(open_pools: Opener) -> None:
    """Without a login a named session stays as it is, and its request is sent again in it, RETRY_TIMES at the most."""
    async with open_pools(retry_times=2) as pools:
        session = await pools.manager.live("carol")
        session.mark_ready()
        request: Request | None = Request("http://x.example/p", meta={"session_id": "carol"})
        sent = 0
        while request is not None:
            sent += 1
            request = pools.handler.handle(SUSPECT, session, request, pools.config)
            assert request is None or request.meta["session_id"] == "carol"
        for path in "abc":
            pools.status(403, session, f"/{path}")
        assert (sent, session.status) == (3, "ready")


async def test_a_pinned_request_stays(open_pools: Opener) -> None:
    """A request that names a session of the pool itself is sent again in it; elsewhere once that is retired."""
    async with open_pools() as pools:
        session = await pools.session()
        request = Request("http://x.example/p", meta={"session_id": session.id, "session_pool": "shop"})
        replay = pools.handler.handle(SUSPECT, session, request, pools.config)
        assert replay is not None
        assert replay.meta["session_id"] == session.id
        replay = pools.handler.handle(BLOCKED, session, request, pools.config)
        assert replay is not None
        assert "session_id" not in replay.meta


async def test_what_is_counted(open_pools: Opener) -> None:
    """Each verdict but OK is counted under its name, each replay as one, each retirement once."""
    async with open_pools(LoggingIn) as pools:
        session = await pools.session()
        for verdict in (OK, SUSPECT, SUSPECT, EXPIRED, BLOCKED, BLOCKED):
            pools.apply(verdict, session, "/p")
        assert pools.counts == {
            "verdicts/suspect": 2,
            "verdicts/expired": 1,
            "verdicts/blocked": 2,
            "replays": 5,
        }
        assert session.failures == 4
