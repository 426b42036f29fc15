"""Who gets which session: what a request asks for, and whose turn it is in a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Sequence
from itertools import islice

from scrapy_sessions.exceptions import LoginFailed, PoolExhausted, UnknownPool
from scrapy_sessions.pools.strategies import STRATEGIES
from scrapy_sessions.settings import DEFAULT_POOL, PoolOptions, SessionsSettings, nearest

NO_BACKLOG = (0.0, 0)
"""What a session has that may go now."""

_LOOK = 8  # how many sessions whose turn comes are looked at for one that is welcome
_LONG = 60.0  # seconds; sessions that have to wait for longer aren't among them
_LOOK_AT_MOST = 1000


class Pool:
    """A pool: its sessions by id, and whose turn it is. Every pick is O(1) in the size of the pool.

    An anonymous session is ``"shop#3"``: the same number is the same session in every process and run. It is made when
    its turn first comes. One that is retired is replaced by the next number of its slot, ``"shop#11"`` in a pool of 8:
    so all processes agree on it, in whatever order they hear of the retired ones.

    In an exclusive pool, the sessions that this process holds have turns: none at first.
    """

    def __init__(self, name: str, options: PoolOptions, settings: SessionsSettings) -> None:
        self.name = name
        self.sticky = settings.sticky if options.sticky is None else options.sticky
        self.idle_timeout = settings.idle_timeout if options.idle_timeout is None else options.idle_timeout
        self.max_age = settings.max_age if options.max_age is None else options.max_age
        self.max_uses = settings.max_uses if options.max_uses is None else options.max_uses
        self.budget = settings.budget if options.budget is None else options.budget
        self.delay = options.delay
        self.concurrency = settings.concurrency if options.concurrency is None else options.concurrency
        self.named = options.sessions is not None
        self.exclusive = options.exclusive
        self.session_ids = tuple(dict.fromkeys(options.sessions or ()))
        self.size = len(self.session_ids) or options.size or settings.pool_size
        self._profiles = options.profiles or list(settings.profiles)
        self._strategy = STRATEGIES[options.strategy]()
        self._ids: dict[int, str] = dict(enumerate(self.session_ids))  # by slot
        self._slots: dict[str, int] = {session_id: slot for slot, session_id in self._ids.items()}
        self._places: dict[str, int] = self._slots.copy()  # of the named ones in the settings
        if self.exclusive:
            self._ids, self._slots = {}, {}
        self._substitutes: dict[int, int] = {}  # by the place of a retired one
        self._out: dict[str, str] = {}  # named sessions out of the turn, and why
        self._failed: dict[str, str] = {}  # sessions whose login was given up, and why
        self.is_given_up = False
        """Whether no account is left, as logins were given up."""

    @classmethod
    def declared(cls, name: str, settings: SessionsSettings) -> Pool:
        """Return the pool that *settings* declare. Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`."""
        options = settings.pools.get(name)
        if options is None:
            if name != DEFAULT_POOL:
                raise UnknownPool(
                    f"SESSIONS_POOLS declares no pool {name!r}{nearest(name, {*settings.pools, DEFAULT_POOL})}"
                )
            options = PoolOptions.model_construct()
        return cls(name, options, settings)

    def pick(
        self,
        key: str | None = None,
        avoid: Container[str] = (),
        backlog: Callable[[str], tuple[float, int]] | None = None,
    ) -> str:
        """Return the id of the session whose turn it is, or, given a *key*, of the one that belongs to it.

        Of the first few whose turn comes, it is the first that is not in *avoid* and may go now, else the one that may
        go the soonest. Those in *avoid*, or that have to wait for longer than a minute, are passed over. *backlog*
        returns how long a session has to wait: seconds, and requests before this one, whose durations are unknown.

        Raises :exc:`~scrapy_sessions.exceptions.PoolExhausted` when all its named sessions are retired, and
        :exc:`~scrapy_sessions.exceptions.LoginFailed` when none is left as logins were given up.
        """
        if self.named and len(self._out) >= self.size:
            reasons = "; ".join(map(": ".join, self._out.items()))
            if self._failed:
                raise LoginFailed(f"No account of the pool {self.name!r} is left ({reasons})")
            raise PoolExhausted(
                f"Every session of the pool {self.name!r} is retired ({reasons}): delete them to begin anew, or add "
                f"others to SESSIONS_POOLS[{self.name!r}]['sessions']"
            )
        if key is not None:
            return self._of_key(key)
        size = len(self._slots) if self.named else self.size
        if size == 1:
            return self._of_slot(0)
        looks: list[tuple[bool, tuple[float, int], int, int]] = []
        near = 0
        for slot in islice(self._strategy.turns(size), _LOOK_AT_MOST):
            session_id = self._of_slot(slot)
            wait = NO_BACKLOG if backlog is None else backlog(session_id)
            looks.append((session_id in avoid, wait, len(looks), slot))
            if wait == NO_BACKLOG and session_id not in avoid:
                break
            near += wait[0] <= _LONG and session_id not in avoid
            if near == _LOOK:
                break
        slot = min(looks)[-1]
        self._strategy.record_use(slot)
        return self._of_slot(slot)

    def others(self, avoid: Container[str]) -> bool:
        """Whether a pool of named sessions has one in the turn that is not in *avoid*."""
        return any(session_id not in avoid for session_id in self._slots)

    def give_up(self, session_id: str, reason: str) -> bool:
        """The login of *session_id* was given up. Returns whether it was the last account, the first time only.

        A named session leaves the turn until it is resumed. An anonymous one is replaced: the pool is given up with as
        many of them in a row as it has places.
        """
        if self.is_given_up or session_id in self._failed:
            return False
        self._failed[session_id] = reason
        if self.named:
            self.retire_slot(session_id, reason)
        self.is_given_up = self.is_exhausted if self.named else len(self._failed) >= self.size
        return self.is_given_up

    def resume(self, session_id: str) -> None:
        """*session_id* may log in again: a named session is put into the turn again, if it was given up."""
        self.is_given_up = False
        if not self.named:
            self._failed.clear()
        elif self._failed.pop(session_id, None) is not None:
            self._substitutes.pop(self._places[session_id], None)
            self._out.pop(session_id, None)
            self.add_turn(session_id)

    @property
    def has_turns(self) -> bool:
        """Whether a pool of named sessions has one in the turn."""
        return bool(self._slots)

    @property
    def is_exhausted(self) -> bool:
        """Whether all sessions of a pool of named ones are out of the turn for good."""
        return self.named and len(self._out) >= self.size

    def is_out(self, session_id: str) -> bool:
        """Whether a named session is out of the turn for good."""
        return session_id in self._out

    def add_turn(self, session_id: str) -> None:
        """Put a named session into the turn, unless it is there or out of it for good."""
        if session_id not in self._slots and session_id not in self._out:
            slot = len(self._slots)
            self._ids[slot], self._slots[session_id] = session_id, slot

    def end_turn(self, session_id: str) -> None:
        """Take a named session out of the turn for now."""
        slot = self._slots.pop(session_id, None)
        if slot is None:
            return
        last = len(self._slots)
        moved = self._ids.pop(last)
        if moved != session_id:  # into the gap, so that no pick has to look for a slot that isn't empty
            self._ids[slot], self._slots[moved] = moved, slot
        self._strategy.moved(last, slot)

    def set_accounts(self, session_ids: Sequence[str]) -> None:
        """An exclusive pool has the named *session_ids*, of the settings of all processes."""
        self.session_ids = tuple(session_ids)
        self.size = len(self.session_ids)
        self._places = {session_id: place for place, session_id in enumerate(self.session_ids)}
        gone, self._out, self._substitutes = self._out, {}, {}
        for session_id, reason in gone.items():
            self._leave(session_id, reason)

    def _leave(self, session_id: str, reason: str) -> None:
        place = self._places.get(session_id)
        if place is not None:
            self._substitutes[place] = (place + 1) % self.size
            self._out[session_id] = reason

    def may_hold(self, session_id: str) -> bool:
        """Whether *session_id* can be one of the pool: a pool of named sessions has those of the settings only."""
        return not self.named or session_id in self._places

    def retire_slot(self, session_id: str, reason: str = "retired") -> None:
        """Take *session_id*, which is retired, out of the turn; an anonymous one gets a successor."""
        if self.named:
            self.end_turn(session_id)
            if session_id not in self._out:
                self._leave(session_id, reason)
            return
        slot = self._slots.pop(session_id, None)
        if slot is None:
            return
        self._set(slot, self._after(session_id))
        self._strategy.renewed(slot)

    def successor(self, session_id: str) -> str | None:
        """Return the id of the session that would replace *session_id*, if that is in use and would be replaced."""
        return f"{self.name}#{self._after(session_id)}" if not self.named and session_id in self._slots else None

    def record_use(self, session_id: str) -> None:
        """A request of the pool named *session_id* itself."""
        slot = self._slots.get(session_id)
        if slot is not None:
            self._strategy.record_use(slot)

    def profile_of(self, session_id: str) -> str | None:
        """Return the name of the profile of the new session *session_id*, by its number in the pool."""
        if not self._profiles:
            return None
        if self.named:
            place = self._places.get(session_id, 0)
        else:
            number = session_id.rpartition("#")[2]
            place = int(number) - 1 if number.isdecimal() else 0
        return self._profiles[place % len(self._profiles)]

    def _of_slot(self, slot: int) -> str:
        session_id = self._ids.get(slot)
        return session_id if session_id is not None else self._set(slot, slot + 1)

    def _after(self, session_id: str) -> int:
        return int(session_id.rpartition("#")[2]) + self.size

    def _set(self, slot: int, number: int) -> str:
        session_id = self._ids[slot] = f"{self.name}#{number}"
        self._slots[session_id] = slot
        return session_id

    def _of_key(self, key: str) -> str:
        # Jump consistent hash (Lamping and Veach, 2014): when the pool grows by one, only the keys that go to the new
        # session leave theirs.
        number = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        slot, jump = -1, 0
        while jump < self.size:
            slot = jump
            number = (number * 2862933555777941757 + 1) & 0xFFFFFFFFFFFFFFFF
            jump = int((slot + 1) * ((1 << 31) / ((number >> 33) + 1)))
        return self.session_ids[self._substitute(slot)] if self.named else self._of_slot(slot)

    def _substitute(self, place: int) -> int:
        """Return the place of the account used for *place*: that account, or the next one that isn't retired."""
        found = place
        while found in self._substitutes:
            found = self._substitutes[found]
        while place in self._substitutes:  # the next look takes one step
            self._substitutes[place], place = found, self._substitutes[place]
        return found
