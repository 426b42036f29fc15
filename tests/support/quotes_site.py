"""A site like ``http://quotes.toscrape.com``, reached by its real name through ``http_proxy``."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["QuotesSite", "quotes_site"]

_FORM = """<form action="/login" method="post" accept-charset="utf-8">
<input type="hidden" name="csrf_token" value="{token}"/>
<label for="username">Username</label><input type="text" id="username" name="username"/>
<label for="password">Password</label><input type="password" id="password" name="password"/>
<input type="submit" value="Login"/></form>"""

_QUOTES = """<div class="quote"><span class="text">“A quote.”</span>
<span>by <small class="author">Somebody</small>{more}</span></div>"""


class QuotesSite:
    """Ten quotes for everybody; for who is logged in, each has a second link. Any password is right.

    :ivar url: of the proxy behind which it is
    :ivar logins: how often somebody logged in
    """

    def __init__(self) -> None:
        self.logins = 0
        self._users: dict[str, str] = {}
        self._tokens: set[str] = set()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.get(self)

            def do_POST(self) -> None:
                site.post(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        if url.hostname != "quotes.toscrape.com" or url.path not in {"/", "/login"}:
            self._answer(handler, 404, "")
        elif url.path == "/login":
            self._tokens.add(token := secrets.token_hex())
            self._answer(handler, 200, _FORM.format(token=token))
        else:
            cookie = SimpleCookie(handler.headers.get("Cookie", "")).get("session")
            known = cookie is not None and cookie.value in self._users
            more = ' - <a href="http://goodreads.com/author/show/1">(Goodreads page)</a>' if known else ""
            link = '<a href="/logout">Logout</a>' if known else '<a href="/login">Login</a>'
            self._answer(handler, 200, f"<p>{link}</p>{_QUOTES.format(more=more) * 10}")

    def post(self, handler: BaseHTTPRequestHandler) -> None:
        fields = parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
        if fields.get("csrf_token", [""])[0] not in self._tokens or not {"username", "password"} <= set(fields):
            self._answer(handler, 200, _FORM.format(token=""))
            return
        self.logins += 1
        self._users[session := secrets.token_hex()] = fields["username"][0]
        self._answer(handler, 302, "", ("Location", "/"), ("Set-Cookie", f"session={session}; HttpOnly; Path=/"))

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, body: str, *headers: tuple[str, str]) -> None:
        encoded = f"<!DOCTYPE html><html><body>{body}</body></html>".encode()
        handler.send_response(status)
        for name, value in (("Content-Type", "text/html; charset=utf-8"), *headers):
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(encoded)))
        handler.end_headers()
        handler.wfile.write(encoded)


@contextmanager
def quotes_site() -> Iterator[QuotesSite]:
    """Run the site in a thread."""
    site = QuotesSite()
    thread = threading.Thread(target=site.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        thread.join()
        site.server.server_close()
