"""Who gets which session: what a request asks for, and whose turn it is in a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

from scrapy_sessions.exceptions import InvalidSessionId, PoolExhausted, UnknownPool, UnknownProfile
from scrapy_sessions.models import check_session_id
from scrapy_sessions.settings import DEFAULT_POOL, PoolOptions, SessionsSettings, nearest
from scrapy_sessions.strategies import STRATEGIES

__all__ = ["NO_BACKLOG", "PICKED", "TRIES", "Claim", "Pool", "check_profile", "cookiejar_id", "is_named", "read_claim"]

PICKED = "_session_picked"
"""The meta key that notes which ``session_id`` was put into the meta by us, not by the spider."""

_JAR = "cookiejar:"  # what the ids of sessions begin with that belong to a cookiejar key
TRIES = "_session_tries"
"""The meta key that lists in which sessions of its pool a request has failed: with their successes, and the pool's."""

NO_BACKLOG = (0.0, 0)
"""What a session has that may go now."""

_LOOK = 8  # how many sessions whose turn comes are looked at for one that is welcome

_UNSET = object()
_NONE: frozenset[str] = frozenset()


class Claim(NamedTuple):
    """What a request asks for: a session by its id, any session of a pool, or one that lives for this crawl only.

    :param session_id: ``None``: any of *pool*, or that of *transient*
    :param pool: ``None``: the session stands alone
    :param transient: a ``cookiejar`` key without a lasting text form
    :param before: the session that the request, or the one it is a copy of, was picked for before
    :param key: requests with the same key get the same session of *pool*
    :param avoid: sessions of *pool* that are the last to be picked
    :param untagged: whether the request asks for nothing
    """

    session_id: str | None
    pool: str | None
    profile: str | None = None
    transient: Any = None
    before: str | None = None
    key: str | None = None
    avoid: frozenset[str] = frozenset()
    untagged: bool = False


_QUALIFYING = frozenset({PICKED, "session_pool", "session_profile"})  # beside a session_id, they change what it means
_UNTAGGED = Claim(None, DEFAULT_POOL, untagged=True)


def read_claim(meta: Mapping[str, Any], default_id: str | None = None) -> Claim | None:
    """Read what a request with this *meta* asks for; ``None``: no session at all (``session_id`` is ``None``).

    A ``session_id`` of the spider's own wins over ``cookiejar``; one that we put there, for an earlier copy of the
    request, doesn't. *default_id* is for requests that ask for nothing (``SESSIONS_DEFAULT_ID``).

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId`, and
    :exc:`~scrapy_sessions.exceptions.UnknownPool` for a pool's name that isn't a string.
    """
    session_id = meta.get("session_id", _UNSET)
    if session_id is None:
        return None
    if type(session_id) is str and not _QUALIFYING.intersection(meta):
        return _named(session_id)
    before = meta.get(PICKED)
    own = session_id is not _UNSET and session_id != before
    profile = meta.get("session_profile")
    pool = meta.get("session_pool")
    if pool is not None and not isinstance(pool, str):
        raise UnknownPool(f"The meta key 'session_pool' must be a string, not {type(pool).__name__}")
    if own:
        # A pool beside a session_id of ours is that one's: meta was copied, and session_id changed.
        return Claim(check_session_id(session_id), pool if before is None else None, profile, before=before)
    key = meta.get("cookiejar")
    if key is not None:
        jar_id = cookiejar_id(key)
        return Claim(jar_id, None, profile, key if jar_id is None else None, before)
    if session_id is not _UNSET:
        return Claim(check_session_id(session_id), pool, profile, before=before)
    key = meta.get("session_key")
    if key is not None and not isinstance(key, str | int):
        raise InvalidSessionId(f"The meta key 'session_key' must be a string or int, not {type(key).__name__}")
    tries = meta.get(TRIES)
    avoid = frozenset(session_id for session_id, *_ in tries) if tries else _NONE
    key = None if key is None else str(key)
    if pool is not None:
        return Claim(None, pool, profile, before=before, key=key, avoid=avoid)
    if default_id is not None:
        return Claim(default_id, None, profile, untagged=True)
    if profile is None and key is None:
        return _UNTAGGED
    return Claim(None, DEFAULT_POOL, profile, key=key, untagged=True)


@lru_cache(maxsize=4096)
def _named(session_id: str) -> Claim:
    return Claim(check_session_id(session_id), None)


def is_named(meta: Mapping[str, Any]) -> bool:
    """Whether a request with this *meta* names its session itself. Never raises."""
    session_id, before = meta.get("session_id"), meta.get(PICKED)
    pooled = meta.get("session_pool") is not None and before is None
    return isinstance(session_id, str) and not pooled and before != session_id


def cookiejar_id(key: Any) -> str | None:
    """Return the session id of a ``cookiejar`` meta key, ``None`` for one without a lasting text form.

    A string is a session id. Other keys get an id that no string has: 1 is not ``"1"``. As in Scrapy, whose jars are
    keyed by equality, ``1``, ``1.0`` and ``True`` are one key.
    """
    if isinstance(key, str):
        with suppress(InvalidSessionId):  # any string is a key in Scrapy
            if not key.startswith(_JAR):
                return check_session_id(key)
        return _text_id("str", key)
    if isinstance(key, float) and not key.is_integer():
        return _text_id("float", repr(key))
    if isinstance(key, int | float):
        return _text_id("int", repr(int(key)))
    if isinstance(key, bytes):
        return _text_id("bytes", repr(key))
    if isinstance(key, tuple):
        parts = [cookiejar_id(part) if part is not None else f"{_JAR}None" for part in key]
        if all(part is not None for part in parts):
            return _text_id("tuple", repr(parts))
    return None


def _text_id(kind: str, text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        text = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_JAR}{kind}:{text}"


class Pool:
    """A pool: its sessions by id, and whose turn it is. Every pick is O(1) in the size of the pool.

    An anonymous session is ``"shop#3"``: the same number is the same session in every process and run. It is made when
    its turn first comes. One that is retired is replaced by the next number of its slot, ``"shop#11"`` in a pool of 8:
    so all processes agree on it, in whatever order they hear of the retired ones.
    """

    def __init__(self, name: str, options: PoolOptions, settings: SessionsSettings) -> None:
        self.name = name
        self.sticky = settings.sticky if options.sticky is None else options.sticky
        self.idle_timeout = settings.idle_timeout if options.idle_timeout is None else options.idle_timeout
        self.max_age = settings.max_age if options.max_age is None else options.max_age
        self.max_uses = settings.max_uses if options.max_uses is None else options.max_uses
        self.delay = options.delay
        self.concurrency = settings.concurrency if options.concurrency is None else options.concurrency
        self.named = options.sessions is not None
        self.accounts = tuple(dict.fromkeys(options.sessions or ()))
        self.size = len(self.accounts) or options.size or settings.pool_size
        self._profiles = options.profiles or list(settings.profiles)
        self._strategy = STRATEGIES[options.strategy]()
        self._ids: dict[int, str] = dict(enumerate(self.accounts))  # by slot
        self._slots: dict[str, int] = {session_id: slot for slot, session_id in self._ids.items()}
        self._places: dict[str, int] = self._slots.copy()  # of the named ones in the settings
        self._heirs: dict[int, int] = {}  # by the place of a retired one
        self._retired: list[str] = []
        self.successes = 0  # responses of its sessions that drew the verdict OK, in this crawl

    @classmethod
    def declared(cls, name: str, settings: SessionsSettings) -> Pool:
        """Return the pool that *settings* declare. Raises :exc:`~scrapy_sessions.exceptions.UnknownPool`."""
        options = settings.pools.get(name)
        if options is None:
            if name != DEFAULT_POOL:
                raise UnknownPool(
                    f"SESSIONS_POOLS declares no pool {name!r}{nearest(name, {*settings.pools, DEFAULT_POOL})}"
                )
            options = PoolOptions()
        return cls(name, options, settings)

    def pick(
        self,
        key: str | None = None,
        avoid: Container[str] = (),
        backlog: Callable[[str], tuple[float, int]] | None = None,
    ) -> str:
        """Return the id of the session whose turn it is, or, given a *key*, of the one that belongs to it.

        Of the first few whose turn comes, it is the first that is not in *avoid* and may go now, else the one that may
        go the soonest. *backlog* tells how long a session has to wait, in seconds
        and in requests before this one, whose ends nobody knows.

        Raises :exc:`~scrapy_sessions.exceptions.PoolExhausted` when all its named sessions are retired.
        """
        if self.named and not self._slots:
            raise PoolExhausted(
                f"Every session of the pool {self.name!r} is retired ({'; '.join(self._retired)}): delete them to "
                f"begin anew, or add others to SESSIONS_POOLS[{self.name!r}]['sessions']"
            )
        if key is not None:
            return self._of_key(key)
        size = len(self._slots) if self.named else self.size
        if size == 1:
            return self._of_slot(0)
        looks: list[tuple[bool, tuple[float, int], int, int]] = []
        for slot in islice(self._strategy.turns(size), _LOOK):
            session_id = self._of_slot(slot)
            wait = NO_BACKLOG if backlog is None else backlog(session_id)
            looks.append((session_id in avoid, wait, len(looks), slot))
            if wait == NO_BACKLOG and session_id not in avoid:
                break
        slot = min(looks)[-1]
        self._strategy.used(slot)
        return self._of_slot(slot)

    def may_hold(self, session_id: str) -> bool:
        """Whether *session_id* can be one of the pool: a pool of named sessions has those of the settings only."""
        return not self.named or session_id in self._places

    def replace(self, session_id: str, reason: str = "retired") -> None:
        """Take *session_id*, which is retired, out of the turn; an anonymous one gets a successor."""
        slot = self._slots.pop(session_id, None)
        if slot is None:
            return
        if self.named:
            last = len(self._slots)
            moved = self._ids.pop(last)
            if moved != session_id:  # into the gap, so that no pick has to look for a slot that isn't empty
                self._ids[slot], self._slots[moved] = moved, slot
            self._strategy.moved(last, slot)
            place = self._places[session_id]
            self._heirs[place] = (place + 1) % self.size
            self._retired.append(f"{session_id}: {reason}")
            return
        self._set(slot, self._after(session_id))
        self._strategy.renewed(slot)

    def successor(self, session_id: str) -> str | None:
        """Return the id of the session that would replace *session_id*, if that is in use and would be replaced."""
        return f"{self.name}#{self._after(session_id)}" if not self.named and session_id in self._slots else None

    def used(self, session_id: str) -> None:
        """A request of the pool named *session_id* itself."""
        slot = self._slots.get(session_id)
        if slot is not None:
            self._strategy.used(slot)

    def profile_of(self, session_id: str) -> str | None:
        """Return the name of the profile that the pool gives *session_id* at its birth, by its number in the pool."""
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
        return self.accounts[self._heir(slot)] if self.named else self._of_slot(slot)

    def _heir(self, place: int) -> int:
        """Return the place of the account that stands in for the one at *place*: itself, or the next that lives."""
        found = place
        while found in self._heirs:
            found = self._heirs[found]
        while place in self._heirs:  # the next look takes one step
            self._heirs[place], place = found, self._heirs[place]
        return found


def check_profile(name: Any, settings: SessionsSettings) -> str:
    """Return *name* if ``SESSIONS_PROFILES`` declares it, else raise :exc:`UnknownProfile`."""
    if not isinstance(name, str):
        raise UnknownProfile(f"The meta key 'session_profile' must be a string, not {type(name).__name__}")
    if name not in settings.profiles:
        raise UnknownProfile(f"SESSIONS_PROFILES declares no profile {name!r}{nearest(name, settings.profiles)}")
    return name
