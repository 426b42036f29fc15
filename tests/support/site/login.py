"""The part of the site with a login: a shop.

============= ======================================================================================================
``/login``    a form with a token in ``csrf``; posting ``user`` with that token gives the cookie ``auth``, and one that
              no page looks at, ``theme``; answers the statuses of the rule ``refusals`` first, and while ``hanging``
              is set doesn't answer at all; takes ``login_ms`` more. A 429 comes with ``Retry-After``, by the rule
              ``after``. What is posted here or to ``/token`` is redirected to the rule ``moved`` with a 307
``/token``    posting JSON with ``user`` gives JSON with ``token``
``/secret/…`` for holders of the cookie; others meet the rule ``denial``: ``401``, ``403``, ``redirect``,
              ``absolute`` or ``form`` (a page with the form, and status 200). ``forget`` in the query forgets the
              cookie, and so does the rule ``uses``: after so many pages
``/api/…``    for holders of ``Authorization: Bearer <token>``; others meet a 401
others        a page; ``status`` for the first ``times`` requests of its ``key``, with ``after`` for
              ``Retry-After``; ``to`` redirects
============= ======================================================================================================

Controls: ``GET /_users``, ``POST /_admit`` (the user in the body), ``POST /_expire``, ``POST /_forget`` (the journal
alone).
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from typing import Any

from twisted.web.http import Request

from tests.support.site.parts import Part, Reply, argument, as_json
from tests.support.site.records import Journal, cookie_pairs, header

__all__ = ["Login"]

FORM = b'<form method="post" action="/login"><input name="csrf" value="%s"><input name="user"></form>'


class Login(Part):
    """The part with a login."""

    def reset(self) -> None:
        super().reset()
        self.denial = "401"
        self.refusals: list[int] = []
        self.hanging = False
        self.moved = ""
        self.login_ms = self.uses = 0
        self.after = 1
        self._used: Counter[str] = Counter()
        self._users: dict[str, str] = {}
        self._forms: set[str] = set()
        self._answered: Counter[str] = Counter()

    def control(self, request: Request) -> Reply:
        match request.method, request.path:
            case b"GET", b"/_users":
                return as_json(self._users)
            case b"POST", b"/_admit":
                assert request.content is not None
                return as_json(self._admit(request.content.read().decode()))
            case b"POST", b"/_expire":
                self._users.clear()
                return as_json(None)
            case b"POST", b"/_forget":
                self.journal = Journal()
                return as_json(None)
        return super().control(request)

    def page(self, request: Request, entry: dict[str, Any]) -> Reply:
        path, posted = entry["path"], request.method == b"POST"
        if path in {"/login", "/token"} and posted:
            if self.moved:
                return Reply(status=307, headers=[("Location", self.moved.encode())])
            reply = self._token(request) if path == "/token" else self._log_in(request)
            reply.seconds, reply.held = self.login_ms / 1000, self.hanging
            return reply
        if path == "/login":
            return Reply(self._form())
        if path.startswith("/secret"):
            return self._secret(request, path)
        if path.startswith("/api"):
            known = header(request, "Authorization").removeprefix("Bearer ") in self._users
            return Reply(b"{}", status=200 if known else 401)
        return self._page(request, path)

    def _log_in(self, request: Request) -> Reply:
        if self.refusals:
            status = self.refusals.pop(0)
            after = [("Retry-After", str(self.after).encode())] if status == 429 else []
            return Reply(b"Not now", status=status, headers=after)
        csrf = argument(request, "csrf")
        if csrf not in self._forms:
            return Reply(b"Which form?", status=400)
        self._forms.discard(csrf)
        auth = f"auth={self._admit(str(argument(request, 'user')))}; Path=/; HttpOnly".encode()
        cookies = [("Set-Cookie", auth), ("Set-Cookie", b"theme=dark; Path=/")]
        return Reply(status=303, headers=[("Location", b"/secret/home"), *cookies])

    def _token(self, request: Request) -> Reply:
        assert request.content is not None
        request.content.seek(0)
        return as_json({"token": self._admit(json.loads(request.content.read())["user"])})

    def _admit(self, user: str) -> str:
        token = uuid.uuid4().hex
        self._users[token] = user
        return token

    def _form(self) -> bytes:
        csrf = uuid.uuid4().hex
        self._forms.add(csrf)
        return FORM % csrf.encode()

    def _secret(self, request: Request, path: str) -> Reply:
        auth = dict(cookie_pairs(request)).get("auth", "")
        if auth in self._users:
            reply = Reply(f"Hello, {self._users[auth]}".encode(), headers=[("ETag", b'"1"')])
            self._used[auth] += path != "/secret/home"
            if argument(request, "forget") or (self.uses and self._used[auth] == self.uses):
                del self._users[auth]
            return reply
        if self.denial == "form":
            return Reply(self._form())
        if self.denial in {"401", "403"}:
            return Reply(b"Log in", status=int(self.denial))
        target = f"/login?next={path}"
        if self.denial == "absolute":
            target = f"http://{header(request, 'Host')}{target}"
        return Reply(status=302, headers=[("Location", target.encode())])

    def _page(self, request: Request, path: str) -> Reply:
        to, status, after = (argument(request, name) for name in ("to", "status", "after"))
        if to is not None:
            return Reply(status=302, headers=[("Location", to.encode())])
        key = argument(request, "key") or path
        self._answered[key] += 1
        if status is not None and self._answered[key] <= int(argument(request, "times") or 1_000_000):
            return Reply(b"Not today", status=int(status), headers=[("Retry-After", after.encode())] if after else [])
        return Reply(b"A page")
