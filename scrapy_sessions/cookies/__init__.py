"""The cookie jar of a session: RFC 6265bis, and Scrapy's own behaviour where the RFC leaves a choice."""

from scrapy_sessions.cookies.jar import SessionCookieJar
from scrapy_sessions.cookies.reasons import REFUSAL_REASONS

__all__ = ["REFUSAL_REASONS", "SessionCookieJar"]
