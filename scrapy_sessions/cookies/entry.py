"""What a jar keeps of a cookie."""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING, Any

from scrapy_sessions.models import Cookie

if TYPE_CHECKING:
    from scrapy_sessions.cookies.parse import SameSite

__all__ = ["Entry", "Identity"]

Identity = tuple[str, str, str, bool, "str | None"]
"""Domain, name, path, host_only, partition key: a cookie with the same five replaces the one before."""


class Entry:
    """A :class:`~scrapy_sessions.models.Cookie` inside its jar, in slots: 150 bytes instead of 1,300.

    Nobody outside of the jar sees one. Its content is never changed, the jar replaces it; only ``used`` and ``seq``
    are the jar's own notes: the ticks of the last use and of the first insertion.
    """

    __slots__ = (
        "created",
        "domain",
        "expires",
        "extra",
        "host_only",
        "http_only",
        "name",
        "partition_key",
        "path",
        "same_site",
        "secure",
        "seq",
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
        self.host_only = host_only
        self.path = intern(path)
        self.expires = expires
        self.secure = secure
        self.http_only = http_only
        self.same_site = same_site
        self.partition_key = partition_key
        self.created = created
        self.updated = updated
        self.extra = extra
        self.seq = self.used = 0

    @classmethod
    def of(cls, cookie: Cookie) -> Entry:
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
            host_only=self.host_only,
            path=self.path,
            expires=self.expires,
            secure=self.secure,
            http_only=self.http_only,
            same_site=self.same_site,
            partition_key=self.partition_key,
            created=self.created,
            updated=self.updated,
            **(self.extra or {}),
        )

    @property
    def identity(self) -> Identity:
        return (self.domain, self.name, self.path, self.host_only, self.partition_key)

    def is_expired(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now

    def says_the_same(self, other: Entry) -> bool:
        """Whether *other*, of the same identity, differs in its times of creation and change at most."""
        return (
            self.value == other.value
            and self.expires == other.expires
            and self.secure == other.secure
            and self.http_only == other.http_only
            and self.same_site == other.same_site
            and self.extra == other.extra
        )
