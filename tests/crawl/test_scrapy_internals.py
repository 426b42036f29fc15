"""Each private name of Scrapy that we use still does what we use it for: a failure says what would break."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import re
import threading
from http.cookiejar import http2time  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.core.downloader import Slot
from scrapy.core.engine import ExecutionEngine
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcache import HttpCacheMiddleware
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Response, TextResponse
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.test import get_crawler

import scrapy_sessions
from scrapy_sessions.crawl import scrapy_internals as internals

URL = "http://shop.example/p"
# The slot of the engine; Headers as a dict; meta keys of Scrapy's middlewares; methods of CookiesMiddleware; names of
# exceptions; the hook of the threading module. The one undocumented name of http.cookiejar is used in cookies/parse.py,
# below crawl/ in the order of imports.
PRIVATE = re.compile(
    r"\._slot\b|dict\.(get|setdefault|pop|__setitem__|__delitem__)\b|normkey|_auth_proxy|_scheme_proxy|_dont_cache"
    r"|[\"']cached_response|_format_cookie\b|_debug_(set_)?cookie\b|HttpCompressionMiddleware\."
    r"|ConnectionRefusedError|TunnelError|_register_atexit|cookiejar import (?!http2time)"
)


def test_no_other_module_uses_private_names() -> None:
    """Private names of Scrapy and others are used in crawl/scrapy_internals.py only; request_meta.py refuses some."""
    folder = Path(scrapy_sessions.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{number}: {line.strip()}"
        for path in sorted(folder.rglob("*.py"))
        if path.name not in {"scrapy_internals.py", "request_meta.py"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if PRIVATE.search(line.partition("  # ")[0]) and not line.lstrip().startswith(("#", '"""'))
    ]
    assert found == []


class Closing(Spider):
    name = "closing"

    async def start(self) -> Any:
        self.before = internals.is_closing(self.crawler.engine)
        self.queued = internals.queued_requests(self.crawler)
        self.crawler.engine.crawl(Request("http://127.0.0.1:9/never"))
        self.queued_after = internals.queued_requests(self.crawler)
        self.waiting = internals.waiting_requests(self.crawler)
        closing = self.crawler.engine.close_spider_async(reason="by the test")
        task = asyncio.ensure_future(closing)
        await asyncio.sleep(0)
        self.during = internals.is_closing(self.crawler.engine)
        self.task = task
        return
        yield


async def test_engine_slot() -> None:
    """``ExecutionEngine._slot``: without it, requests that wait for their session delay others, and the end."""
    crawler = get_crawler(Closing)
    await maybe_deferred_to_future(crawler.crawl())
    assert crawler.spider is not None
    assert (crawler.spider.before, crawler.spider.during) == (False, True)
    assert (crawler.spider.queued, crawler.spider.queued_after) == (0, 1)
    assert internals.queued_requests(get_crawler()) == 0
    assert "_slot" in ExecutionEngine.__init__.__code__.co_names


class TwoPages(Spider):
    name = "two_pages"

    async def start(self) -> Any:
        self.pages: list[str] = []
        self.errors: list[Exception] = []
        internals.before_download(self.crawler, lambda request: request.url.endswith("one"))
        for text in ("one", "two"):
            yield Request(f"data:,{text}", errback=self.failed)

    def parse(self, response: Response, **kwargs: Any) -> None:
        self.pages.append(response.url)

    def failed(self, failure: Any) -> None:
        self.errors.append(failure.value)


async def test_waiting_requests() -> None:
    """``Downloader.active``, ``slots`` and ``Slot.active``: else nobody is told that a crawl waits for its budgets."""
    crawler = get_crawler(Closing)
    await maybe_deferred_to_future(crawler.crawl())
    assert crawler.spider is not None
    assert crawler.spider.waiting == 1
    assert crawler.engine is not None
    downloader = crawler.engine.downloader
    slot = Slot(1, 0, 0)
    downloader.active.add(Request("http://127.0.0.1:9/"))
    downloader.slots["127.0.0.1"] = slot
    assert internals.waiting_requests(crawler) == 1
    slot.active.add(Request("http://127.0.0.1:9/"))
    assert internals.waiting_requests(crawler) is None


async def test_downloads() -> None:
    """``Downloader.handlers.download_request_async``: else a process that was paused sends what waited in a download
    slot in accounts that another process uses now."""
    crawler = get_crawler(TwoPages)
    await maybe_deferred_to_future(crawler.crawl())
    assert isinstance(crawler.spider, TwoPages)
    assert crawler.spider.pages == ["data:,one"]
    assert [type(error) for error in crawler.spider.errors] == [internals.HeldBack]


def test_headers_are_a_dict_of_lists() -> None:
    """``Headers`` is a dict of normalised names and lists: else sessions would send no or doubled headers."""
    headers = Headers({"user-agent": "x"})
    name = internals.normalize_header_name("user-agent")
    values = internals.header_values(headers, name)
    assert values == [b"x"]
    assert internals.header_values(headers, name) is values
    given = [b"y"]
    assert internals.setdefault_header(headers, name, given) is values
    internals.set_header(headers, name, given)
    assert headers.getlist("User-Agent") == [b"y"]
    internals.delete_header(headers, name)
    assert internals.pop_header(headers, name, None) is None


def test_proxy_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """``_scheme_proxy`` and ``_auth_proxy`` of HttpProxyMiddleware: else a session would send its proxy's password on,
    or the environment's proxy would win over the session's."""
    monkeypatch.setenv("http_proxy", "http://me:word@proxy.example:8080")
    middleware = HttpProxyMiddleware.from_crawler(get_crawler())
    request = Request(URL)
    middleware.process_request(request)
    assert internals.is_default_proxy(request.meta)
    assert "_scheme_proxy" not in request.meta
    own = Request(URL, meta={"proxy": "http://me:word@other.example:8080"})
    middleware.process_request(own)
    assert {"_auth_proxy"} <= set(own.meta)
    assert "Proxy-Authorization" in own.headers
    internals.forget_proxy_credentials(own)
    assert "_auth_proxy" not in own.meta
    assert "Proxy-Authorization" not in own.headers


def test_http_cache_meta(tmp_path: Path) -> None:
    """``_dont_cache`` of HttpCacheMiddleware: else a 401 of a lost login would be stored and served for ever."""
    settings = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path)}
    crawler = get_crawler(Spider, settings)
    crawler.spider = Spider.from_crawler(crawler, "cached")
    cache = HttpCacheMiddleware.from_crawler(crawler)
    cache.spider_opened(crawler.spider)
    for request, stored in ((Request(f"{URL}/1"), False), (Request(f"{URL}/2"), True)):
        if not stored:
            internals.disable_http_cache(request)
        cache.process_response(request, Response(request.url, body=b"x"))
        assert (cache.process_request(Request(request.url)) is not None) is stored
    cache.spider_closed(crawler.spider)
    request = Request(URL, meta={"cached_response": "stale"})
    internals.forget_cached_response(request)
    assert "cached_response" not in request.meta
    assert 'request.meta["cached_response"] =' in inspect.getsource(HttpCacheMiddleware)


async def test_robots_fetch() -> None:
    """The robots.txt request of RobotsTxtMiddleware: unrecognised, it would be sent in a session and log it in."""
    crawler = get_crawler(Spider, {"ROBOTSTXT_OBEY": True})
    sent: list[Request] = []

    class Engine:
        async def download_async(self, request: Request) -> Response:
            sent.append(request)
            return Response(request.url, status=404)

    crawler.engine = Engine()  # type: ignore[assignment]
    middleware = RobotsTxtMiddleware.from_crawler(crawler)
    await middleware.process_request(Request(URL))
    (request,) = sent
    assert internals.is_robots_fetch(request)
    assert not internals.is_robots_fetch(Request("http://shop.example/robots.txt"))


async def test_robots_refusal() -> None:
    """What RobotsTxtMiddleware raises for a forbidden page: unrecognised, a login would be tried again in vain."""
    crawler = get_crawler(Spider, {"ROBOTSTXT_OBEY": True})

    class Engine:
        async def download_async(self, request: Request) -> Response:
            return TextResponse(request.url, body=b"User-agent: *\nDisallow: /")

    crawler.engine = Engine()  # type: ignore[assignment]
    middleware = RobotsTxtMiddleware.from_crawler(crawler)
    with pytest.raises(IgnoreRequest) as raised:
        await middleware.process_request(Request(URL))
    assert internals.is_robots_refusal(raised.value)
    assert not internals.is_robots_refusal(IgnoreRequest())


def test_proxy_failures() -> None:
    """A refused connection is recognised by the name of its class: else a dead proxy would never be left."""

    class TunnelError(Exception):
        """As Scrapy's handlers raise it."""

    assert internals.is_proxy_failure(TunnelError())
    assert internals.is_proxy_failure(ConnectionRefusedError())
    assert not internals.is_proxy_failure(TimeoutError())
    from scrapy.core.downloader.handlers import http11  # noqa: PLC0415  # after the reactor

    assert internals.is_proxy_failure(http11.TunnelError())


def test_cookies_middleware(caplog: pytest.LogCaptureFixture) -> None:
    """The methods of CookiesMiddleware that format and log cookies: else ``Request(cookies=...)`` would be lost."""
    middleware = CookiesMiddleware(debug=True)
    middleware.crawler = get_crawler(Spider)
    middleware.crawler.spider = Spider(name="debug")
    request = Request(URL, cookies={"a": "1"}, headers={"Cookie": "a=1"})
    cookie: Any = {"name": "a", "value": "1", "path": "/p", "secure": False}
    (header,) = internals.format_cookies(middleware, [cookie], request)
    assert header.startswith("a=1")
    assert "Path=/p" in header
    assert internals.format_cookies(middleware, [{"name": "a"}], request) == []  # type: ignore[typeddict-item]
    caplog.set_level("DEBUG")
    internals.debug_sent(middleware, request)
    internals.debug_received(middleware, Response(URL, headers={"Set-Cookie": "b=2"}))
    assert "Sending cookies" in caplog.text
    assert "Received cookies" in caplog.text


def test_decoder() -> None:
    """HttpCompressionMiddleware, used outside the chain: else ``check()`` would see compressed bodies."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/html"}
    packed = Response(URL, headers=headers, body=gzip.compress(b"<p>hello" * 100))
    decoder = internals.Decoder(get_crawler())
    assert decoder.decode(Request(URL), packed).body == b"<p>hello" * 100
    assert "Content-Encoding" in packed.headers  # the argument stays as it is
    plain = Response(URL)
    assert decoder.decode(Request(URL), plain) is plain
    small = internals.Decoder(get_crawler(settings_dict={"DOWNLOAD_MAXSIZE": 10}))
    with pytest.raises(IgnoreRequest):
        small.decode(Request(URL, meta={"download_maxsize": 10}), packed)
    off = internals.Decoder(get_crawler(settings_dict={"COMPRESSION_ENABLED": False}))
    assert off.decode(Request(URL), packed) is packed


def test_thread_exit() -> None:
    """``threading._register_atexit``: else the last changes in ``scrapy shell`` are lost, as threads have ended."""
    assert internals.at_thread_exit is threading._register_atexit  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text", ["Wed, 09 Jun 2021 10:18:14 GMT", "Wed, 09-Jun-2021 10:18:14 GMT", "Wednesday, 09-Jun-21 10:18:14 GMT"]
)
def test_cookie_dates(text: str) -> None:
    """``http.cookiejar.http2time``: without it the expiry of every cookie with ``Expires`` would be lost."""
    assert http2time(text) == 1623233894
