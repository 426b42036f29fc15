"""The request fingerprinter: the same URL for alice and for bob is two requests."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from scrapy.utils.misc import build_from_crawler, load_object

from scrapy_sessions.exceptions import InvalidSessionId
from scrapy_sessions.pools.claim import is_named, take_alias
from scrapy_sessions.settings import SessionsSettings, setting_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.utils.request import RequestFingerprinterProtocol

    # typing.Self requires Python 3.11
    from typing_extensions import Self

__all__ = ["SessionFingerprinter"]


class SessionFingerprinter:
    """Wraps the fingerprinter of ``SESSIONS_FALLBACK_FINGERPRINTER``.

    The fingerprint differs from the wrapped one only for a request that names its session itself: ``session_id``
    without ``session_pool``. So neither the dupefilter nor the HTTP cache mixes two sessions.
    """

    def __init__(self, wrapped: RequestFingerprinterProtocol, *, alias: bool = False) -> None:
        self._wrapped = wrapped
        self._alias = alias  # whether the meta key "session" is Scrapy's

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        default = SessionsSettings.model_fields["fallback_fingerprinter"].default
        wrapped = load_object(setting_of(crawler.settings, "fallback_fingerprinter") or default)
        return cls(build_from_crawler(wrapped, crawler), alias=hasattr(crawler, "sessions"))

    def fingerprint(self, request: Request) -> bytes:
        """Return the fingerprint of *request*: 20 bytes (SHA-1) where a session is named."""
        if self._alias:
            with suppress(InvalidSessionId):  # the request fails with it when it is sent
                take_alias(request.meta)
        fingerprint = self._wrapped.fingerprint(request)
        if not is_named(request.meta):
            return fingerprint
        session_id = request.meta["session_id"].encode("utf-8", "surrogatepass")
        # SHA-1 as in Scrapy: it distinguishes requests and protects nothing.
        return hashlib.sha1(fingerprint + b"\0session\0" + session_id, usedforsecurity=False).digest()
