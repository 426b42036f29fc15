"""Asking a site, by the browser that a person has used, whether the session is logged in now."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from playwright.async_api import BrowserContext, Error
from playwright.async_api import Response as Answered
from scrapy import Request
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes

from scrapy_sessions.analytics.redaction import describe_fault, safe_url
from scrapy_sessions.browser.loss import PATIENCE, Lost, close_page, within
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.crawl.asking import probe_of
from scrapy_sessions.crawl.blame import Answer

if TYPE_CHECKING:
    from scrapy_sessions.sessions.runtime import SessionRuntime

_DECODED = ("content-encoding", "content-length", "transfer-encoding")  # of a body that the browser has decoded


async def ask(context: BrowserContext, session: SessionRuntime, config: SessionConfig) -> tuple[Answer, str]:
    """Ask for the ``probe_url`` of *config* in *context*, which is *session*.

    Returns whether the site still accepts the login, and the reason. ``Answer.NOTHING``: that isn't known.
    """
    url = probe_of(config)
    if url is None:
        return Answer.NOTHING, "there is no probe_url"
    try:
        page = await within(PATIENCE, context.new_page())
        try:
            answered = await page.goto(url, timeout=PATIENCE * 1000)
            response = None if answered is None else await within(PATIENCE, _as_scrapys(answered))
            place = page.url
        finally:
            with suppress(Error):
                await close_page(page)
    except (Error, Lost):
        response = None
    if response is None:
        return Answer.NOTHING, f"{safe_url(url)} has no answer"
    what = f"{safe_url(url)} has status {response.status}"
    meta: dict[str, Any] = {"session_id": session.id, "playwright": True}
    if session.pool is not None:
        meta["session_pool"] = session.pool
    try:
        verdict: Any = config.check(response, Request(url, meta=meta))
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if config.is_login_page(place) and not config.is_login_page(url):  # by a script
            verdict = Verdict.EXPIRED
    except Exception as e:  # noqa: BLE001  # the project's own code, and no spider is there for it
        return Answer.NOTHING, f"check() raised {describe_fault(e)}"
    if verdict in {Verdict.EXPIRED, Verdict.BLOCKED}:
        return Answer.REFUSED, what
    return (Answer.GOOD if verdict is Verdict.OK and response.status < 300 else Answer.NOTHING), what


async def _as_scrapys(answered: Answered) -> Response:
    """Return *answered* as a crawl gets it: a redirect that the browser followed is not followed."""
    request = answered.request
    while request.redirected_from is not None:
        request = request.redirected_from
    first = await request.response()
    redirected = first is not None and request != answered.request
    response = first if first is not None and redirected else answered
    pairs: dict[str, list[str]] = {}
    for header in await response.headers_array():
        if header["name"].lower() not in _DECODED:
            pairs.setdefault(header["name"], []).append(header["value"])
    headers = Headers({name: [_bytes(value) for value in values] for name, values in pairs.items()})
    body = b"" if redirected else await response.body()
    kind = responsetypes.from_args(headers=headers, url=response.url, body=body)
    return kind(response.url, status=response.status, headers=headers, body=body)


def _bytes(value: str) -> bytes:
    return value.encode("latin-1", "replace")
