"""scrapy-splash: a page that Splash renders is that of the session, if its cookies are passed as the docs say.

scrapy-splash 0.11 doesn't import on Scrapy 2.19, so the env ``min`` runs this. The package is the real one; the Splash
server is a stand-in that fetches the page with the cookies of the arguments, as ``splash:init_cookies()`` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from scrapy.http import Response

from tests.support.login_configs import LogsIn
from tests.support.shop import Shop, buy, pages, spider_of
from tests.support.spiders.buyer import Buyer

scrapy_splash = pytest.importorskip("scrapy_splash", reason="scrapy-splash doesn't import on this Scrapy")

ADDRESS = "127.0.0.2"  # another host than the site's: cookies are not bound to a port


class Splash(BaseHTTPRequestHandler):
    """Answers ``/execute``."""

    came: ClassVar[list[tuple[dict[str, str], dict[str, Any]]]] = []

    def do_POST(self) -> None:
        arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.came.append((dict(self.headers), arguments))
        url = urlsplit(arguments["url"])
        connection = HTTPConnection(url.netloc)
        cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in arguments.get("cookies", []))
        connection.request("GET", url.path, headers={"Cookie": cookies} if cookies else {})
        answer = connection.getresponse()
        body = json.dumps({"html": answer.read().decode(), "http_status": answer.status}).encode()
        connection.close()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing to standard error."""


@pytest.fixture
def splash() -> Iterator[str]:
    """The URL of the stand-in."""
    Splash.came = []
    with ThreadingHTTPServer((ADDRESS, 0), Splash) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{ADDRESS}:{server.server_port}"
        server.shutdown()


class Renders(Buyer):
    """Logs in with a plain request, and has the next page rendered, with the cookies of its session."""

    cookies_passed = True

    def parse(self, response: Response, **kwargs: Any) -> Any:
        self.responses.append(response)
        session = self.sessions.of(response)
        cookies = [cookie.model_dump(include={"name", "value", "domain", "path"}) for cookie in session.cookies]
        yield scrapy_splash.SplashRequest(
            response.urljoin("/secret/rendered"),
            self.rendered,
            endpoint="execute",
            slot_policy=scrapy_splash.SlotPolicy.SCRAPY_DEFAULT,  # the others need what Scrapy 2.14 hasn't
            args={"lua_source": "…", "cookies": cookies},
        )

    def rendered(self, response: Response) -> Any:
        self.responses.append(response)
        yield {}


async def test_a_rendered_page_is_logged_in(shop: Shop, splash: str) -> None:
    """The page is the account's, and the request to Splash has no cookie of the site in its headers."""
    settings = {
        "SPLASH_URL": splash,
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy_splash.SplashCookiesMiddleware": 723,
            "scrapy_splash.SplashMiddleware": 725,
        },
    }
    crawler = await buy(shop, settings, [{"path": "/secret/plain"}], LogsIn, spider=Renders)
    found = spider_of(crawler)
    assert isinstance(found, Renders)
    assert [status for status, _ in pages(crawler)] == [200, 200]
    assert found.responses[1].meta["session_id"] == "alice"
    assert "alice" in found.responses[1].text
    ((headers, arguments),) = Splash.came
    assert arguments["url"] == shop.url("/secret/rendered")
    assert "Cookie" not in headers
