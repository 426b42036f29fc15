"""The refusals of a session that can log in: the cases L1 to L9 of :mod:`~scrapy_sessions.crawl.blame`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.crawl.blame import Actions, Answer, Decision, Inquiries, Pages, Refusal, Waiting, may_ask, url_of
from scrapy_sessions.crawl.budget import Budget
from scrapy_sessions.settings import SessionsSettings

_CANDIDATES = 3  # pages asked for without the session, in one inquiry
_RECENT = 8  # good pages of a generation that are remembered as candidates
_WITNESSES = 3
_MANY_PUBLIC = 12  # public answers, after which one candidate per inquiry is asked for
_MOSTLY_PUBLIC = 100  # public answers, after which none is asked for while the budget is empty
_CLOSED_IN_A_ROW = 10
_FEW = 3  # pages
_IMPROBABLE = 0.01
_LONGEST_HELD = 300.0  # seconds that a refused request waits for a login


class _Witness:
    """A page that anonymous visitors don't get.

    :param good_in: the generation in which it was good last
    """

    def __init__(self, url: str, good_in: int) -> None:
        self.url = url
        self.good_in = good_in


class LoginBlame(Inquiries):
    """Decides about the refusals of one session at one site where it logs in.

    Evidence is kept per session, as what is private to alice may be closed to bob, and for this process only.

    :param probe: a page that only a logged-in session gets
    :param clock: returns seconds
    """

    def __init__(
        self, settings: SessionsSettings, actions: Actions, *, clock: Callable[[], float], probe: str | None = None
    ) -> None:
        super().__init__(actions)
        self._settings = settings
        self._budget = Budget(settings.login_attempts, clock)
        self._probe = None if probe is None else _Witness(probe, -1)
        self._witnesses: list[_Witness] = []
        self._useless = Pages()  # pages that are public or gone
        self._public_answers = 0
        self._hosts: set[str] = set()  # of good responses
        self._origin = "\n"  # of the last good response
        self._known = False  # it logged in, or had a good response, in this run
        self._losing = False  # a login was lost, and none has succeeded since
        self._pending: frozenset[str] = frozenset()  # refused just before the last login from the budget
        self._doubted: frozenset[str] = frozenset()  # closed before the last login for ten closed pages
        self._closed_in_a_row = 0
        self._refused_in_a_row = Pages()  # since the last good response
        self._good_before = 0  # in earlier generations
        self._closed_ever = 0
        self._warned = False
        self._status = 0  # of the last refusal
        self._alert = False  # the next good response is looked at closely
        self._generation = actions.generation()
        # Of this generation:
        self._good = 0
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._closed = Pages()  # proved
        self._barren = Pages(settings.login_attempts)  # pages that were refused while nothing was good
        self._resent = Pages()
        self._backed_off = False
        self._retried: frozenset[str] = frozenset()  # what its login was to open
        self._window = 0
        self._settled_before = 0

    # Good responses: the hot path

    def good(self, url: str, *, get: bool) -> None:
        """A request of the present generation had a good response.

        :param get: whether *url* may be a witness: a GET with a status below 300
        """
        self._good += 1
        self._known = True
        if get:
            self._recent.append(url)
        if not url.startswith(self._origin):
            parts = urlsplit(url)
            self._origin = f"{parts.scheme}://{parts.netloc}/"
            self._hosts.add(parts.hostname or "")
        if self._alert:
            self._look_at_good(url)

    def _look_at_good(self, url: str) -> None:
        self._closed_in_a_row = 0
        self._barren.clear()
        self._closed_ever += len(self._refused_in_a_row)
        self._refused_in_a_row.clear()
        self._opened(url)
        if self._window and self._good + len(self._closed) > self._settled_before:
            self._limit(0)
        self._alert = bool(self._window or self._pending or self._doubted)
        self._update_doubt()

    def _opened(self, url: str) -> None:
        if url in self._pending:
            self._budget.give_back()
            self._pending = frozenset()
        if url in self._doubted:
            self._witnesses.clear()
            self._closed.clear()
            self._doubted = frozenset()

    # Generations

    def begin(self, generation: int) -> None:
        """The session logged in: *generation* has begun."""
        settled = self._good + len(self._closed)
        self._settled_before = settled
        # A token may be good for a few requests only: no more are in flight than settled before, until more have. The
        # first login of a restored session says nothing about that.
        self._limit(max(settled, 1) if self._losing and self._known else 0)
        self._known = True
        self._losing = False
        self._generation = generation
        self._good_before += self._good
        self._good = 0
        self._recent.clear()
        self._closed = Pages()
        self._barren.clear()
        self._resent.clear()
        self._refused_in_a_row.clear()
        self._backed_off = False
        self._retried = self._pending
        self._closed_in_a_row = 0
        self._alert = True
        self._update_doubt()

    def _limit(self, window: int) -> None:
        self._window = window
        self._actions.limit(window)

    def _lose(self, page: str, pending: Iterable[str] = (), doubted: Iterable[str] = ()) -> None:
        self._losing = True
        self._pending = frozenset(pending)
        self._doubted = frozenset(doubted)
        status = next((each.refusal.status for each in self._waiting if each.page == page), self._status)
        self._actions.lose_login(url_of(page), status)
        self._decide(self._waiting, Decision.AGAIN)

    def _pay(self, page: str, pending: Iterable[str], doubted: Iterable[str] = ()) -> bool:
        """Log in from the budget, if it isn't empty."""
        if self._budget.take():
            self._lose(page, pending, doubted)
            return True
        if not self._warned:
            self._warned = True
            self._actions.warn(
                "is refused pages, and no page proves whether it is logged in: set probe_url of its SessionConfig to "
                "a page that only a logged-in session gets"
            )
        return False

    # Refusals

    async def refused(self, refusal: Refusal) -> Decision:
        """Decide about *refusal*."""
        if self._is_outdated(refusal):  # L1
            return Decision.AGAIN
        if not self._actions.in_site(refusal.host, self._hosts):  # L2
            return Decision.HAND_ON
        self._status = refusal.status
        if refusal.page in self._closed:  # L3
            return Decision.CLOSED
        if not self._known:  # L4
            self._lose(refusal.page)
            return Decision.AGAIN
        if not refusal.again and not refusal.elsewhere:
            self._alert = True
            self._refused_in_a_row.add(refusal.page)
        decision = await self._wait(refusal)
        if decision is Decision.TRY_AGAIN:  # L8d
            await self._actions.sleep(self._settings.login_backoff)
            return Decision.AGAIN
        return decision

    def _is_outdated(self, refusal: Refusal) -> bool:
        if self._actions.is_logging_in():
            return True
        generation = self._actions.generation()
        if generation != self._generation:
            self.begin(generation)
        return refusal.generation < generation

    async def _inquire(self) -> None:
        for _ in range(_CANDIDATES):
            if await self._ask_witnesses():
                return
            if not await self._find_witness():
                break
        if self._waiting:
            await self._ask_older_witnesses()

    async def _ask_witnesses(self) -> bool:
        """Ask the witnesses of this generation, and return whether one decided."""
        for witness in self._all_witnesses():
            if witness.good_in != self._generation:
                continue
            # An answer decides about the refusals that arrived before its question left, and about no later ones.
            batch = list(self._waiting)
            answer = await self._ask(witness.url)
            if answer is None:
                return True
            if answer is Answer.GOOD:  # L5a
                self._close(batch)
                return True
            if answer is Answer.REFUSED:  # L5b
                self._lose(batch[0].page)
                return True
            if answer is Answer.GONE:
                self._forget(witness)
        return False

    async def _find_witness(self) -> bool:
        """Ask for good pages without the session, and return whether one is a witness, or nobody waits. L6."""
        for url in self._candidates():
            answer = await self._ask(url, anonymous=True)
            if answer is None:
                return True
            if answer is Answer.REFUSED:
                self._witnesses.append(_Witness(url, self._generation))
                del self._witnesses[:-_WITNESSES]
                return True
            if answer is not Answer.NOTHING:
                self._useless.add(url)
                self._public_answers += 1
        return False

    def _candidates(self) -> list[str]:
        if self._public_answers >= _MOSTLY_PUBLIC and not self._budget.left:
            return []
        count = 1 if self._public_answers >= _MANY_PUBLIC else _CANDIDATES
        known = {witness.url for witness in self._witnesses}
        recent = dict.fromkeys(reversed(self._recent))
        return [url for url in recent if url not in self._useless and url not in known and may_ask(url)][:count]

    async def _ask_older_witnesses(self) -> None:
        refused: list[_Witness] = []
        for witness in self._all_witnesses():
            if witness.good_in == self._generation:
                continue
            batch = list(self._waiting)
            answer = await self._ask(witness.url)
            if answer is None:
                return
            if answer is Answer.GOOD:  # L7a
                witness.good_in = self._generation
                self._opened(witness.url)
                self._close(batch)
                for each in refused:
                    self._drop(each)
                return
            if answer is Answer.REFUSED:
                refused.append(witness)
            elif answer is Answer.GONE:
                self._forget(witness)
        if not refused or not await self._doubt(refused):
            await self._decide_without_witness()

    async def _doubt(self, refused: list[_Witness]) -> bool:
        """The older witnesses were *refused*: return whether that decided, or needs another look. L7b."""
        if not self._backed_off:
            self._backed_off = True
            await self._pause(self._settings.login_backoff)
            return True
        urls = {witness.url for witness in refused}
        pages = [each.page for each in self._waiting]
        if not urls & self._retried and self._pay(pages[0], urls.union(map(url_of, pages))):
            return True
        for witness in refused:
            self._drop(witness)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, while other pages may be good, or refused too."""
        generation = self._generation
        await self._actions.sleep(seconds)
        self._is_over(generation)

    async def _decide_without_witness(self) -> None:
        batch = list(self._waiting)
        if self._good:
            first = [each for each in batch if not each.refusal.again]
            if first and self._pay(first[0].page, [url_of(each.page) for each in first]):  # L8a
                return
            seconds = self._budget.seconds()
            if first and seconds <= _LONGEST_HELD and self._are_too_many_in_a_row():  # L8b
                await self._pause(seconds)
                if self._refused_in_a_row:
                    return
            self._closed_ever += len(batch) - len(first)
            self._decide(batch, Decision.CLOSED)  # L8c
            return
        self._alert = True
        self._barren.add(*(each.page for each in batch))
        new = [each for each in batch if each.page not in self._resent]
        self._resent.add(*(each.page for each in new))
        self._decide(new, Decision.TRY_AGAIN)  # L8d
        batch = [each for each in batch if each not in new]
        enough = len(self._barren) >= self._settings.login_attempts
        if batch and not (enough and self._pay(batch[0].page, map(url_of, self._barren))):
            self._decide(batch, Decision.CLOSED)

    def _are_too_many_in_a_row(self) -> bool:
        """Whether so many pages are hardly ever refused one after the other, by the share of closed pages so far."""
        settled = self._good_before + self._good + self._closed_ever
        count = len(self._refused_in_a_row)
        if count < _FEW or (self._public_answers and not self._witnesses):  # visitors may get all that is not closed
            return False
        return bool(((self._closed_ever + 1) / (settled + 2)) ** count < _IMPROBABLE)

    def _close(self, batch: list[Waiting]) -> None:
        """The pages of *batch* are proved closed."""
        pages = {each.page for each in batch}
        self._closed.add(*pages)
        self._alert = True
        self._closed_ever += len(pages)
        # Not all of the batch: during an inquiry others were good.
        self._closed_in_a_row += len(pages & self._refused_in_a_row.keys())
        self._refused_in_a_row.discard(*pages)
        if self._closed_in_a_row >= _CLOSED_IN_A_ROW and self._budget.left:  # L9
            self._closed_in_a_row = 0
            closed = [url_of(page) for page in self._closed]
            if self._pay(batch[0].page, closed, closed):
                return
        self._decide(batch, Decision.CLOSED)

    def _is_in_doubt(self) -> bool:
        return super()._is_in_doubt() or (not self._good and len(self._barren) >= self._settings.login_attempts)

    # Witnesses

    def _all_witnesses(self) -> list[_Witness]:
        return [*([] if self._probe is None else [self._probe]), *reversed(self._witnesses)]

    async def _ask(self, url: str, *, anonymous: bool = False) -> Answer | None:
        """Ask for *url*; ``None``: the generation is over, and nobody waits for the answer any more."""
        generation = self._generation
        answer = await self._actions.ask(url, anonymous=anonymous)
        return None if self._is_over(generation) else answer

    def _is_over(self, generation: int) -> bool:
        if self._actions.generation() == generation and not self._actions.is_logging_in():
            return False
        self._decide(self._waiting, Decision.AGAIN)
        return True

    def _forget(self, witness: _Witness) -> None:
        self._useless.add(witness.url)
        self._drop(witness)

    def _drop(self, witness: _Witness) -> None:
        if witness is self._probe:
            self._probe = None
            self._actions.warn(f"does not find its probe_url {safe_url(witness.url)}, which is not used any more")
        elif witness in self._witnesses:
            self._witnesses.remove(witness)
