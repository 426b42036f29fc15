"""A stand-in for Zyte API on the loopback interface: it fetches nothing, and shows what it was sent."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["FakeZyteAPI", "fake_zyte_api"]


class FakeZyteAPI:
    """The API: ``url`` is its own, ``sent`` lists the JSON of each request.

    A page shows the cookies that came for it. On ``/login/NAME`` the cookie ``user`` is set to NAME.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[dict[str, Any]] = []

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        self.sent.append(query)
        cookies = query.get("experimental", {}).get("requestCookies", [])
        shown = json.dumps({cookie["name"]: cookie["value"] for cookie in cookies})
        answer = {"url": query["url"], "statusCode": 200, "httpResponseBody": b64encode(shown.encode()).decode()}
        parts = urlsplit(query["url"])
        if parts.path.startswith("/login/"):
            user = {"name": "user", "value": parts.path.rpartition("/")[2], "domain": parts.hostname, "path": "/"}
            answer["experimental"] = {"responseCookies": [user]}
        return answer


@contextmanager
def fake_zyte_api() -> Iterator[FakeZyteAPI]:
    """Run the API on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(api.answer(query)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = FakeZyteAPI(f"http://127.0.0.1:{server.server_port}/v1/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
