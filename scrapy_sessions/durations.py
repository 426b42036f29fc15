"""Durations as settings take them."""

from __future__ import annotations

import re

__all__ = ["in_seconds"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = r"([0-9]+(?:\.[0-9]+)?) ?([smhd])"


def in_seconds(value: object) -> object:
    """Return the seconds of a *value* like ``"90s"``, ``"30m"``, ``"12h"`` or ``"3d"``, and any other value as it is.

    Raises :exc:`ValueError` for a text that is neither such a duration nor a number.
    """
    if not isinstance(value, str):
        return value
    found = re.fullmatch(_DURATION, value.strip())
    if found is not None:
        return float(found[1]) * _UNITS[found[2]]
    try:
        float(value)
    except ValueError:
        raise ValueError("seconds, or a text like '30m', '12h' or '3d', are expected") from None
    return value
