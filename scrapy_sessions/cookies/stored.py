"""What a jar keeps of a cookie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from scrapy_sessions.models import Cookie

if TYPE_CHECKING:
    from scrapy_sessions.cookies.parse import SameSite

__all__ = ["ENCODED_FIELDS", "Identity", "StoredCookie", "encode_entries", "encode_entry", "listed"]

Identity = tuple[str, str, str, bool, "str | None"]
"""Domain, name, path, host_only, partition key: a cookie with the same five replaces the one before."""


class Traits(NamedTuple):
    """What the cookies of a site mostly have in common: cookies that agree in all of it share one."""

    host_only: bool = True
    http_only: bool = False
    secure: bool = False
    same_site: SameSite | None = None
    partition_key: str | None = None


_traits = lru_cache(maxsize=1024)(Traits)


@lru_cache(maxsize=1024)
def _shortened(traits: Traits) -> tuple[object, ...]:
    """Return *traits* without those at the end that have their default."""
    length = len(traits)
    while length and traits[length - 1] == Traits()[length - 1]:
        length -= 1
    return traits[:length]


class StoredCookie:
    """A :class:`~scrapy_sessions.models.Cookie` inside its jar, in slots: 120 bytes instead of 1,300.

    Nobody outside of the jar sees one. Its content is never changed, the jar replaces it. ``used`` and ``seq`` are the
    jar's own notes, the ticks of the last use and of the first insertion; ``next`` is another cookie of its domain and
    name: an index by identity would take as much memory as half of the cookies.
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
    ) -> None:
        # The same few names, domains and paths stand in the jars of thousands of sessions: interned, they are one.
        self.name = intern(name)
        self.value = value
        self.domain = intern(domain)
        self.path = intern(path)
        self.expires = expires
        self.traits = _traits(host_only, http_only, secure, same_site, partition_key)
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
    def host_only(self) -> bool:
        return self.traits.host_only

    @property
    def secure(self) -> bool:
        return self.traits.secure

    @property
    def partition_key(self) -> str | None:
        return self.traits.partition_key

    @property
    def identity(self) -> Identity:
        traits = self.traits
        return (self.domain, self.name, self.path, traits.host_only, traits.partition_key)

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def says_the_same(self, other: StoredCookie) -> bool:
        """Whether *other*, of the same identity, differs in its times of creation and change at most."""
        return (
            self.value == other.value
            and self.expires == other.expires
            and self.traits == other.traits
            and self.extra == other.extra
        )


_OWN_FIELDS = ("name", "value", "domain", "path", "expires", "created", "updated")

ENCODED_FIELDS = (*_OWN_FIELDS, *Traits._fields)
"""What a cookie that is written as a JSON array has in it, in this order; at the end, defaults are left out."""

_own_values = attrgetter(*_OWN_FIELDS)


def encode_entries(entries: Iterable[StoredCookie]) -> bytes:
    """Return *entries* as the inside of a JSON array.

    Each is an array of its :data:`ENCODED_FIELDS`: as objects, they would be half as long again, and take three times
    as long. One with fields that this version doesn't know is an object.
    """
    return b",".join(map(encode_entry, entries))


def encode_entry(entry: StoredCookie) -> bytes:
    """Return *entry* as :func:`encode_entries` writes it."""
    if entry.extra is not None:
        return to_json(entry.cookie().model_dump())
    return to_json(_own_values(entry) + _shortened(entry.traits))


def listed(by_name: Mapping[str, StoredCookie]) -> Iterator[StoredCookie]:
    """Yield the cookies of one domain: those of *by_name*, and those that each leads to."""
    for first in by_name.values():
        entry: StoredCookie | None = first
        while entry is not None:
            yield entry
            entry = entry.next
