"""List sessions, hardly reading any of their records. STATUS is the status of the login:
"new" (not logged in, or without a login), "ready" (logged in) or "retired".
STATE shows whether a spider would use the session: "active", "expired" (by its
own limits) or "retired". Some columns are optional: FAILED LOGINS (in the last 30
days), if there are any; RESTS (until when, after a budget is used up), if one of
the first 1000 sessions rests; REASON (why it was retired), with --status retired.
A terminal that is too narrow leaves columns out, in this order: STARTED, PAGES,
STATUS, EXPIRES, NAMESPACE, RESTS, FAILED LOGINS, LAST ACTIVITY, POOL; a line below
names them, and --json has all. The exit code is 1 if no session matches.

  scrapy sessions list --status ready
  scrapy sessions list --namespace shop --pool staff --newer-than 2h
  scrapy sessions list --jsonl | jq -r .session_id
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from scrapy_sessions.analytics.model import FOLDED, HOUR
from scrapy_sessions.commands.support import argument_types as types
from scrapy_sessions.commands.support.context import CommandError, Context, as_json
from scrapy_sessions.commands.support.tables import Lines, note_left_out
from scrapy_sessions.commands.support.text import age, moment
from scrapy_sessions.exceptions import CorruptRecord, StoreError
from scrapy_sessions.storage.abilities import AnalyticsStore
from scrapy_sessions.storage.base import Key, Row

if TYPE_CHECKING:  # its module loads pydantic's models, which a list does without
    from scrapy_sessions.models import SessionInfo

HELP = "list sessions, newest activity first"
READS_ONLY = True

_PAGE = 2000  # sessions read at once: the first lines appear soon, and memory contains one page
_HEADERS = ("ID", "NAMESPACE", "POOL", "STATUS", "STATE", "PAGES", "STARTED", "LAST ACTIVITY", "EXPIRES")
_LEAST = ("STARTED", "PAGES", "STATUS", "EXPIRES", "NAMESPACE", "RESTS", "FAILED LOGINS", "LAST ACTIVITY", "POOL")
"""The columns that a narrow terminal leaves out, the first ones first."""
_FAILED = "FAILED LOGINS"
_RESTS = "RESTS"
_LOOKED_AT = 1000  # sessions whose records are read for it
_LONGEST_REST = 25 * HOUR
_REASON = "REASON"
_RIGHT = frozenset({"PAGES", _FAILED})
_STATES = ("active", "expired")

Entry: TypeAlias = tuple["SessionInfo", float | None]
"""A session, and when it expires: UNIX seconds; ``None``: never."""

_KEYS: dict[str, Callable[[Entry], Any]] = {
    "activity": lambda entry: -entry[0]["last_activity"],
    "started": lambda entry: -entry[0]["start_time"],
    "pages": lambda entry: -entry[0]["pages_visited"],
    "expires": lambda entry: float("inf") if entry[1] is None else entry[1],
    "id": lambda entry: (entry[0]["session_id"], entry[0]["namespace"]),
    "pool": lambda entry: (entry[0]["pool"] or "", entry[0]["session_id"]),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", help="only sessions of this pool")
    parser.add_argument(
        "--status",
        choices=("new", "ready", "retired", *_STATES),
        help='only sessions with this status, or, for "active" and "expired", in this state',
    )
    parser.add_argument("--older-than", metavar="AGE", type=types.age, help="not used for longer than 2h, 30d, 1.5w")
    parser.add_argument("--newer-than", metavar="AGE", type=types.age, help="used within the last 2h, 30d, 1.5w")
    parser.add_argument(
        "--sort",
        choices=tuple(_KEYS),
        default="activity",
        help="by newest activity (default) or start, most pages, next expiry, id or pool",
    )
    parser.add_argument("--reverse", action="store_true", help="in reverse order")
    parser.add_argument("--limit", metavar="N", type=types.whole_number(1), help="at most N sessions (default: all)")
    parser.add_argument(
        "--after",
        metavar="ID",
        help="only sessions after this one in the list: the next page. ID is NAMESPACE/ID if several namespaces "
        "contain the id",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as a JSON array")
    form.add_argument("--jsonl", action="store_true", help="as JSON objects, one per line")
    form.add_argument("--ids", action="store_true", help="only the ids, one per line")
    # For completion: the distinct values of a field, one per line.
    form.add_argument("--values", choices=("session_id", "namespace", "pool"), help=argparse.SUPPRESS)


async def run(context: Context) -> int:
    """List, and return 1 if there is nothing to list."""
    options = context.options
    failed = await _failed_logins(context)
    print_page: Callable[[Sequence[Entry], Mapping[Key, str]], object] | None = None
    rests: dict[Key, float] = {}
    shown = 0
    last: SessionInfo | None = None
    cut = False
    left_out: list[str] = []
    async for page in _pages(context):
        wanted = page if options.limit is None else page[: options.limit - shown]
        if wanted:
            if print_page is None:
                rests = await _rests(context, wanted)
                print_page = _printer(context, failed, rests, left_out)
            elif options.json or options.jsonl:  # else it is known what columns there are
                rests.update(await _rests(context, wanted))
            print_page(wanted, await _reasons(context, wanted))
            shown, last = shown + len(wanted), wanted[-1][0]
        cut = len(wanted) < len(page)
        if cut:
            break
    if options.json:
        context.stdout.write("\n]\n" if shown else "[]\n")
    note_left_out(context, left_out)
    if last is None:
        context.note(f"No session matches{await context.nearest()}")
    elif cut:
        place = _place(last)
        # argparse takes a separate value that begins with a dash for an option.
        option = f"--after{'=' if place.startswith('-') else ' '}{shlex.quote(place)}"
        context.note(f"There are more sessions: add {option} for the next page")
    return 0 if shown else 1


def _place(info: SessionInfo) -> str:
    # A slash in the namespace is quoted, so that the first slash ends the namespace: an id may contain slashes.
    return f"{info['namespace'].replace('%', '%25').replace('/', '%2F')}/{info['session_id']}"


def _after(place: str, known: Iterable[SessionInfo]) -> SessionInfo | None:
    """Return the session of *known* that *place* names: as :func:`_place` writes it, else by an unambiguous id."""
    named: list[SessionInfo] = []
    for info in known:
        if _place(info) == place:
            return info
        if info["session_id"] == place:
            named.append(info)
    if len(named) > 1:
        places = ", ".join(sorted(map(_place, named)))
        raise CommandError(f"The session {place!r} is in {len(named)} namespaces: name one of {places}")
    return named[0] if named else None


async def _found(context: Context, place: str) -> SessionInfo | None:
    """As :func:`_after`, of all sessions in the store and ``--namespace``."""
    now, namespace = time.time(), context.options.namespace
    known = await context.store.find(place, now=now)
    _, slash, session_id = place.partition("/")
    if slash:
        known += await context.store.find(session_id, now=now)
    return _after(place, (info for info in known if namespace in (None, info["namespace"])))


async def _pages(context: Context) -> AsyncIterator[list[Entry]]:
    """Yield the selected sessions in the selected order, page by page."""
    options = context.options
    if options.sort == "activity" and not options.reverse:
        after = None if options.after is None else await _found(context, options.after)
        if after is None and options.after is not None:
            raise CommandError(f"There is no session {options.after!r} to list from", 1)
        async for page in _filtered(context, after):
            yield page
        return
    # The store lists by activity only: any other order needs all sessions first.
    found = [entry async for page in _filtered(context, None) for entry in page]
    found.sort(key=_KEYS[options.sort], reverse=options.reverse)
    if options.after is not None:
        infos = [info for info, _ in found]
        last = _after(options.after, infos)
        if last is None:
            raise CommandError(f"There is no session {options.after!r} in this list to list from", 1)
        found = found[infos.index(last) + 1 :]
    for start in range(0, len(found), _PAGE):
        yield found[start : start + _PAGE]


async def _filtered(context: Context, after: SessionInfo | None) -> AsyncIterator[list[Entry]]:
    """Yield the sessions after *after* that pass the filters, newest activity first."""
    options, now = context.options, time.time()
    since = None if options.newer_than is None else now - options.newer_than
    until = None if options.older_than is None else now - options.older_than
    state = options.status if options.status in _STATES else None
    pages = context.store.pages(
        now=now,
        namespace=options.namespace,
        pool=options.pool,
        status=None if state else options.status,
        after=after,
        size=_PAGE,
    )
    async for page in pages:
        entries = page
        if until is not None:
            entries = [entry for entry in entries if entry[0]["last_activity"] < until]
        if since is not None:
            entries = [entry for entry in entries if entry[0]["last_activity"] >= since]
        if state is not None:
            entries = [entry for entry in entries if _state(entry[0]) == state]
        if entries:
            yield entries
        if since is not None and page[-1][0]["last_activity"] < since:
            return


def _state(info: SessionInfo) -> str:
    if info["is_active"]:
        return "active"
    return "retired" if info["status"] == "retired" else "expired"


async def _failed_logins(context: Context) -> Counter[Key]:
    """Return how many logins of each session failed, as far as they are counted; nothing where they are not printed."""
    options, store = context.options, context.store
    failed: Counter[Key] = Counter()
    if options.ids or options.values or not isinstance(store, AnalyticsStore):
        return failed
    try:
        # The sums are quick to read, and in most hours no login failed.
        sums = await store.hour_counts(options.namespace, by_session=False)
        for hour in sorted({row.hour for row in sums if row.login_failures}):
            for row in await store.hour_counts(options.namespace, hour, hour + HOUR):
                if row.login_failures and row.session_id != FOLDED:
                    failed[Key(row.namespace, row.session_id)] += row.login_failures
    except StoreError as e:  # the sessions themselves can be listed
        context.note(f"The failed logins can't be read: {e}")
    return failed


async def _rests(context: Context, page: Sequence[Entry]) -> dict[Key, float]:
    """Return until when those of the first sessions of *page* rest that do (UNIX seconds); of all, for JSON.

    Reads the records of those that may: they were used within a day.
    """
    options, now = context.options, time.time()
    if options.ids or options.values:
        return {}
    most = None if options.json or options.jsonl else _LOOKED_AT
    used = (info for info, _ in page if info["is_active"] and info["last_activity"] > now - _LONGEST_REST)
    keys = [Key(info["namespace"], info["session_id"]) for info in islice(used, most)]
    rests = {}
    try:
        rows = await context.store.load_many(keys) if keys else []
    except StoreError as e:  # the sessions themselves can be listed
        context.note(f"The budgets can't be read: {e}")
        return {}
    for row in rows:
        until = None if row is None else _rests_until(row, context)
        if row is not None and until is not None and until > now:
            rests[row.key] = until
    return rests


def _rests_until(row: Row, context: Context) -> float | None:
    from scrapy_sessions.storage.codec import decode, in_plain  # noqa: PLC0415  # see TYPE_CHECKING above

    try:
        row = in_plain(row, context.store.cipher)
        return decode(row).rests_until if b'"budget_used":{' in row.body else None
    except StoreError:  # a record that can't be read says nothing
        return None


async def _reasons(context: Context, page: Sequence[Entry]) -> dict[Key, str]:
    """Return why the sessions of *page* were retired, where that is printed. Reads the records of these only."""
    options = context.options
    if not (options.json or options.jsonl or (options.status == "retired" and not (options.ids or options.values))):
        return {}
    keys = [Key(info["namespace"], info["session_id"]) for info, _ in page if info["status"] == "retired"]
    if not keys:
        return {}
    rows = await context.store.load_many(keys)
    return {key: _reason(row, context) for key, row in zip(keys, rows, strict=True)}


def _reason(row: Row | None, context: Context) -> str:
    from scrapy_sessions.storage.codec import decode  # noqa: PLC0415  # see TYPE_CHECKING above

    try:
        return "" if row is None else decode(row, context.store.cipher).retired_reason or ""
    except CorruptRecord:
        return "its record can't be read"


def _printer(
    context: Context, failed: Mapping[Key, int], rests: Mapping[Key, float], left_out: list[str]
) -> Callable[[Sequence[Entry], Mapping[Key, str]], object]:
    """Return a function that prints a page of sessions in the selected form, given the reasons of the retired ones.

    It sets *left_out* to the headers of the columns that do not fit the terminal.
    """
    options, now = context.options, time.time()
    if options.json:
        before = chain(("[\n",), repeat(",\n"))
        return lambda page, reasons: context.stdout.write(
            next(before) + ",\n".join(_as_json(entry, failed, rests, reasons) for entry in page)
        )
    if options.jsonl:
        return lambda page, reasons: context.write_lines(_as_json(entry, failed, rests, reasons) for entry in page)
    if options.ids:
        return lambda page, _: context.write_lines(entry[0]["session_id"] for entry in page)
    if options.values:
        known: set[Any] = {None}

        def print_new(page: Sequence[Entry], _: Mapping[Key, str]) -> None:
            found: set[Any] = {dict(info)[options.values] for info, _ in page} - known
            known.update(found)
            context.write_lines(sorted(found))

        return print_new
    more = {_FAILED: bool(failed), _RESTS: bool(rests), _REASON: options.status == "retired"}
    headers = [*_HEADERS, *(header for header, is_there in more.items() if is_there)]
    right = [number for number, header in enumerate(headers) if header in _RIGHT]
    lines = Lines(headers, right, colours=context.colours, width=context.width, least=_LEAST)

    def print_rows(page: Sequence[Entry], reasons: Mapping[Key, str]) -> None:
        rows: Iterable[tuple[str, ...]] = (_row(entry, now) for entry in page)
        if len(headers) > len(_HEADERS):
            rows = (
                _with_details(entry, row, failed, rests, reasons, headers, now)
                for entry, row in zip(page, rows, strict=True)
            )
        context.write_raw(lines.add(rows))
        left_out[:] = lines.left_out

    return print_rows


def _with_details(
    entry: Entry,
    row: tuple[str, ...],
    failed: Mapping[Key, int],
    rests: Mapping[Key, float],
    reasons: Mapping[Key, str],
    headers: Sequence[str],
    now: float,
) -> tuple[str, ...]:
    """Return *row* with the cells of those *headers* that are not in every list."""
    key = Key(entry[0]["namespace"], entry[0]["session_id"])
    rest = age(rests[key], now) if key in rests else ""
    more = {_FAILED: str(failed.get(key, 0)), _RESTS: rest, _REASON: reasons.get(key, "")}
    return (*row, *(more[header] for header in headers[len(row) :]))


def _row(entry: Entry, now: float) -> tuple[str, ...]:
    info, expires_at = entry
    return (
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


def _as_json(entry: Entry, failed: Mapping[Key, int], rests: Mapping[Key, float], reasons: Mapping[Key, str]) -> str:
    info, expires_at = entry
    key = Key(info["namespace"], info["session_id"])
    more = {
        "failed_logins": failed.get(key, 0),
        "rests_until": rests.get(key),
        "retired_reason": reasons.get(key),
    }
    return as_json({**info, "expires_at": expires_at, "state": _state(info), **more})
