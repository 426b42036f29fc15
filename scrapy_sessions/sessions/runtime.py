"""What only this process knows of a live session."""

from __future__ import annotations

from scrapy_sessions.sessions.browser_session import BrowserSession

__all__ = ["backlog", "is_full", "must_go_alone"]


def backlog(session: BrowserSession, now: float) -> tuple[float, int]:
    """How long a request of *session* would wait at *now*, to be compared: the seconds of delays, then the requests
    before it, whose ends nobody knows."""
    waiting = len(session.queue or ())
    return max(session.not_before - now, 0.0) + waiting * session.spacing, waiting + (waiting > 0 or is_full(session))


def must_go_alone(session: BrowserSession) -> bool:
    """Whether *session* is one of several anonymous ones, and has had no response yet.

    Requests that go out side by side before the site has set its first cookie would make several visits of one.
    """
    return session.first_request_alone and not session.responses


def is_full(session: BrowserSession) -> bool:
    if session.in_flight and must_go_alone(session):
        return True
    return bool(session.concurrency) and session.in_flight >= session.concurrency
