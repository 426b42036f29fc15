"""What a world is like."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["FOREIGN", "HOST", "LOGIN", "World"]

HOST = "http://shop.test"
FOREIGN = "http://cdn.other"
LOGIN = f"{HOST}/login"


@dataclass(frozen=True)
class World:
    """A site, and the crawl of it. Pages and accounts are numbers; a time is in seconds.

    :param kind: ``named``: all requests in one named session; ``accounts``: a pool of named ones; ``visitors``: a pool
        of anonymous ones; ``sticky``: such a pool, in which each page is the first of three steps of a flow
    :param concurrency: how many requests are in progress at the most
    :param size: how many sessions the pool has
    :param closed: pages closed to everybody
    :param closed_to: (page, account) that are closed
    :param public: pages that visitors get, too. Of ``visitors`` all are
    :param foreign: pages on another host, which are refused to everybody
    :param gone: pages that are not found
    :param vanishes: pages that are not found the second time
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
    :param latency: how long an answer takes on average
    :param probe: whether the config has a ``probe_url``: page 0
    :param seed: of everything random in the site
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
    vanishes: frozenset[int] = frozenset()
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
        """Whether its sessions are accounts."""
        return self.kind in {"named", "accounts"}

    @property
    def is_short_lived(self) -> bool:
        """Whether a login may last fewer than 50 requests: no rule can then get every page."""
        return bool(self.uses or self.lasts or self.chance) and self.least < 50

    @property
    def pool(self) -> str | None:
        """The pool of its requests."""
        return None if self.kind == "named" else "pool"

    def session_of(self, account: int) -> str:
        """The session of *account*."""
        return f"a{account}"

    def account_of(self, session_id: str) -> int:
        """The account of *session_id*."""
        return int(session_id[1:])

    def url(self, page: int) -> str:
        """The URL of *page*."""
        return f"{FOREIGN if page in self.foreign else HOST}/p/{page}"
