"""The part of the site that bans its visitors. It tells them by the cookie ``sid``, which it gives to whoever has none.

====================  ==================================================================================================
``/closed…``          403 for everyone
every other path      200; 403 once the visitor has had ``limit`` pages (0: for ever)
====================  ==================================================================================================

Of the query, ``ms`` is how long the answer takes, ``status`` its status, ``to`` a redirect, and ``drop=1`` closes the
connection in its place. With ``beside``, the answer waits until the visitor has had that many requests in flight at
once. The rules ``limit``, ``ms`` and ``random`` (1: a random time up to ``ms``) are of the whole part.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import Any

from twisted.web.http import Request

from tests.support.site.parts import DROP, Part, Reply, argument

__all__ = ["Bans"]


class Bans(Part):
    """The banning part."""

    def reset(self) -> None:
        super().reset()
        self.limit = self.ms = self.random = 0
        self._pages: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def arrive(self, request: Request, entry: dict[str, Any]) -> None:
        cookie = request.getCookie(b"sid")
        sid = cookie.decode() if cookie else uuid.uuid4().hex
        in_flight = self._in_flight  # of before a reset, for a request of before
        in_flight[sid] += 1
        request.notifyFinish().addBoth(lambda _: in_flight.subtract([sid]))
        self._most[sid] = max(self._most[sid], in_flight[sid])
        entry.update(sid=sid, new=cookie is None, beside=in_flight[sid])

    def may_answer(self, request: Request, entry: dict[str, Any]) -> bool:
        beside = int(argument(request, "beside") or 0)
        return self._most[entry["sid"]] >= beside and super().may_answer(request, entry)

    def seconds(self, request: Request) -> float:
        seconds = int(argument(request, "ms") or self.ms) / 1000
        return seconds * random.random() if self.random else seconds

    def page(self, request: Request, entry: dict[str, Any]) -> Reply:
        if argument(request, "drop"):
            return DROP
        reply, sid, to = Reply(b"a page"), entry["sid"], argument(request, "to")
        if entry["new"]:
            reply.headers.append(("Set-Cookie", f"sid={sid}; Path=/".encode()))
        if entry["path"].startswith("/closed") or (self.limit and self._pages[sid] >= self.limit):
            reply.status = 403
            return reply
        self._pages[sid] += 1
        reply.status = int(argument(request, "status") or 200)
        if to is not None:
            reply.status = 302
            reply.headers.append(("Location", to.encode()))
        return reply
