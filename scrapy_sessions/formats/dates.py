"""Expiries: numbers in four units, dates of ISO 8601 and HTTP, and words."""

from __future__ import annotations

import math
from datetime import datetime, timezone

from pydantic import TypeAdapter

from scrapy_sessions.cookies.parse import MAX_EXPIRES, parse_http_date

__all__ = ["SESSION_WORDS", "parse_date", "to_seconds"]

SESSION_WORDS = frozenset({"", "session", "0", "-1"})
"""The texts, in lower case, that mean a session cookie."""

# Seconds between 1601, the epoch of Chrome and Windows, and 1970.
_EPOCH_1601 = 11_644_473_600.0
_MOST_MILLISECONDS = MAX_EXPIRES * 1e3
_LEAST_SINCE_1601 = _EPOCH_1601 * 1e6
_MOST_SINCE_1601 = (MAX_EXPIRES + _EPOCH_1601) * 1e6
_ISO = TypeAdapter(datetime)


def to_seconds(number: float) -> tuple[float, str | None]:
    """Return *number* as UNIX seconds, at most the end of the year 9999, and its unit if it isn't seconds.

    A number beyond the year 9999 is in another unit: milliseconds, microseconds, or microseconds since 1601. Their
    ranges don't overlap for dates from 1978 to 2339.
    """
    if number <= MAX_EXPIRES:
        return number, None
    if number <= _MOST_MILLISECONDS:
        return number / 1e3, "milliseconds"
    if number < _LEAST_SINCE_1601:
        return number / 1e6, "microseconds"
    if number <= _MOST_SINCE_1601:
        return number / 1e6 - _EPOCH_1601, "microseconds since 1601"
    return MAX_EXPIRES, None


def parse_date(text: str) -> float | None:
    """Return the UNIX seconds of a date, or of a number in any unit; ``None`` if it can't be read."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _iso(text) if text[:4].isdigit() else parse_http_date(text)
    return to_seconds(number)[0] if math.isfinite(number) else None


def _iso(text: str) -> float | None:
    try:
        date = _ISO.validate_python(text)  # datetime.fromisoformat() of Python 3.10 reads no Z
        return (date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None
