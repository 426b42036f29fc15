"""Types of arguments, for argparse: each raises :exc:`argparse.ArgumentTypeError` with the reason."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_MAX_AGE = 36_500 * 86_400.0  # a hundred years: some clocks have no earlier times


def session_id(text: str) -> str:
    """Return *text* unless it is empty."""
    if not text:
        raise argparse.ArgumentTypeError("an id has at least one character")
    return text


def whole_number(least: int) -> Callable[[str], int]:
    """Return a type: a whole number of at least *least*."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"a whole number of at least {least}, not {text!r:.40}")
        return number

    return read


def seconds(text: str) -> float:
    """Return the number of seconds between two polls."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"at least 0.1 seconds, and at most a day, not {text!r:.40}")
    return number


def age(text: str) -> float:
    """Return the seconds of ``"90s"``, ``"30m"``, ``"2h"``, ``"30d"`` or ``"1.5w"``."""
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"an age is a number and a unit (s, m, h, d, w), as in 2h or 30d, not {text!r:.40}"
        )
    length = float(found[1]) * _UNITS[found[2]]
    if length > _MAX_AGE:
        raise argparse.ArgumentTypeError(f"an age is at most 36500d, a hundred years, not {text!r:.40}")
    return length
