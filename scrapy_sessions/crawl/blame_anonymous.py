"""The refusals of anonymous sessions: the cases A1 to A7 of :mod:`~scrapy_sessions.crawl.blame`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.crawl.blame import (
    Actions,
    Answer,
    Decision,
    Inquiries,
    Pages,
    Refusal,
    may_ask,
    status_note,
    url_of,
)
from scrapy_sessions.settings import SessionsSettings

TRIES = 3
"""After so many a page counts as closed to everybody."""
_RECENT = 3  # good pages of the pool that are remembered as witnesses
_FEWEST_BANNED = 5
_MINUTE = 60.0


class Ban:
    """The site turns every session of a pool away.

    :param session_id: the last session that was tried
    :param trials: how many trials the requests wait for
    """

    def __init__(self, session_id: str, trials: int, clock: Callable[[], float]) -> None:
        self.session_id = session_id
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.trial_at = clock() + _MINUTE
        self._trials = trials
        self._clock = clock
        self._in_trial = False

    @property
    def is_final(self) -> bool:
        """Whether requests are sent once and handed on, and wait for no more trials."""
        return self._trials <= 0

    def take_trial(self) -> bool:
        """Whether the request that asks is the trial of this minute."""
        if self._clock() < self.trial_at:
            return False
        self.trial_at = self._clock() + _MINUTE
        self._in_trial = True
        return True

    def refused(self, session_id: str) -> Decision:
        """A request was refused in *session_id*."""
        if session_id == self.session_id and self._in_trial:
            self._in_trial = False
            self._trials -= 1
        return Decision.HAND_ON if self.is_final and session_id == self.session_id else Decision.MOVE


class PoolBlame:
    """What the sessions of one pool have in common.

    :param size: how many places the pool has
    :param clock: returns seconds
    :param changed: called when a ban begins or ends
    """

    def __init__(
        self, settings: SessionsSettings, size: int, clock: Callable[[], float], changed: Callable[[bool], None]
    ) -> None:
        self.settings = settings
        self.recent: deque[str] = deque(maxlen=_RECENT)
        self.alert = False
        """Whether :meth:`good` is to be called."""
        self.was_good = False
        self.ban: Ban | None = None
        self._size = size
        self._clock = clock
        self._changed = changed
        self._without_success = 0  # sessions retired in a row that had no good response
        self._closed_in_a_row = 0
        self._referee_at = 0.0

    def good(self) -> None:
        """A session of the pool had a good response."""
        self.alert = False
        self._without_success = 0
        if self.ban is not None:
            self.ban.ended.set_result(None)
            self.ban = None
            self._changed(False)

    def is_last(self, session_id: str) -> bool:
        """Whether *session_id*, which had no good response, is not to be retired: it is the last one for now. A7."""
        self.alert = True
        self._without_success += 1
        if self.ban is not None or self._without_success < max(self._size, _FEWEST_BANNED):
            return False
        self.ban = Ban(session_id, self.settings.retry_times, self._clock)
        self._changed(True)
        return True

    def opened(self) -> None:
        """A page that was refused in one session is good in another."""
        self._closed_in_a_row = 0

    def needs_referee(self) -> bool:
        """Whether a page that was refused in enough sessions is sent to a new one. A6."""
        self._closed_in_a_row += 1
        if not self.settings.max_errors or self._closed_in_a_row <= self.settings.max_errors:
            return False
        if self._clock() < self._referee_at:
            return False
        self._referee_at = self._clock() + _MINUTE
        return True


class AnonymousBlame(Inquiries):
    """Decides about the refusals of one anonymous session.

    :param new: whether it was created in this run
    """

    def __init__(self, pool: PoolBlame, actions: Actions, *, new: bool = True) -> None:
        super().__init__(actions)
        self._pool = pool
        self._new = new
        self._settings = pool.settings
        self._last: str | None = None  # the last good page
        self._was_good = False
        # Since the last good response:
        self._unproved = Pages(2 * self._settings.max_errors)  # A4
        self._opened = Pages(self._settings.max_errors)  # A5
        self._alert = False
        self._status = 0  # of the last refusal

    # Good responses: the hot path

    def good(self, url: str, *, get: bool) -> None:
        """A request had a good response.

        :param get: whether *url* may be a witness: a GET with a status below 300
        """
        self._was_good = self._pool.was_good = True
        if get:
            self._last = url
            self._pool.recent.append(url)
        if self._alert:
            self._alert = False
            self._unproved.clear()
            self._opened.clear()
        if self._pool.alert:
            self._pool.good()

    def opened(self, page: str, *, by_referee: bool) -> None:
        """*page*, which was refused in this session, is good in another. A5, A6."""
        self._pool.opened()
        self._alert = True
        self._opened.add(page)
        if (by_referee or self._is_many(self._opened)) and not self._actions.is_retired():
            why = f"was refused in it{status_note(self._status)}, and is good in another session"
            self._retire(f"{safe_url(url_of(page))} {why}")

    def _is_many(self, pages: Pages, *, twice: bool = False) -> bool:
        most = self._settings.max_errors * (2 if twice else 1)
        return bool(most) and len(pages) >= most

    # Refusals

    async def refused(self, refusal: Refusal, *, tries: int) -> Decision:
        """Decide about *refusal*.

        :param tries: how often the page was tried before: those with proof, and those in sessions that are in use
        """
        if self._actions.is_retired():  # A1
            return Decision.MOVE
        if self._pool.ban is not None:  # A7
            return self._pool.ban.refused(self._actions.session_id)
        self._status = refusal.status
        decision = await self._wait(refusal)
        enough = min(TRIES, self._settings.retry_times + 1)
        if decision is Decision.MOVE or decision is Decision.HAND_ON or tries + 1 < enough:
            return decision
        if tries + 1 == enough and self._pool.needs_referee():
            return Decision.REFEREE
        return Decision.CLOSED_TO_ALL

    async def _inquire(self) -> None:
        last = [] if self._last is None else [self._last]
        for url in dict.fromkeys([*last, *reversed(self._pool.recent)]):
            if not may_ask(url):
                continue
            batch = list(self._waiting)
            answer = await self._actions.ask(url)
            if self._actions.is_retired():
                self._decide(self._waiting, Decision.MOVE)
                return
            if answer is Answer.GOOD:  # A3
                self._decide(batch, Decision.TRIED)
                return
            if answer is Answer.REFUSED:  # A2
                first = f"; it began at {_place(batch[0].refusal)}" if batch[0].refusal.status else ""
                self._retire(f"{safe_url(url)} was refused, which was good before{first}")
                self._decide(self._waiting, Decision.MOVE)
                return
        batch = list(self._waiting)  # A4
        self._alert = True
        self._unproved.add(*(each.page for each in batch))
        enough = self._is_many(self._unproved, twice=self._was_good)
        if enough or any(each.refusal.blocked for each in batch):
            place = _place(batch[-1].refusal)
            self._retire(f"{len(self._unproved)} of its pages were refused, the last at {place}")
            if not self._counts_anyway():
                self._decide(self._waiting, Decision.MOVE)
                return
        self._decide(batch, Decision.TRIED if self._counts_anyway() else Decision.UNPROVED)

    def _counts_anyway(self) -> bool:
        # A new session that is refused everything is as much as can be done for a page, as long as nothing was good in
        # the whole pool. Restored sessions may all be banned.
        return self._new and not self._pool.was_good

    def blocked(self) -> None:
        """The user's own check is about to retire the session."""
        if not self._was_good:
            self._pool.is_last(self._actions.session_id)

    def _retire(self, reason: str) -> None:
        if self._was_good or not self._pool.is_last(self._actions.session_id):
            self._actions.retire(reason)


def _place(refusal: Refusal) -> str:
    return f"{safe_url(url_of(refusal.page))}{status_note(refusal.status)}"
