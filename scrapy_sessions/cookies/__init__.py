"""Cookies as a session keeps them: RFC 6265bis, with Scrapy's own semantics wherever the RFC leaves room."""

from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.cookies.rules import REFUSAL_REASONS

__all__ = ["REFUSAL_REASONS", "SessionCookieJar"]
