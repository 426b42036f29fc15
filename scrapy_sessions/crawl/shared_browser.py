"""What a crawl asks of the browser contexts of its sessions."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from scrapy_sessions.sessions.runtime import SessionRuntime


class SharedBrowser(Protocol):
    """The browser contexts of the sessions, for all but the handler that sends requests there."""

    def before_http(self, session: SessionRuntime) -> Coroutine[Any, Any, None] | None:
        """Return what a request of *session* has to await before it is sent without the browser, if anything."""

    def http_changed(self, session: SessionRuntime) -> None:
        """A response that came without the browser has set cookies of *session*."""

    def has_pages(self, session: SessionRuntime) -> bool:
        """Whether a page of *session* is open, perhaps for a callback that works in it."""

    async def hand_over(self, session: SessionRuntime) -> None:
        """Wait until the pages of *session* are closed, copy into it what the browser has, and close its contexts."""

    async def capture(self) -> None:
        """Copy into the sessions what the browser has now."""
