"""Numbers, times and durations as text, and the ticks of axes."""

from __future__ import annotations

import math
from datetime import datetime, timezone

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_UNITS = ((365 * _DAY, "y"), (_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1.0, "s"))
_TIME_STEPS = (
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)
_DURATION_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, *_TIME_STEPS)


def count(number: float) -> str:
    """``1234567`` -> ``"1,234,567"``."""
    return f"{number:,.0f}"


def plural(number: int, noun: str) -> str:
    """``(1, "page")`` -> ``"1 page"``, ``(1200, "page")`` -> ``"1,200 pages"``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(part: float, whole: float) -> str:
    """``(1, 8)`` -> ``"12.5%"``."""
    share = 100 * part / whole if whole else 0.0
    return "<0.1%" if 0 < share < 0.1 else f"{share:.1f}".removesuffix(".0") + "%"


def duration(seconds: float) -> str:
    """``5400`` -> ``"1.5 h"``.

    The command line rounds ages to whole units. The ticks of an axis need fractions.
    """
    for unit, name in _UNITS:
        if seconds >= unit:
            number = seconds / unit
            return (f"{number:.1f}".removesuffix(".0") if number < 100 else f"{number:,.0f}") + f" {name}"
    return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"


def in_words(seconds: float) -> str:
    """``262000`` -> ``"3 days"``: rounded to the largest unit of which there are at least two."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if (number := round(seconds / unit)) >= 2:
            return plural(number, name)
    return plural(round(seconds), "second")


def moment(time: float) -> str:
    """UNIX seconds -> ``"2026-03-01 12:30"`` (UTC).

    The command line adds seconds and a zone. The page says once that its times are UTC.
    """
    return f"{_utc(time):%Y-%m-%d %H:%M}"


def iso(time: float) -> str:
    """UNIX seconds -> ``"2026-03-01T12:30:00Z"``."""
    return f"{_utc(time):%Y-%m-%dT%H:%M:%SZ}"


def time_ticks(start: float, end: float) -> list[tuple[float, str]]:
    """Return up to five times between *start* and *end* (UNIX seconds), with their labels."""
    step = next((step for step in _TIME_STEPS if (end - start) / step <= 5), (end - start) / 5)
    first = math.ceil(start / step) * step
    times = [first + i * step for i in range(6)]
    return [(time, _label(time, step)) for time in times if time <= end]


def duration_ticks(end: float, most: int = 5) -> list[tuple[float, str]]:
    """Return up to *most* durations from 0 to *end*, in seconds, with their labels."""
    step = next((step for step in _DURATION_STEPS if end / step <= most), end / most)
    return [(i * step, duration(i * step)) for i in range(most + 1) if i * step <= end]


def value_ticks(highest: float, most: int = 4) -> list[float]:
    """Return round numbers from 0 to *highest*, or to the next one above it."""
    if highest <= 0:
        return [0.0, 1.0]
    raw = highest / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= raw * (1 - 1e-9))
    if highest >= 1:
        step = max(step, 1.0)
    return [i * step for i in range(math.ceil(highest / step - 1e-9) + 1)]


def _label(time: float, step: float) -> str:
    """UNIX seconds -> the label of a tick, *step* seconds from the next one: ``"12:30"``, ``"1 Mar"`` (UTC)."""
    utc = _utc(time)
    if step >= _DAY or not (utc.hour or utc.minute):
        return f"{utc.day} {utc:%b}" if step < 300 * _DAY else f"{utc:%b %Y}"
    return f"{utc:%H:%M}"


def _utc(time: float) -> datetime:
    # A record may contain any number: one that is no date is shown as the nearest date.
    return datetime.fromtimestamp(min(max(time, 0.0), 253402300799.0), timezone.utc)
