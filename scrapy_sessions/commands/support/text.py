"""Times, ages and texts as the subcommands print them.

The report has its own :func:`duration`, :func:`moment` and :func:`printable`, which say why.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone
from functools import lru_cache

HIDDEN = "***"
"""Replaces a secret."""

STYLES = {
    **dict.fromkeys(("active", "ok", "logged in"), "green"),
    **dict.fromkeys(("expired", "warning", "unknown"), "yellow"),
    **dict.fromkeys(("retired", "error", "not logged in", "login failed"), "red"),
}
"""The styles of states and levels."""

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}  # of ECMA-48, "select graphic rendition"

_SECONDS = tuple(f"{second:02}Z" for second in range(60))


def printable(text: str) -> str:
    """Return *text* with escapes for what isn't printable, which a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def styled(text: str, style: str | None) -> str:
    """Return *text* with the control sequences for *style*; ``None``: as it is."""
    return text if style is None else f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def count(number: int, noun: str) -> str:
    """``"1 session"``, ``"2 sessions"``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """``"45 s"``, ``"3 min"``, ``"5 h"``, ``"12 d"``: rounded to the largest unit of which there are at least two."""
    if seconds < 119.5:
        return f"{(seconds + 0.5) // 1:.0f} s"
    return _minutes(seconds // 30)


@lru_cache(maxsize=8192)
def _minutes(halves: float) -> str:
    minutes = (halves + 1) // 2
    if minutes < 120:
        return f"{minutes:.0f} min"
    hours = (halves + 60) // 120
    return f"{hours:.0f} h" if hours < 48 else f"{(halves + 1440) // 2880:.0f} d"


def age(then: float, now: float) -> str:
    """``"3 h ago"``, or ``"in 20 min"`` for the future."""
    return f"{duration(now - then)} ago" if then <= now else f"in {duration(then - now)}"


def moment(seconds: float) -> str:
    """UNIX seconds as ``"2026-03-01 12:30:00Z"``: in UTC, so that the output doesn't depend on the machine."""
    try:
        minute, second = divmod(math.floor(seconds), 60)
        return _minute(minute) + _SECONDS[second]
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{seconds:g}"


@lru_cache(maxsize=8192)  # many of 100,000 sessions share a minute
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, timezone.utc).isoformat(" ")[:17]


def url_without_password(url: str) -> str:
    """Return *url* without user, password and values of the query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    # Up to the last "@": an unquoted password may contain one.
    _, at, rest = rest.rpartition("@")
    place, question, _ = rest.partition("?")
    return f"{scheme}://{HIDDEN + '@' if at else ''}{place}{'?…' if question else ''}"
