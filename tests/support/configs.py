"""A config for what needs one and calls nothing of it."""

from __future__ import annotations

from scrapy.utils.test import get_crawler

from scrapy_sessions import SessionConfig

CONFIG = SessionConfig(get_crawler())
"""A config without overrides, of a crawl without sessions."""
