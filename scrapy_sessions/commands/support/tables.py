"""Tables: aligned lines, with colours on a terminal. No cell is truncated; columns are left out of a narrow one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scrapy_sessions.commands.support.context import Context
from scrapy_sessions.commands.support.text import STYLES, printable, styled


class Lines:
    """Aligns rows page by page: no page waits for the next one.

    A column is as wide as its widest cell so far. *right* are the numbers of the columns that are aligned right.

    :param width: characters that a line should not exceed; ``None``: there is no limit
    :param least: the headers of the columns that are left out if the first page exceeds it, the first ones first
    """

    def __init__(
        self,
        headers: Sequence[str],
        right: Iterable[int] = (),
        *,
        colours: bool = False,
        width: int | None = None,
        least: Sequence[str] = (),
    ) -> None:
        self._headers: Sequence[str] | None = headers
        self._widths = [0] * len(headers)
        self._right = frozenset(right)
        self._most = width
        self._least = least
        self._kept: Sequence[int] | None = None  # the numbers of the columns that are not left out; None: all
        self.left_out: list[str] = []
        """The headers of the columns that are left out."""
        self._styles = {**STYLES, **dict.fromkeys(headers, "bold")} if colours else {}
        self._set_form()

    def add(self, rows: Iterable[Sequence[str]]) -> list[str]:
        """Return the lines of *rows*, with escapes for what isn't printable. The first line is that of the headers."""
        cells = list(map(tuple, rows))
        if self._headers is not None:
            cells.insert(0, tuple(self._headers))
            self._leave_out(cells)
            self._headers = None
        if self._kept is not None:
            cells = [tuple(row[number] for number in self._kept) for row in cells]
        lines = [self._form % row for row in cells]
        plain = not self._styles and all(map(str.isascii, lines)) and all(map(str.isprintable, lines))
        # One length per line instead of one per cell: only a cell that is wider than its column exceeds it.
        if not plain or max(map(len, lines), default=0) > self._width:
            lines = self._align([tuple(map(printable, row)) for row in cells])
        return [line.rstrip() for line in lines]

    def _leave_out(self, cells: Sequence[Sequence[str]]) -> None:
        """Choose the columns to leave out, so that *cells* fit the width."""
        if self._most is None:
            return
        headers = cells[0]
        widths = {column[0]: max(len(printable(cell)) for cell in column) for column in zip(*cells, strict=True)}
        for header in self._least:
            if sum(widths.values()) + 2 * (len(widths) - 1) <= self._most:
                break
            if widths.pop(header, None) is not None:
                self.left_out.append(header)
        if self.left_out:
            self._kept = [number for number, header in enumerate(headers) if header in widths]
            self._right = frozenset(place for place, number in enumerate(self._kept) if number in self._right)
            self._widths = [0] * len(self._kept)
            self._set_form()

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
    context: Context,
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[int] = (),
    least: Sequence[str] = (),
) -> list[str]:
    """Print *rows* under *headers*, and return the headers of those columns *least* that do not fit the terminal."""
    lines = Lines(headers, right, colours=context.colours, width=context.width, least=least)
    context.write_raw(lines.add(rows))
    return lines.left_out


def note_left_out(context: Context, left_out: Iterable[str]) -> None:
    """Say which columns are left out, if there are any, and how to see them."""
    names = ", ".join(dict.fromkeys(left_out))
    if names:
        context.note(f"Left out, to fit {context.width} columns: {names}. A wider terminal or --json shows them")
