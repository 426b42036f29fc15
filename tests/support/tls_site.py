"""A site over TLS under any name, for what browsers do on secure pages only: its certificate is its own."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["TlsSite", "certificate", "tls_site"]


class TlsSite:
    """What the site saw: the names of the cookies by the URL that they were sent to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, set[str]] = defaultdict(set)


def certificate(folder: Path) -> Path:
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
        def handle(self) -> None:
            with suppress(OSError):  # a browser may connect without TLS, or go away
                super().handle()

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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen = TlsSite(server.server_address[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
