"""Who is to blame for a refusal: the page, the session, the account or the site. Independent of Scrapy.

A *refusal* is a response that says that its session may not have the page. Two proofs count: a page is closed to a
session that gets another page after the refusal; a session is lost if it is refused a page that it got before. Proof
comes from *asking*: one GET, whose answer is good, refused, or says nothing. A *witness* is a page that is asked for.

A session whose config has a ``login()`` (:class:`LoginBlame`):

===  ===========================================================  =====================================================
L1   left under an older generation, or while a login runs        send again
L2   comes from a host outside the site                           hand on
L3   is of a page that was found closed in this generation        closed
L4   the session is restored, and nothing was good in this run    log in, send again
L5a  a witness that was good in this generation is good again     closed
L5b  … is refused                                                 the login is lost: log in, send again
L6   no witness yet: up to three pages that were good in this     one that is refused is a witness: L5. The others are
     generation are asked for without the session                 public, and are not asked for again
L7a  an older witness is good                                     closed; the witnesses that were refused are dropped
L7b  the older witnesses are refused                              from the start after LOGIN_BACKOFF; then log in from
                                                                  the budget; then drop them
L8a  no witness says anything, but another page was good          log in from the budget, send again
L8b  … but the budget is empty, and so many pages are hardly      wait until the budget grows, if that is at most five
     ever refused one after the other (once in 100 times, by the  minutes away, unless another page is good meanwhile
     share of closed pages so far)
L8c  … or the page was refused in an earlier generation, too      closed for now
L8d  nothing was good in this generation                          send again once, after LOGIN_BACKOFF; log in from the
                                                                  budget after LOGIN_ATTEMPTS pages; else closed for now
L9   ten pages were closed in a row                               log in from the budget. If one of them opens, the
                                                                  witnesses prove nothing and are dropped
===  ===========================================================  =====================================================

Closed: the request is sent to another account of its pool, if it may, else it is handed on. The budget is
LOGIN_ATTEMPTS logins beyond proved losses. A login that opens its page gives its own back. An empty budget grows by one
login after one minute, two, four, and so on; a page that needs one meanwhile is closed for now.

An anonymous session (:class:`AnonymousBlame`):

===  ===========================================================  =====================================================
A1   the session was retired meanwhile                            another session; that was no try of the page
A2   the last good page of the session, else of its pool, is      the session is retired; another session; that was no
     refused                                                      try of the page
A3   … is good                                                    another session; after three such tries: hand on
A4   no witness says anything                                     as A3, but no try if the session is retired later
                                                                  (unless it is new, and nothing was good in the pool).
                                                                  MAX_ERRORS pages retire the session (twice as many if
                                                                  it had a good response), a status of BLOCKED_STATUSES
                                                                  does so at once
A5   the page is good in another session                          MAX_ERRORS such pages without a good one retire the
                                                                  session
A6   MAX_ERRORS pages in a row were closed to everybody           the next one is sent to a new session, once a minute.
                                                                  Good there, it retires those that refused it
A7   as many new sessions in a row as the pool has places (at     no new sessions: one request a minute is tried in one,
     least 5) were retired without a good response                the others are handed on after RETRY_TIMES of them
===  ===========================================================  =====================================================
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, Protocol

from scrapy_sessions.safe_repr import safe_repr

# Such a page may end the session, or change something, if it is asked for again.
_UNSAFE = r"(?i)(log|sign)[-_]?(out|off)|delete|remove|unsubscribe"

_REMEMBERED = 1000


class Pages(dict[str, None]):
    """Pages, or their URLs: of more than 1,000, or *least* if that is more, those that were added last."""

    def __init__(self, least: int = 0) -> None:
        self._most = max(least, _REMEMBERED)

    def add(self, *pages: str) -> None:
        """Add *pages*."""
        self.update(dict.fromkeys(pages))
        while len(self) > self._most:
            del self[next(iter(self))]

    def discard(self, *pages: str) -> None:
        """Remove those of *pages* that are there."""
        for page in pages:
            self.pop(page, None)


class Answer(Enum):
    """What the site answers to a question."""

    GOOD = "good"
    REFUSED = "refused"
    GONE = "gone"
    """404 or 410: the page is no witness any more."""
    NOTHING = "nothing"
    """429, 5xx, a timeout, an unknown redirect."""


class Decision(Enum):
    """What happens to a refused request."""

    HAND_ON = "hand on"
    AGAIN = "send again"
    """In its session. That was no try of the page."""
    TRY_AGAIN = "try again"
    """In its session, up to RETRY_TIMES times: nothing can be proved."""
    CLOSED = "closed"
    """Closed to the account: another account, or hand on."""
    MOVE = "another session"
    """The session is retired. That was no try of the page."""
    TRIED = "tried"
    """Closed to the session: another session. That was a try of the page."""
    UNPROVED = "tried, without proof"
    """As TRIED, unless the session is retired later."""
    REFEREE = "new session"
    """A new session decides whether the page is closed or the sessions are banned."""
    CLOSED_TO_ALL = "closed to everybody"
    """Hand on."""


class Refusal(NamedTuple):
    """A refused request.

    :param page: method and URL
    :param generation: the generation of the session that it left in
    :param again: whether it was refused in an earlier generation, too
    :param elsewhere: whether it was refused in another session, too
    :param blocked: whether it has a status of BLOCKED_STATUSES
    :param status: of the response; 0: the session's proxy refused the connection
    """

    page: str
    generation: int = 0
    host: str = ""
    again: bool = False
    elsewhere: bool = False
    blocked: bool = False
    status: int = 0

    def __repr__(self) -> str:
        return safe_repr(self, "generation", "host", "again", "blocked", "status")


class Actions(Protocol):
    """What a decision may ask for and do. Each session has one for each site."""

    session_id: str

    def generation(self) -> int:
        """Return the generation of the session at the site."""

    def is_logging_in(self) -> bool:
        """Whether the session logs in before its next request."""

    def is_retired(self) -> bool:
        """Whether the session is out of use."""

    def in_site(self, host: str, good: set[str]) -> bool:
        """Whether *host* belongs to the site, of which the hosts *good* are known."""

    def lose_login(self, url: str, status: int) -> None:
        """Let the session log in before its next request, because *url* was refused with *status*, if that isn't 0."""

    def retire(self, reason: str) -> None:
        """Take the session out of use."""

    def doubt(self, doubted: bool) -> None:
        """Prefer the other sessions of the pool, or don't."""

    def limit(self, window: int) -> None:
        """Let no more than *window* requests of the session be in flight, 0: any number."""

    async def ask(self, url: str, *, anonymous: bool = False) -> Answer:
        """Ask for *url* in the session, or without it."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def warn(self, message: str) -> None:
        """Log *message* about the session."""


class Waiting:
    """A refusal that waits for a decision."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.decision: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()

    @property
    def page(self) -> str:
        """Its page."""
        return self.refusal.page


class Inquiries:
    """The inquiries of one session, one at a time. All refusals that wait when a question leaves share its answer."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._waiting: list[Waiting] = []
        self.inquiry: asyncio.Task[None] | None = None

    async def _wait(self, refusal: Refusal) -> Decision:
        waiting = Waiting(refusal)
        self._waiting.append(waiting)
        if self.inquiry is None:
            self.inquiry = asyncio.ensure_future(self._inquire_all())
            self._update_doubt()
        return await waiting.decision

    async def _inquire_all(self) -> None:
        try:
            while self._waiting:
                await self._inquire()
        finally:
            self.inquiry = None
            self._update_doubt()
            self._decide(self._waiting, Decision.HAND_ON)  # the crawl is closing

    async def _inquire(self) -> None:
        """Decide about refusals that wait, or learn something that decides about them."""
        raise NotImplementedError

    def _decide(self, waiting: Iterable[Waiting], decision: Decision) -> None:
        for each in list(waiting):
            if not each.decision.done():
                each.decision.set_result(decision)
            if each in self._waiting:
                self._waiting.remove(each)

    def _update_doubt(self) -> None:
        # A session in doubt is picked last: at a high concurrency it would be refused many pages during an inquiry.
        self._actions.doubt(self._is_in_doubt())

    def _is_in_doubt(self) -> bool:
        return self.inquiry is not None


class NoBlame:
    """For a named session without a ``login()``: nothing follows for it."""

    def good(self, url: str, *, get: bool) -> None:
        """A request had a good response."""


NO_BLAME = NoBlame()


def status_note(status: int) -> str:
    """Return the *status* of a response for a reason; an empty text for 0: there was no response."""
    return f" (status {status})" if status else ""


def may_ask(url: str) -> bool:
    """Whether *url* may be asked for again without harm, as far as its text shows."""
    return not re.search(_UNSAFE, url)


def url_of(page: str) -> str:
    """Return the URL of *page*."""
    return page.partition(" ")[2]
