"""A question is asked to find out about a session: a fault of the spider's own check() answers it with nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import Profile, SessionConfig, Verdict
from scrapy_sessions.crawl.asking import Questions
from scrapy_sessions.crawl.blame import Answer
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.user_code import UserCode
from scrapy_sessions.sessions.runtime import SessionRuntime
from tests.support.clock import Clock

SECRET = "hunter2"
URL = f"https://shop.example/account?token={SECRET}"


class World:
    """Questions to a site that answers 200, and what follows from a check() that is at fault."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        class Checks(SessionConfig):
            def check(self, response: Response, request: Request) -> Any:
                return answer()

        crawler = get_crawler()
        self.status = status
        self.closed: list[str] = []
        self.counts: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.config = Checks.from_crawler(crawler)
        user_code = UserCode(crawler, self.closed.append, lambda name: self.counts.update([name]))
        self.questions = Questions(self._download, ShutdownGuard(lambda: False), user_code)

    def _download(self, request: Request) -> Awaitable[Response]:
        self.requests.append(request)

        async def download() -> Response:
            return Response(request.url, status=self.status, request=request)

        return download()

    async def ask(self, session: SessionRuntime | None = None, *, anonymous: bool = False) -> Answer:
        session = SessionRuntime("alice") if session is None else session
        return await self.questions.ask(session, URL, self.config, anonymous=anonymous)


def raising(error: Exception) -> Any:
    def answer() -> Verdict:
        raise error

    return answer


def later(answer: Any) -> Any:
    async def answers() -> Any:
        return answer()

    return answers


@pytest.mark.parametrize(("verdict", "answer"), [(Verdict.OK, Answer.GOOD), (Verdict.EXPIRED, Answer.REFUSED)])
async def test_a_verdict_answers_it(verdict: Verdict, answer: Answer) -> None:
    """A good page is good, any other verdict is a refusal."""
    assert await World(lambda: verdict).ask() is answer
    assert await World(later(lambda: verdict)).ask() is answer


@pytest.mark.parametrize(("logs_in", "answer"), [(True, Answer.NOTHING), (False, Answer.REFUSED)])
async def test_the_refusal_of_a_proxy(logs_in: bool, answer: Answer) -> None:
    """A 407 blames an anonymous session, whose proxy it is; it says nothing of a login."""
    world = World(lambda: Verdict.SUSPECT, status=407)
    world.config.can_log_in = logs_in
    assert await world.ask() is answer


@pytest.mark.parametrize(
    "fault", [raising(ValueError(SECRET)), lambda: None, lambda: "ok"], ids=["raises", "None", "text"]
)
@pytest.mark.parametrize("wrap", [lambda fault: fault, later], ids=["at once", "awaited"])
async def test_a_fault_of_check_says_nothing(wrap: Any, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception or an answer that is no verdict blames no session; it is logged without its message, and counted."""
    caplog.set_level(logging.DEBUG)
    world = World(wrap(fault))
    assert await world.ask() is Answer.NOTHING
    assert world.counts == {"check_errors": 1}
    assert [record.levelname for record in caplog.records if "check()" in record.getMessage()] == ["ERROR"]
    assert SECRET not in caplog.text


@pytest.mark.parametrize("wrap", [lambda fault: fault, later], ids=["at once", "awaited"])
async def test_check_may_close_the_spider(wrap: Any) -> None:
    """CloseSpider keeps its meaning."""
    world = World(wrap(raising(CloseSpider("seen_enough"))))
    assert await world.ask() is Answer.NOTHING
    assert (world.closed, world.counts) == (["seen_enough"], {})


async def test_an_anonymous_visitor_has_the_proxy_of_now() -> None:
    """With a ``proxy_lifetime``, a question after it goes through another exit."""
    clock = Clock()
    session = SessionRuntime("alice", profile=Profile(proxy="http://8letters@proxy.test:80"), clock=clock)
    session.rotate_proxy({"template": "http://{token}@proxy.test:80", "seed": "s", "lifetime": 60.0, "since": 0.0})
    world = World(lambda: Verdict.OK)
    for _ in range(3):
        await world.questions.ask(session, URL, world.config, anonymous=True)
        assert world.requests[-1].meta["proxy"] == session.current_proxy()
        clock.ahead += 60
    assert len({request.meta["proxy"] for request in world.requests}) == 3


async def test_an_anonymous_visitor_has_the_identity_of_the_session() -> None:
    """An anonymous question has the headers, meta keys and proxy that a request of the session gets, and no secret."""
    profile = Profile(
        user_agent="Agent/1",
        language="de",
        headers={"User-Agent": "Agent/2", "DNT": "1"},
        proxy="http://proxy.test:80",
        meta={"impersonate": {"browser": "chrome"}},
    )
    session = SessionRuntime("alice", profile=profile)
    session.bound_headers.set("Authorization", SECRET, url=URL)
    world = World(lambda: Verdict.OK)
    await world.questions.ask(session, URL, world.config, anonymous=True)
    asked, request = world.requests[-1], Request(URL)
    InFlight(session, world.config).apply_identity(request)
    assert request.headers.pop("Authorization") == [SECRET.encode()]
    assert asked.headers == request.headers
    assert {key: asked.meta[key] for key in ("impersonate", "proxy")} == {
        key: request.meta[key] for key in ("impersonate", "proxy")
    }


@pytest.mark.parametrize("end", ["closed", "used up", "closed meanwhile"])
async def test_a_session_that_has_ended_is_not_asked(end: str) -> None:
    """Another session has its id, or would get it by the question, and would answer in its place."""
    session = SessionRuntime("alice", max_uses=1)

    def answer() -> Verdict:
        return Verdict.OK

    world = World(answer)
    if end == "used up":
        session.reserved_uses = 1
    elif end == "closed":
        session.closed = True
    else:
        download = world.questions._download

        async def closing(request: Request) -> Response:
            session.closed = True
            return await download(request)

        world.questions._download = closing
    assert await world.ask(session) is Answer.NOTHING
    assert len(world.requests) == (end == "closed meanwhile")
    assert await world.ask(session, anonymous=True) is Answer.GOOD
