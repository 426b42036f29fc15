"""What a session sends with a request beside its cookies: headers, a proxy, the name of a browser context."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from scrapy import Request
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.crawl.scrapy_internals import forget_proxy_credentials, normalize_header_name
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.sessions.runtime import SessionRuntime

APPLIED = "_session_applied"
"""The meta key that notes the applied identity, by digests. It exists while the request is on its way: in a copy that a
middleware makes meanwhile, it says what to remove."""

PROXY = "proxy"
CONTEXT = "playwright_context"
_ORIGINS = 64  # identities kept per session; more hosts than that with secret headers are worked out again


class Identity(NamedTuple):
    """The headers of a session, normalised and encoded, and the note of them for the meta."""

    headers: tuple[tuple[bytes, bytes], ...]
    note: dict[str, str]

    def __repr__(self) -> str:
        return f"Identity({', '.join(name.decode('latin-1') for name, _ in self.headers)})"

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str]]) -> Identity:
        encoded = {normalize_header_name(name): value.encode() for name, value in headers}
        return cls(tuple(encoded.items()), {name.decode(): digest(value) for name, value in encoded.items()})


def remove_leftovers(request: Request) -> None:
    """Remove from *request* the identity that was applied to the request it is a copy of."""
    note = request.meta.pop(APPLIED, None)
    if not isinstance(note, dict):
        return
    for name, noted in note.items():
        if name == PROXY:
            proxy = request.meta.get("proxy")
            if isinstance(proxy, str) and digest(without_credentials(proxy).encode()) == noted:
                remove_proxy(request, without_credentials(proxy))
        elif name == CONTEXT:
            if digest(str(request.meta.get(CONTEXT)).encode()) == noted:
                request.meta.pop(CONTEXT, None)
        else:
            value = request.headers.get(name)
            if value is not None and digest(value) == noted:
                del request.headers[name]


def remove_proxy(request: Request, proxy: str) -> None:
    """Remove *proxy* (without credentials) from *request*, and what HttpProxyMiddleware derived from it."""
    current = request.meta.get("proxy")
    if isinstance(current, str) and without_credentials(current) == proxy:
        del request.meta["proxy"]
        forget_proxy_credentials(request)


def identity_of(session: SessionRuntime, request: Request) -> Identity:
    """Return the identity of *session* for the origin of *request*; callers look at ``session.identity`` first."""
    if not session.bound_headers.bound:
        identity = session.identity = _shared_identity(tuple(_headers_for(session, "")))
        return identity
    url = urlparse_cached(request)
    key = (url.scheme, url.netloc)
    known: Identity | None = session.identities.get(key)
    if known is None:
        if len(session.identities) >= _ORIGINS:
            session.identities = {}
        known = Identity.of(_headers_for(session, origin_of(url)))
        session.identities = {**session.identities, key: known}
    return known


def browser_identity_of(session: SessionRuntime) -> Identity:
    """Return the identity for a request to scrapy-playwright: without the headers that are bound to an origin, as it
    sends the headers of a request with all navigations of the page, also to other origins."""
    if session.identity is not None:
        identity: Identity = session.identity
        return identity
    return _shared_identity(tuple(_headers_for(session, "")))


@lru_cache(maxsize=1024)
def _shared_identity(headers: tuple[tuple[str, str], ...]) -> Identity:
    """Return the identity of all sessions that have these *headers*, and none that are bound to an origin."""
    return Identity.of(headers)


def _headers_for(session: SessionRuntime, origin: str) -> Iterator[tuple[str, str]]:
    if session.user_agent:
        yield "User-Agent", session.user_agent
    if session.language:
        yield "Accept-Language", session.language
    yield from session.bound_headers.sent_to(origin)


def without_credentials(proxy: str) -> str:
    """Return host and port of *proxy*."""
    if "//" not in proxy:  # Scrapy takes "host:port", too
        proxy = f"//{proxy}"
    parts = urlsplit(proxy)
    return urlunsplit(("", parts.netloc.rpartition("@")[2], "", "", ""))


def digest(value: bytes) -> str:
    """Return a digest of *value*, which may be a secret."""
    return hashlib.blake2b(value, digest_size=8).hexdigest()
