"""The first part of the site: pages of every kind, and the controls that a test steers it with.

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
``/browser/…``        needs a browser: see :mod:`tests.support.site.scripts`
``/robots.txt``       allows everything, unless set with ``POST /_robots`` (in the other parts, too)
====================  ==================================================================================================

Controls beside those of every part: ``GET /_violations``, ``GET /_visitors``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from html import escape
from typing import Any
from urllib.parse import urlencode

from twisted.web.http import Request

from tests.support.site.parts import DROP, Part, Reply, argument, as_json
from tests.support.site.records import Visitors, cookie_pairs, header
from tests.support.site.scripts import ScriptPages

__all__ = ["Pages"]


def _html(title: str, content: str) -> bytes:
    return f"<!doctype html><title>{escape(title)}</title><h1>{escape(title)}</h1>{content}".encode()


class Pages(Part):
    """The pages by first path segment, with all that they remember between requests."""

    def __init__(self) -> None:
        super().__init__()
        self._pages: dict[str, Callable[[Request], Reply]] = {
            "browser": self._script_page,
            "cached": self._cached,
            "chain": self._chain,
            "drop": self._drop,
            "identity": self._identity,
            "login": self._login,
            "page": self._page,
            "secret": self._secret,
            "whoami": self._whoami,
        }

    def reset(self) -> None:
        super().reset()
        self._visitors = Visitors()
        self._failed: Counter[str] = Counter()
        self._logins: dict[str, str] = {}
        self._scripts = ScriptPages()

    def control(self, request: Request) -> Reply:
        match request.method, request.path:
            case b"GET", b"/_violations":
                return as_json(self._visitors.violations())
            case b"GET", b"/_visitors":
                return as_json(self._visitors.content())
        return super().control(request)

    def page(self, request: Request, entry: dict[str, Any]) -> Reply:
        reply = self._pages.get(entry["path"].split("/")[1], self._answer)(request)
        if reply is DROP:
            return reply
        if self._fails(request, entry["path"]):
            if entry["path"] == "/drop":
                return DROP
            return Reply(b"Fails for now", "text/plain", int(argument(request, "fail") or 500), reply.headers)
        targets = (request.args or {}).get(b"to")
        if targets:
            reply.headers.append(("Location", targets[0]))
            reply.status = 302
        status = argument(request, "status")
        if status:
            reply.status = int(status)
        return reply

    def _fails(self, request: Request, path: str) -> bool:
        """Whether this request is one of the first ``times`` under its ``key`` (by default its path)."""
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

    def _script_page(self, request: Request) -> Reply:
        return self._scripts.answer(request)

    def _whoami(self, request: Request) -> Reply:
        cookies = dict(cookie_pairs(request))
        new = "who" not in cookies
        who = f"w-{uuid.uuid4().hex}" if new else cookies["who"]
        reply = as_json(
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
        reply = as_json({"sid": sid})
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
