"""What follows from a verdict: for the session, and for the request that drew it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from scrapy_sessions.analytics.redaction import safe_url
from scrapy_sessions.config import SessionConfig, Verdict
from scrapy_sessions.crawl.scrapy_internals import forget_cached_response
from scrapy_sessions.pools.claim import PICKED, TRIES
from scrapy_sessions.sessions.runtime import SessionRuntime

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.http import Response

    from scrapy_sessions.pools.pool import Pool
    from scrapy_sessions.sessions.manager import SessionManager

__all__ = ["PAUSES", "VerdictHandler", "pause_of"]

logger = logging.getLogger(__name__)

_REPLAYS = "_session_replays"
"""The meta key that counts how often a request was sent again in the same session."""

_STANDS_IN = "_session_stands_in"
"""The meta key that tells for which session of its pool a fresh one, on trial, stands in."""

PAUSES = frozenset({429, 503})
"""The statuses by which a site may ask for a pause."""

_LONGEST_PAUSE = 3600.0  # seconds; a site that asks for more is left alone for an hour, and then asked again


class VerdictHandler:
    """Applies verdicts. Every method returns the request to send instead of handing the response on, if any.

    That request is a copy with callback, errback, ``cb_kwargs`` and priority, and ``dont_filter`` set.
    """

    def __init__(self, manager: SessionManager, count: Callable[[str, int], None]) -> None:
        self._manager = manager
        self._settings = manager.settings
        self._count = count

    def handle_stale(self, request: Request, verdict: Verdict) -> Request | None:
        """*request* left under an older generation: nothing follows for the session; a bad answer is asked for anew."""
        return None if verdict is Verdict.OK else self._replay(request)

    def handle_pause(self, session: SessionRuntime, request: Request, seconds: float) -> Request | None:
        """The site asks *session* to come back in *seconds*."""
        session.not_before = max(session.not_before, time.monotonic() + seconds)
        self._count("paused", 1)
        return self._replay(request)

    def handle(
        self, verdict: Verdict, session: SessionRuntime, request: Request, config: SessionConfig
    ) -> Request | None:
        """*session* drew *verdict* with *request*."""
        pool = self._manager.pool_of(session)
        if verdict is Verdict.OK:
            session.ok_count += 1
            if pool is not None:
                pool.ok_count += 1
            if not config.can_log_in:  # else its login settles that
                session.mark_ready()
            session.logins_without_success = 0
            session.failed_urls = None
            if _STANDS_IN in request.meta:
                banned = self._manager.ready(request.meta[_STANDS_IN])
                if banned is not None and banned.status != "retired" and request.url in (banned.failed_urls or ()):
                    self._retire(banned, f"{safe_url(request.url)} failed in it, and not in a fresh session")
            return None
        self._count(f"verdicts/{verdict.value}", 1)
        if verdict is Verdict.EXPIRED:
            if not config.can_log_in:
                return None
            self._log_out(session, request)
            return self._replay(request)
        session.failures += 1
        session.changed()
        if verdict is Verdict.BLOCKED:
            if session.status != "retired":
                self._retire(session, f"blocked at {safe_url(request.url)}")
            return self._elsewhere(session, request, pool) if pool is not None and _asks_pool(request) else None
        self._manager.analytics.suspected(session)
        suspects = session.failed_urls = session.failed_urls or set()
        suspects.add(request.url)
        if session.status == "retired":
            pass  # settled while the request was under way
        elif self._settings.max_errors and len(suspects) >= self._settings.max_errors:
            if pool is not None and not pool.named:
                last = safe_url(request.url)
                self._retire(session, f"{len(suspects)} failures in a row, the last at {last}")
            elif config.can_log_in:
                session.failed_urls = None
                self._log_out(session, request)
        retired = session.status == "retired"
        if pool is not None and _asks_pool(request) and (PICKED in request.meta or retired):
            return self._elsewhere(session, request, pool)
        return None if retired else self._replay(request)  # it names its session: no other will do

    def _log_out(self, session: SessionRuntime, request: Request) -> None:
        session.lose_login(f"at {safe_url(request.url)}")

    def _retire(self, session: SessionRuntime, reason: str) -> None:
        self._manager.analytics.record_event("blocked", session, reason)
        session.retire(reason)
        logger.info("Retired the session %r: %s", session.id, reason)

    def _replay(self, request: Request) -> Request | None:
        """Send *request* again in its session, unless that was done as often as it may be."""
        replays = request.meta.get(_REPLAYS, 0)
        if replays >= self._settings.retry_times or request.meta.get("dont_retry"):
            return None
        self._count("replays", 1)
        replay = _copied(request)
        replay.meta[_REPLAYS] = replays + 1
        return replay

    def _elsewhere(self, session: SessionRuntime, request: Request, pool: Pool) -> Request | None:
        """Send *request* again in another session of *pool*, unless it has been the page's own fault.

        A failed try counts against the page only if its session lives on: if that has had a success since, or fails
        with this page alone while others of the pool succeed. When too many count, what the page did to its sessions
        is taken back. In all a page is tried no more than twice per session of the pool, and RETRY_TIMES. If none
        counts by then, the last try is in a fresh session: it tells the page's fault from that of the sessions.
        """
        if request.meta.get("dont_retry") or not self._settings.retry_times:
            return None
        tries = [*request.meta.get(TRIES, ()), [session.id, session.ok_count, pool.ok_count]]
        against_page = [tried for tried in tries if self._lives_on(request.url, pool, *tried)]
        if len(against_page) > self._settings.retry_times or _STANDS_IN in request.meta:
            for session_id, *_ in tries:
                tried = self._manager.ready(session_id)
                if tried is not None and tried.failed_urls:
                    tried.failed_urls.discard(request.url)
            return None
        left = self._settings.retry_times + 2 * pool.size - len(tries)
        if left <= 0:
            return None
        undecided = not against_page
        self._count("replays", 1)
        replay = _copied(request)
        replay.meta[TRIES] = tries
        replay.meta.pop("session_id", None)
        # Not for a session that is alone in its pool, which is all that a spider has: to a fresh one, any site shows
        # something, its login form for example.
        on_trial = undecided and left == 1 and pool.size > 1 and bool(self._settings.max_errors)
        fresh = pool.successor(session.id) if on_trial else None
        if fresh is not None:
            replay.meta["session_id"] = replay.meta[PICKED] = fresh
            replay.meta[_STANDS_IN] = session.id
        return replay

    def _lives_on(self, url: str, pool: Pool, session_id: str, ok_count: int, of_pool: int) -> bool:
        session = self._manager.ready(session_id)
        if session is None or session.status == "retired":
            return False
        return session.ok_count > ok_count or (pool.ok_count > of_pool and (session.failed_urls or set()) <= {url})


def _asks_pool(request: Request) -> bool:
    return request.meta.get("session_pool") is not None


def _copied(request: Request) -> Request:
    replay: Request = request.replace(dont_filter=True)
    forget_cached_response(replay)
    return replay


def pause_of(response: Response, request: Request) -> float | None:
    """Return for how many seconds the site asks to be left alone, if it does: by 429, or by 503 with ``Retry-After``.

    ``Retry-After`` is seconds or an HTTP date (RFC 9110, section 10.2.3). A 429 without it means a second, doubled
    each time.
    """
    if response.status not in PAUSES:
        return None
    value = response.headers.get("Retry-After")
    if value is None:
        return None if response.status == 503 else min(2.0 ** request.meta.get(_REPLAYS, 0), _LONGEST_PAUSE)
    text = value.decode("latin-1").strip()
    if text.isdecimal():
        return min(float(text), _LONGEST_PAUSE)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 1.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    seconds = (date - datetime.now(timezone.utc)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_PAUSE)
