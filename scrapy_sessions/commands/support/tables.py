"""Tables: drawn with colours on a terminal, aligned lines everywhere else. No cell is truncated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import printable

__all__ = ["Lines", "print_table"]


class Lines:
    """Aligns rows page by page: no page waits for the next one.

    A column is as wide as its widest cell so far. *right* are the numbers of the columns that are aligned right.
    """

    def __init__(self, headers: Sequence[str], right: Iterable[int] = ()) -> None:
        self._headers: Sequence[str] | None = headers
        self._widths = [0] * len(headers)
        self._right = frozenset(right)
        self._set_form()

    def add(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return the lines of *rows*; before the first of them, the line of the headers."""
        if self._headers is not None:
            rows, self._headers = [self._headers, *rows], None
        cells = list(map(tuple, rows))
        lines = [self._form % row for row in cells]
        # One length per line instead of one per cell: only a cell that is wider than its column exceeds it.
        if max(map(len, lines), default=0) > self._width:
            self._widths = [
                max(width, *map(len, column))
                for width, column in zip(self._widths, zip(*cells, strict=True), strict=True)
            ]
            self._set_form()
            lines = [self._form % row for row in cells]
        return [line.rstrip() for line in lines]

    def _set_form(self) -> None:
        # For the % operator, because str.format() takes 1.5 times as long.
        self._form = "  ".join(
            f"%{'' if number in self._right else '-'}{width}s" for number, width in enumerate(self._widths)
        )
        self._width = sum(self._widths) + 2 * (len(self._widths) - 1)


def print_table(
    context: Context, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> None:
    """Print *rows* under *headers*, with escapes for what isn't printable."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if context.on_terminal:
        from scrapy_sessions.commands.support.terminal import draw_table  # noqa: PLC0415  # only for a terminal

        draw_table(context.console, headers, cells, right)
    else:
        context.write_lines(Lines(headers, right).add(cells))
