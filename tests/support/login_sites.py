"""Sites that the how-to guides log in to: an API with tokens, a bank with one-time codes, a single sign-on."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyotp

__all__ = ["LoginSites", "login_sites"]

PASSWORD = "wonderland"
TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
_FORM = '<form method="post"><input name="user"><input name="password" type="password"></form>'
_CODE = '<form method="post" action="/code"><input name="code" autocomplete="one-time-code"></form>'


class LoginSites:
    """Two hosts: the sites on ``localhost``, and on 127.0.0.1 the form that ``/report/…`` of the other leads to.

    :ivar url: of the sites
    :ivar provider: of the sign-on
    :ivar logins: how often a password was right
    """

    def __init__(self) -> None:
        self.logins = 0
        self._users: dict[str, str] = {}
        self._passed: dict[str, str] = {}
        """Who gave the right password of the bank, by a cookie."""
        sites = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sites.get(self)

            def do_POST(self) -> None:
                sites.post(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        self.url = f"http://localhost:{self.servers[0].server_port}"
        self.provider = f"http://127.0.0.1:{self.servers[1].server_port}"

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        kind, _, number = url.path.strip("/").partition("/")
        cookies = SimpleCookie(handler.headers.get("Cookie", ""))
        user = self._users.get(cookies[kind].value) if kind in cookies else None
        token = handler.headers.get("Authorization", "").removeprefix("Bearer ")
        if kind == "orders":
            known = self._users.get(token)
            self._answer(handler, 200 if known else 401, json.dumps({"order": int(number), "user": known}))
        elif kind == "login":
            self._answer(handler, 200, _FORM)
        elif kind == "enter":
            self._redirect(handler, "/report/1", f"report={parse_qs(url.query)['ticket'][0]}")
        elif kind == "sign-on":
            self._redirect(handler, f"{self.provider}/login?{urlencode({'back': f'{self.url}/enter'})}")
        elif user is None:
            self._redirect(handler, "/sign-on" if kind == "report" else "/login")
        else:
            title = f"Report {number} for {user}" if kind == "report" else f"Statement {number} of {user}"
            self._answer(handler, 200, f"<h1>{title}</h1>")

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        fields = parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
        if url.path == "/code":
            cookie = SimpleCookie(handler.headers["Cookie"])["passed"].value
            if pyotp.TOTP(TOTP).verify(fields["code"][0], valid_window=1):
                self._redirect(handler, "/statements/1", f"statements={self._admit(self._passed.pop(cookie))}")
            else:
                self._answer(handler, 200, _CODE)
            return
        user = fields.get("user", fields.get("username", [""]))[0]
        if fields["password"] != [PASSWORD]:
            self._answer(handler, 403, "")
            return
        self.logins += 1
        if url.path == "/oauth/token":
            token = {"access_token": self._admit(user), "token_type": "Bearer", "expires_in": 3600}
            self._answer(handler, 200, json.dumps(token))
        elif url.query:
            self._redirect(handler, f"{parse_qs(url.query)['back'][0]}?ticket={self._admit(user)}")
        else:
            self._passed[passed := secrets.token_hex()] = user
            self._answer(handler, 200, _CODE, f"passed={passed}")

    def _admit(self, user: str) -> str:
        self._users[token := secrets.token_hex()] = user
        return token

    def _redirect(self, handler: BaseHTTPRequestHandler, to: str, cookie: str = "") -> None:
        self._answer(handler, 302, "", cookie, to=to)

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, body: str, cookie: str = "", *, to: str = ""
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json" if body.startswith("{") else "text/html; charset=utf-8")
        handler.send_header("Content-Length", str(len(body.encode())))
        if cookie:
            handler.send_header("Set-Cookie", f"{cookie}; HttpOnly; Path=/")
        if to:
            handler.send_header("Location", to)
        handler.end_headers()
        handler.wfile.write(body.encode())


@contextmanager
def login_sites() -> Iterator[LoginSites]:
    """Run the sites in threads."""
    sites = LoginSites()
    threads = [threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.05}) for each in sites.servers]
    for thread in threads:
        thread.start()
    try:
        yield sites
    finally:
        for server in sites.servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
