"""A shop with a login: a small web server in a thread, which the tests hold the strings of."""

from __future__ import annotations

import gzip
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

__all__ = ["FORM", "Arrival", "Shop"]

FORM = b'<form method="post" action="/login"><input name="csrf" value="%s"><input name="user"></form>'


class Arrival(NamedTuple):
    """A request as it came; ``time`` is ``time.monotonic()``."""

    time: float
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    def header(self, name: str) -> str | None:
        return self.headers.get(name.lower())


class Shop:
    """The server, as a context manager.

    ============= ==============================================================================================
    ``/login``    a form with a token in ``csrf``; posting ``user`` with that token gives the cookie ``auth``, and
                  one of no weight, ``theme``; answers the statuses of ``refusals`` first, and while ``hanging``
                  is set doesn't answer at all
    ``/token``    posting JSON with ``user`` gives JSON with ``token``
    ``/secret/…`` for holders of the cookie; others meet ``denial``: ``401``, ``redirect``, ``absolute`` or
                  ``form`` (a page with the form, and status 200). ``forget`` posted or got forgets the cookie
    ``/api/…``    for holders of ``Authorization: Bearer <token>``; others meet a 401
    others        a page; ``status`` for the first ``times`` requests of its ``key``, with ``after`` for
                  ``Retry-After``; ``set`` sets a cookie, ``to`` redirects
    ============= ==============================================================================================

    Every page takes ``ms``, how long to wait before the answer, and before that ``until``: how many logins must have
    been followed to ``/secret/home``. It counts as one of ``arrivals``.
    """

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.users: dict[str, str] = {}
        self.denial = "401"
        self.refusals: list[int] = []
        self.hanging = threading.Event()
        self.robots = ""
        self.login_ms = 0
        self.arrived = threading.Event()
        self._forms: set[str] = set()
        self._answered: Counter[str] = Counter()
        self._given: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.handle(self)

            do_POST = do_GET  # noqa: N815  # the name that http.server looks for

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 64
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def expire(self) -> None:
        """Forget who is logged in."""
        with self._lock:
            self.users.clear()

    def came(self, prefix: str, method: str | None = None) -> list[Arrival]:
        """What came for paths that begin with *prefix*, oldest first."""
        return [a for a in list(self.arrivals) if a.path.startswith(prefix) and method in (None, a.method)]

    @property
    def logins(self) -> int:
        """How often somebody tried to log in."""
        return len(self.came("/login", "POST")) + len(self.came("/token"))

    def answered(self, prefix: str, status: int) -> set[str]:
        """The paths under *prefix* that were answered with *status*."""
        return {path for path, given in list(self._given) if path.startswith(prefix) and given == status}

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = dict(parse_qsl(url.query))
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        cookies = {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
        arrival = Arrival(time.monotonic(), handler.command, url.path, url.query, headers, cookies)
        self.arrivals.append(arrival)
        self.arrived.set()
        while len(self.came("/secret/home")) < int(query.get("until", 0)) and not self._ending.wait(0.01):
            pass
        if "ms" in query:
            self._ending.wait(int(query["ms"]) / 1000)
        with self._lock:
            status, answer, content = self._answer(arrival, query, body)
        if url.path in {"/login", "/token"} and handler.command == "POST":
            self._ending.wait(self.login_ms / 1000)
            while self.hanging.is_set() and not self._ending.wait(0.05):
                pass
        if "gzip" in headers.get("accept-encoding", ""):
            content = gzip.compress(content, 1)
            answer = [*answer, ("Content-Encoding", "gzip")]
        self._given.add((url.path, status))
        handler.send_response(status)
        # HTTP/1.0 without that last word would be kept by Scrapy, which then posts into a connection that is closing.
        always = [("Content-Length", str(len(content))), ("Connection", "close")]
        for name, value in [("Content-Type", "text/html"), *answer, *always]:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(
        self, arrival: Arrival, query: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        path = arrival.path
        if path == "/robots.txt":
            return 200, [], self.robots.encode()
        if path == "/login" and arrival.method == "POST":
            return self._log_in(dict(parse_qsl(body.decode())))
        if path == "/token":
            token = self._admit(json.loads(body)["user"])
            return 200, [], json.dumps({"token": token}).encode()
        if path == "/login":
            return 200, [], self._form()
        if path.startswith("/secret"):
            auth = arrival.cookies.get("auth", "")
            if auth not in self.users:
                return self._deny(path)
            if "forget" in query:
                del self.users[auth]
            return 200, [("ETag", '"1"')], f"Hello, {self.users.get(auth)}".encode()
        if path.startswith("/api"):
            known = (arrival.header("Authorization") or "").removeprefix("Bearer ") in self.users
            return 200 if known else 401, [], b"{}"
        return self._page(path, query)

    def _log_in(self, form: Mapping[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        if self.refusals:
            return self.refusals.pop(0), [], b"Not now"
        if form.get("csrf") not in self._forms:
            return 400, [], b"Which form?"
        self._forms.discard(form["csrf"])
        cookies = [f"auth={self._admit(form['user'])}; Path=/; HttpOnly", "theme=dark; Path=/"]
        return 303, [("Location", "/secret/home"), *(("Set-Cookie", cookie) for cookie in cookies)], b""

    def _admit(self, user: str) -> str:
        token = uuid.uuid4().hex
        self.users[token] = user
        return token

    def _form(self) -> bytes:
        csrf = uuid.uuid4().hex
        self._forms.add(csrf)
        return FORM % csrf.encode()

    def _deny(self, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
        if self.denial == "form":
            return 200, [], self._form()
        if self.denial == "401":
            return 401, [], b"Log in"
        target = f"/login?next={path}"
        return 302, [("Location", self.url(target) if self.denial == "absolute" else target)], b""

    def _page(self, path: str, query: Mapping[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = [("Set-Cookie", query["set"])] if "set" in query else []
        if "to" in query:
            return 302, [*headers, ("Location", query["to"])], b""
        key = query.get("key", path)
        self._answered[key] += 1
        if "status" in query and self._answered[key] <= int(query.get("times", 1_000_000)):
            after = [("Retry-After", query["after"])] if "after" in query else []
            return int(query["status"]), [*headers, *after], b"Not today"
        return 200, headers, b"A page"
