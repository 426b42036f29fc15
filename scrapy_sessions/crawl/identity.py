"""What a session sends with a request beside its cookies: headers, meta keys, a proxy, and its browser context."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from scrapy import Request
from scrapy.http import Headers
from scrapy.utils.httpobj import urlparse_cached

from scrapy_sessions.crawl.scrapy_internals import (
    forget_proxy_credentials,
    is_default_proxy,
    normalize_header_name,
    setdefault_header,
)
from scrapy_sessions.sessions.headers import origin_of
from scrapy_sessions.sessions.json_data import copy_json
from scrapy_sessions.sessions.runtime import SessionRuntime

APPLIED = "_session_applied"
"""The meta key that notes the applied identity, by digests. It exists while the request is on its way: in a copy that a
middleware makes meanwhile, it says what to remove."""

PROXY = "proxy"
CONTEXT = "playwright_context"
_META = "meta "  # before the name of a meta key in the note: no name of a header contains a space
_ORIGINS = 64  # identities kept per session; more hosts than that with secret headers are worked out again


class Identity(NamedTuple):
    """The headers of a session, normalised and encoded, its meta keys, and the note of both for the meta."""

    headers: tuple[tuple[bytes, bytes], ...]
    meta: tuple[tuple[str, Any], ...]
    note: dict[str, str]

    def __repr__(self) -> str:
        return (
            f"Identity({', '.join([name.decode('latin-1') for name, _ in self.headers] + [k for k, _ in self.meta])})"
        )

    @classmethod
    def of(cls, headers: Iterable[tuple[str, str]], meta: Mapping[str, Any]) -> Identity:
        encoded = {normalize_header_name(name): value.encode() for name, value in headers}
        note = {name.decode(): digest(value) for name, value in encoded.items()}
        note.update({_META + key: _digest_of_json(value) for key, value in meta.items()})
        return cls(tuple(encoded.items()), tuple(meta.items()), note)

    def apply_headers(self, headers: Headers) -> tuple[tuple[bytes, bytes], ...]:
        """Set the session's headers, unless the request sets them itself, and return those that were set."""
        applied = self.headers
        for header in self.headers:
            key, value = header
            values = [value]
            if setdefault_header(headers, key, values) is not values:
                applied = tuple([each for each in applied if each is not header])
        return applied

    def apply_meta(self, meta: dict[str, Any]) -> list[str]:
        """Set the session's keys in *meta*, unless the request has one of its own, and return those that were set."""
        applied = [key for key, _ in self.meta if key not in meta]
        for key, value in self.meta:
            if key in applied:
                # A middleware may change a dict in place.
                meta[key] = copy_json(value) if isinstance(value, dict | list) else value
        return applied

    def note_of(self, headers: Iterable[bytes], meta: Iterable[str]) -> dict[str, str]:
        """Return the part of the note about *headers* and the keys *meta*."""
        names = [*(name.decode() for name in headers), *(_META + key for key in meta)]
        return {name: self.note[name] for name in names}


def apply_proxy(meta: dict[str, Any], proxy: str) -> bool:
    """Set *proxy* in *meta*, unless the request has a proxy of its own, and return whether it was set."""
    if "proxy" in meta and not is_default_proxy(meta):  # a proxy from the environment is only a default
        return False
    meta["proxy"] = proxy
    return True


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
        elif name.startswith(_META):
            _remove_meta(request.meta, name.removeprefix(_META), noted)
        else:
            value = request.headers.get(name)
            if value is not None and digest(value) == noted:
                del request.headers[name]


def _remove_meta(meta: dict[str, Any], key: str, noted: str) -> None:
    value = meta.get(key)
    # A dict or list may have been changed in place, and still contain what is the session's.
    if isinstance(value, dict | list) or _digest_of_json(value) == noted:
        meta.pop(key, None)


def remove_proxy(request: Request, proxy: str) -> None:
    """Remove *proxy* (without credentials) from *request*, and what HttpProxyMiddleware derived from it."""
    current = request.meta.get("proxy")
    if isinstance(current, str) and without_credentials(current) == proxy:
        del request.meta["proxy"]
        forget_proxy_credentials(request)


def identity_of(session: SessionRuntime, request: Request) -> Identity:
    """Return the identity of *session* for the origin of *request*; callers look at ``session.identity`` first."""
    if not session.bound_headers.bound:
        identity = session.identity = _identity_for_all_origins(session)
        return identity
    url = urlparse_cached(request)
    key = (url.scheme, url.netloc)
    known: Identity | None = session.identities.get(key)
    if known is None:
        if len(session.identities) >= _ORIGINS:
            session.identities = {}
        known = Identity.of(_headers_for(session, origin_of(url)), session.meta)
        session.identities = {**session.identities, key: known}
    return known


def unbound_identity_of(session: SessionRuntime) -> Identity:
    """Return the identity of *session* without the headers that are bound to an origin, which may be secret.

    For anonymous requests. And for scrapy-playwright, which sends the headers of a request with all navigations of the
    page, also to other origins: the browser adds those that are bound.
    """
    if session.identity is not None:
        identity: Identity = session.identity
        return identity
    return _identity_for_all_origins(session)


def _identity_for_all_origins(session: SessionRuntime) -> Identity:
    return _shared_identity(tuple(_headers_for(session, "")), json.dumps(session.meta) if session.meta else "{}")


@lru_cache(maxsize=1024)
def _shared_identity(headers: tuple[tuple[str, str], ...], meta: str) -> Identity:
    """Return the identity of all sessions that have these *headers*, none of them bound to an origin, and *meta*."""
    return Identity.of(headers, json.loads(meta))


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


def _digest_of_json(value: object) -> str:
    """Return a digest of *value*; empty for one that isn't JSON."""
    try:
        return digest(json.dumps(value).encode())
    except (TypeError, ValueError, RecursionError):
        return ""
