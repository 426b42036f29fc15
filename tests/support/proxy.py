"""A tiny HTTP proxy that asks for a password and remembers who came through."""

from __future__ import annotations

import base64
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.waiting import HANG

__all__ = ["Passage", "Proxy"]

_ONE_HOP = {"proxy-authorization", "proxy-connection", "connection"}


class Passage(NamedTuple):
    """A request that came: its path, and the ``user:password`` it brought, ``None``: none."""

    path: str
    credentials: str | None


class Proxy:
    """Runs in a thread, as a context manager. Whoever brings other credentials than *credentials* is answered 407."""

    def __init__(self, credentials: str) -> None:
        self.credentials = credentials
        self.passages: list[Passage] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.handle(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        """Its URL, with the credentials."""
        return f"http://{self.credentials}@{self.address}"

    def accepts(self, brought: str | None) -> bool:
        """Whether a request with the credentials *brought* may pass."""
        return brought == self.credentials

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        given = handler.headers.get("Proxy-Authorization")
        brought = None if given is None else base64.b64decode(given.partition(" ")[2]).decode()
        self.passages.append(Passage(url.path, brought))
        if not self.accepts(brought):
            handler.send_response(407)
            handler.send_header("Proxy-Authenticate", 'Basic realm="tests"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        connection = HTTPConnection("127.0.0.1", url.port, timeout=HANG)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _ONE_HOP}
        try:
            connection.request("GET", url._replace(scheme="", netloc="").geturl(), headers=headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        handler.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in {"transfer-encoding", "server", "date"}:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
