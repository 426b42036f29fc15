"""A site over TLS under any name, for what browsers do on secure pages only: its certificate is its own."""

from __future__ import annotations

import socket
import ssl
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.waiting import HANG

__all__ = ["TlsServer", "TlsSite", "tls_site"]


class TlsServer(ThreadingHTTPServer):
    """A server on a free port of this machine, with a new certificate in *folder*."""

    daemon_threads = True

    def __init__(self, folder: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(_certificate(folder))

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve in a thread until the end of the block, which gets the port."""
        thread = Thread(target=self.serve_forever)
        thread.start()
        try:
            yield self.server_address[1]
        finally:
            self.shutdown()
            thread.join()
            self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        with suppress(OSError):  # a client may connect without TLS, or close the connection
            request.settimeout(HANG)
            self.greet(request)
            with self._context.wrap_socket(request, server_side=True) as encrypted:
                self.RequestHandlerClass(encrypted, client_address, self)

    def greet(self, connection: socket.socket) -> None:
        """Called before the handshake of each *connection*."""


class TlsSite:
    """What the site saw: the names of the cookies by the URL that they were sent to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, set[str]] = defaultdict(set)


def _certificate(folder: Path) -> Path:
    """Write a new key with its own certificate into *folder*, and return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    built = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    signed = built.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "site.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@contextmanager
def tls_site(folder: Path, pages: dict[str, str]) -> Iterator[TlsSite]:
    """Serve *pages*, HTML by URL without the scheme, until the end of the block. Its key is in *folder*."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"{self.headers['Host'].partition(':')[0]}{self.path}"
            sent = self.headers.get("Cookie") or ""
            seen.cookies[url] |= {pair.partition("=")[0].strip() for pair in sent.split(";") if pair}
            body = pages.get(url, "").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with TlsServer(folder, Handler).running() as port:
        seen = TlsSite(port)
        yield seen
