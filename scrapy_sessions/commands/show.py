"""``scrapy sessions show``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json
from rich.text import Text

from scrapy_sessions.analytics.model import Event
from scrapy_sessions.analytics.redaction import safe_url, tidy
from scrapy_sessions.commands.support.arguments import given_id, whole_number
from scrapy_sessions.commands.support.context import CommandError, Context
from scrapy_sessions.commands.support.tables import print_table
from scrapy_sessions.commands.support.text import HIDDEN, age, duration, moment, printable, url_without_password
from scrapy_sessions.exceptions import CorruptRecord
from scrapy_sessions.models import EVERYWHERE, Cookie, Metrics, PersistentSession
from scrapy_sessions.storage import AnalyticsStore
from scrapy_sessions.storage.base import Key
from scrapy_sessions.storage.codec import decode

__all__ = ["DESCRIPTION", "HELP", "ONLY_LOOKS", "add_arguments", "run"]

HELP = "show one session: identity, login, cookies, history"
DESCRIPTION = """
Show who a session is, whether and since when it is logged in, its cookies, what it did last, and why it was retired.
Values of cookies, headers, storages and data are hidden, and so are proxy passwords and the values in the queries of
URLs, unless --reveal is given.

  scrapy sessions show alice
  scrapy sessions show alice --namespace shop --history 50
  scrapy sessions show alice --json | jq .cookies
"""

ONLY_LOOKS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the session and what to show of it."""
    parser.add_argument("id", metavar="ID", type=given_id, help="the session")
    parser.add_argument("--reveal", action="store_true", help="show secrets too: mind who sees your screen")
    parser.add_argument(
        "--history",
        metavar="N",
        type=whole_number(0),
        default=10,
        help="show the last N actions and events (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as a JSON object, with the whole history")


async def run(context: Context) -> int:
    """Show the session."""
    options = context.options
    info = await context.info(options.id)  # says where it looked, if there is none
    # Not by the manager, which sets aside what can't be read: a look changes nothing.
    row = await context.store.load(Key(info["namespace"], info["session_id"]))
    if row is None:
        raise CommandError(f"The session {options.id!r} was deleted just now", 1)
    try:
        record = decode(row)
    except CorruptRecord as e:
        raise CommandError(f"{e}. It was left as it is. A spider that needs this session sets it aside", 1) from e
    events = await _events(context, record)
    if options.json:
        context.write_json(_content(record, events, reveal=options.reveal), indent=2)
    else:
        _print(context, record, events)
    return 0


async def _events(context: Context, record: PersistentSession) -> list[Event]:
    """Return the stored events of this session, the newest first."""
    store = context.store
    if not isinstance(store, AnalyticsStore):
        context.err.print(f"{type(store).__name__} is no AnalyticsStore: there are no events", soft_wrap=True)
        return []
    # The events of one before it that had the same id are not its own.
    events = await store.events(record.namespace, since=record.start_time)
    return [event for event in events if event.session_id == record.session_id]


def _last(events: list[Event], *kinds: str) -> Event | None:
    return next((event for event in events if event.kind in kinds), None)


def _login(record: PersistentSession, events: list[Event]) -> str:
    # A fork or an import may be logged in without a login of its own: its generation tells.
    before = bool(record.metrics.logins or record.generation)
    if record.status == "new":
        return "not logged in" if not before else "not logged in any more: it has to log in again"
    if not before:
        return "there was none: no spider of it has a login"
    login = _last(events, "login")
    words = "logged in" if record.status == "ready" else "was logged in"
    return f"{words} since {_when(login.time)}" if login is not None else f"{words}, since when is not known"


def _state(record: PersistentSession) -> str:
    if record.status == "retired":
        return "retired"
    expiry = record.expiry
    if expiry is not None and expiry[0] <= time.time():
        return "expired"
    return "active"


def _when(then: float) -> str:
    return f"{moment(then)} ({age(then, time.time())})"


def _content(record: PersistentSession, events: list[Event], *, reveal: bool) -> dict[str, Any]:
    login, end = _last(events, "login"), _last(events, "retired", "blocked")
    known = {
        "state": _state(record),
        "expires_at": None if record.expiry is None else record.expiry[0],
        "logged_in_since": login.time if login is not None and record.status == "ready" else None,
        "retired_at": end.time if end is not None and record.status == "retired" else None,
        "events": [{"time": e.time, "kind": e.kind, "detail": e.detail} for e in events],
    }
    if reveal:
        return {**record.model_dump(mode="json"), **known}
    # Fields of a newer version are left out: which of them are secrets, this one can't know.
    content = record.model_dump(mode="json", include=set(PersistentSession.model_fields))
    content["cookies"] = [
        {**cookie.model_dump(include=set(Cookie.model_fields)), "value": HIDDEN} for cookie in record.cookies
    ]
    content["metrics"] = record.metrics.model_dump(include=set(Metrics.model_fields))
    for name in ("headers", "local_storage", "session_storage"):
        content[name] = {origin: dict.fromkeys(entries, HIDDEN) for origin, entries in content[name].items()}
    content["data"] = dict.fromkeys(record.data, HIDDEN)
    content["proxy"] = None if record.proxy is None else url_without_password(record.proxy)
    content["last_url"] = _last_page(record)
    content["retired_reason"] = None if record.retired_reason is None else tidy(record.retired_reason)
    content["actions_performed"] = list(map(tidy, record.actions_performed))
    return {**content, **known}


def _print(context: Context, record: PersistentSession, events: list[Event]) -> None:
    reveal, last = context.options.reveal, context.options.history
    for title, lines in (
        ("Session", _identity(record, reveal)),
        ("State", _state_lines(record, events, reveal)),
        ("Numbers", _numbers(record)),
    ):
        _heading(context, title)
        _pairs(context, lines)
    if record.cookies:
        _heading(context, f"Cookies ({len(record.cookies)})")
        headers = ("NAME", "DOMAIN", "PATH", "EXPIRES", "FLAGS", "VALUE")
        print_table(context, headers, [_cookie(cookie, reveal) for cookie in record.cookies])
    for title, trees in (
        ("Headers", record.headers),
        ("Local storage", record.local_storage),
        ("Session storage", record.session_storage),
    ):
        if trees:
            _heading(context, title)
            _pairs(context, _entries(trees, reveal))
    if record.data:
        _heading(context, "Data")
        _pairs(context, ((name, to_json(value).decode() if reveal else HIDDEN) for name, value in record.data.items()))
    if events and last > 0:
        _heading(context, "Events, newest first")
        _pairs(context, ((moment(e.time), f"{e.kind} {e.detail}".strip()) for e in events[:last]))
    if record.actions_performed and last > 0:
        actions = record.actions_performed[-last:]
        _heading(context, f"History, newest last ({len(actions)} of {len(record.actions_performed)})")
        for action in actions:
            context.write(f"  {printable(action if reveal else tidy(action))}")


def _identity(record: PersistentSession, reveal: bool) -> Iterator[tuple[str, str | None]]:
    yield "id", record.session_id
    yield "namespace", record.namespace
    yield "pool", record.pool
    yield "profile", record.profile_name
    yield "user agent", record.user_agent
    yield "language", record.language
    yield "timezone", record.timezone
    if record.viewport_width or record.viewport_height:
        yield "viewport", f"{record.viewport_width or '?'} x {record.viewport_height or '?'}"
    yield "proxy", None if record.proxy is None else record.proxy if reveal else url_without_password(record.proxy)


def _state_lines(record: PersistentSession, events: list[Event], reveal: bool) -> Iterator[tuple[str, str | None]]:
    yield "state", _state(record)
    yield "status", record.status
    if record.status == "retired":
        end = _last(events, "retired", "blocked")
        reason = record.retired_reason or "no reason was given"
        yield "retired", f"{reason if reveal else tidy(reason)}{f', {_when(end.time)}' if end is not None else ''}"
    yield "login", _login(record, events)
    yield "logins", f"{record.metrics.logins} (generation {record.generation})"
    yield "started", _when(record.start_time)
    yield "last activity", _when(record.last_activity)
    expiry = record.expiry
    yield "expires", "never" if expiry is None else f"{_when(expiry[0])} by {expiry[1]}"
    limits = (("idle", record.idle_timeout), ("age", record.max_age))
    policy = [f"{name} {duration(seconds)}" for name, seconds in limits if seconds]
    if record.max_uses:
        policy.append(f"{record.max_uses} requests")
    yield "limits", ", ".join(policy) or "none"
    yield "last page", record.last_url if reveal else _last_page(record)


def _last_page(record: PersistentSession) -> str | None:
    # As what it says it is: in a text, "javascript:..." and the like are not told from words.
    return None if record.last_url is None else tidy(safe_url(record.last_url))


def _numbers(record: PersistentSession) -> Iterator[tuple[str, str | None]]:
    metrics = record.metrics
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(metrics.responses.items()))
    answered = sum(metrics.responses.values())
    yield "pages", str(record.pages_visited)
    yield "requests", str(metrics.requests)
    yield "responses", f"{answered} ({statuses})" if statuses else str(answered)
    yield "failures", str(metrics.failures)
    yield "bytes", str(metrics.bytes)
    if answered:
        yield "mean latency", f"{metrics.latency / answered:.3f} s"
    yield "saved", f"{record.revision} times"


def _cookie(cookie: Cookie, reveal: bool) -> tuple[str, ...]:
    now = time.time()
    flags = [
        *(["host-only"] if cookie.host_only else []),
        *(["secure"] if cookie.secure else []),
        *(["http-only"] if cookie.http_only else []),
        *([f"same-site={cookie.same_site}"] if cookie.same_site else []),
        *([f"partition={cookie.partition_key}"] if cookie.partition_key else []),
    ]
    expires = "with the session" if cookie.expires is None else f"{moment(cookie.expires)} ({age(cookie.expires, now)})"
    value = cookie.value if reveal else HIDDEN
    return (cookie.name, cookie.domain, cookie.path, expires, " ".join(flags), value)


def _entries(trees: Mapping[str, Mapping[str, str]], reveal: bool) -> Iterator[tuple[str, str]]:
    for origin, entries in trees.items():
        for name, value in entries.items():
            place = "everywhere" if origin == EVERYWHERE else origin
            yield f"{place} {name}", value if reveal else HIDDEN


def _heading(context: Context, title: str) -> None:
    context.out.print(Text(title, style="bold"), soft_wrap=True)


def _pairs(context: Context, pairs: Any) -> None:
    shown = [(printable(name), printable(value)) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        context.out.print(Text.assemble("  ", (f"{name:<{width}}", "dim"), "  ", value), soft_wrap=True)
