"""The context of a subcommand: options, settings, store, input and output."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from scrapy.settings import Settings

from scrapy_sessions.commands.support.text import printable, styled
from scrapy_sessions.exceptions import CorruptRecord
from scrapy_sessions.storage import MemoryStore, SessionStore, SQLiteStore
from scrapy_sessions.storage.resolve import resolve_store
from scrapy_sessions.storage.sqlite.file import Places, open_to_read

if TYPE_CHECKING:  # their modules load pydantic, which many subcommands do not need
    from scrapy_sessions.models import PersistentSession, SessionInfo
    from scrapy_sessions.sessions.manager import SessionManager
    from scrapy_sessions.settings import SessionsSettings

STANDARD = "-"
"""The name of standard input or output in place of a file."""

_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\.[A-Z]\w*")
_LAYOUT = str.maketrans("", "", "\t\r\n")  # control characters that a terminal may print


class CommandError(Exception):
    """Ends a subcommand with one line on standard error. Exit code 2: a usage error; 1: the operation failed."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Context:
    """The context of a subcommand. ``options`` are the subcommand's, ``settings`` Scrapy's.

    ``afterwards`` is called when the store is closed and the event loop has ended. It returns an exit code, too.
    """

    def __init__(self, options: argparse.Namespace, settings: Settings) -> None:
        self.options = options
        self.settings = settings
        self.stdout = sys.stdout  # configure_logging() replaces sys.stdout if LOG_STDOUT is set
        self.stderr = sys.stderr
        self.afterwards: Callable[[], int] | None = None

    @cached_property
    def session_settings(self) -> SessionsSettings:
        """The ``SESSIONS_*`` settings. Raises :exc:`~scrapy_sessions.exceptions.SessionConfigurationError`."""
        from scrapy_sessions.settings import SessionsSettings  # noqa: PLC0415  # see TYPE_CHECKING above

        return SessionsSettings.from_settings(self.settings)

    @cached_property
    def store(self) -> SessionStore:
        """The store that ``--store`` names, else ``SESSIONS_STORE``, else the project's default store."""
        if self.options.store is not None:
            return self.store_of(self.options.store)
        url = self.settings["SESSIONS_STORE"] if "SESSIONS_STORE" in self._given() else None
        return resolve_store(url="sqlite://" if url is None else url, key=self._key)

    def store_of(self, given: str) -> SessionStore:
        """Return the store that an option names: by a URL, an import path, or the path of a file."""
        # The last part of an import path is a class, which begins with a capital letter: "sessions.db" is a file.
        if "://" in given or (_CLASS_PATH.fullmatch(given) and not Path(given).exists()):
            return resolve_store(url=given, key=self._key)
        if not given:
            raise CommandError("A store is named by a URL or the path of a file")
        return resolve_store(given, key=self._key)

    @property
    def store_url(self) -> str:
        """What ``--store`` names, as a value of ``SESSIONS_STORE``."""
        given: str = self.options.store
        store = self.store_of(given)
        is_file = isinstance(store, SQLiteStore) and not given.lower().startswith("sqlite:")
        return f"sqlite:///{Path(store.location).absolute()}" if is_file else given

    @property
    def _key(self) -> str | None:
        return self.session_settings.encryption_key if "SESSIONS_ENCRYPTION_KEY" in self._given() else None

    def _given(self) -> set[str]:
        """The names of the ``SESSIONS_*`` settings that are set. At default priority they belong to others."""
        names = (name for name in self.settings if str(name).startswith("SESSIONS_"))
        return {name for name in names if self.settings.getpriority(name)}

    @cached_property
    def manager(self) -> SessionManager:
        """The manager of ``--namespace``, or of all namespaces."""
        return self.manager_of(self.options.namespace)

    def manager_of(self, namespace: str | None) -> SessionManager:
        """Return another manager on the same store, to be used with ``async with``."""
        from scrapy_sessions.sessions.manager import SessionManager  # noqa: PLC0415  # see TYPE_CHECKING above

        return SessionManager(store=self.store, namespace=namespace, settings=self.session_settings)

    async def open(self, *, must_exist: bool = True, reads_only: bool = False) -> None:
        """Open the store. *reads_only*: this user need not be able to write to it.

        Raises :exc:`CommandError` if it *must_exist* and doesn't. Refuses bad settings and a bad namespace, too.
        """
        if reads_only:
            self.store = _read_only(self.store)
        if self._given() - {"SESSIONS_STORE"}:  # refuses bad settings; the store's are checked where they are used
            _ = self.session_settings
        if self.options.namespace is not None:
            from scrapy_sessions.models import check_session_id  # noqa: PLC0415  # see TYPE_CHECKING above

            check_session_id(self.options.namespace)
        missing = missing_store(self.store) if must_exist else None
        if missing:
            raise CommandError(missing, 1)
        await self.store.open()
        await self.store.check_key()

    async def close(self) -> None:
        """Close what was opened."""
        try:
            if "manager" in vars(self):
                await self.manager.close()
        finally:
            if "store" in vars(self):
                await self.store.close()

    async def info(self, session_id: str) -> SessionInfo:
        """Return the listing entry of *session_id*.

        Raises :exc:`CommandError` if there is none, and :exc:`~scrapy_sessions.exceptions.AmbiguousSession`.
        """
        info = await self.manager.get_session_info(session_id)
        if info is None:
            raise CommandError(f"There is no session {session_id!r}{self.where()}{await self.nearest(session_id)}", 1)
        return info

    async def nearest(self, session_id: str | None = None) -> str:
        """Suggest the namespace and pool, or else the id, that may be meant, of the sessions that were used last."""
        import difflib  # noqa: PLC0415  # for a mistake only

        found = await self.store.list(now=time.time(), limit=1000)
        guesses: list[str] = []
        for option in ("namespace", "pool"):
            given = getattr(self.options, option, None)
            known = {str(dict(info)[option]) for info in found if dict(info)[option] is not None}
            if given is not None and given not in known:
                guesses += [f"--{option} {shlex.quote(each)}" for each in difflib.get_close_matches(given, known, n=1)]
        if session_id is not None and not guesses:
            ids = {info["session_id"] for info in found if self.options.namespace in (None, info["namespace"])}
            guesses = [repr(each) for each in difflib.get_close_matches(session_id, ids, n=1)]
        return f"; did you mean {' '.join(guesses)}?" if guesses else ""

    async def record(self, session_id: str) -> PersistentSession:
        """Return the record of *session_id*, which is left as it is. Raises as :meth:`info`."""
        from scrapy_sessions.storage.base import Key  # noqa: PLC0415  # see TYPE_CHECKING above
        from scrapy_sessions.storage.codec import decode  # noqa: PLC0415  # see TYPE_CHECKING above

        info = await self.info(session_id)
        # Not by the manager, which quarantines a record that can't be read.
        row = await self.store.load(Key(info["namespace"], session_id))
        if row is None:
            raise CommandError(f"The session {session_id!r} was just deleted", 1)
        try:
            return decode(row, self.store.cipher)
        except CorruptRecord as e:
            raise CommandError(
                f"{e}. The record was left as it is. A spider that needs this session quarantines it", 1
            ) from e

    def where(self) -> str:
        """Return where sessions are looked for: ``" in namespace 'shop' in /srv/sessions.db"``."""
        namespace = f" in namespace {self.options.namespace!r}" if self.options.namespace else ""
        return f"{namespace} in {self.store.location}"

    async def pages(self, size: int = 500) -> AsyncIterator[list[SessionInfo]]:
        """Yield the sessions of ``--namespace`` and ``--pool``, newest activity first, page by page.

        A session that a crawl saves meanwhile moves to the front, before the current page: it isn't yielded twice.
        """
        options = self.options
        pages = self.store.pages(
            now=time.time(), namespace=options.namespace, pool=getattr(options, "pool", None), size=size
        )
        async for page in pages:
            yield [info for info, _ in page]

    @cached_property
    def on_terminal(self) -> bool:
        """Whether standard output is a terminal."""
        return self.stdout.isatty()

    @cached_property
    def width(self) -> int | None:
        """How many characters a line may have: those of the terminal, or ``COLUMNS``; ``None``: any number."""
        if self.on_terminal or os.environ.get("COLUMNS"):
            return shutil.get_terminal_size().columns
        return None

    @cached_property
    def colours(self) -> bool:
        """Whether to print colours: on a terminal, unless the environment decides otherwise."""
        if os.environ.get("NO_COLOR"):
            return False
        return bool(os.environ.get("FORCE_COLOR")) or (self.on_terminal and os.environ.get("TERM") != "dumb")

    def styled(self, text: str, style: str) -> str:
        """Return *text*, with escapes for what isn't printable, in *style* if colours are printed."""
        return styled(printable(text), style if self.colours else None)

    def write(self, line: str) -> None:
        """Write *line* to standard output, with escapes for what isn't printable."""
        self.write_lines((line,))

    def write_lines(self, lines: Iterable[str]) -> None:
        """Write each of *lines* as :meth:`write` does."""
        self.write_raw(map(printable, lines))

    def write_raw(self, lines: Iterable[str]) -> None:
        """Write each of *lines* with their control sequences. Nothing else in them may be unprintable."""
        self.stdout.write("".join([f"{line}\n" for line in lines]))

    def write_bytes(self, content: bytes, what: str) -> None:
        """Write *content* to standard output unchanged. *what* is its name in the error.

        Raises :exc:`CommandError` if it contains control characters and standard output is a terminal.
        """
        if self.on_terminal and not content.decode("utf-8", "surrogateescape").translate(_LAYOUT).isprintable():
            raise CommandError(
                f"The {what} contains control characters, which a terminal would obey: use a pipe or a file", 1
            )
        self.stdout.flush()
        self.stdout.buffer.write(content)
        self.stdout.buffer.flush()

    def write_json(self, value: Any, *, indent: int | None = None) -> None:
        """Write *value* to standard output, encoded by :func:`as_json`."""
        self.stdout.write(f"{as_json(value, indent=indent)}\n")

    def note(self, text: str) -> None:
        """Write *text* to standard error, with escapes for what isn't printable."""
        self.stderr.write(f"{printable(text)}\n")

    def progress(self, text: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        """Show a progress bar on standard error if that is a terminal. Yields a function to add to what is done."""
        if not self.stderr.isatty():
            return nullcontext(lambda done: None)
        from scrapy_sessions.commands.support.terminal import progress  # noqa: PLC0415  # see TYPE_CHECKING above

        return progress(self.stderr, text, total)

    def confirm(self, question: str) -> bool:
        """Ask *question*, and return whether the answer was yes.

        Raises :exc:`CommandError` without a terminal, where nobody can answer.
        """
        if not sys.stdin.isatty():
            raise CommandError(f"{question} There is no terminal to ask on: add --yes")
        with _interruptible():
            self.stderr.write(f"{printable(question)} [y/N] ")
            self.stderr.flush()
            return sys.stdin.readline().strip().lower() in {"y", "yes"}


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return *value* as JSON, with JSON's escapes for what isn't printable, except its own line breaks."""
    text = to_json(value, indent=indent).decode()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def missing_store(store: SessionStore) -> str | None:
    """Return why *store* can't contain a session; ``None`` if it can."""
    if isinstance(store, MemoryStore):
        return "The store is memory://, which ends with its process: it is empty. Name another store with --store"
    if not isinstance(store, SQLiteStore):
        return None
    try:
        if Path(store.location).stat().st_size:
            return None
        fault = f"The file {store.location} is empty, it is no session store yet"
    except (FileNotFoundError, NotADirectoryError):
        fault = f"There is no session store at {store.location}"
    return (
        f"{fault}: a crawl creates it when it saves its first session. Name another store with --store or "
        f"SESSIONS_STORE"
    )


def read_input(name: str) -> bytes:
    """Return the content of the file *name*, or of standard input. Raises :exc:`OSError`."""
    with _interruptible():  # for a named file too: it may be a pipe
        return sys.stdin.buffer.read() if name == STANDARD else Path(name).read_bytes()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let the first Ctrl-C end a read in the block, by :exc:`KeyboardInterrupt`."""
    # asyncio's own handler only cancels the task, which takes effect after the read.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _read_only(store: SessionStore) -> SessionStore:
    """Return *store*; if this user can read its file but not write to it, a store that only reads the file."""
    if not isinstance(store, SQLiteStore):
        return store
    file = Path(store.location)
    readable = os.access(file, os.R_OK)
    writable = os.access(file, os.W_OK) and os.access(file.resolve().parent, os.W_OK | os.X_OK)
    if writable or not readable:
        return store
    reading = _ReadOnlyStore(file)
    reading.cipher = store.cipher
    return reading


class _ReadOnlyStore(SQLiteStore):
    """Reads the file and creates none beside it. Methods that write raise StoreError."""

    async def epoch(self) -> str:
        return ""  # the files beside it come and go with the processes that write

    def _connect(self, path: Path, replaced: Places | None) -> sqlite3.Connection:
        return open_to_read(path, busy_timeout=self._busy_timeout, check=self._check_body)
