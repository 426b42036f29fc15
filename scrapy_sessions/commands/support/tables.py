"""Tables: aligned lines, with colours on a terminal. No cell is truncated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import STYLES, printable, styled


class Lines:
    """Aligns rows page by page: no page waits for the next one.

    A column is as wide as its widest cell so far. *right* are the numbers of the columns that are aligned right.
    """

    def __init__(self, headers: Sequence[str], right: Iterable[int] = (), *, colours: bool = False) -> None:
        self._headers: Sequence[str] | None = headers
        self._widths = [0] * len(headers)
        self._right = frozenset(right)
        self._styles = {**STYLES, **dict.fromkeys(headers, "bold")} if colours else {}
        self._set_form()

    def add(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Return the lines of *rows*, with escapes for what isn't printable. The first line is that of the headers."""
        cells = list(map(tuple, rows))
        if self._headers is not None:
            cells.insert(0, tuple(self._headers))
            self._headers = None
        lines = [self._form % row for row in cells]
        plain = not self._styles and all(map(str.isascii, lines)) and all(map(str.isprintable, lines))
        # One length per line instead of one per cell: only a cell that is wider than its column exceeds it.
        if not plain or max(map(len, lines), default=0) > self._width:
            lines = self._align([tuple(map(printable, row)) for row in cells])
        return [line.rstrip() for line in lines]

    def _align(self, cells: Sequence[Sequence[str]]) -> list[str]:
        """Widen the columns as needed, and return the lines of *cells*. Much slower than the % operator."""
        length = _cell_length if any(not cell.isascii() for row in cells for cell in row) else len
        widths = [max(map(length, column)) for column in zip(*cells, strict=True)]
        self._widths = list(map(max, self._widths, widths))
        self._set_form()
        lines = []
        for row in cells:
            parts = []
            for number, (cell, width) in enumerate(zip(row, self._widths, strict=True)):
                text, space = styled(cell, self._styles.get(cell)), " " * (width - length(cell))
                parts.append(space + text if number in self._right else text + space)
            lines.append("  ".join(parts))
        return lines

    def _set_form(self) -> None:
        # For the % operator, because str.format() takes 1.5 times as long.
        self._form = "  ".join(
            f"%{'' if number in self._right else '-'}{width}s" for number, width in enumerate(self._widths)
        )
        self._width = sum(self._widths) + 2 * (len(self._widths) - 1)


def _cell_length(text: str) -> int:
    from rich.cells import cell_len  # noqa: PLC0415  # only for characters that may be wide or combining

    return cell_len(text)


def print_table(
    context: Context, headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> None:
    """Print *rows* under *headers*."""
    context.write_raw(Lines(headers, right, colours=context.colours).add(rows))
