"""``scrapy sessions list``."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias

from pydantic_core import to_json

from scrapy_sessions.commands.context import CommandError, Context
from scrapy_sessions.commands.tables import Lines, print_table
from scrapy_sessions.commands.words import age, moment, parse_age
from scrapy_sessions.models import SessionInfo, Status
from scrapy_sessions.storage import ExpiryStore

__all__ = ["DESCRIPTION", "HELP", "add_arguments", "run"]

HELP = "list sessions, newest activity first"
DESCRIPTION = """
List sessions, without reading their records. STATUS is that of the login: "new" (not logged in, or without a login),
"ready" (logged in) or "retired". STATE says whether a spider would use the session: "active", "expired" (by its own
limits) or "retired". The exit code is 1 if there is none.

  scrapy sessions list --status ready
  scrapy sessions list --namespace shop --pool staff --newer-than 2h
  scrapy sessions list --jsonl | jq -r .session_id
"""

_PAGE = 2000  # sessions read at once: what is shown begins at once, and memory holds a page
_DRAWN = 200  # rows up to which a table is drawn: rich takes a second for some thousands
_HEADERS = ("ID", "NAMESPACE", "POOL", "STATUS", "STATE", "PAGES", "STARTED", "LAST ACTIVITY", "EXPIRES")
_RIGHT = (5,)
_STATES = ("active", "expired")


Entry: TypeAlias = tuple[SessionInfo, float | None]
"""One session of the list, and when it expires: UNIX seconds; ``None``: never, or not known by the store."""

_KEYS: dict[str, Callable[[Entry], Any]] = {
    "activity": lambda entry: -entry[0]["last_activity"],
    "started": lambda entry: -entry[0]["start_time"],
    "pages": lambda entry: -entry[0]["pages_visited"],
    "expires": lambda entry: float("inf") if entry[1] is None else entry[1],
    "id": lambda entry: (entry[0]["session_id"], entry[0]["namespace"]),
    "pool": lambda entry: (entry[0]["pool"] or "", entry[0]["session_id"]),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the filters, the order and the form."""
    parser.add_argument("--pool", metavar="NAME", help="only sessions of this pool")
    parser.add_argument(
        "--status",
        choices=("new", "ready", "retired", *_STATES),
        help='only sessions of this status, or, with "active" and "expired", of this state',
    )
    parser.add_argument("--older-than", metavar="AGE", type=parse_age, help="not used for longer than 2h, 30d, 1.5w")
    parser.add_argument("--newer-than", metavar="AGE", type=parse_age, help="used within the last 2h, 30d, 1.5w")
    parser.add_argument(
        "--sort",
        choices=tuple(_KEYS),
        default="activity",
        help="by newest activity (default) or start, most pages, next expiry, id or pool",
    )
    parser.add_argument("--reverse", action="store_true", help="in the opposite order")
    parser.add_argument("--limit", metavar="N", type=_positive, help="at most so many (default: all)")
    parser.add_argument("--after", metavar="ID", help="those after this session in the list: the next page")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as a JSON array")
    form.add_argument("--jsonl", action="store_true", help="as JSON objects, one a line")
    form.add_argument("--ids", action="store_true", help="the ids only, one a line")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


async def run(context: Context) -> int:
    """List, and return 1 if there is nothing to list."""
    options = context.options
    printer = _printer(context)
    shown, more = 0, None
    async for page in _pages(context):
        wanted = page if options.limit is None else page[: options.limit - shown]
        if wanted:
            printer.add(wanted)
            shown += len(wanted)
        if len(wanted) < len(page):
            more = wanted[-1][0]["session_id"] if wanted else more
            break
        if wanted:
            more = wanted[-1][0]["session_id"]
    else:
        more = None
    printer.end()
    if not shown:
        context.err.print("No session matches", soft_wrap=True)
    elif more is not None:
        context.err.print(f"There are more: add --after {shlex.quote(more)} for the next page", soft_wrap=True)
    return 0 if shown else 1


async def _pages(context: Context) -> AsyncIterator[list[Entry]]:
    """Yield what the options choose, in their order, page by page."""
    options = context.options
    if options.sort == "activity" and not options.reverse:
        after = await context.info(options.after) if options.after is not None else None
        async for page in _filtered(context, after):
            yield page
        return
    # Any other order takes them all first: the store knows this one.
    found = [entry async for page in _filtered(context, None) for entry in page]
    found.sort(key=_KEYS[options.sort], reverse=options.reverse)
    if options.after is not None:
        place = next((n for n, entry in enumerate(found) if entry[0]["session_id"] == options.after), None)
        if place is None:
            raise CommandError(f"There is no session {options.after!r} in this list to go on after", 1)
        found = found[place + 1 :]
    for start in range(0, len(found), _PAGE):
        yield found[start : start + _PAGE]


async def _filtered(context: Context, after: SessionInfo | None) -> AsyncIterator[list[Entry]]:
    """Yield the sessions after *after* that the filters let through, newest activity first."""
    options, now = context.options, time.time()
    since = None if options.newer_than is None else now - options.newer_than
    until = None if options.older_than is None else now - options.older_than
    state = options.status if options.status in _STATES else None
    while True:
        entries = page = await _read(context, now, None if state else options.status, after)
        if until is not None:
            entries = [entry for entry in entries if entry[0]["last_activity"] < until]
        if since is not None:
            entries = [entry for entry in entries if entry[0]["last_activity"] >= since]
        if state is not None:
            entries = [entry for entry in entries if _state(entry[0]) == state]
        if entries:
            yield entries
        if len(page) < _PAGE or (since is not None and page[-1][0]["last_activity"] < since):
            return
        after = page[-1][0]


async def _read(context: Context, now: float, status: Status | None, after: SessionInfo | None) -> list[Entry]:
    store, options = context.store, context.options
    if isinstance(store, ExpiryStore):
        return await store.list_with_expiry(
            now=now, namespace=options.namespace, pool=options.pool, status=status, limit=_PAGE, after=after
        )
    infos = await store.list(
        now=now, namespace=options.namespace, pool=options.pool, status=status, limit=_PAGE, after=after
    )
    return [(info, None) for info in infos]


def _state(info: SessionInfo) -> str:
    if info["is_active"]:
        return "active"
    return "retired" if info["status"] == "retired" else "expired"


def _printer(context: Context) -> _Printer:
    options = context.options
    if options.json:
        return _Array(context)
    if options.jsonl:
        return _JsonLines(context)
    if options.ids:
        return _Ids(context)
    return _Table(context)


class _Printer:
    """Prints page by page."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def add(self, page: list[Entry]) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Nothing comes after the last page."""


class _Ids(_Printer):
    def add(self, page: list[Entry]) -> None:
        self.context.write("\n".join(entry[0]["session_id"] for entry in page))


class _JsonLines(_Printer):
    def add(self, page: list[Entry]) -> None:
        self.context.write("\n".join(map(_as_json, page)))


class _Array(_Printer):
    _before = "[\n"

    def add(self, page: list[Entry]) -> None:
        self.context.out.file.write(self._before + ",\n".join(map(_as_json, page)))
        self._before = ",\n"

    def end(self) -> None:
        self.context.write("[]" if self._before == "[\n" else "\n]")


class _Table(_Printer):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._now = time.time()
        self._waiting: list[tuple[str, ...]] = []
        self._lines: Lines | None = None if context.out.is_terminal else Lines(_HEADERS, _RIGHT)

    def add(self, page: list[Entry]) -> None:
        rows = self._rows(page)
        if self._lines is None:
            self._waiting += rows
            if len(self._waiting) <= _DRAWN:
                return
            self._lines, rows, self._waiting = Lines(_HEADERS, _RIGHT), self._waiting, []
        self.context.write("\n".join(self._lines.add(rows)))

    def end(self) -> None:
        if self._waiting:
            print_table(self.context, _HEADERS, self._waiting, right=_RIGHT)

    def _rows(self, page: list[Entry]) -> list[tuple[str, ...]]:
        now = self._now
        return [
            (
                info["session_id"],
                info["namespace"],
                info["pool"] or "-",
                info["status"],
                _state(info),
                str(info["pages_visited"]),
                moment(info["start_time"]),
                age(info["last_activity"], now),
                "never" if expires_at is None else age(expires_at, now),
            )
            for info, expires_at in page
        ]


def _as_json(entry: Entry) -> str:
    info, expires_at = entry
    return to_json({**info, "expires_at": expires_at, "state": _state(info)}).decode()
