"""Run the shop: ``python -m shop_site [--port N] [--seconds S] [--scripted] [--stop-at-eof]``."""

from __future__ import annotations

import argparse
import hmac
import json
import os
import threading
import time
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from shop_site.goods import negotiate
from shop_site.pace import Log, Pace
from shop_site.pages import Query, find, out_of_date, shut_out
from shop_site.visits import Visits

# Twisted's module stands for whichever reactor is installed, which no type says.
reactor = cast("Any", installed_reactor)

# /logout is a plain link, as on many sites: a spider that followed every link would end its own session there.
ROBOTS = "User-agent: *\nDisallow: /logout\nDisallow: /stats\nDisallow: /uses\nDisallow: /admin/\n"


class Shop(Resource):
    """Turns requests into queries of a visit, and pages into responses."""

    isLeaf = True

    def __init__(self, seconds: float, *, scripted: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has no type for it
        self._visits = Visits(scripted=scripted)
        self._pace = Pace(seconds, reactor.callLater)
        self._log = Log()

    def render(self, request: Request) -> bytes | int:
        path = request.path.decode("latin-1")
        if path in {"/stats", "/uses"}:
            request.setHeader("Content-Type", "application/json")
            return json.dumps(self._visits.stats.as_dict() if path == "/stats" else self._log.entries).encode()
        if path.startswith("/admin/"):
            return self._administrate(request, path)
        self._visits.stats.requests += 1
        if path == "/robots.txt":
            request.setHeader("Content-Type", "text/plain")
            return ROBOTS.encode()
        return self._page(request, path)

    def _administrate(self, request: Request, path: str) -> bytes:
        """What a demo does to its shop: ``POST /admin/expire?user=alice&after=3``, ``POST /admin/ban?after=30``,
        ``POST /admin/hold?after=30``."""
        arguments = {name.decode(): values[0].decode() for name, values in (request.args or {}).items()}
        after = int(arguments.get("after", "0"))
        if request.method == b"POST" and path == "/admin/expire" and "user" in arguments:
            self._visits.expire(arguments["user"], after)
        elif request.method == b"POST" and path == "/admin/ban":
            self._visits.ban(after)
        elif request.method == b"POST" and path == "/admin/hold":
            self._pace.hold(after)
        else:
            request.setResponseCode(404)
        return b""

    def _page(self, request: Request, path: str) -> bytes | int:
        came = time.time()
        cookie = request.getCookie(b"sid")
        visit, new = self._visits.arrive(cookie.decode("latin-1") if cookie else None, _header(request, "User-Agent"))
        sid = None if new else visit.sid
        self._visits.count_down(visit)
        method = "GET" if request.method == b"HEAD" else request.method.decode("latin-1")
        view, number = find(method, path)
        query = Query(
            method=method,
            path=request.uri.decode("latin-1"),
            number=number,
            parameters={
                name.decode(errors="replace"): values[0].decode(errors="replace")
                for name, values in (request.args or {}).items()
            },
            language=negotiate(_header(request, "Accept-Language")),
        )
        token = query.parameters.get("csrf", "")
        if method == "POST" and not hmac.compare_digest(token.encode(), visit.csrf.encode()):
            view = out_of_date
        if self._visits.is_banned(visit):
            view = shut_out
        page = view(self._visits, visit, query)
        request.setResponseCode(page.status)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        request.setHeader("Content-Language", query.language)
        request.setHeader("Vary", "Accept-Language, Cookie")
        request.setHeader("Cache-Control", "private, no-cache")
        if page.location:
            request.setHeader("Location", page.location)
        if page.ended:
            request.setHeader("Set-Cookie", "sid=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
        elif visit.sid != sid:
            # No expiry: a browser forgets it when it closes, and so does a plain spider.
            request.setHeader("Set-Cookie", f"sid={visit.sid}; Path=/; HttpOnly; SameSite=Lax")
        entry = self._log.add(came, _header(request, "X-Worker"), visit.user, path)
        if page.status == 200 and path.startswith("/prices/"):
            self._pace.answer(request, page.html.encode(), entry)
            return NOT_DONE_YET
        entry["answered"] = time.time()
        return page.html.encode()


def _header(request: Request, name: str) -> str:
    value = request.getHeader(name)
    return value if isinstance(value, str) else ""


def _stop_at_eof() -> None:
    while os.read(0, 4096):
        pass
    reactor.callFromThread(reactor.stop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m shop_site", description="A small shop to crawl, on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--seconds", type=float, default=0.0, help="that a price list takes; default: 0")
    parser.add_argument("--scripted", action="store_true", help="the login needs a browser that runs its script")
    parser.add_argument(
        "--stop-at-eof",
        action="store_true",
        help="stop when standard input ends, hence with the process that started the shop",
    )
    arguments = parser.parse_args()
    port = reactor.listenTCP(
        arguments.port, Site(Shop(arguments.seconds, scripted=arguments.scripted)), interface="127.0.0.1"
    )
    url = f"http://127.0.0.1:{port.getHost().port}"
    reactor.callWhenRunning(lambda: print(url, flush=True))
    if arguments.stop_at_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()
    reactor.run()


if __name__ == "__main__":
    main()
