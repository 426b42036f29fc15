"""The parts of a section. ``templates/`` has a macro for each part, with the name of its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from scrapy_sessions.report.charts import Chart, Proportions
from scrapy_sessions.report.format import count, duration, moment

_ONE_LINE = 20  # characters of a text that is never wrapped

NOT_KNOWN = "\N{EN DASH}"


class Cell(NamedTuple):
    """The text of a cell, and the value by which its column is sorted."""

    shown: str
    value: float | str
    kind: Literal["", "time", "state"] = ""

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, float | int)

    @property
    def is_long(self) -> bool:
        return not self.kind and not self.is_number and len(self.shown) > _ONE_LINE


Row: TypeAlias = dict[str, Cell]
"""The cells by the headings of their columns, which all rows of a table share."""


class Table(NamedTuple):
    """A table with at least one row. If it has a *name*, it can be sorted and filtered, and is cards on a phone."""

    caption: str
    rows: Sequence[Row]
    name: str = ""


class Tiles(NamedTuple):
    """The main numbers: each a name, a number, and a comment."""

    entries: Sequence[tuple[str, str, str]]


class Legend(NamedTuple):
    """The legend of the next chart: each entry a CSS class and a name."""

    entries: Sequence[tuple[str, str]]


class Hint(NamedTuple):
    """A remark below a chart or table."""

    words: str


class Note(NamedTuple):
    """The text in place of a chart without data."""

    words: str


class Alert(NamedTuple):
    """What needs attention.

    :param entries: each a name, what is said of it, and since when (UNIX seconds)
    :param advice: what to do
    """

    title: str
    entries: Sequence[tuple[str, str, float | None]]
    advice: str = ""


class Details(NamedTuple):
    """A table that opens at a click on *summary*."""

    summary: str
    table: Table


Part: TypeAlias = Alert | Tiles | Legend | Hint | Note | Details | Table | Chart | Proportions


class Section(NamedTuple):
    """A section of the page, and its link in the navigation."""

    id: str
    link: str
    title: str
    wide: bool
    parts: Sequence[Part]


def text(shown: str, value: str | None = None) -> Cell:
    """Return a cell of text, sorted by *value* if it is given."""
    return Cell(shown, (shown if value is None else value).casefold())


def number(value: float | None, shown: str | None = None) -> Cell:
    """Return a cell of a number; ``None``: not known."""
    return Cell(NOT_KNOWN, -1.0) if value is None else Cell(count(value) if shown is None else shown, value)


def seconds(value: float | None) -> Cell:
    """Return a cell of a duration."""
    return number(value, None if value is None else duration(value))


def time(value: float | None) -> Cell:
    """Return a cell of a time in UTC. The page's script adds the reader's time."""
    return number(None) if value is None else Cell(moment(value), value, "time")


def pool_name(pool: str | None) -> Cell:
    """Return a cell of the name of a pool."""
    return text(pool if pool is not None else "(no pool)")


def details(summary: str, caption: str, rows: Sequence[Row]) -> list[Part]:
    """Return a table that opens at a click on *summary*, if it has rows."""
    return [Details(summary, Table(caption, rows))] if rows else []


def left_out(hint: str, others: int, what: str) -> list[Part]:
    """Return *hint*, with the number of *what* that are left out, if there are any."""
    if others:
        hint = f"{hint} {count(others)} other {what} are left out here, and counted in the totals.".strip()
    return [Hint(hint)] if hint else []
