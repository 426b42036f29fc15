"""Tables: drawn by rich on a terminal, aligned lines everywhere else, where nothing is cut off and no colour shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import printable

__all__ = ["STYLES", "Lines", "print_table"]

_WIDEST = 10_000  # characters of a line

STYLES = {
    "active": "green",
    "expired": "yellow",
    "retired": "red",
    "ok": "green",
    "warning": "yellow",
    "wrong": "bold red",
}
"""The styles of cells that hold just this word."""


class Lines:
    """Aligns rows page by page: a column is as wide as its widest cell up to then, so that no page waits for the next.

    *right* are the columns, by their number, whose cells stand at the right.
    """

    def __init__(self, headers: Sequence[str], right: Iterable[int] = ()) -> None:
        self._headers: Sequence[str] | None = headers
        self._widths = [0] * len(headers)
        self._right = frozenset(right)
        self._set_form()

    def add(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the lines of *rows*, after that of the headers if they are the first."""
        if self._headers is not None:
            rows, self._headers = [self._headers, *rows], None
        cells = list(map(tuple, rows))
        lines = [self._form % row for row in cells]
        # One length a line instead of one a cell: it is exceeded only if a cell is wider than its column.
        if max(map(len, lines), default=0) > self._width:
            self._widen(cells)
            lines = [self._form % row for row in cells]
        return [line.rstrip() for line in lines]

    def _widen(self, rows: Sequence[Sequence[str]]) -> None:
        self._widths = [
            max(width, *map(len, column)) for width, column in zip(self._widths, zip(*rows, strict=True), strict=True)
        ]
        self._set_form()

    def _set_form(self) -> None:
        # Not for str.format(), which takes half as long again.
        self._form = "  ".join(
            f"%{'' if number in self._right else '-'}{width}s" for number, width in enumerate(self._widths)
        )
        self._width = sum(self._widths) + 2 * (len(self._widths) - 1)


def print_table(
    context: Context, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> None:
    """Print *rows* under *headers*. Cells are printed as they are, what isn't printable in them written out."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not context.out.is_terminal:
        for line in Lines(headers, right).add(cells):
            context.write(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number in right else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    # As wide as it is: cells broken into pieces can neither be read nor copied, lines that the terminal wraps can.
    widest = Measurement.get(context.out, context.out.options.update(max_width=_WIDEST), table).maximum
    width = context.out.width
    context.out.width = max(widest, width)
    context.out.print(table, crop=False)
    context.out.width = width
