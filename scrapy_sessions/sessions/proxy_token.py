"""``{token}`` in the proxy of a profile: each session has its own token, always or for ``proxy_lifetime``.

With a lifetime, they are derived from a seed that is stored with the session, and from the time. So all processes and
runs use the same one at the same time, and nothing needs to be merged.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Callable

from scrapy_sessions.models import PROXY_TOKEN, PersistentSession, Profile, ProxyRotation
from scrapy_sessions.safe_repr import safe_repr

__all__ = ["RotatingProxy", "current_proxy", "fits", "new_rotation", "with_token"]

_LENGTH = 8
_CHARACTERS = string.ascii_lowercase + string.digits  # providers of proxies accept these in a user name


def with_token(profile: Profile) -> Profile:
    """Return *profile* with a random token in the URL of its proxy, if that has a place for one."""
    if profile.proxy is None or PROXY_TOKEN not in profile.proxy:
        return profile
    token = "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))
    return profile.model_copy(update={"proxy": profile.proxy.replace(PROXY_TOKEN, token)})


def new_rotation(profile: Profile, now: float) -> ProxyRotation | None:
    """Return what a session of *profile*, created at *now*, stores of its tokens; ``None``: it keeps the first one."""
    if not profile.proxy_lifetime or profile.proxy is None:
        return None
    return {
        "template": profile.proxy,
        "seed": secrets.token_hex(16),
        "lifetime": profile.proxy_lifetime,
        "since": max(now, 0.0),
    }


def fits(proxy: str | None, template: str | None) -> bool:
    """Whether a session with *proxy* may have been created with *template*, that of its profile."""
    if proxy is None or template is None or PROXY_TOKEN not in template:
        return proxy == template
    start = template.index(PROXY_TOKEN)
    return template.replace(PROXY_TOKEN, proxy[start : start + _LENGTH]) == proxy


def current_proxy(record: PersistentSession, now: float) -> str | None:
    """Return the proxy of the session of *record* at *now* (UNIX seconds). That of the record may be an earlier one."""
    rotation = record.proxy_rotation
    if rotation is None or not fits(record.proxy, rotation["template"]):
        return record.proxy
    return RotatingProxy(rotation, lambda: now).current()


class RotatingProxy:
    """The proxy of a session that has a lifetime.

    :param stored: the field ``proxy_rotation`` of its record
    :param clock: returns UNIX seconds
    """

    __slots__ = ("_clock", "_number", "_proxy", "stored")

    def __init__(self, stored: ProxyRotation, clock: Callable[[], float]) -> None:
        self.stored = stored
        self._clock = clock
        self._number = -1
        self._proxy = ""

    def __repr__(self) -> str:
        return safe_repr(self)

    def current(self) -> str:
        """Return the URL of the proxy now."""
        stored = self.stored
        number = int(max(self._clock() - stored["since"], 0.0) // stored["lifetime"])
        if number != self._number:
            self._number = number
            self._proxy = stored["template"].replace(PROXY_TOKEN, _token(stored["seed"], number))
        return self._proxy


def _token(seed: str, number: int) -> str:
    """Return the token number *number* of *seed*: the same in every process, and one that nobody can guess."""
    rest = int.from_bytes(hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=16).digest(), "big")
    token = ""
    for _ in range(_LENGTH):
        rest, digit = divmod(rest, len(_CHARACTERS))
        token += _CHARACTERS[digit]
    return token
