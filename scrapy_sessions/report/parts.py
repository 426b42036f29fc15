"""What a section of the page is made of. ``templates/`` has a macro for each part, named after its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from scrapy_sessions.report.charts import Bars, Curves, Lanes, Proportions
from scrapy_sessions.report.format import count
from scrapy_sessions.report.tables import Row, Table

__all__ = ["Details", "Hint", "Legend", "Note", "Part", "Section", "Tiles", "details", "left_out"]


class Tiles(NamedTuple):
    """The main numbers: each a name, a figure, and a few words."""

    entries: Sequence[tuple[str, str, str]]


class Legend(NamedTuple):
    """The names of the colours in the chart below: each a class and a name."""

    entries: Sequence[tuple[str, str]]


class Hint(NamedTuple):
    """Small print below a chart or table."""

    words: str


class Note(NamedTuple):
    """The text in place of a chart that has nothing to show."""

    words: str


class Details(NamedTuple):
    """A table that opens at a click on *summary*."""

    summary: str
    table: Table


Part: TypeAlias = Tiles | Legend | Hint | Note | Details | Table | Bars | Curves | Lanes | Proportions


class Section(NamedTuple):
    """A section of the page, and its link in the navigation."""

    id: str
    link: str
    title: str
    wide: bool
    parts: Sequence[Part]


def details(summary: str, caption: str, rows: Sequence[Row]) -> list[Part]:
    """Return a table that opens at a click on *summary*, if it has rows."""
    return [Details(summary, Table(caption, rows))] if rows else []


def left_out(hint: str, number: int, what: str) -> list[Part]:
    """Return *hint*, with how many others of *what* are left out, if there are any."""
    if number:
        hint = f"{hint} {count(number)} other {what} are left out here, and counted in the totals.".strip()
    return [Hint(hint)] if hint else []
