"""A site over TLS that notes how each client greets it: the fingerprint of its ClientHello, and its headers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

from tests.support.tls_site import TlsServer

__all__ = ["GreetedSite", "Greeting", "greeted_site"]

Fingerprint: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]

_SNI, _PADDING, _RESUMED = 0, 21, 41  # they depend on the address and the connection, not on the client


class Greeting(NamedTuple):
    """One request: its path, who came (``s`` of the query), its headers, and the fingerprint of its connection."""

    path: str
    who: str
    headers: dict[str, str]
    fingerprint: Fingerprint


class GreetedSite:
    """What the site saw, oldest first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.greetings: list[Greeting] = []

    def url(self, path: str, who: str, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self.port}{path}?s={who}"


def fingerprint_of(record: bytes) -> Fingerprint:
    """Return the cipher suites of a ClientHello in their order, and its extensions, which Chrome shuffles, sorted."""
    hello = memoryview(record)[5 + 4 + 2 + 32 :]  # record and handshake headers, version, random
    hello = hello[1 + hello[0] :]  # session id
    size = int.from_bytes(hello[:2], "big")
    ciphers = [int.from_bytes(hello[i : i + 2], "big") for i in range(2, 2 + size, 2)]
    hello = hello[2 + size :]
    hello = hello[1 + hello[0] + 2 :]  # compression methods, length of the extensions
    extensions = []
    while hello:
        extensions.append(int.from_bytes(hello[:2], "big"))
        hello = hello[4 + int.from_bytes(hello[2:4], "big") :]
    known = {_SNI, _PADDING, _RESUMED}
    return (
        tuple(each for each in ciphers if not _is_grease(each)),
        tuple(sorted(each for each in extensions if not _is_grease(each) and each not in known)),
    )


def _is_grease(number: int) -> bool:
    """Whether *number* is one of the reserved ones that clients insert at random (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _peek(connection: socket.socket) -> bytes:
    """Return the first TLS record of *connection*, and leave it there for the handshake."""
    size = 5
    while True:
        record = connection.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(record) < size or size > 5:
            return record
        size = 5 + int.from_bytes(record[3:5], "big")


@contextmanager
def greeted_site(folder: Path) -> Iterator[GreetedSite]:
    """Serve until the end of the block: ``/hop`` redirects to ``/end`` of another host, ``/fail`` fails once."""
    failed: set[str] = set()
    fingerprints: dict[int, Fingerprint] = {}  # by file descriptor, which the handshake keeps

    class Server(TlsServer):
        def greet(self, connection: socket.socket) -> None:
            fingerprints[connection.fileno()] = fingerprint_of(_peek(connection))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            (who,) = parse_qs(parts.query)["s"]
            headers = {name.lower(): value for name, value in self.headers.items()}
            fingerprint = fingerprints[self.connection.fileno()]
            seen.greetings.append(Greeting(parts.path, who, headers, fingerprint))
            status = 200
            if parts.path == "/hop":
                status = 302
            elif parts.path == "/fail" and who not in failed:
                failed.add(who)
                status = 503
            self.send_response(status)
            if status == 302:
                self.send_header("Location", seen.url("/end", who, "localhost"))
            self.send_header("Content-Length", "2")
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *arguments: object) -> None:
            pass

    with Server(folder, Handler).running() as port:
        seen = GreetedSite(port)
        yield seen
