"""Cookies that aren't sent because the ``Cookie`` header would be too large: logged once per session and site."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from scrapy_sessions.cookies.header_cache import MAX_HEADER_SIZE
from scrapy_sessions.cookies.hosts import site_of
from scrapy_sessions.sessions.runtime import SessionRuntime

logger = logging.getLogger(__name__)

_SHOWN = 10  # names
_WIDTH = 40  # characters of a name: the site chooses it


class LeftOutCookies:
    """Counts and logs, once per session and site, that cookies are left out of a header."""

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self._count = count
        self._known: WeakKeyDictionary[SessionRuntime, set[str]] = WeakKeyDictionary()

    def report(self, session: SessionRuntime, host: str, names: Sequence[str]) -> None:
        """Report that a header of *session* for *host* was built without the cookies *names*."""
        site = site_of(host)
        known = self._known.setdefault(session, set())
        if site in known:
            return
        known.add(site)
        self._count("cookies/left_out", 1)
        shown = ", ".join(repr(name[:_WIDTH]) for name in names[:_SHOWN])
        logger.warning(
            "The session %r has more than %d KiB of cookies for %s, which most servers refuse: %d of them aren't sent, "
            "those without Secure, of other hosts and set last (%s). Delete cookies that the site doesn't need",
            session.id,
            MAX_HEADER_SIZE // 1024,
            site,
            len(names),
            shown + (", …" if len(names) > _SHOWN else ""),
        )
