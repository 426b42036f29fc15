"""``scrapy sessions list``."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeAlias

from scrapy_sessions.commands.support.arguments import whole_number
from scrapy_sessions.commands.support.context import CommandError, Context, as_json
from scrapy_sessions.commands.support.tables import Lines, print_table
from scrapy_sessions.commands.support.text import age, moment, parse_age, printable
from scrapy_sessions.models import SessionInfo, Status

__all__ = ["DESCRIPTION", "HELP", "ONLY_LOOKS", "add_arguments", "run"]

HELP = "list sessions, newest activity first"
DESCRIPTION = """
List sessions, without reading their records. STATUS is that of the login: "new" (not logged in, or without a login),
"ready" (logged in) or "retired". STATE says whether a spider would use the session: "active", "expired" (by its own
limits) or "retired". The exit code is 1 if there is none.

  scrapy sessions list --status ready
  scrapy sessions list --namespace shop --pool staff --newer-than 2h
  scrapy sessions list --jsonl | jq -r .session_id
"""

ONLY_LOOKS = True

_PAGE = 2000  # sessions read at once: what is shown begins at once, and memory holds a page
_DRAWN = 200  # rows up to which a table is drawn: rich takes a second for some thousands
_HEADERS = ("ID", "NAMESPACE", "POOL", "STATUS", "STATE", "PAGES", "STARTED", "LAST ACTIVITY", "EXPIRES")
_RIGHT = (5,)
_STATES = ("active", "expired")


Entry: TypeAlias = tuple[SessionInfo, float | None]
"""One session of the list, and when it expires: UNIX seconds; ``None``: never."""

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
    parser.add_argument("--limit", metavar="N", type=whole_number(1), help="at most so many (default: all)")
    parser.add_argument(
        "--after",
        metavar="[NAMESPACE/]ID",
        help="those after this session in the list: the next page, as the end of a page that was cut says it",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as a JSON array")
    form.add_argument("--jsonl", action="store_true", help="as JSON objects, one a line")
    form.add_argument("--ids", action="store_true", help="the ids only, one a line")


async def run(context: Context) -> int:
    """List, and return 1 if there is nothing to list."""
    options = context.options
    printer = _printer(context)
    shown = 0
    last: SessionInfo | None = None
    cut = False
    async for page in _pages(context):
        wanted = page if options.limit is None else page[: options.limit - shown]
        if wanted:
            printer.add(wanted)
            shown, last = shown + len(wanted), wanted[-1][0]
        cut = len(wanted) < len(page)
        if cut:
            break
    printer.end()
    if last is None:
        context.err.print("No session matches", soft_wrap=True)
    elif cut:
        context.err.print(f"There are more: add {_going_on(last)} for the next page", soft_wrap=True)
    return 0 if shown else 1


def _going_on(last: SessionInfo) -> str:
    """Return the option that goes on after *last*, as it can be typed."""
    place = _place(last)
    # The other way of writing it, because argparse takes a value that begins with a dash for an option.
    return f"--after={shlex.quote(place)}" if place.startswith("-") else f"--after {shlex.quote(place)}"


def _place(info: SessionInfo) -> str:
    # A slash in the namespace is quoted, so that the first one ends it: an id may hold slashes.
    return f"{info['namespace'].replace('%', '%25').replace('/', '%2F')}/{info['session_id']}"


def _after(place: str, known: Iterable[SessionInfo]) -> SessionInfo | None:
    """Return that of *known* which *place* means: as :func:`_place` writes it, else as an id that stands once.

    Raises :exc:`CommandError` for an id that stands in several namespaces.
    """
    named: list[SessionInfo] = []
    for info in known:
        if _place(info) == place:
            return info
        if info["session_id"] == place:
            named.append(info)
    if len(named) > 1:
        places = ", ".join(sorted(map(_place, named)))
        raise CommandError(f"--after {place!r} stands in {len(named)} namespaces: name one of {places}")
    return named[0] if named else None


async def _found(context: Context, place: str) -> SessionInfo | None:
    """As :func:`_after`, of all that the store knows and ``--namespace`` lets through."""
    now, namespace = time.time(), context.options.namespace
    known = await context.store.find(place, now=now)
    _, slash, session_id = place.partition("/")
    if slash:
        known += await context.store.find(session_id, now=now)
    return _after(place, (info for info in known if namespace in (None, info["namespace"])))


async def _pages(context: Context) -> AsyncIterator[list[Entry]]:
    """Yield what the options choose, in their order, page by page."""
    options = context.options
    if options.sort == "activity" and not options.reverse:
        after = None if options.after is None else await _found(context, options.after)
        if after is None and options.after is not None:
            raise CommandError(f"There is no session {options.after!r} to go on after", 1)
        async for page in _filtered(context, after):
            yield page
        return
    # Any other order takes them all first: the store knows this one.
    found = [entry async for page in _filtered(context, None) for entry in page]
    found.sort(key=_KEYS[options.sort], reverse=options.reverse)
    if options.after is not None:
        infos = [info for info, _ in found]
        last = _after(options.after, infos)
        if last is None:
            raise CommandError(f"There is no session {options.after!r} in this list to go on after", 1)
        found = found[infos.index(last) + 1 :]
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
    return await store.list_with_expiry(
        now=now, namespace=options.namespace, pool=options.pool, status=status, limit=_PAGE, after=after
    )


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
        self.context.write_lines(entry[0]["session_id"] for entry in page)


class _JsonLines(_Printer):
    def add(self, page: list[Entry]) -> None:
        self.context.write_lines(map(_as_json, page))


class _Array(_Printer):
    _before = "[\n"

    def add(self, page: list[Entry]) -> None:
        self.context.out.file.write(self._before + ",\n".join(map(_as_json, page)))
        self._before = ",\n"

    def end(self) -> None:
        self.context.out.file.write("[]\n" if self._before == "[\n" else "\n]\n")


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
        self.context.write_lines(self._lines.add(rows))

    def end(self) -> None:
        if self._waiting:
            print_table(self.context, _HEADERS, self._waiting, right=_RIGHT)

    def _rows(self, page: list[Entry]) -> list[tuple[str, ...]]:
        now = self._now
        return [
            (
                info["session_id"],
                info["namespace"],
                printable(info["pool"] or "-"),
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
    return as_json({**info, "expires_at": expires_at, "state": _state(info)})
