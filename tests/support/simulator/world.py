"""What a world is like, and the site in it: it knows the truth."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from tests.support.simulator.requests import Asked, Reply

__all__ = ["ANONYMOUS", "HOST", "LOGIN", "Site", "World"]

HOST = "http://shop.test"
FOREIGN = "http://cdn.other"
LOGIN = f"{HOST}/login"
ANONYMOUS = ""
"""The account of a visitor who is not logged in."""

_FOREVER = float("inf")


@dataclass(frozen=True)
class World:
    """A site and the crawl of it. Pages and accounts are numbers; a time is in seconds.

    :param kind: ``named``: all requests in one named session; ``accounts``: a pool of named ones; ``visitors``: a pool
        of anonymous ones; ``sticky``: such a pool, in which each page is followed by two more of its flow
    :param size: how many sessions the pool has
    :param closed: pages closed to everybody
    :param closed_to: (page, account) that are closed
    :param public: pages that visitors get, too. Of ``visitors`` all are
    :param foreign: pages on another host, which are refused to everybody
    :param gone: pages that are not found
    :param posts: pages that are sent as POST
    :param refusal: how the site refuses: a status, 302: a redirect to the login form
    :param wrong: accounts with a wrong password
    :param locked: accounts whose ``login()`` returns BLOCKED
    :param quota: pages that an account may get, 0: any number
    :param least: requests that a login lasts for in any case
    :param uses: requests after which a login ends
    :param lasts: seconds after which a login ends
    :param chance: the chance that a request ends its login, after it was answered
    :param logouts: numbers of requests at which every login ends
    :param saved: what an earlier run left: ``""`` nothing, ``"alive"`` or ``"dead"`` logins
    :param login_seconds: how long a login takes
    :param busy: how many login requests are answered by 429 first, with ``Retry-After: 4``
    :param faults: how many login requests are answered by 500 first
    :param limit: pages after which a visitor is banned
    :param banned_at: the number of the request at which everybody is banned for good
    :param probe: whether the config has a ``probe_url``
    """

    kind: str = "named"
    pages: int = 20
    concurrency: int = 16
    size: int = 1
    closed: frozenset[int] = frozenset()
    closed_to: frozenset[tuple[int, int]] = frozenset()
    public: frozenset[int] = frozenset()
    foreign: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    posts: frozenset[int] = frozenset()
    refusal: int = 401
    wrong: frozenset[int] = frozenset()
    locked: frozenset[int] = frozenset()
    quota: int = 0
    least: int = 0
    uses: int = 0
    lasts: float = 0.0
    chance: float = 0.0
    logouts: frozenset[int] = frozenset()
    saved: str = ""
    login_seconds: float = 0.2
    busy: int = 0
    faults: int = 0
    limit: int = 0
    banned_at: int = 0
    latency: float = 0.1
    probe: bool = False
    seed: int = 0

    def __repr__(self) -> str:
        """The arguments that make it."""
        given = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default)
        return f"World({', '.join(given)})"

    @property
    def logs_in(self) -> bool:
        return self.kind in {"named", "accounts"}

    @property
    def pool(self) -> str | None:
        return None if self.kind == "named" else "pool"

    def session_of(self, account: int) -> str:
        return f"a{account}"

    def accounts_of(self, session_id: str) -> int:
        return int(session_id[1:])

    def url(self, page: int) -> str:
        return f"{FOREIGN if page in self.foreign else HOST}/p/{page}"


class Login(NamedTuple):
    """A token that the site gave."""

    account: int
    ends: float


@dataclass
class Visitor:
    """Somebody the site knows by a cookie, who isn't logged in."""

    pages: int = 0


@dataclass
class Site:
    """The site of *world*, with all that it remembers."""

    world: World
    now: float = 0.0
    requests: int = 0
    logins: dict[str, Login] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    visitors: dict[str, Visitor] = field(default_factory=dict)
    got: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    expiries: Counter[int] = field(default_factory=Counter)
    """Logins that ended, and were found to by a request, by account."""
    login_posts: Counter[int] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    refusals: int = 0
    questions: int = 0
    refused_in: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _given: int = 0
    _busy: int = 0
    _faults: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.world.seed)
        self._busy = self.world.busy
        self._faults = self.world.faults

    def latency(self) -> float:
        return self.world.latency * (0.5 + self._random.random())

    # Answers

    def answer(self, asked: Asked) -> Reply:
        self.requests += 1
        if self.requests in self.world.logouts:
            self.logins = {token: login for token, login in self.logins.items() if self.uses[token] < self.world.least}
        if asked.url.startswith(LOGIN):
            return self._login(asked)
        page = int(asked.url.rpartition("/")[2])
        if asked.question:
            self.questions += 1
        else:
            self.sent[asked.url] += 1
        reply = self._visitor(asked, page) if not self.world.logs_in else self._page(asked, page)
        if reply.refused and not asked.question:
            self.refusals += 1
            self.refused_in[asked.url].add(asked.session)
        return reply

    def _page(self, asked: Asked, page: int) -> Reply:
        if page in self.world.foreign:
            return self._refuse()
        if page in self.world.gone:
            return Reply(404)
        token = asked.cookies.get("auth", "")
        login = self._use(token)
        if login is not None and self.is_open(page, login.account):
            self.got[login.account].add(asked.url)
            return Reply(200, str(login.account))
        if page in self.world.public and page not in self.world.closed:
            return Reply(200, ANONYMOUS)
        return self._refuse()

    def _refuse(self) -> Reply:
        if self.world.refusal == 302:
            return Reply(302, headers={"Location": f"{LOGIN}?next=x"}, refused=True)
        return Reply(self.world.refusal, refused=True)

    def _use(self, token: str) -> Login | None:
        """The login of *token*, of which one use is taken."""
        login = self.logins.get(token)
        if login is None or (login.ends <= self.now and self.uses[token] >= self.world.least):
            self._expire(token)
            return None
        self.uses[token] += 1
        if (self.world.uses and self.uses[token] >= self.world.uses) or (
            self.world.chance and self._random.random() < self.world.chance
        ):
            self.logins[token] = login._replace(ends=self.now)
        return login

    def _expire(self, token: str) -> None:
        account = token.partition("-")[0]
        if token and token not in self._expired:
            self._expired.add(token)
            self.expiries[int(account)] += 1

    _expired: set[str] = field(default_factory=set)

    def is_open(self, page: int, account: int) -> bool:
        """Whether *account*, logged in, gets *page* now."""
        world = self.world
        if page in world.closed or (page, account) in world.closed_to or page in world.foreign:
            return False
        got = self.got[account]
        return not world.quota or len(got) < world.quota or world.url(page) in got

    def can_log_in(self, account: int) -> bool:
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
        token = self.give(account)
        return Reply(200, headers={"Set-Cookie": f"auth={token}; Path=/"})

    def give(self, account: int, *, dead: bool = False) -> str:
        """A new login of *account*."""
        self._given += 1
        token = f"{account}-{self._given}"
        ends = self.now + self.world.lasts if self.world.lasts else _FOREVER
        if not dead:
            self.logins[token] = Login(account, ends)
        return token

    # Visitors

    def _visitor(self, asked: Asked, page: int) -> Reply:
        world = self.world
        sid = asked.cookies.get("sid", "")
        headers: Mapping[str, str] = {}
        if sid not in self.visitors:
            self._given += 1
            sid = f"v{self._given}"
            self.visitors[sid] = Visitor()
            headers = {"Set-Cookie": f"sid={sid}; Path=/"}
        if page in world.foreign:
            return self._refuse()
        if page in world.gone:
            return Reply(404, headers=headers)
        if page in world.closed or self.is_banned(sid):
            return Reply(self._refuse().status, headers={**self._refuse().headers, **headers}, refused=True)
        self.visitors[sid].pages += 1
        return Reply(200, sid, headers=headers)

    def is_banned(self, sid: str) -> bool:
        if self.all_banned:
            return True
        return bool(self.world.limit) and self.visitors[sid].pages >= self.world.limit

    @property
    def all_banned(self) -> bool:
        return bool(self.world.banned_at) and self.requests >= self.world.banned_at
