"""The site of a world: it answers, and knows the truth."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.simulator.world import LOGIN, World

__all__ = ["ANONYMOUS", "Asked", "Reply", "Site"]

ANONYMOUS = ""
"""The account of a visitor who is not logged in."""

_FOREVER = float("inf")


class Asked(NamedTuple):
    """A request as it arrives.

    :param question: whether it was sent to learn something
    :param session: the session that it belongs to
    """

    method: str
    url: str
    cookies: Mapping[str, str]
    body: str = ""
    question: bool = False
    session: str = ""


class Reply(NamedTuple):
    """An answer. *body* says whose page it is."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = {}
    refused: bool = False


class Login(NamedTuple):
    """A token that the site gave."""

    account: int
    ends: float


@dataclass
class Visitor:
    """Somebody without a login, known by a cookie."""

    pages: int = 0
    steps: dict[int, int] = field(default_factory=dict)


@dataclass
class Site:
    """The site of *world*, with all that it remembers. The player moves *now*."""

    world: World
    now: float = 0.0
    requests: int = 0
    logins: dict[str, Login] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    visitors: dict[str, Visitor] = field(default_factory=dict)
    got: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    ended: set[str] = field(default_factory=set)
    expiries: Counter[int] = field(default_factory=Counter)
    """Logins that ended and were found to by a request, by account."""
    vanished: int = 0
    """Questions that met a page that was not found any more."""
    login_posts: Counter[int] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    """How often each page was asked for by the spider."""
    refused_in: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The sessions in which each page was refused."""
    refusals: int = 0
    questions: int = 0
    mixed: list[str] = field(default_factory=list)
    """Steps of a flow that came from another visitor than the step before."""
    _given: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.world.seed)
        self._busy = self.world.busy
        self._faults = self.world.faults

    def latency(self) -> float:
        """How long the next answer takes."""
        return self.world.latency * (0.5 + self._random.random())

    # Answers

    def answer(self, asked: Asked) -> Reply:
        """Answer a request that arrives now."""
        self.requests += 1
        if self.requests in self.world.logouts:
            kept = {token for token in self.logins if self.uses[token] < self.world.least}
            self.logins = {token: login for token, login in self.logins.items() if token in kept}
        if asked.url.startswith(LOGIN):
            return self._login(asked)
        page = int(asked.url.split("/")[4])
        if asked.question:
            self.questions += 1
        else:
            self.sent[asked.url] += 1
        reply = self._page(asked, page) if self.world.logs_in else self._visit(asked, page)
        if reply.refused and not asked.question:
            self.refusals += 1
            self.refused_in[asked.url].add(asked.session)
        return reply

    def _page(self, asked: Asked, page: int) -> Reply:
        if page in self.world.foreign:
            return self._refuse()
        if page in self.world.gone:
            return Reply(404)
        login = self._use(asked.cookies.get("auth", ""))
        if login is not None and self.is_open(page, login.account):
            if page in self.world.vanishes and asked.url in self.got[login.account]:
                self.vanished += asked.question
                return Reply(404)
            self.got[login.account].add(asked.url)
            return Reply(200, str(login.account))
        if page in self.world.public and page not in self.world.closed:
            return Reply(200, ANONYMOUS)
        return self._refuse()

    def _refuse(self, headers: Mapping[str, str] | None = None) -> Reply:
        location = {"Location": f"{LOGIN}?next=x"} if self.world.refusal == 302 else {}
        return Reply(self.world.refusal, headers={**location, **(headers or {})}, refused=True)

    def _use(self, token: str) -> Login | None:
        """Return the login of *token*, of which one use is taken."""
        world, login = self.world, self.logins.get(token)
        if login is None or (login.ends <= self.now and self.uses[token] >= world.least):
            if token and token not in self.ended:
                self.ended.add(token)
                self.expiries[int(token.partition("-")[0])] += 1
            return None
        self.uses[token] += 1
        if (world.uses and self.uses[token] >= world.uses) or (world.chance and self._random.random() < world.chance):
            self.logins[token] = login._replace(ends=self.now)
        return login

    def is_open(self, page: int, account: int) -> bool:
        """Whether *account*, logged in, gets *page* now."""
        world = self.world
        if page in world.closed or (page, account) in world.closed_to or page in world.foreign:
            return False
        got = self.got[account]
        return not world.quota or len(got) < world.quota or world.url(page) in got

    def can_log_in(self, account: int) -> bool:
        """Whether the password of *account* is right."""
        return account not in self.world.wrong and account not in self.world.locked

    def _login(self, asked: Asked) -> Reply:
        if asked.method == "GET":
            return Reply(200, "form")
        account = int(asked.body)
        self.login_posts[account] += 1
        if self._busy:
            self._busy -= 1
            return Reply(429, headers={"Retry-After": "4"})
        if self._faults:
            self._faults -= 1
            return Reply(500)
        if account in self.world.locked:
            return Reply(423)
        if account in self.world.wrong:
            return Reply(422)
        return Reply(200, headers={"Set-Cookie": f"auth={self.give(account)}; Path=/"})

    def give(self, account: int, *, dead: bool = False) -> str:
        """Return the token of a new login of *account*, of a *dead* one if so."""
        self._given += 1
        token = f"{account}-{self._given}"
        if not dead:
            self.logins[token] = Login(account, self.now + self.world.lasts if self.world.lasts else _FOREVER)
        return token

    # Visitors

    def _visit(self, asked: Asked, page: int) -> Reply:
        sid = asked.cookies.get("sid", "")
        headers: dict[str, str] = {}
        if sid not in self.visitors:
            self._given += 1
            sid = f"v{self._given}"
            self.visitors[sid] = Visitor()
            headers = {"Set-Cookie": f"sid={sid}; Path=/"}
        if page in self.world.foreign:
            return self._refuse(headers)
        if page in self.world.gone:
            return Reply(404, headers=headers)
        if page in self.world.closed or self.is_banned(sid):
            return self._refuse(headers)
        visitor = self.visitors[sid]
        visitor.pages += 1
        if self.world.kind == "sticky" and not asked.question:
            step = int(asked.url.split("/")[5])
            if step > 1 and visitor.steps.get(page) != step - 1:
                self.mixed.append(asked.url)
            visitor.steps[page] = step
        return Reply(200, sid, headers)

    def is_banned(self, sid: str) -> bool:
        """Whether the visitor *sid* gets no page any more."""
        return self.all_banned or (bool(self.world.limit) and self.visitors[sid].pages >= self.world.limit)

    @property
    def all_banned(self) -> bool:
        """Whether nobody gets a page any more."""
        return bool(self.world.banned_at) and self.requests >= self.world.banned_at
