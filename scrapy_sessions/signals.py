"""Scrapy signals for what happens to sessions.

.. code-block:: python

    from scrapy_sessions import signals

    crawler.signals.connect(self.login_lost, signal=signals.session_login_lost)

    def login_lost(self, session, spider, reason): ...

Handlers get ``session`` (a :class:`~scrapy_sessions.BrowserSession`), ``session_id``, ``spider`` and ``reason`` (a text
without secrets, empty where there is none). They are plain functions, called at once; Scrapy logs one that raises, and
the crawl goes on.
"""

from __future__ import annotations

__all__ = [
    "session_created",
    "session_expired",
    "session_logged_in",
    "session_login_failed",
    "session_login_lost",
    "session_restored",
    "session_retired",
]

session_created = object()
"""A new session exists in this process."""

session_restored = object()
"""A stored session was loaded into memory."""

session_logged_in = object()
"""A login succeeded; ``reason`` is how long it took: ``"0.4 s"``."""

session_login_lost = object()
"""The login of a session is lost: it logs in again before its next request. ``reason`` names the URL."""

session_login_failed = object()
"""One attempt to log in failed; ``reason`` says why."""

session_retired = object()
"""A session was taken out of use for good; ``reason`` says why."""

session_expired = object()
"""A session was deleted by a limit; ``reason`` is ``"idle_timeout"``, ``"max_age"`` or ``"max_uses"``. ``session`` is
``None`` for one that was not in memory; ``session_id`` names it in any case."""
