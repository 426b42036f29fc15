"""Cookies for plug-ins that look for ``CookiesMiddleware.jars``, as scrapy-zyte-api does."""

from __future__ import annotations

import http.cookiejar
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scrapy.http.cookies import CookieJar

from scrapy_sessions.models import Cookie

if TYPE_CHECKING:
    from scrapy_sessions.sessions.registry import SessionRegistry


class SessionJars(Mapping[Any, CookieJar]):
    """The cookies of the sessions in memory, read-only: by session id, and by ``cookiejar`` key as in Scrapy.

    Each jar is a copy: what a plug-in puts into it stays there. As in Scrapy, a key that isn't known has an empty jar;
    ``None`` is such a key, as it names no session.
    """

    def __init__(self, registry: SessionRegistry) -> None:
        self._registry = registry

    def __getitem__(self, key: Any) -> CookieJar:
        jar = CookieJar()
        session = self._registry.in_memory(key)
        if session is not None:
            for cookie in session.jar.dump():
                jar.set_cookie(_standard(cookie))
        return jar

    def __contains__(self, key: object) -> bool:
        return self._registry.in_memory(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry.ids_in_memory())

    def __len__(self) -> int:
        return len(self._registry.ids_in_memory())


def _standard(cookie: Cookie) -> http.cookiejar.Cookie:
    """Return *cookie* as a cookie of the standard library."""
    return http.cookiejar.Cookie(
        version=0,
        name=cookie.name,
        value=cookie.value,
        port=None,
        port_specified=False,
        domain=cookie.domain if cookie.host_only else f".{cookie.domain}",
        domain_specified=not cookie.host_only,
        domain_initial_dot=not cookie.host_only,
        path=cookie.path,
        path_specified=True,
        secure=cookie.secure,
        expires=None if cookie.expires is None else int(cookie.expires),
        discard=cookie.expires is None,
        comment=None,
        comment_url=None,
        rest={
            **({"HttpOnly": ""} if cookie.http_only else {}),
            **({} if cookie.same_site is None else {"SameSite": cookie.same_site}),
        },
    )
