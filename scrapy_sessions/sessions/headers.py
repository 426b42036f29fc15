"""The secret headers of a session, each bound to one origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from urllib.parse import ParseResult, SplitResult, urlsplit

from scrapy_sessions.cookies.hosts import canonical_host
from scrapy_sessions.models import EVERYWHERE, check_header, check_no_message_header

__all__ = ["SessionHeaders", "origin_of"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NONE: Mapping[str, dict[str, str]] = MappingProxyType({})  # one for all sessions without a header


def origin_of(url: str | SplitResult | ParseResult) -> str:
    """Return the origin of *url* (RFC 6454): ``"https://shop.example"``, ``"http://shop.example:8080"``.

    Raises :exc:`ValueError` for a URL without a scheme or host.
    """
    parts = urlsplit(url) if isinstance(url, str) else url
    host = parts.hostname
    if not parts.scheme or not host:
        raise ValueError("an origin needs a scheme and a host, as in 'https://shop.example'")
    host = canonical_host(host) or host  # IDNA, as in the URLs of requests
    if ":" in host:  # IPv6
        host = f"[{host}]"
    port = parts.port
    if port is None or port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"


class SessionHeaders:
    """Headers that a session sends to one origin only (scheme, host and port), such as an API token.

    .. code-block:: python

        session.headers.set("Authorization", f"Bearer {token}", url="https://api.shop.example")
    """

    __slots__ = ("_by_origin",)

    def __init__(self, by_origin: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._by_origin: Mapping[str, dict[str, str]] = _NONE
        self.restore(by_origin or {})

    def set(self, name: str, value: str, *, url: str) -> None:
        """Send *name* with *value* to the origin of *url* from now on.

        Raises :exc:`ValueError` for a bad one, and for one that each request sets itself, such as ``Host``.
        """
        check_header(name, value)
        check_no_message_header(name)
        origin = origin_of(url)
        headers = self._by_origin.get(origin, {})
        self._drop(headers, name)
        headers[name] = value
        self._by_origin = {**self._by_origin, origin: headers}
        self._changed()

    def get(self, name: str, *, url: str) -> str | None:
        """Return what *name* is set to for the origin of *url*, ``None`` if it isn't."""
        headers = self._by_origin.get(origin_of(url), {})
        return next((value for key, value in headers.items() if key.lower() == name.lower()), None)

    def delete(self, name: str, *, url: str | None = None) -> int:
        """Stop sending *name* to the origin of *url*, or to any origin. Returns how many were deleted."""
        origins = [origin_of(url)] if url is not None else self.origins()
        deleted = sum(self._drop(self._by_origin.get(origin, {}), name) for origin in origins)
        if deleted:
            self._changed()
        return deleted

    @property
    def bound(self) -> bool:
        """Whether any header is bound to an origin."""
        return len(self._by_origin) > (EVERYWHERE in self._by_origin)

    def origins(self) -> list[str]:
        """Return the origins that headers are set for."""
        return [origin for origin, headers in self._by_origin.items() if origin != EVERYWHERE and headers]

    def sent_to(self, origin: str) -> Iterator[tuple[str, str]]:
        """Yield the headers that go to *origin*: the profile's, and those bound to it."""
        bound = self._by_origin.get(origin, {})
        names = {name.lower() for name in bound}
        for name, value in self._by_origin.get(EVERYWHERE, {}).items():
            if name.lower() not in names:
                yield name, value
        yield from bound.items()

    def bound_to(self, origin: str) -> Mapping[str, str]:
        """Return the headers that are bound to *origin*, without the profile's. Not to be changed."""
        return self._by_origin.get(origin, {})

    def dump(self) -> dict[str, dict[str, str]]:
        """Return all of them by origin, in a copy: the field ``headers`` of the record."""
        return {origin: dict(headers) for origin, headers in self._by_origin.items() if headers}

    def restore(self, by_origin: Mapping[str, Mapping[str, str]]) -> None:
        """Take the field ``headers`` of a record in place of what is there."""
        self._by_origin = {origin: dict(headers) for origin, headers in by_origin.items()} or _NONE

    def __repr__(self) -> str:
        return f"<SessionHeaders for {len(self.origins())} origins>"

    def _changed(self) -> None:
        """Called after each change."""

    @staticmethod
    def _drop(headers: dict[str, str], name: str) -> int:
        same = [key for key in headers if key.lower() == name.lower()]
        for key in same:
            del headers[key]
        return len(same)
