"""What a subcommand works with: its options, the settings, the store, and where to write."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from pydantic_core import to_json
from rich.console import Console
from scrapy.settings import Settings

from scrapy_sessions.commands.support.read_only import looking_store
from scrapy_sessions.commands.support.stdio import interruptible
from scrapy_sessions.commands.support.text import printable
from scrapy_sessions.models import SessionInfo
from scrapy_sessions.sessions.manager import SessionManager
from scrapy_sessions.settings import SessionsSettings, setting_of
from scrapy_sessions.storage import MemoryStore, SessionStore, SQLiteStore
from scrapy_sessions.storage.resolve import resolve_store

__all__ = ["CommandError", "Context", "as_json", "missing_store"]

_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\.[A-Z]\w*")


class CommandError(Exception):
    """Ends a subcommand with one line on standard error. Status 2: not done, as it was asked wrongly; 1: it failed."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the frame ends the command; rich would exit by itself, with a status that says failure

    def print(self, *objects: Any, **options: Any) -> None:
        # A name, a reason or a message may hold what a terminal obeys: whoever prints it needn't think of it.
        super().print(*(printable(each) if isinstance(each, str) else each for each in objects), **options)


class Context:
    """What a subcommand works with.

    ``out`` and ``err`` are consoles that take no markup: ids and values are printed as they are. ``options`` are the
    subcommand's, ``settings`` Scrapy's.
    """

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self.options = options
        self.settings = settings
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)
        self._manager: SessionManager | None = None

    @cached_property
    def session_settings(self) -> SessionsSettings:
        """The ``SESSIONS_*`` settings. Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`."""
        return SessionsSettings.from_settings(self.settings)

    @cached_property
    def store(self) -> SessionStore:
        """The store that ``--store`` names, else ``SESSIONS_STORE``, else the default one of the folder."""
        given = self.options.store
        if given is None:
            return resolve_store(url=setting_of(self.settings, "store"))
        # An import path ends in a class, which begins with a capital letter: "sessions.db" is a file.
        if "://" in given or (_CLASS_PATH.fullmatch(given) and not Path(given).exists()):
            return resolve_store(url=given)
        if not given:
            raise CommandError("--store needs a URL or the path of a file")
        return resolve_store(given)

    @property
    def manager(self) -> SessionManager:
        """The opened manager, of ``--namespace`` or of all."""
        if self._manager is None:
            raise RuntimeError("The manager isn't open: this subcommand needs no store")
        return self._manager

    def manager_of(self, namespace: str | None) -> SessionManager:
        """Return another manager on the same store, to be used with ``async with``."""
        return SessionManager(store=self.store, namespace=namespace, settings=self.session_settings)

    async def open(self, *, must_exist: bool = True, only_looks: bool = False) -> None:
        """Open store and manager. *only_looks*: one that can't be written will do.

        Raises :exc:`CommandError` if it *must_exist* and doesn't: to look at a store is no reason to make one.
        """
        if only_looks:
            self.store = looking_store(self.store)
        manager = self.manager_of(self.options.namespace)
        if must_exist:
            missing = missing_store(self.store)
            if missing:
                raise CommandError(missing, 1)
        await self.store.open()
        await manager.open()
        self._manager = manager

    async def close(self) -> None:
        """Close what :meth:`open` opened."""
        manager, self._manager = self._manager, None
        if manager is not None:
            try:
                await manager.close()
            finally:
                await self.store.close()

    async def info(self, session_id: str) -> SessionInfo:
        """Return what is known of *session_id*, in the one namespace it stands in.

        Raises :exc:`CommandError` if it isn't there, and :exc:`~scrapy_sessions.exceptions.AmbiguousSession`.
        """
        info = await self.manager.get_session_info(session_id)
        if info is None:
            where = f" in namespace {self.options.namespace!r}" if self.options.namespace else ""
            raise CommandError(f"There is no session {session_id!r}{where} in {self.store.location}", 1)
        return info

    def write(self, line: str) -> None:
        """Write *line* to standard output: no colours, no wrapping, what isn't printable written out."""
        self.write_lines((line,))

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write each of *lines* as :meth:`write` does. Much faster than ``out.print()``."""
        self.out.file.write("".join([f"{printable(line)}\n" for line in lines]))

    def write_json(self, value: Any, *, indent: int | None = None) -> None:
        """Write *value* to standard output, as :func:`as_json` has it."""
        self.out.file.write(f"{as_json(value, indent=indent)}\n")

    @contextmanager
    def progress(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show a bar on standard error, if that is a terminal. Yields what to call with how many more are done."""
        if not self.err.is_terminal:  # where old versions of rich end even a bar that isn't shown with a line break
            yield lambda n: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415  # for few

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=self.err,
            transient=True,
        ) as bar:
            task = bar.add_task(text, total=total)
            yield lambda n: bar.advance(task, n)

    def confirm(self, question: str) -> bool:
        """Ask, and return whether the answer was yes.

        Raises :exc:`CommandError` where nobody can be asked: without a terminal, ``--yes`` is needed.
        """
        if not sys.stdin.isatty():
            raise CommandError(f"{question} Nobody can be asked here: add --yes")
        with interruptible():
            self.err.print(f"{question} [y/N] ", end="", soft_wrap=True)
            return sys.stdin.readline().strip().lower() in {"y", "yes"}


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return *value* as JSON, with escapes of JSON for what isn't printable, but for its own line breaks."""
    text = to_json(value, indent=indent).decode()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def missing_store(store: SessionStore) -> str | None:
    """Say why there is nothing in *store* to look at, ``None`` if there may be."""
    if isinstance(store, SQLiteStore):
        try:
            empty = not Path(store.location).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return (
                f"There is no session store at {store.location}: a crawl makes it when it saves its first session. "
                f"Name another with --store or SESSIONS_STORE"
            )
        if empty:
            return (
                f"The file {store.location} is empty, and no session store yet: a crawl makes it one when it saves its "
                f"first session. Name another with --store or SESSIONS_STORE"
            )
    if isinstance(store, MemoryStore):
        return "The store is memory://, which ends with its process: there is nothing in it. Name another with --store"
    return None


def _console(file: IO[str]) -> Console:
    return _Console(file=file, markup=False, highlight=False, emoji=False)
