"""Run the banning site: ``python -m tests.support.banning_site``. It prints its port, and ends with its input."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from collections import Counter
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

reactor = cast("Any", installed_reactor)


class Banning(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self.reset({})

    def reset(self, rules: dict[str, int]) -> None:
        self.rules = rules
        self.journal: list[list[Any]] = []
        self.pages: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()

    def render(self, request: Request) -> int:
        path = request.path.decode()
        query = {name.decode(): values[0].decode() for name, values in (request.args or {}).items()}
        if path == "/_reset":
            self.reset({name: int(value) for name, value in query.items()})
        if path.startswith("/_"):
            request.write(json.dumps(self.journal if path == "/_journal" else None).encode())
            request.finish()
            return NOT_DONE_YET
        cookie = request.getCookie(b"sid")
        sid = cookie.decode() if cookie else uuid.uuid4().hex
        if cookie is None:
            request.setHeader("Set-Cookie", f"sid={sid}; Path=/")
        self.in_flight[sid] += 1
        request.notifyFinish().addBoth(lambda _: self.in_flight.subtract([sid]))
        entry = [path, sid, time.time(), self.in_flight[sid], 0]
        self.journal.append(entry)
        seconds = int(query.get("ms", self.rules.get("ms", 0))) / 1000
        if self.rules.get("random"):
            seconds *= random.random()
        reactor.callLater(seconds, self.answer, request, entry, query)
        return NOT_DONE_YET

    def answer(self, request: Request, entry: list[Any], query: dict[str, str]) -> None:
        path, sid = entry[:2]
        limit = self.rules.get("limit", 0)
        if "drop" in query:
            request.loseConnection()
            return
        if path.startswith("/closed") or (limit and self.pages[sid] >= limit):
            entry[4] = 403
        else:
            self.pages[sid] += 1
            entry[4] = 302 if "to" in query else int(query.get("status", 200))
            if "to" in query:
                request.setHeader("Location", query["to"])
        request.setResponseCode(entry[4])
        request.write(b"a page")
        request.finish()


def _stop_at_eof() -> None:
    while os.read(0, 4096):
        pass
    reactor.callFromThread(reactor.stop)


def main() -> None:
    port = reactor.listenTCP(0, Site(Banning()), interface="127.0.0.1")
    reactor.callWhenRunning(lambda: print(port.getHost().port, flush=True))
    threading.Thread(target=_stop_at_eof, daemon=True).start()
    reactor.run()


if __name__ == "__main__":
    main()
