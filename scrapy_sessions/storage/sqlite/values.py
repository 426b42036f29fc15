"""Values that this package has never written: SQLite stores any type in any column, and another program may have."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

_TOGETHER = 500  # rows that are turned into columns at once: more don't fit the processor's cache
_LONGEST = 10_000
_LONGEST_NAME = 255
_STATUSES = frozenset({"new", "ready", "retired"})


class Column(NamedTuple):
    """What a column contains: values of *types*, of which *fits* is true for all together."""

    types: frozenset[type]
    fits: Callable[[Sequence[Any]], bool] = lambda values: True


class Malformed(Exception):
    """Rows contain values that can't be used. ``rowids`` are theirs, ``column`` is the first one at fault."""

    def __init__(self, rowids: list[int], column: str) -> None:
        super().__init__(column)
        self.rowids = rowids
        self.column = column


def is_undecodable(error: sqlite3.Error) -> bool:
    """Whether *error* was raised for text that isn't UTF-8. Its message quotes the text."""
    return "Could not decode to UTF-8" in str(error)


def decoded(text: bytes) -> str:
    """Return *text*, a surrogate for each byte that isn't UTF-8, as the ``text_factory`` of a connection."""
    return text.decode("utf-8", "surrogateescape")


def _are_text(values: Sequence[str | None]) -> bool:
    given = [value for value in values if value]
    try:
        "".join(given).encode()
    except UnicodeEncodeError:  # see decoded()
        return False
    return max(map(len, given), default=0) <= _LONGEST


def _are_names(values: Sequence[str]) -> bool:
    return max(map(len, values)) <= _LONGEST_NAME and "".join(values).isprintable()


_NULL = type(None)
TEXT = Column(frozenset({str, _NULL}), _are_text)
NAME = Column(frozenset({str}), _are_names)
STATUS = Column(frozenset({str}), _STATUSES.issuperset)
REASON = Column(frozenset({str}), frozenset({"idle_timeout", "max_age", "max_uses"}).issuperset)
TIME = Column(frozenset({float, _NULL}))
NUMBER = Column(frozenset({float}))
COUNT = Column(frozenset({int}), lambda values: min(values) >= 0)


def check_rows(found: Sequence[tuple[Any, ...]], columns: dict[str, Column]) -> None:
    """Raise :exc:`Malformed` if the rows of *found*, whose last value is their rowid, have other values than *columns*.

    It goes column by column, which takes a tenth of the time of a call for each row.
    """
    if found and (wrong := wrong_column(found, columns)):
        raise Malformed([row[-1] for row in found if wrong_column([row], columns)], wrong)


def wrong_column(found: Sequence[tuple[Any, ...]], columns: dict[str, Column]) -> str:
    """Return the first of *columns* with a value in *found* that doesn't fit, or ``""``."""
    for start in range(0, len(found), _TOGETHER):
        part = found[start : start + _TOGETHER]
        for (name, column), values in zip(columns.items(), zip(*part, strict=True), strict=False):
            if not (column.types.issuperset(map(type, values)) and column.fits(values)):
                return name
    return ""
