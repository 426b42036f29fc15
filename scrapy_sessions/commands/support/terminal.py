"""Progress bars and live tables, by rich. Imported only for these, because rich loads slowly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # handled by the runner; rich would exit with another status


def console(file: IO[str]) -> Console:
    """Return a console that prints ids and values without interpreting markup."""
    return _Console(file=file, markup=False, highlight=False, emoji=False)


@contextmanager
def progress(file: IO[str], text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a progress bar in *file*. Yields a function to call with how many more are done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(file), transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)
