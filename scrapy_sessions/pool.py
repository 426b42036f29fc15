"""Who gets which session: what a request asks for, and whose turn it is in a pool."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from scrapy_sessions.exceptions import InvalidSessionId, PoolExhausted, UnknownPool, UnknownProfile
from scrapy_sessions.models import check_session_id
from scrapy_sessions.settings import DEFAULT_POOL, PoolOptions, SessionsSettings, nearest

__all__ = ["PICKED", "Claim", "Pool", "check_profile", "cookiejar_id", "is_named", "read_claim"]

PICKED = "_session_picked"
"""The meta key that notes which ``session_id`` was put into the meta by us, not by the spider."""

_JAR = "cookiejar:"  # what the ids of sessions begin with that belong to a cookiejar key

_UNSET = object()


class Claim(NamedTuple):
    """What a request asks for: a session by its id, any session of a pool, or one that lives for this crawl only.

    :param session_id: ``None``: any of *pool*, or that of *transient*
    :param pool: ``None``: the session stands alone
    :param transient: a ``cookiejar`` key without a lasting text form
    :param before: the session that the request, or the one it is a copy of, was picked for before
    """

    session_id: str | None
    pool: str | None
    profile: str | None = None
    transient: Any = None
    before: str | None = None


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
    if pool is not None:
        return Claim(None, pool, profile)
    return Claim(default_id, None if default_id is not None else DEFAULT_POOL, profile)


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
        parts = [cookiejar_id(part) if part is not None else "None" for part in key]
        if all(part is not None for part in parts):
            return _text_id("tuple", repr(parts))
    return None


def _text_id(kind: str, text: str) -> str:
    if not text.isprintable() or len(text) > 200:
        text = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_JAR}{kind}:{text}"


class Pool:
    """A pool: its sessions by id, and whose turn it is. Every method is O(1) but for the first look at a name.

    An anonymous session is ``"shop#3"``: the same number is the same session in every process and run. It is made when
    its turn first comes. One that is retired is replaced by the next number.
    """

    def __init__(self, name: str, options: PoolOptions, settings: SessionsSettings) -> None:
        self.name = name
        self.sticky = settings.sticky if options.sticky is None else options.sticky
        self.idle_timeout = settings.idle_timeout if options.idle_timeout is None else options.idle_timeout
        self.max_age = settings.max_age if options.max_age is None else options.max_age
        self.max_uses = settings.max_uses if options.max_uses is None else options.max_uses
        self._profiles = options.profiles or list(settings.profiles)
        self._named = options.sessions is not None
        self._size = len(options.sessions) if options.sessions is not None else options.size or settings.pool_size
        self._ids: list[str] = list(options.sessions or ())
        self._slots: dict[str, int] = {session_id: slot for slot, session_id in enumerate(self._ids)}
        self._numbers = 0
        self._turn = -1

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

    def pick(self) -> str:
        """Return the id of the session whose turn it is.

        Raises :exc:`~scrapy_sessions.exceptions.PoolExhausted` when all its named sessions are retired.
        """
        if len(self._ids) < self._size and not self._named:
            return self._add()
        if not self._ids:
            raise PoolExhausted(
                f"Every session of the pool {self.name!r} is retired: delete them to begin anew, or add others to "
                f"SESSIONS_POOLS[{self.name!r}]['sessions']"
            )
        self._turn = (self._turn + 1) % len(self._ids)
        return self._ids[self._turn]

    def replace(self, session_id: str) -> None:
        """Take *session_id*, which is retired, out of the turn; an anonymous one gets a successor."""
        slot = self._slots.pop(session_id, None)
        if slot is None:
            return
        if not self._named:
            self._numbers += 1
            self._ids[slot] = self._id(self._numbers)
            self._slots[self._ids[slot]] = slot
            return
        last = self._ids.pop()
        if last != session_id:
            self._ids[slot] = last
            self._slots[last] = slot

    def profile_of(self, session_id: str) -> str | None:
        """Return the name of the profile that the pool gives *session_id* at its birth, by its number in the pool."""
        if not self._profiles:
            return None
        if self._named:
            place = self._slots.get(session_id, 0)
        else:
            number = session_id.rpartition("#")[2]
            place = int(number) - 1 if number.isdecimal() else 0
        return self._profiles[place % len(self._profiles)]

    def _add(self) -> str:
        self._numbers += 1
        session_id = self._id(self._numbers)
        self._slots[session_id] = len(self._ids)
        self._turn = len(self._ids)
        self._ids.append(session_id)
        return session_id

    def _id(self, number: int) -> str:
        return f"{self.name}#{number}"


def check_profile(name: Any, settings: SessionsSettings) -> str:
    """Return *name* if ``SESSIONS_PROFILES`` declares it, else raise :exc:`UnknownProfile`."""
    if not isinstance(name, str):
        raise UnknownProfile(f"The meta key 'session_profile' must be a string, not {type(name).__name__}")
    if name not in settings.profiles:
        raise UnknownProfile(f"SESSIONS_PROFILES declares no profile {name!r}{nearest(name, settings.profiles)}")
    return name
