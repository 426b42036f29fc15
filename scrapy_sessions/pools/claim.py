"""What a request asks for: a session, a pool, a profile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from scrapy_sessions.exceptions import InvalidSessionId, UnknownPool, UnknownProfile
from scrapy_sessions.models import check_session_id
from scrapy_sessions.settings import DEFAULT_POOL, SessionsSettings, nearest

PICKED = "_session_picked"
"""The meta key that notes which ``session_id`` was put into the meta by us, not by the spider."""

_ALIAS = "_session_alias"
"""The meta key that notes which ``session_id`` came from the meta key ``session``."""

_JAR = "cookiejar:"  # what the ids of sessions begin with that belong to a cookiejar key

REFUSED_BY = "_session_refused_by"
"""The meta key that lists the sessions of its pool to which the page of a request was found closed."""

FLOW = "_session_flow"
"""The meta key of a request that continues a flow: the start time of its session. It is sent in this very session, or
not at all."""

_UNSET = object()
_NONE: frozenset[str] = frozenset()


class Claim(NamedTuple):
    """What a request asks for: a session by its id, any session of a pool, or one that exists in this crawl only.

    :param session_id: ``None``: any of *pool*, or that of *transient*
    :param pool: ``None``: a session of no pool
    :param transient: a ``cookiejar`` key without a lasting text form
    :param before: the session that the request, or the one it is a copy of, was picked for before
    :param key: requests with the same key get the same session of *pool*
    :param avoid: sessions of *pool* that are the last to be picked
    :param untagged: whether the request asks for nothing
    :param picked: whether the pool picked the session, so that another one will do
    """

    session_id: str | None
    pool: str | None
    profile: str | None = None
    transient: Any = None
    before: str | None = None
    key: str | None = None
    avoid: frozenset[str] = frozenset()
    untagged: bool = False
    picked: bool = False

    def anew(self, meta: Mapping[str, Any]) -> Claim:
        """Return what a request with this *meta* asks for if its pool is to pick again.

        A copy of a request that had a session claims that one, so that its key and what it avoids are in *meta* only.
        """
        key = self.key if self.key is not None else _key_of(meta)
        return self._replace(session_id=None, picked=False, key=key, avoid=self.avoid | _avoided(meta))


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
        return Claim(check_session_id(session_id), pool, profile, before=before, picked=FLOW not in meta)
    key = _key_of(meta)
    if pool is not None:
        return Claim(None, pool, profile, before=before, key=key, avoid=_avoided(meta))
    if default_id is not None:
        return Claim(default_id, None, profile, untagged=True)
    if profile is None and key is None:
        return _UNTAGGED
    return Claim(None, DEFAULT_POOL, profile, key=key, untagged=True)


def _key_of(meta: Mapping[str, Any]) -> str | None:
    key = meta.get("session_key")
    if key is not None and not isinstance(key, str | int):
        raise InvalidSessionId(f"The meta key 'session_key' must be a string or int, not {type(key).__name__}")
    return None if key is None else str(key)


def _avoided(meta: Mapping[str, Any]) -> frozenset[str]:
    refused_by = meta.get(REFUSED_BY)
    return frozenset(session_id for session_id, _ in refused_by) if refused_by else _NONE


@lru_cache(maxsize=256)
def _named(session_id: str) -> Claim:
    return Claim(check_session_id(session_id), None)


def take_alias(meta: dict[str, Any]) -> None:
    """Let ``session`` in *meta*, Scrapy's own key where it has sessions, name the session as ``session_id`` does.

    Raises :exc:`~scrapy_sessions.exceptions.InvalidSessionId` if both are given and differ.
    """
    if "session" not in meta:
        return
    given, named = meta["session"], meta.get("session_id", _UNSET)
    if named is _UNSET or named in (meta.get(PICKED, _UNSET), meta.get(_ALIAS, _UNSET)):
        meta["session_id"] = meta[_ALIAS] = given
    elif named != given:
        raise InvalidSessionId(f"The meta keys 'session' and 'session_id' differ: {given!r:.60} and {named!r:.60}")


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


def check_profile(name: Any, settings: SessionsSettings) -> str:
    """Return *name* if ``SESSIONS_PROFILES`` declares it, else raise :exc:`UnknownProfile`."""
    if not isinstance(name, str):
        raise UnknownProfile(f"The meta key 'session_profile' must be a string, not {type(name).__name__}")
    if name not in settings.profiles:
        raise UnknownProfile(f"SESSIONS_PROFILES declares no profile {name!r}{nearest(name, settings.profiles)}")
    return name
