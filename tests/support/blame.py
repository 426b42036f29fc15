"""A session and its site as a decision sees them: the answers to its questions, and what it did."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from scrapy import Request
from scrapy.http import Response

from scrapy_sessions import SessionConfig, SessionManager, Verdict
from scrapy_sessions.crawl.blame import Answer, Decision, Refusal
from scrapy_sessions.crawl.blame_anonymous import AnonymousBlame, PoolBlame
from scrapy_sessions.crawl.blame_login import LoginBlame
from scrapy_sessions.crawl.in_flight import InFlight
from scrapy_sessions.crawl.shutdown import ShutdownGuard
from scrapy_sessions.crawl.verdicts import VerdictHandler
from scrapy_sessions.sessions.manager import registry_of
from scrapy_sessions.sessions.runtime import SessionRuntime
from scrapy_sessions.settings import SessionsSettings

__all__ = ["SITE", "Account", "Clock", "Handler", "Pool", "page"]

SITE = "http://shop.test/"


def page(name: str) -> str:
    """The page *name*: method and URL."""
    return f"GET {SITE}{name}"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Actions:
    """*answers* and *anonymous* are what the site answers by name of the page; by default ``GOOD`` and ``REFUSED``."""

    def __init__(self, session_id: str, clock: Clock) -> None:
        self.session_id = session_id
        self.clock = clock
        self.answers: dict[str, Answer] = {}
        self.anonymous: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.asking: Callable[[str], None] = lambda name: None
        self.sleeping: Callable[[], None] = lambda: None
        self.lost: list[str] = []
        self.retired: list[str] = []
        self.slept: list[float] = []
        self.warnings: list[str] = []
        self.window = 0
        self.doubted = False
        self.logging_in = False
        self.number = 1
        self.foreign: set[str] = set()

    def generation(self) -> int:
        return self.number

    def is_logging_in(self) -> bool:
        return self.logging_in

    def is_retired(self) -> bool:
        return bool(self.retired)

    def in_site(self, host: str, good: set[str]) -> bool:
        return host not in self.foreign

    def lose_login(self, url: str, status: int) -> None:
        self.lost.append(url.removeprefix(SITE))
        self.logging_in = True

    def retire(self, reason: str) -> None:
        self.retired.append(reason)

    def doubt(self, doubted: bool) -> None:
        self.doubted = doubted

    def limit(self, window: int) -> None:
        self.window = window

    async def ask(self, url: str, *, anonymous: bool = False) -> Answer:
        name = url.removeprefix(SITE)
        self.asked.append(f"{name} (anonymous)" if anonymous else name)
        self.asking(name)
        await asyncio.sleep(0)
        if anonymous:
            return self.anonymous.get(name, Answer.REFUSED)
        return self.answers.get(name, Answer.GOOD)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += seconds
        self.sleeping()
        await asyncio.sleep(0)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Account:
    """A session that can log in. It has logged in, unless it is *restored*."""

    def __init__(self, *, restored: bool = False, probe: str | None = None, **limits: float) -> None:
        self.clock = Clock()
        self.actions = Actions("alice", self.clock)
        given = SessionsSettings.model_validate(limits)
        url = None if probe is None else SITE + probe
        self.blame = LoginBlame(given, self.actions, clock=self.clock, probe=url)
        if not restored:
            self.blame.begin(1)

    def good(self, *names: str, get: bool = True) -> None:
        """These pages are good."""
        for name in names:
            self.blame.good(SITE + name, get=get)

    async def refused(self, name: str, *, host: str = "shop.test", again: bool = False) -> Decision:
        """The page *name* is refused, in the present generation."""
        return await self.blame.refused(Refusal(page(name), self.actions.number, host, again=again))

    def log_in(self) -> None:
        """The login that is due succeeds."""
        self.actions.logging_in = False
        self.actions.number += 1
        self.blame.begin(self.actions.number)

    async def lose(self, name: str) -> None:
        """The page *name* is refused, and the session logs in again."""
        assert await self.refused(name) is Decision.AGAIN
        self.log_in()


class Pool:
    """A pool of anonymous sessions, made when they are first named: in this run, if they are *new*."""

    def __init__(self, size: int = 3, *, new: bool = True, **limits: float) -> None:
        self.clock = Clock()
        self._new = new
        self.bans: list[bool] = []
        given = SessionsSettings.model_validate(limits)
        self.blame = PoolBlame(given, size, self.clock, self.bans.append)
        self._sessions: dict[str, AnonymousBlame] = {}
        self.actions: dict[str, Actions] = {}

    def session(self, session_id: str) -> AnonymousBlame:
        """What is known of *session_id*."""
        if session_id not in self._sessions:
            self.actions[session_id] = Actions(session_id, self.clock)
            self._sessions[session_id] = AnonymousBlame(self.blame, self.actions[session_id], new=self._new)
        return self._sessions[session_id]

    def good(self, session_id: str, *names: str) -> None:
        """These pages are good in *session_id*."""
        for name in names:
            self.session(session_id).good(SITE + name, get=True)

    async def refused(self, session_id: str, name: str, *, tries: int = 0, blocked: bool = False) -> Decision:
        """The page *name* is refused in *session_id*."""
        return await self.session(session_id).refused(Refusal(page(name), blocked=blocked), tries=tries)

    def answer(self, session_id: str, name: str, answer: Answer) -> None:
        """The site answers *answer* to *session_id* when it is asked for *name*."""
        self.session(session_id)
        self.actions[session_id].answers[name] = answer

    def is_retired(self, session_id: str) -> bool:
        return bool(self.actions[session_id].retired)


class Handler:
    """A :class:`VerdictHandler` with questions that the test answers: *answers* by URL, by default ``NOTHING``."""

    def __init__(self, manager: SessionManager) -> None:
        self.counts: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        guard = ShutdownGuard(lambda: False)
        questions: Any = self
        self.handler = VerdictHandler(
            registry_of(manager), questions, guard, lambda event, n: self.counts.update({event: n})
        )

    async def ask(self, session: SessionRuntime, url: str, config: SessionConfig, *, anonymous: bool) -> Answer:
        self.asked.append(url)
        return self.answers.get(url, Answer.NOTHING)

    async def handle(
        self, verdict: Verdict, session: SessionRuntime, request: Request, config: SessionConfig, status: int = 403
    ) -> Request | None:
        """*session* gets *verdict* with *request*; return the request to send instead."""
        inflight = InFlight(session, config)
        inflight.mark_sent(time.time())
        inflight.end()
        if verdict is Verdict.OK:
            self.handler.good(inflight, request, Response(request.url))
            return None
        return await self.handler.refused(verdict, inflight, request, status=status)
