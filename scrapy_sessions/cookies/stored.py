"""A cookie in its jar, and its encoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple

from pydantic_core import to_json

from scrapy_sessions.cookies.parse import SameSite
from scrapy_sessions.models import Cookie

Identity = tuple[str, str, str, bool, "str | None", bool]
"""Domain, name, path, host_only, partition key, cross-site ancestor: cookies with the same six replace each other."""


class Traits(NamedTuple):
    """The flags of a cookie. Most cookies of a site have the same ones, so that equal ones are one object."""

    host_only: bool = True
    http_only: bool = False
    secure: bool = False
    same_site: SameSite | None = None
    partition_key: str | None = None
    cross_site_ancestor: bool = False


_traits = lru_cache(maxsize=1024)(Traits)


@lru_cache(maxsize=1024)
def _shortened(traits: Traits) -> tuple[object, ...]:
    """Return *traits* without trailing default values."""
    length = len(traits)
    while length and traits[length - 1] == Traits()[length - 1]:
        length -= 1
    return traits[:length]


class StoredCookie:
    """A :class:`~scrapy_sessions.models.Cookie` inside its jar, in slots: 120 bytes instead of 1,300.

    Its content never changes, the jar replaces it. The jar sets ``used`` and ``seq``, the ticks of the last use and of
    the first insertion, and ``next``, another cookie of the same domain and name: an index by identity would take half
    as much memory as the cookies themselves.
    """

    __slots__ = (
        "created",
        "domain",
        "expires",
        "extra",
        "name",
        "next",
        "path",
        "seq",
        "traits",
        "updated",
        "used",
        "value",
    )

    def __init__(
        self,
        name: str,
        value: str,
        domain: str,
        host_only: bool,
        path: str,
        expires: float | None,
        secure: bool,
        http_only: bool,
        same_site: SameSite | None,
        partition_key: str | None,
        created: float,
        updated: float,
        extra: dict[str, Any] | None = None,
        cross_site_ancestor: bool = False,
    ) -> None:
        # Thousands of sessions contain the same few names, domains and paths: interned, each is stored once.
        self.name = intern(name)
        self.value = value
        self.domain = intern(domain)
        self.path = intern(path)
        self.expires = expires
        self.traits = _traits(host_only, http_only, secure, same_site, partition_key, cross_site_ancestor)
        self.created = created
        self.updated = updated
        self.extra = extra
        self.seq = self.used = 0
        self.next: StoredCookie | None = None

    @classmethod
    def of(cls, cookie: Cookie) -> StoredCookie:
        return cls(
            cookie.name,
            cookie.value,
            cookie.domain,
            cookie.host_only,
            cookie.path,
            cookie.expires,
            cookie.secure,
            cookie.http_only,
            cookie.same_site,
            cookie.partition_key,
            cookie.created,
            cookie.updated,
            cookie.model_extra or None,
            cookie.cross_site_ancestor,
        )

    def cookie(self) -> Cookie:
        return Cookie(
            name=self.name,
            value=self.value,
            domain=self.domain,
            path=self.path,
            expires=self.expires,
            created=self.created,
            updated=self.updated,
            **self.traits._asdict(),
            **(self.extra or {}),
        )

    @property
    def secure(self) -> bool:
        return self.traits.secure

    @property
    def identity(self) -> Identity:
        host_only, _, _, _, partition_key, cross_site_ancestor = self.traits
        return self.domain, self.name, self.path, host_only, partition_key, cross_site_ancestor

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def same_content(self, other: StoredCookie) -> bool:
        """Whether *other*, which has the same identity, differs at most in ``created`` and ``updated``."""
        return (
            self.value == other.value
            and self.expires == other.expires
            and self.traits == other.traits
            and self.extra == other.extra
        )


_OWN_FIELDS = ("name", "value", "domain", "path", "expires", "created", "updated")

ENCODED_FIELDS = (*_OWN_FIELDS, *Traits._fields)
"""The fields of a cookie that is encoded as a JSON array, in this order; trailing defaults are left out."""

_own_values = attrgetter(*_OWN_FIELDS)


def encode_cookies(entries: Iterable[StoredCookie]) -> bytes:
    """Return *entries* as the content of a JSON array, without its brackets.

    Each is an array of its :data:`ENCODED_FIELDS`: objects would need 1.5 times the space and 3 times the time. A
    cookie with fields that are unknown to this version is an object.
    """
    return b",".join(map(encode_cookie, entries))


def encode_cookie(entry: StoredCookie) -> bytes:
    """Return *entry* as :func:`encode_cookies` writes it."""
    if entry.extra is not None:
        return to_json(entry.cookie().model_dump())
    return to_json(_own_values(entry) + _shortened(entry.traits))


def iter_linked(by_name: Mapping[str, StoredCookie]) -> Iterator[StoredCookie]:
    """Yield the cookies of one domain: those in *by_name*, and those linked from them by ``next``."""
    for first in by_name.values():
        entry: StoredCookie | None = first
        while entry is not None:
            yield entry
            entry = entry.next
