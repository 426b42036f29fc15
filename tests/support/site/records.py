"""What the site remembers: its journal, and who visited under which identity."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.web.http import Request

__all__ = ["Journal", "Visitor", "Visitors", "cookie_pairs", "header"]

JOURNAL_LIMIT = 50_000  # some 50 MB; a test that needs more asks for the wrong thing


def header(request: Request, name: str) -> str:
    """The header *name* as Latin-1 text, several joined by commas; empty if it was not sent."""
    return b", ".join(request.requestHeaders.getRawHeaders(name.encode(), [])).decode("latin-1")


def cookie_pairs(request: Request) -> list[tuple[str, str]]:
    """The cookies that came with *request*, as Latin-1 text, in their order and with repeated names."""
    pairs = []
    for line in request.requestHeaders.getRawHeaders(b"Cookie", []):
        for part in line.decode("latin-1").split(";"):
            name, equals, value = part.strip().partition("=")
            pairs.append((name, value) if equals else ("", name))
    return pairs


class Journal:
    """Every request, bounded: the oldest give way, and how many did is known."""

    def __init__(self) -> None:
        self._arrivals: deque[dict[str, Any]] = deque(maxlen=JOURNAL_LIMIT)
        self._total = 0

    def add(self, request: Request) -> dict[str, Any]:
        """Note that *request* has come, and return its entry, whose ``status`` is set once it is answered."""
        self._total += 1
        entry = {
            "time": time.time(),
            "port": request.getHost().port,
            "host": header(request, "Host"),
            "method": request.method.decode("latin-1"),
            "target": request.uri.decode("latin-1"),
            "path": request.path.decode("latin-1"),
            "headers": {
                name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            "cookie_pairs": cookie_pairs(request),
            "status": 0,
        }
        self._arrivals.append(entry)
        return entry

    def count(self, path: str) -> int:
        """How many requests for paths that begin with *path* have come."""
        return sum(entry["path"].startswith(path) for entry in self._arrivals)

    def content(self) -> dict[str, Any]:
        return {"dropped": self._total - len(self._arrivals), "arrivals": list(self._arrivals)}


@dataclass
class Visitor:
    """The identity a ``sid`` was first seen with. ``domain`` is where its cookie may go, ``host_only`` or not."""

    user_agent: str
    language: str
    host: str
    domain: str
    host_only: bool
    expect: str | None = None
    visits: int = 0

    def belongs_to(self, host: str) -> bool:
        return host == self.domain or (not self.host_only and host.endswith("." + self.domain))


class Visitors:
    """Assigns a ``sid`` to each newcomer and objects to every ``sid`` that comes back as someone else."""

    def __init__(self) -> None:
        self._visitors: dict[str, Visitor] = {}
        self._violations: list[dict[str, str]] = []
        self._issued = 0

    def arrive(self, request: Request, expect: str | None, domain: str | None) -> tuple[str, str | None]:
        """Return the ``sid`` of *request* and, for a newcomer, the ``Set-Cookie`` value that assigns it.

        *expect* is what the client says of itself; *domain* the ``Domain`` of the cookie, ``None`` for a host-only one.
        """
        host = header(request, "Host").partition(":")[0].lower()
        user_agent, language = header(request, "User-Agent"), header(request, "Accept-Language")
        sids = [value for name, value in cookie_pairs(request) if name == "sid"]
        path = request.path.decode("latin-1")
        for other in sids[1:]:
            self._object(sids[0], "several sids", sids[0], other, path)
        if sids:
            sid, cookie = sids[0], None
        else:
            self._issued += 1
            sid = f"v{self._issued}"
            cookie = f"sid={sid}; Path=/; HttpOnly" + (f"; Domain={domain}" if domain else "")
        visitor = self._visitors.get(sid)
        if visitor is None:
            visitor = Visitor(user_agent, language, host, domain or host, host_only=domain is None)
            self._visitors[sid] = visitor
        visitor.visits += 1
        if user_agent != visitor.user_agent:
            self._object(sid, "user agent", visitor.user_agent, user_agent, path)
        if language != visitor.language:
            self._object(sid, "language", visitor.language, language, path)
        if not visitor.belongs_to(host):
            self._object(sid, "host", visitor.domain, host, path)
        if expect is not None:
            if visitor.expect is None:
                visitor.expect = expect
            elif visitor.expect != expect:
                self._object(sid, "expect", visitor.expect, expect, path)
        return sid, cookie

    def _object(self, sid: str, what: str, first: str, now: str, path: str) -> None:
        self._violations.append({"sid": sid, "what": what, "first": first, "now": now, "path": path})

    def violations(self) -> Sequence[dict[str, str]]:
        return self._violations

    def content(self) -> dict[str, dict[str, Any]]:
        shown = ("user_agent", "language", "expect", "host", "visits")
        return {sid: {name: getattr(visitor, name) for name in shown} for sid, visitor in self._visitors.items()}
