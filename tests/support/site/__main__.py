"""Run the site: ``python -m tests.support.site``. It prints its ports as JSON, and ends when its stdin does."""

from __future__ import annotations

import errno
import gzip
import json
import os
import threading
import zlib
from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.error import CannotListenError
from twisted.web.http import NO_BODY_CODES, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tests.support.site.bans import Bans
from tests.support.site.login import Login
from tests.support.site.pages import Pages
from tests.support.site.parts import DROP, Part, Reply, argument
from tests.support.site.records import header

# Twisted's module stands for whichever reactor is installed, which no type says.
reactor = cast("Any", installed_reactor)

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")  # never a public interface
PORT_TRIES = 20


class Root(Resource):
    """Takes every request for *part*: notes it, waits as the part says, shapes its reply by the query, and sends it."""

    isLeaf = True

    def __init__(self, part: Part) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self._part = part
        self._waiting: list[tuple[Request, dict[str, Any]]] = []

    def render(self, request: Request) -> int:
        part = self._part
        if request.path.startswith(b"/_"):
            _send(request, part.control(request))
            return NOT_DONE_YET
        entry = part.journal.add(request)
        part.arrive(request, entry)
        if request.path == b"/robots.txt":
            self._send(request, entry, part.robots)
            return NOT_DONE_YET
        self._waiting.append((request, entry))
        request.notifyFinish().addErrback(lambda _: self._forget(request))
        for each in [each for each in self._waiting if part.may_answer(*each)]:
            self._waiting.remove(each)
            self._after(part.seconds(each[0]), self._answer, *each)
        return NOT_DONE_YET

    def _answer(self, request: Request, entry: dict[str, Any]) -> None:
        reply = self._part.page(request, entry)
        if reply is DROP:
            request.loseConnection()
        elif not reply.held:
            _shape(request, reply)
            self._after(reply.seconds, self._send, request, entry, reply)

    def _send(self, request: Request, entry: dict[str, Any], reply: Reply) -> None:
        entry["status"] = reply.status
        _send(request, reply)

    def _after(self, seconds: float, work: Callable[..., None], request: Request, *rest: Any) -> None:
        if not seconds:
            work(request, *rest)
            return
        call = reactor.callLater(seconds, work, request, *rest)
        # A client that left gets no answer; the call must not outlive it.
        request.notifyFinish().addErrback(lambda _: call.cancel() if call.active() else None)

    def _forget(self, request: Request) -> None:
        self._waiting = [each for each in self._waiting if each[0] is not request]


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
    pages = Pages()
    ports = []
    for part in (pages, pages, Login(), Bans()):
        factory = Site(Root(part))
        factory.displayTracebacks = True
        ports.append(_listen(factory))
    reactor.callWhenRunning(lambda: print(json.dumps(ports), flush=True))
    threading.Thread(target=_stop_at_eof, daemon=True).start()
    reactor.run()


if __name__ == "__main__":
    main()
