"""Run the site: ``python -m tests.support.site``. It prints its two ports as JSON, and ends when its stdin does."""

from __future__ import annotations

import errno
import gzip
import json
import os
import threading
import zlib
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.error import CannotListenError
from twisted.web.http import NO_BODY_CODES, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.support.site.pages import DROP, Pages, Reply, argument
from tests.support.site.records import header

# Twisted's module stands for whichever reactor is installed, which no type says.
reactor = cast("Any", installed_reactor)

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")  # never a public interface
PORT_TRIES = 20


class Root(Resource):
    """Takes every request: notes it, asks the page for its reply, shapes that by the query, and sends it."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self._pages = Pages()

    def render(self, request: Request) -> int:
        pages = self._pages
        if request.path.startswith(b"/_"):
            _send(request, pages.control(request))
            return NOT_DONE_YET
        pages.journal.add(request)
        if request.path == b"/robots.txt":
            _send(request, pages.robots())
            return NOT_DONE_YET
        reply = pages.page(request)
        if pages.fails(request) and reply is not DROP:
            status = int(argument(request, "fail") or 500)
            drops = request.path == b"/drop"
            reply = DROP if drops else Reply(b"Fails for now", "text/plain", status, reply.headers)
        elif reply is not DROP:
            _redirect(request, reply)
        if reply is DROP:
            request.loseConnection()
            return NOT_DONE_YET
        _shape(request, reply)
        delay = int(argument(request, "ms") or 0) / 1000
        if delay:
            call = reactor.callLater(delay, _send, request, reply)
            # A client that left gets no answer; the call must not outlive it.
            request.notifyFinish().addErrback(lambda _: call.cancel() if call.active() else None)
        else:
            _send(request, reply)
        return NOT_DONE_YET


def _redirect(request: Request, reply: Reply) -> None:
    targets = (request.args or {}).get(b"to")
    if targets:
        reply.headers.append(("Location", targets[0]))
        reply.status = 302
    status = argument(request, "status")
    if status:
        reply.status = int(status)


def _shape(request: Request, reply: Reply) -> None:
    arguments = request.args or {}
    reply.headers += [("Set-Cookie", value) for value in arguments.get(b"set", ())]
    for line in arguments.get(b"header", ()):
        name, _, value = line.partition(b":")
        reply.headers.append((name.decode("latin-1"), value.strip()))
    if reply.status in NO_BODY_CODES:
        reply.body = b""
        return
    encoding = argument(request, "encoding")
    if encoding is None:
        encoding = "gzip" if "gzip" in header(request, "Accept-Encoding") else "identity"
        reply.headers.append(("Vary", b"Accept-Encoding"))
    if encoding == "gzip":
        reply.body = gzip.compress(reply.body, 1)
    elif encoding == "deflate":
        reply.body = zlib.compress(reply.body, 1)
    if encoding != "identity":
        reply.headers.append(("Content-Encoding", encoding.encode("latin-1")))


def _send(request: Request, reply: Reply) -> None:
    request.setResponseCode(reply.status)
    if reply.status not in NO_BODY_CODES:
        request.setHeader("Content-Type", reply.type)
        request.setHeader("Content-Length", str(len(reply.body)))
    for name, value in reply.headers:
        request.responseHeaders.addRawHeader(name.encode("latin-1"), value)
    request.write(reply.body)
    request.finish()


def _listen(factory: Site) -> int:
    """Listen on one free port, the same on every address, and return it."""
    for _ in range(PORT_TRIES):
        first = reactor.listenTCP(0, factory, interface=ADDRESSES[0])
        number: int = first.getHost().port
        try:
            for address in ADDRESSES[1:]:
                reactor.listenTCP(number, factory, interface=address)
        except CannotListenError as error:
            if error.socketError.errno == errno.EADDRINUSE:  # another process has it there
                first.stopListening()
                continue
            if error.socketError.errno != errno.EADDRNOTAVAIL:  # macOS has 127.0.0.1 only
                raise
        return number
    raise RuntimeError(f"No port is free on all of {', '.join(ADDRESSES)}")


def _stop_at_eof() -> None:
    while os.read(0, 4096):
        pass
    reactor.callFromThread(reactor.stop)


def main() -> None:
    factory = Site(Root())
    factory.displayTracebacks = True
    ports = [_listen(factory), _listen(factory)]
    reactor.callWhenRunning(lambda: print(json.dumps(ports), flush=True))
    threading.Thread(target=_stop_at_eof, daemon=True).start()
    reactor.run()


if __name__ == "__main__":
    main()
