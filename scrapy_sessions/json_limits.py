"""The JSON that a record may contain. One rule for writing and reading: what can be written can be read back."""

from __future__ import annotations

import math
from collections.abc import Iterable

MAX_DEPTH = 100
"""How many lists and dicts may be nested in each other. pydantic's parser reads 200 levels, those of the record too."""

MAX_DIGITS = 640
"""How many digits an integer may have. Each Python reads that many, whatever ``sys.set_int_max_str_digits()`` says."""

MAX_SIZE = 64 * 1024 * 1024
"""How many bytes a record may have. SQLite and Redis refuse values that are several times as large."""

MAX_COUNT = 2**53 - 1
"""The largest count. The columns of a store, and every reader of JSON, take it exactly."""

_TOO_LARGE: int = 10**MAX_DIGITS


def fault_of(value: object, depth: int = 0) -> str | None:
    """Return why *value*, at *depth* levels of nesting, can't be stored as JSON, ``None`` if it can.

    The answer quotes nothing of *value*.
    """
    if isinstance(value, str):
        return None if value.isascii() or _is_text(value) else "it contains half a character (a lone surrogate)"
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        if -_TOO_LARGE < value < _TOO_LARGE:
            return None
        return f"it contains a number of more than {MAX_DIGITS} digits"
    if isinstance(value, float):
        return None if math.isfinite(value) else "it contains a number that is infinite or NaN"
    if not isinstance(value, dict | list | tuple):
        return f"it contains something that isn't JSON ({type(value).__name__})"
    if depth >= MAX_DEPTH:
        return f"it is nested more than {MAX_DEPTH} levels deep"
    if not isinstance(value, dict):
        return _first_fault(value, depth + 1)
    for key in value:
        if not isinstance(key, str):
            return f"it contains a dict with a key that isn't a string ({type(key).__name__})"
    return _first_fault(value, depth + 1) or _first_fault(value.values(), depth + 1)


def _first_fault(values: Iterable[object], depth: int) -> str | None:
    for value in values:
        fault = fault_of(value, depth)
        if fault is not None:
            return fault
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
