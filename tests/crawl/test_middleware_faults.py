"""What the middlewares do when the spider's own code, or a body, fails in between."""

from __future__ import annotations

import gzip

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_sessions import ConfigFailed, SessionConfig, Verdict
from scrapy_sessions.crawl.routing import SessionRouter
from scrapy_sessions.extension import SessionsExtension
from scrapy_sessions.middlewares import SessionCookiesMiddleware, SessionMiddleware, SessionVerdictMiddleware
from scrapy_sessions.sessions.browser_session import BrowserSession

URL = "http://shop.example/p"
PLAIN = {"SESSIONS_STORE": "memory://", "ADDONS": {"scrapy_sessions.SessionsAddon": 300}}


class Raises(SessionConfig):
    """Sets a header of the session, then fails."""

    def process_request(self, request: Request, session: BrowserSession) -> None:
        request.headers["X-CSRF"] = f"token of {session.id}"
        if session.id == "alice":
            raise RuntimeError("no token")


class Reads(SessionConfig):
    """Reads every body."""

    seen: list[bytes]

    def check(self, response: Response, request: Request) -> Verdict:
        self.seen = [*getattr(self, "seen", []), response.body]
        return Verdict.OK


@pytest.fixture
def router(request: pytest.FixtureRequest) -> SessionRouter:
    """The router of a crawler that doesn't crawl; its parameter is the SESSIONS_CONFIG."""
    crawler = get_crawler(settings_dict={**PLAIN, "SESSIONS_CONFIG": request.param})
    assert crawler.get_extension(SessionsExtension) is not None
    return SessionRouter.of(crawler)


@pytest.mark.parametrize("router", [Raises], indirect=True)
async def test_header_of_a_process_request_that_raises(router: SessionRouter) -> None:
    """A header that process_request() set before it raised is not sent by a copy of the request in another session."""
    middleware = SessionMiddleware(router)
    request = Request(URL, meta={"session_id": "alice"})
    with pytest.raises(ConfigFailed):
        await middleware.process_request(request)
    await SessionVerdictMiddleware(router).process_exception(request, RuntimeError())
    assert "X-CSRF" not in request.headers
    again = request.replace(meta={"session_id": "bob"})
    await middleware.process_request(again)
    assert again.headers["X-CSRF"] == b"token of bob"
    await router.manager.close()


async def _answered(router: SessionRouter, response: Response) -> Request | Response:
    request = Request(URL, meta={"session_id": "alice", "download_maxsize": 100})
    await SessionMiddleware(router).process_request(request)
    SessionCookiesMiddleware(debug=False, router=router).process_request(request)
    result = await SessionVerdictMiddleware(router).process_response(request, response)
    await router.manager.close()
    assert isinstance(result, Response)
    return result


def _packed(body: bytes) -> Response:
    return Response(URL, headers={"Content-Encoding": "gzip"}, body=gzip.compress(body))


@pytest.mark.parametrize("router", [Reads], indirect=True)
@pytest.mark.parametrize(
    "response", [_packed(b"x" * 1000), Response(URL, headers={"Content-Encoding": "gzip"}, body=b"?")]
)
async def test_a_body_that_can_not_be_decoded_is_no_fault_of_check(
    router: SessionRouter, response: Response, caplog: pytest.LogCaptureFixture
) -> None:
    """A body beyond DOWNLOAD_MAXSIZE is handed on as it is, without a word about check(), which never saw it."""
    result = await _answered(router, response)
    assert result is response or result.body == response.body
    assert "check()" not in caplog.text
    assert router.crawler.stats is not None
    assert router.crawler.stats.get_value("sessions/check_errors") is None


@pytest.mark.parametrize("router", [Reads], indirect=True)
async def test_a_body_is_decoded_once(router: SessionRouter) -> None:
    """A compressed body that check() reads is handed on decompressed: HttpCompressionMiddleware has nothing to do."""
    result = await _answered(router, _packed(b"<p>hello"))
    assert isinstance(result, Response)
    assert result.body == b"<p>hello"
    assert "Content-Encoding" not in result.headers
    config = router.configs.of(URL)
    assert isinstance(config, Reads)
    assert config.seen == [b"<p>hello"]
