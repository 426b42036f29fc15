"""The pages of the tests' site, and the controls a test steers it with.

====================  ==================================================================================================
``/answer``           a plain page; ``body`` is its text, ``type`` its content type. So are ``/redirect``, ``/fail``
                      (fails once unless ``times`` says more), ``/slow`` and every other path that isn't named here
``/whoami``           JSON: ``headers``, ``cookies``, ``method``, ``host``, ``port``, and ``who``: the session cookie
                      that the first visit was given (``new`` is true there)
``/identity/…``       gives each newcomer the cookie ``sid`` (for ``domain``, else host-only) and remembers the user
                      agent, language, host and ``X-Expect`` it came with; JSON with its ``sid``
``/page/<n>``         HTML that links to the pages 3n+1 to 3n+3 of ``of`` (default 100)
``/chain/<n>``        redirects n times, with ``status``, then to ``then`` or to a page
``/drop``             closes the connection without an answer; the first ``times`` times, if given
``/cached``           cacheable for ``max_age`` seconds (60), ETag made of ``version`` (1), 304 if the client has it
``/login``            a form; posting ``user`` gives the cookie ``auth`` and leads to ``/secret``
``/secret``           names the user; without a known ``auth`` 401, or a redirect to ``/login`` with ``login=redirect``
``/robots.txt``       allows everything, unless set with ``POST /_robots``
====================  ==================================================================================================

Controls: ``GET /_journal``, ``GET /_violations``, ``GET /_visitors``, ``POST /_reset``, ``POST /_robots``.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlencode

from twisted.web.http import Request

from tests.support.site.records import Journal, Visitors, cookie_pairs, header

__all__ = ["DROP", "Pages", "Reply", "argument"]

ALLOW_ALL = b"User-agent: *\nAllow: /\n"


@dataclass
class Reply:
    """An answer before it is shaped. ``headers`` may repeat a name."""

    body: bytes = b""
    type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: list[tuple[str, bytes]] = field(default_factory=list)


DROP = Reply()
"""In place of an answer: close the connection."""


def argument(request: Request, name: str) -> str | None:
    """The first query (or form) parameter *name*, as Latin-1 text; ``None``: not given."""
    values = (request.args or {}).get(name.encode())
    return values[0].decode("latin-1") if values else None


def _html(title: str, content: str) -> bytes:
    return f"<!doctype html><title>{escape(title)}</title><h1>{escape(title)}</h1>{content}".encode()


def _json(content: Any) -> Reply:
    return Reply(json.dumps(content).encode(), "application/json")


class Pages:
    """The pages by first path segment, with all that the site remembers between requests."""

    def __init__(self) -> None:
        self._pages: dict[str, Callable[[Request], Reply]] = {
            "cached": self._cached,
            "chain": self._chain,
            "drop": self._drop,
            "identity": self._identity,
            "login": self._login,
            "page": self._page,
            "secret": self._secret,
            "whoami": self._whoami,
        }
        self.reset()

    def reset(self) -> None:
        self.journal = Journal()
        self._visitors = Visitors()
        self._failed: Counter[str] = Counter()
        self._logins: dict[str, str] = {}
        self._robots = Reply(ALLOW_ALL, "text/plain")

    def control(self, request: Request) -> Reply:
        """Answer a control: one that reads is a GET, one that changes is a POST."""
        match request.method, request.path:
            case b"GET", b"/_journal":
                return _json(self.journal.content())
            case b"GET", b"/_violations":
                return _json(self._visitors.violations())
            case b"GET", b"/_visitors":
                return _json(self._visitors.content())
            case b"POST", b"/_reset":
                self.reset()
                return _json(None)
            case b"POST", b"/_robots":
                body = request.content.read() if request.content else b""
                self._robots = Reply(body, "text/plain", int(argument(request, "status") or 200))
                return _json(None)
        return Reply(_html("No such control", ""), status=404)

    def robots(self) -> Reply:
        return self._robots

    def page(self, request: Request) -> Reply:
        """Answer a page."""
        name = request.path.decode("latin-1").split("/")[1]
        return self._pages.get(name, self._answer)(request)

    def fails(self, request: Request) -> bool:
        """Whether this request is one of the first ``times`` under its ``key`` (by default its path)."""
        path = request.path.decode("latin-1")
        times = int(argument(request, "times") or (1 if path == "/fail" else 0))
        key = argument(request, "key") or path
        if self._failed[key] >= times:
            return False
        self._failed[key] += 1
        return True

    def _answer(self, request: Request) -> Reply:
        body = (request.args or {}).get(b"body")
        content_type = argument(request, "type") or "text/html; charset=utf-8"
        return Reply(body[0] if body else _html(request.path.decode("latin-1"), ""), content_type)

    def _whoami(self, request: Request) -> Reply:
        cookies = dict(cookie_pairs(request))
        new = "who" not in cookies
        who = f"w-{uuid.uuid4().hex}" if new else cookies["who"]
        reply = _json(
            {
                "who": who,
                "new": new,
                "method": request.method.decode("latin-1"),
                "host": header(request, "Host"),
                "port": request.getHost().port,
                "headers": {
                    name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
                    for name, values in request.requestHeaders.getAllRawHeaders()
                },
                "cookies": cookies,
            }
        )
        if new:
            reply.headers.append(("Set-Cookie", f"who={who}; Path=/; HttpOnly".encode()))
        return reply

    def _identity(self, request: Request) -> Reply:
        sid, cookie = self._visitors.arrive(request, argument(request, "X-Expect"), argument(request, "domain"))
        reply = _json({"sid": sid})
        if cookie:
            reply.headers.append(("Set-Cookie", cookie.encode("latin-1")))
        return reply

    def _page(self, request: Request) -> Reply:
        number, of = _number(request), int(argument(request, "of") or 100)
        query = b"?" + request.uri.partition(b"?")[2] if b"?" in request.uri else b""
        links = "".join(
            f'<li><a href="/page/{linked}{escape(query.decode("latin-1"))}">Page {linked}</a></li>'
            for linked in range(3 * number + 1, 3 * number + 4)
            if linked < of
        )
        return Reply(_html(f"Page {number}", f"<ul>{links}</ul>"))

    def _chain(self, request: Request) -> Reply:
        left, then = _number(request), argument(request, "then")
        status = int(argument(request, "status") or 302)
        if left == 0 and then is None:
            return Reply(_html("The end of the chain", ""))
        if left == 0:
            return Reply(b"", status=status, headers=[("Location", str(then).encode("latin-1"))])
        query = urlencode({"status": status, **({} if then is None else {"then": then})})
        return Reply(b"", status=status, headers=[("Location", f"/chain/{left - 1}?{query}".encode())])

    def _drop(self, request: Request) -> Reply:
        return DROP if argument(request, "times") is None else self._answer(request)

    def _cached(self, request: Request) -> Reply:
        etag = f'"{argument(request, "version") or 1}"'
        headers = [
            ("ETag", etag.encode("latin-1")),
            ("Cache-Control", f"max-age={int(argument(request, 'max_age') or 60)}".encode()),
        ]
        if etag in header(request, "If-None-Match").split(", "):
            return Reply(status=304, headers=headers)
        return Reply(_html(f"Version {etag}", ""), headers=headers)

    def _login(self, request: Request) -> Reply:
        user = argument(request, "user")
        if request.method != b"POST" or not user:
            return Reply(_html("Log in", '<form method="post" action="/login"><input name="user"></form>'))
        token = uuid.uuid4().hex
        self._logins[token] = user
        cookie = f"auth={token}; Path=/; HttpOnly".encode()
        return Reply(status=303, headers=[("Location", b"/secret"), ("Set-Cookie", cookie)])

    def _secret(self, request: Request) -> Reply:
        user = self._logins.get(dict(cookie_pairs(request)).get("auth", ""))
        if user:
            return Reply(_html("Secret", f"<p>Hello, {escape(user)}</p>"))
        if argument(request, "login") == "redirect":
            return Reply(status=302, headers=[("Location", b"/login?next=/secret")])
        return Reply(_html("Log in first", ""), status=401, headers=[("WWW-Authenticate", b"Cookie")])


def _number(request: Request) -> int:
    last = request.path.rpartition(b"/")[2]
    return int(last) if last.isdigit() else 0
