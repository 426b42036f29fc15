"""A secret header that process_request() sets goes to one origin, as those of ``session.headers`` do."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_sessions import BrowserSession, SessionConfig, SessionConfigurationError
from tests.support.crawl import crawl
from tests.support.site import Site
from tests.support.spiders.buyer import Buyer

THERE = "127.0.0.2"


class Shop(SessionConfig):
    login_url = "https://shop.example/login?next=/"


def config(cls: type[SessionConfig] = Shop) -> SessionConfig:
    return cls.from_crawler(get_crawler())


@pytest.mark.parametrize(
    ("url", "bound"),
    [
        ("https://shop.example/cart?a=1", True),
        ("https://SHOP.example:443/", True),
        ("https://user:pw@shop.example/", True),
        ("http://shop.example/", False),
        ("https://shop.example:8443/", False),
        ("https://www.shop.example/", False),
        ("https://shop.example.evil.example/", False),
        ("https://evil.example/https://shop.example/", False),
        ("https://shop.example@evil.example/", False),
    ],
)
def test_the_origin_of_the_login_url_counts(url: str, bound: bool) -> None:
    """Scheme, host and port of the login URL are those of the requests that get the header."""
    request = Request(url)
    assert config().bind_header(request, "X-CSRF-Token", "t-1") is bound
    assert request.headers.get("X-CSRF-Token") == (b"t-1" if bound else None)


def test_another_url_may_be_named() -> None:
    """With a URL of its own, the header goes there, and not to the login's origin."""
    requests = [Request("https://shop.example/"), Request("https://api.shop.example/v1")]
    bound = [config().bind_header(each, "X-Key", "k", url="https://api.shop.example") for each in requests]
    assert bound == [False, True]


def test_a_host_may_be_written_in_unicode() -> None:
    """A URL with a host that isn't ASCII names the same origin as the request to it."""
    request = Request("https://bücher.example/cart")
    assert config().bind_header(request, "X-Key", "k", url="https://bücher.example/login")


def test_headers_of_the_message_are_not_bound() -> None:
    """``Host`` and the like are set by each request itself: a browser refuses to send others."""
    headers = BrowserSession("alice").headers
    for name in ("Host", "content-length", "Connection", "Transfer-Encoding"):
        with pytest.raises(ValueError, match=name):
            headers.set(name, "5", url="https://shop.example")
    assert not headers.bound


def test_session_headers_may_be_bound_to_a_unicode_host() -> None:
    """The headers of a session are bound by the same rule."""
    headers = BrowserSession("alice").headers
    headers.set("X-Key", "k", url="https://BÜCHER.example/login")
    assert headers.get("X-Key", url="https://xn--bcher-kva.example/") == "k"


def test_a_request_to_a_browser_does_not_get_it() -> None:
    """scrapy-playwright sends the headers of a request to every site that the page loads."""
    request = Request("https://shop.example/", meta={"playwright": True})
    assert not config().bind_header(request, "X-CSRF-Token", "t-1")
    assert "X-CSRF-Token" not in request.headers


@pytest.mark.parametrize("url", [None, "/login", "shop.example", ""])
def test_without_an_origin_it_fails(url: str | None) -> None:
    """A config without a complete login URL must name the URL; the header is sent nowhere by mistake."""
    request = Request("https://shop.example/")
    with pytest.raises(SessionConfigurationError, match=r"SessionConfig\.bind_header\(\) needs a login_url"):
        config(SessionConfig).bind_header(request, "X-CSRF-Token", "t-1", url=url)
    assert "X-CSRF-Token" not in request.headers


def test_a_header_that_is_not_valid_is_refused() -> None:
    """A value that would begin another header raises, and isn't quoted."""
    with pytest.raises(ValueError, match="control characters") as caught:
        config().bind_header(Request("https://shop.example/"), "X-CSRF-Token", "hunter2\r\nX: 1")
    assert "hunter2" not in str(caught.value)


async def test_a_redirect_leaves_it_behind(site: Site) -> None:
    """In a crawl, the header is sent to its origin at every hop, and not to the host that a redirect leads to."""

    class Binds(SessionConfig):
        login_url = site.url("/login")

        def process_request(self, request: Request, session: BrowserSession) -> None:
            self.bind_header(request, "X-CSRF-Token", f"t-{session.id}")

    path = site.url("/first", to=site.url("/there", THERE, to=site.url("/back")))
    requests: list[dict[str, Any]] = [{"path": path}]
    await crawl(Buyer, {"SESSIONS_STORE": "memory://"}, base="", requests=requests, session_config=Binds)
    sent = [(arrival.path, arrival.header("X-CSRF-Token")) for arrival in site.journal()]
    assert sent == [("/first", "t-alice"), ("/there", None), ("/back", "t-alice")]
