"""Times, ages and texts, as people read and write them in a terminal.

The report has its own :func:`duration`, :func:`moment` and :func:`printable`, each with its reason beside it.
"""

from __future__ import annotations

import argparse
import math
import re
from datetime import datetime, timezone
from functools import lru_cache

__all__ = ["HIDDEN", "age", "duration", "moment", "parse_age", "printable", "url_without_password"]

HIDDEN = "***"
"""What stands in place of a secret."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SECONDS = tuple(f"{second:02}Z" for second in range(60))
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_OLDEST = 36_500 * 86_400.0  # a hundred years: before that no clock that we meet begins


def printable(text: str) -> str:
    """Return *text* with what isn't printable written out: a terminal would obey it, or break the line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def duration(seconds: float) -> str:
    """``"45 s"``, ``"3 min"``, ``"5 h"``, ``"12 d"``: in the largest unit that fits at least twice."""
    return _minutes(seconds // 60) if seconds >= 120 else f"{seconds // 1:.0f} s"


@lru_cache(maxsize=8192)
def _minutes(count: float) -> str:
    if count >= 2880:
        return f"{count // 1440:.0f} d"
    return f"{count // 60:.0f} h" if count >= 120 else f"{count:.0f} min"


def age(then: float, now: float) -> str:
    """``"3 h ago"``, or ``"in 20 min"`` for what is still to come."""
    return f"{duration(now - then)} ago" if then <= now else f"in {duration(then - now)}"


def moment(seconds: float) -> str:
    """UNIX seconds as ``"2026-03-01 12:30:00Z"``, in UTC: what two machines print of one moment is the same."""
    try:
        minute, second = divmod(math.floor(seconds), 60)
        return _minute(minute) + _SECONDS[second]
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{seconds:g}"


@lru_cache(maxsize=8192)  # a list of 100,000 has as many moments, and many to a minute
def _minute(number: int) -> str:
    return datetime.fromtimestamp(number * 60, timezone.utc).isoformat(" ")[:17]


def parse_age(text: str) -> float:
    """Return the seconds of ``"90s"``, ``"30m"``, ``"2h"``, ``"30d"`` or ``"1.5w"``: a type for argparse."""
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"an age is a number and a unit (s, m, h, d, w), as in 2h or 30d, not {text!r:.40}"
        )
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _OLDEST:
        raise argparse.ArgumentTypeError(f"an age is at most 36500d, a hundred years, not {text!r:.40}")
    return seconds


def url_without_password(url: str) -> str:
    """Return *url* without user, password and values of the query."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    # Up to the last "@", because a password that should have been quoted may hold any sign.
    _, at, rest = rest.rpartition("@")
    place, question, _ = rest.partition("?")
    return f"{scheme}://{HIDDEN + '@' if at else ''}{place}{'?…' if question else ''}"
