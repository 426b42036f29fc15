"""Output on a terminal, by rich. Imported only if there is a terminal: rich takes a while to load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from scrapy_sessions.commands.support.text import STYLES

__all__ = ["console", "draw_table", "progress"]

_MAX_WIDTH = 10_000  # characters of a line


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # handled by the runner; rich would exit by itself, with the status of a failure


def console(file: IO[str]) -> Console:
    """Return a console that prints ids and values as they are: it interprets no markup."""
    return _Console(file=file, markup=False, highlight=False, emoji=False)


def draw_table(out: Console, headers: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int]) -> None:
    """Draw *rows* of printable cells; *right* are the numbers of the columns that are aligned right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, header in enumerate(headers):
        table.add_column(header, justify="right" if number in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    # As wide as its cells: a line that the terminal wraps can be read and copied, a truncated cell can't.
    widest = Measurement.get(out, out.options.update(max_width=_MAX_WIDTH), table).maximum
    width, out.width = out.width, max(widest, out.width)
    out.print(table, crop=False)
    out.width = width


@contextmanager
def progress(file: IO[str], text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar in *file*. Yields a function to call with how many more are done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(file), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)
